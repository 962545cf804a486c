//! Leases: who is there, and who may act.
//!
//! Of client-go's shape. This file decides, from values and the time that is passed in; [`hold`] and [`observe`] carry
//! it out. A lease is about liveness only: no write is safe because of one.
//!
//! Always: a lease is written only over the version that was read; it expires by the observer's own monotonic clock
//! since its record last *changed*, never by the times in it; the first sight of a record proves nothing; a holder
//! stops acting when its renewal is overdue, counted from before it asked for the last one that succeeded. If the
//! holder says where it answers, a process that waits for its lease need not wait for the whole time: a holder that is
//! late and does not answer is gone.

mod door;
mod hold;
mod observe;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

pub use door::at as answers_at;
pub use hold::hold;
pub use observe::{Sighting, Sightings, observe};

use crate::versions::SetBacks;
use ottla_crds::names;
use ottla_rules::assignment::Incarnation;

/// How long a holder acts on a renewal. Less than [`EXPIRE`], so that it stops before time alone makes anybody take
/// over.
pub const DEADLINE: Duration = Duration::from_secs(4);
/// How long a record may stay the same until its holder counts as gone.
pub const EXPIRE: Duration = Duration::from_secs(6);

/// How often a lease is renewed, and looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time from one renewal to the next.
    pub renew: Duration,
    /// How long a record may stay the same until its holder is late.
    pub overdue: Duration,
    /// How often a process that waits for the lease looks at it.
    pub look: Duration,
}

impl Pace {
    /// A broker's: the write budget allows one write per broker in two seconds.
    pub const BROKER: Pace =
        Pace { renew: Duration::from_secs(2), overdue: Duration::from_secs(3), look: Duration::from_millis(500) };
    /// An operator's. Only one of them renews, and until it is missed nobody elects. Before one counts as late it
    /// is asked whether it is there, and keeps its lease if it answers: so that may be soon.
    pub const OPERATOR: Pace =
        Pace { renew: Duration::from_secs(1), overdue: Duration::from_millis(1250), look: Duration::from_millis(250) };
}

/// How one observer judges a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Too little has been seen: the record has not changed yet, nor had the time to.
    Unknown,
    /// The record was seen to change, not long ago.
    Alive,
    /// A renewal is missing: enough together with other evidence.
    Overdue,
    /// The record has not changed for [`EXPIRE`].
    Expired,
    /// Its holder let go.
    Released,
}

/// A record as one observer saw it over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    record: Option<(LeaseSpec, Instant)>,
    changed: bool,
    forgotten: bool,
}

impl Observed {
    /// Takes note of a record.
    pub fn see(&mut self, record: &LeaseSpec, now: Instant) {
        let known = self.record.as_ref().map(|(known, _)| known);
        if known != Some(record) || self.forgotten {
            self.changed = known.is_some() && !std::mem::take(&mut self.forgotten);
            self.record = Some((record.clone(), now));
        }
    }

    /// Judges the record at this time.
    pub fn judge(&self, pace: Pace, now: Instant) -> Sight {
        let Some((record, since)) = &self.record else { return Sight::Unknown };
        let unchanged = now.saturating_duration_since(*since);
        if holder(record).is_none() {
            Sight::Released
        } else if unchanged >= EXPIRE {
            Sight::Expired
        } else if !self.changed {
            Sight::Unknown
        } else if unchanged >= pace.overdue {
            Sight::Overdue
        } else {
            Sight::Alive
        }
    }

    /// The record may be another's by now, or from the past: the next sight is the first.
    pub fn forget(&mut self, now: Instant) {
        self.start_anew(now);
        self.forgotten = true;
    }

    /// Forgets how long it has been watching: after a stall or a lost watch, silence may have been the observer's own.
    pub fn start_anew(&mut self, now: Instant) {
        self.changed = false;
        if let Some((_, since)) = &mut self.record {
            *since = now;
        }
    }
}

/// A process that wants to hold a lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The Lease's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The process: fresh at each start, so that nobody takes a predecessor's renewals for its own.
    pub identity: String,
    /// A holder that is known to be gone, because this process has what only one can have: the lock of its data
    /// directory. `None`: no holder is known to be gone.
    pub predecessor: Option<String>,
    /// How often it renews; the present holder renews as often.
    pub pace: Pace,
    /// The lease as this process saw it.
    pub observed: Observed,
    /// Is notified when a renewal shows that the API server was set back.
    pub set_backs: SetBacks,
}

impl Claim {
    /// Takes note of the record that was read: whether to ask the holder if it is there, which is somebody else and
    /// will be late when an answer is due.
    pub fn is_to_ask(&mut self, now: Instant, read: &LeaseSpec) -> bool {
        self.observed.see(read, now);
        holder(read) != Some(&self.identity) && self.observed.judge(self.pace, now + door::PATIENCE) == Sight::Overdue
    }

    /// The record to write over the one that was read; none while somebody else holds the lease. `unanswered`: the
    /// holder was asked whether it is there.
    pub fn decide(
        &mut self,
        now: Instant,
        clock: Timestamp,
        read: Option<&LeaseSpec>,
        unanswered: bool,
    ) -> Option<LeaseSpec> {
        let mut record = match read {
            None => {
                LeaseSpec { lease_transitions: Some(0), acquire_time: Some(MicroTime(clock)), ..LeaseSpec::default() }
            }
            Some(read) => {
                self.observed.see(read, now);
                let mut record = read.clone();
                if holder(read) != Some(&self.identity) {
                    let known_gone = self.predecessor.is_some() && holder(read) == self.predecessor.as_deref();
                    match self.observed.judge(self.pace, now) {
                        Sight::Released | Sight::Expired => {}
                        Sight::Overdue if unanswered => {}
                        Sight::Unknown | Sight::Alive | Sight::Overdue if known_gone => {}
                        Sight::Unknown | Sight::Alive | Sight::Overdue => return None,
                    }
                    record.acquire_time = Some(MicroTime(clock));
                    record.lease_transitions = Some(read.lease_transitions.unwrap_or(0).saturating_add(1));
                }
                record
            }
        };
        record.holder_identity = Some(self.identity.clone());
        record.lease_duration_seconds = Some(EXPIRE.as_secs() as i32);
        record.renew_time = Some(MicroTime(clock));
        Some(record)
    }

    /// The record with which the holder lets go; none if it does not hold the lease.
    pub fn release(&self, clock: Timestamp, read: &LeaseSpec) -> Option<LeaseSpec> {
        (holder(read) == Some(&self.identity)).then(|| LeaseSpec {
            holder_identity: None,
            renew_time: Some(MicroTime(clock)),
            ..read.clone()
        })
    }
}

/// An empty identity is how client-go releases.
fn holder(record: &LeaseSpec) -> Option<&str> {
    record.holder_identity.as_deref().filter(|identity| !identity.is_empty())
}

/// What a broker's Lease says of it, in annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSession {
    /// What its data directory holds.
    pub incarnation: Incarnation,
    /// How often it was started with this directory.
    pub start: u64,
    /// Whether it asked to lead nothing.
    pub draining: bool,
}

/// What a broker that is there knows beside what the API server shows, as its Lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Nothing newer. Of one that says nothing of it the same is believed: its version does not compare.
    AsShown,
    /// It has not compared yet: it was started while the API server was away, or is listing everything again.
    NotCompared,
    /// Newer entries; or it wrote its Lease after the API server was set back, and has yet to find out.
    Newer,
}

impl Knowledge {
    /// What a Lease says.
    pub fn of(lease: &Lease) -> Knowledge {
        let said = lease.metadata.annotations.as_ref();
        Knowledge::said(said.unwrap_or(&BTreeMap::new()), observe::is_past(lease))
    }

    /// What the annotations say; `is_past`: of a Lease that was written before its holder knew that the API server was
    /// set back.
    pub fn said(annotations: &BTreeMap<String, String>, is_past: bool) -> Knowledge {
        match annotations.get(names::NEWER_ANNOTATION).map(String::as_str) {
            _ if is_past => Knowledge::Newer,
            None | Some("0") => Knowledge::AsShown,
            Some(names::NOT_COMPARED) => Knowledge::NotCompared,
            Some(_) => Knowledge::Newer,
        }
    }
}

const INCARNATION: &str = "ottla.io/incarnation";
const START: &str = "ottla.io/start";
const DRAINING: &str = "ottla.io/draining";

impl BrokerSession {
    /// The annotations that say so.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (INCARNATION.to_owned(), self.incarnation.0.to_string()),
            (START.to_owned(), self.start.to_string()),
            (DRAINING.to_owned(), self.draining.to_string()),
        ])
    }

    /// What the annotations say; none if they are not a broker's.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            incarnation: Incarnation(annotations.get(INCARNATION)?.parse().ok()?),
            start: annotations.get(START)?.parse().ok()?,
            draining: annotations.get(DRAINING)?.parse().ok()?,
        })
    }

    /// What a Lease says; none if it is not a broker's.
    pub fn of(lease: &Lease) -> Option<Self> {
        Self::from_annotations(lease.metadata.annotations.as_ref()?)
    }
}

#[cfg(test)]
mod tests;

//! Observing brokers' leases: a watch, a clock, and a second look before a lease counts as expired.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::watch::Sender,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

use super::{EXPIRE, Knowledge, Observed, Pace, Sight, holder};
use crate::{
    versions::{SetBacks, version},
    watch,
};
use ottla_crds::names;

/// Whose leases are observed.
const PACE: Pace = Pace::BROKER;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(250);
/// An observer that did not run for so long may have missed what others did meanwhile.
const STALL: Duration = Duration::from_secs(1);
/// How long the second look may take.
const REREAD: Duration = Duration::from_secs(1);

/// A lease as it is seen now. It says nothing of times, so that a renewal changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// How the observer judges its record.
    pub sight: Sight,
    /// Who holds it; `None`: nobody.
    pub holder: Option<String>,
    /// Since when, by the holder's clock; `None`: the Lease does not say.
    pub acquired: Option<Timestamp>,
    /// It is older than what its holder says there that it had seen: the API server was set back, and its holder has
    /// yet to notice.
    pub is_past: bool,
    /// What its holder says of itself, but for what it says with each renewal.
    pub annotations: BTreeMap<String, String>,
}

impl Sighting {
    /// What its holder knows beside what the API server shows.
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::said(&self.annotations, self.is_past)
    }
}

/// The leases that are seen, by name. One that was deleted stays until it would have expired: it is no proof of a
/// death.
pub type Sightings = BTreeMap<String, Sighting>;

/// Watches the leases that match the label `selector`, and keeps their sightings in `seen` up to date, for ever.
///
/// A lease that is older than it was before shows that the API server was set back. This function then notifies
/// `set_backs`, and no holder counts as alive until its lease has changed since.
pub async fn observe(api: Api<Lease>, selector: &str, seen: Sender<Sightings>, set_backs: &SetBacks) {
    let (of, config) = (api.clone(), watch::config().labels(selector));
    let begin = move || watch::events(of.clone(), config.clone());
    let mut events = watch::relisting(begin, set_backs);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leases = Leases::new(set_backs.clone());
    let mut set_back = set_backs.subscribe();
    let mut last_tick = Instant::now();
    loop {
        tokio::select! {
            biased; // a stall is noticed before anybody is judged by the clock
            () = set_back.changed() => leases.forget_all(Instant::now()),
            _ = tick.tick() => {
                let now = Instant::now();
                if now.duration_since(last_tick) > STALL {
                    warn!("did not run for {:?}: every lease gets its whole time again", now.duration_since(last_tick));
                    leases.start_anew(now);
                }
                leases.look_again(&api).await;
                last_tick = Instant::now();
            }
            event = events.next() => match event {
                Some(Ok(Event::Apply(lease) | Event::InitApply(lease))) => {
                    leases.hear(Instant::now());
                    leases.see(lease, Instant::now());
                }
                Some(Ok(Event::Delete(lease))) => {
                    leases.hear(Instant::now());
                    leases.forget(&lease.name_any(), Instant::now());
                }
                Some(Ok(Event::InitDone)) => leases.hear(Instant::now()),
                Some(Ok(Event::Init)) => {} // comes before anything is asked
                Some(Err(error)) => {
                    warn!(%error, "failed to watch leases");
                    leases.miss(&error, Instant::now());
                }
                None => return,
            },
        }
        leases.settle_doubt(&api).await;
        let now = leases.sightings(Instant::now());
        seen.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// One lease: as it was read last, as it changed, and whether a second look confirmed that it expired.
#[derive(Default)]
struct ObservedLease {
    lease: Lease,
    observed: Observed,
    confirmed: bool,
}

impl ObservedLease {
    fn judge(&self, now: Instant) -> Sight {
        match self.observed.judge(PACE, now) {
            Sight::Expired if !self.confirmed => Sight::Overdue,
            sight => sight,
        }
    }
}

struct Leases {
    set_backs: SetBacks,
    seen: BTreeMap<String, ObservedLease>,
    /// A lease that was shown older than it was known: by a watch that lags behind, or because the API server was set
    /// back.
    doubted: Option<String>,
    /// A second look was in vain, or a watch, and the API server has not been heard since.
    deaf: bool,
    /// When all began to have the whole time to renew, last.
    anew: Option<Instant>,
}

impl Leases {
    fn new(set_backs: SetBacks) -> Leases {
        Leases { set_backs, seen: BTreeMap::new(), doubted: None, deaf: false, anew: None }
    }

    /// The API server is heard. If it was not before, neither was it by those who renew: they get the whole time to do
    /// so.
    fn hear(&mut self, now: Instant) {
        if std::mem::take(&mut self.deaf) {
            self.start_anew(now);
        }
    }

    /// A watch failed; an error that the API server itself sent does not count. The holders that renew may have met the
    /// same failure. But if a watch fails again and again while second looks succeed, the fault is this observer's own,
    /// and must not make dead holders count as alive.
    fn miss(&mut self, error: &watcher::Error, now: Instant) {
        let lately = self.anew.is_some_and(|anew| now.duration_since(anew) < 2 * EXPIRE);
        self.deaf |= !lately && !matches!(error, watcher::Error::WatchError(_));
    }

    fn see(&mut self, lease: Lease, now: Instant) -> &mut ObservedLease {
        let seen = self.seen.entry(lease.name_any()).or_default();
        if version(&lease.metadata) < version(&seen.lease.metadata) {
            self.doubted = Some(lease.name_any());
            return seen;
        }
        self.set_backs.was_shown(version(&lease.metadata));
        seen.observed.see(&lease.spec.clone().unwrap_or_default(), now);
        seen.confirmed &= seen.observed.judge(PACE, now) == Sight::Expired;
        seen.lease = lease;
        seen
    }

    /// Reads the doubted lease: a consistent read that is older than what was seen before it shows that the API server
    /// was set back.
    async fn settle_doubt(&mut self, api: &Api<Lease>) {
        let Some(name) = self.doubted.take() else { return };
        if let Ok(Ok(Some(lease))) = timeout(REREAD, api.get_opt(&name)).await {
            self.see_consistent(lease, Instant::now());
        }
    }

    fn see_consistent(&mut self, lease: Lease, now: Instant) -> &mut ObservedLease {
        let known = self.seen.get(&lease.name_any()).and_then(|seen| version(&seen.lease.metadata));
        if version(&lease.metadata) < known {
            self.set_backs.note(version(&lease.metadata), known);
            self.forget_all(now);
        }
        self.see(lease, now)
    }

    /// The API server was set back, as this observer or another part of the process found: no holder counts as alive.
    fn forget_all(&mut self, now: Instant) {
        self.set_backs.forget_shown();
        self.anew = Some(now);
        for seen in self.seen.values_mut() {
            seen.observed.forget(now);
            seen.confirmed = false;
            seen.lease.metadata.resource_version = None;
        }
    }

    fn forget(&mut self, name: &str, now: Instant) {
        let gone = |seen: &ObservedLease| matches!(seen.judge(now), Sight::Expired | Sight::Released);
        if self.seen.get(name).is_some_and(gone) {
            self.seen.remove(name);
        }
    }

    fn start_anew(&mut self, now: Instant) {
        self.anew = Some(now);
        for seen in self.seen.values_mut() {
            seen.observed.start_anew(now);
            seen.confirmed = false;
        }
    }

    /// Reads the leases that just expired once more: a watch that lags or is lost shows no renewals.
    async fn look_again(&mut self, api: &Api<Lease>) {
        let now = Instant::now();
        let doubtful = |seen: &ObservedLease| !seen.confirmed && seen.observed.judge(PACE, now) == Sight::Expired;
        let names: Vec<String> =
            self.seen.iter().filter(|(_, seen)| doubtful(seen)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let asked = Instant::now();
            match timeout(REREAD, api.get_opt(&name)).await {
                Ok(Ok(_)) if asked.elapsed() > STALL => {
                    warn!("did not run for {:?}: every lease gets its whole time again", asked.elapsed());
                    self.start_anew(Instant::now());
                    return;
                }
                Ok(Ok(Some(lease))) => {
                    let now = Instant::now();
                    self.hear(now);
                    let seen = self.see_consistent(lease, now);
                    seen.confirmed = seen.observed.judge(PACE, now) == Sight::Expired;
                }
                Ok(Ok(None)) => {
                    let now = Instant::now();
                    self.hear(now);
                    if self.seen.get(&name).is_some_and(|seen| seen.observed.judge(PACE, now) == Sight::Expired) {
                        self.seen.remove(&name);
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    warn!(lease = name, "failed to reread a lease that seems expired: all get their whole time again");
                    self.start_anew(Instant::now());
                    self.deaf = true;
                    return;
                }
            }
        }
    }

    fn sightings(&self, now: Instant) -> Sightings {
        let sighting = |seen: &ObservedLease| Sighting {
            sight: seen.judge(now),
            holder: seen.lease.spec.as_ref().and_then(holder).map(str::to_owned),
            acquired: seen.lease.spec.as_ref().and_then(|spec| Some(spec.acquire_time.as_ref()?.0)),
            is_past: is_past(&seen.lease),
            annotations: lasting(seen.lease.metadata.annotations.clone().unwrap_or_default()),
        };
        self.seen.iter().map(|(name, seen)| (name.clone(), sighting(seen))).collect()
    }
}

/// Without what changes with each renewal.
fn lasting(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.remove(names::TICKS_ANNOTATION);
    annotations.remove(names::SEEN_ANNOTATION);
    annotations
}

pub(super) fn is_past(lease: &Lease) -> bool {
    let said = lease.metadata.annotations.as_ref().and_then(|all| all.get(names::SEEN_ANNOTATION));
    let seen: Option<u64> = said.and_then(|said| said.parse().ok());
    version(&lease.metadata).zip(seen).is_some_and(|(version, seen)| version < seen)
}

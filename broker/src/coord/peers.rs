//! Whether entries may be written: not while a live broker may know newer entries than the API server shows.
//!
//! An API server that was set back shows old entries. Brokers that know newer ones restore them; a change before that,
//! such as a leader's change of its ISR, would create a fork. So after a start, and after a restore, nothing is written
//! until every other broker has renewed its Lease and written there that it knows nothing newer, or is dead. From then
//! on a read of this broker's own Lease before each write shows whether the API server was set back meanwhile.
//!
//! Dead brokers are not waited for; the operator does not wait for them either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use ottla_crds::names;
use ottla_kube::change::why;
use ottla_kube::lease::{Knowledge, Observed, Pace, Sight};
use ottla_kube::versions::{SetBacks, version};
use tokio::sync::Mutex;

use crate::env::{self, Instant};
use crate::image::BrokerId;

/// The time between two reads of the Leases, which are renewed every two seconds.
const PAUSE: Duration = Duration::from_millis(500);

/// The other brokers, as their Leases show them.
#[derive(Clone)]
pub(super) struct Peers {
    leases: Api<Lease>,
    of_cluster: ListParams,
    own: String,
    set_backs: SetBacks,
    heard: Arc<Mutex<Heard>>,
    /// How often [`Peers::know_nothing_newer`] was asked.
    asked: Arc<AtomicU64>,
}

/// What was heard since the API server was set back for the nth time.
#[derive(Debug, Default)]
struct Heard {
    set_backs: u64,
    observed: BTreeMap<String, Observed>,
    everybody: bool,
    /// The number of callers that a read has answered: those that had called before it began.
    answered: u64,
}

impl Peers {
    pub(super) fn new(leases: Api<Lease>, cluster: &str, me: BrokerId, set_backs: SetBacks) -> Peers {
        let of_cluster = ListParams::default().labels(&format!("{}={cluster}", names::CLUSTER_LABEL));
        let own = names::broker(cluster, me);
        Peers { leases, of_cluster, own, set_backs, heard: Arc::default(), asked: Arc::default() }
    }

    /// Waits until entries may be written. One read answers all callers that waited when it began, because thousands of
    /// replicas of deleted topics may be removed at once.
    pub(super) async fn know_nothing_newer(&self) {
        let me = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut heard = self.heard.lock().await;
        while heard.answered < me {
            let asked = self.asked.load(Ordering::Relaxed);
            match self.look(&mut heard).await {
                Ok(true) => {
                    heard.answered = asked;
                    return;
                }
                Ok(false) => {}
                // The Role is of an older version. Without a restore a write is safe, and without writes ISRs could not
                // change.
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    tracing::warn!(
                        reason = status.message,
                        "this broker has no right to list Leases: writing assignments without comparing with other \
                        brokers"
                    );
                    heard.everybody = true;
                    return;
                }
                Err(error) => tracing::warn!(
                    error = why(&error),
                    "failed to read the Leases: no assignment is \
                written until this succeeds"
                ),
            }
            env::sleep_until(env::now() + PAUSE).await;
        }
    }

    async fn look(&self, heard: &mut Heard) -> Result<bool, kube::Error> {
        let written = self.set_backs.written();
        if heard.since(self.set_backs.times()) {
            let own = self.leases.get_opt(&self.own).await?;
            return Ok(!own.is_some_and(|own| self.set_backs.compare(version(&own.metadata), written)));
        }
        let leases = self.leases.list(&self.of_cluster).await?.items;
        let own = leases.iter().find(|lease| lease.name_any() == self.own);
        if own.is_some_and(|own| self.set_backs.compare(version(&own.metadata), written)) {
            return Ok(false);
        }
        heard.see(leases.iter().filter(|lease| lease.name_any() != self.own), env::now());
        Ok(heard.everybody)
    }
}

impl Heard {
    /// Whether every broker was heard since the API server was last set back.
    fn since(&mut self, set_backs: u64) -> bool {
        if self.set_backs != set_backs {
            *self = Heard { set_backs, answered: self.answered, ..Heard::default() };
        }
        self.everybody
    }

    fn see<'a>(&mut self, leases: impl Iterator<Item = &'a Lease>, now: Instant) {
        self.everybody = true;
        for lease in leases {
            let observed = self.observed.entry(lease.name_any()).or_default();
            observed.see(&lease.spec.clone().unwrap_or_default(), now);
            self.everybody &= match observed.judge(Pace::BROKER, now) {
                Sight::Unknown => false,
                Sight::Alive | Sight::Overdue => Knowledge::of(lease) == Knowledge::AsShown,
                Sight::Expired | Sight::Released => true,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn lease(broker: i32, renewed: i64, newer: &str) -> Lease {
        let annotations = BTreeMap::from([(names::NEWER_ANNOTATION.to_owned(), newer.to_owned())]);
        let spec = LeaseSpec {
            holder_identity: (renewed > 0).then(|| "its process".to_owned()),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            ..LeaseSpec::default()
        };
        let name = Some(names::broker("prod", BrokerId(broker)));
        Lease {
            metadata: ObjectMeta { name, annotations: Some(annotations), ..ObjectMeta::default() },
            spec: Some(spec),
        }
    }

    #[test]
    fn nothing_is_written_until_everybody_who_is_there_has_renewed_and_knows_nothing_newer() {
        let began = env::now();
        for (story, looks, expected) in [
            ("nobody else is there", vec![(0, vec![])], true),
            ("a Lease that is seen first proves nothing", vec![(0, vec![lease(1, 1, "0")])], false),
            ("it was renewed", vec![(0, vec![lease(1, 1, "0")]), (2, vec![lease(1, 3, "0")])], true),
            ("it was not", vec![(0, vec![lease(1, 1, "0")]), (5, vec![lease(1, 1, "0")])], false),
            ("it is not there any more", vec![(0, vec![lease(1, 1, "3")]), (6, vec![lease(1, 1, "3")])], true),
            ("it has let go", vec![(0, vec![lease(1, 0, "3")])], true),
            ("it knows newer entries", vec![(0, vec![lease(1, 1, "0")]), (2, vec![lease(1, 3, "2")])], false),
            ("it lists again", vec![(0, vec![lease(1, 1, "0")]), (2, vec![lease(1, 3, names::NOT_COMPARED)])], false),
            (
                "it has put them back",
                vec![(0, vec![lease(1, 1, "0")]), (2, vec![lease(1, 3, "2")]), (3, vec![lease(1, 4, "0")])],
                true,
            ),
            (
                "another was not heard",
                vec![(0, vec![lease(1, 1, "0"), lease(2, 1, "0")]), (2, vec![lease(1, 3, "0"), lease(2, 1, "0")])],
                false,
            ),
        ] {
            let mut heard = Heard::default();
            for (second, leases) in &looks {
                heard.see(leases.iter(), began + Duration::from_secs(*second));
            }
            assert_eq!(heard.since(0), expected, "{story}");
            assert!(!heard.since(1), "{story}, and the API server is set back");
        }
    }
}

//! What only time changes: brokers that have been live for long enough, brokers that the operator still waits for, and
//! when to look again although nothing is shown.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use ottla_config::BrokerSettings;
use ottla_crds::{KafkaCluster, Occasion};
use ottla_rules::assignment::BrokerId;
use tokio::time::{Duration, Instant};

use super::arrivals::Arrivals;
use super::tenure::Tenure;
use crate::plan::World;
use crate::plan::assignments::last_members;

/// How often a roll is looked at although nothing is shown.
const ROLL_LOOK: Duration = Duration::from_secs(5);
/// How often what blocks a roll is looked at although nothing is shown: it is written so often at most.
const BLOCKED_LOOK: Duration = Duration::from_secs(30);

/// Since when brokers are there, or away, by this operator's own clock.
#[derive(Debug)]
pub struct Calendar {
    /// Leaders return to brokers that have been live for some time.
    tenure: Tenure,
    /// Brokers that have been live for longer get replicas of the others.
    seasons: Tenure,
    arrivals: Arrivals,
    returns: Arrivals,
}

impl Default for Calendar {
    fn default() -> Calendar {
        Calendar {
            tenure: Tenure::default(),
            seasons: Tenure::default(),
            arrivals: Arrivals::first(),
            returns: Arrivals::back(),
        }
    }
}

impl Calendar {
    /// Notes who is there at this look, and fills in what follows from the time they have been. `registered`: the
    /// brokers that were ever live.
    pub fn look(&mut self, world: &mut World, registered: &BTreeSet<BrokerId>) {
        let now = Instant::now();
        let cluster = world.cluster.as_deref();
        let after = cluster.and_then(return_after);
        let wanted = cluster.into_iter().flat_map(|cluster| cluster.spec.broker_ids());
        let here = world.live().into_keys().collect();
        world.settled = settled(self.tenure.settled(&world.brokers, after, now), cluster, after.is_some());
        world.seasoned = self.seasons.settled(&world.brokers, cluster.and_then(fill_after), now);
        world.awaited = self.arrivals.awaited(wanted, registered, now);
        world.returning = self.returns.awaited(last_members(&world.assignments), &here, now);
    }

    /// When to look again although nothing is shown; `None`: time alone changes nothing.
    pub fn next(&self, world: &World) -> Option<Instant> {
        let cluster = world.cluster.as_deref();
        let roll = cluster.and_then(|cluster| look_after(cluster, &world.now)).map(|after| Instant::now() + after);
        let dates = [
            roll,
            self.tenure.next(cluster.and_then(return_after)),
            self.seasons.next(cluster.and_then(fill_after)),
            self.arrivals.next(),
            self.returns.next(),
        ];
        dates.into_iter().flatten().min()
    }
}

/// The settled brokers: after a planned restart leaders return at once.
fn settled(
    mut settled: BTreeSet<BrokerId>,
    cluster: Option<&KafkaCluster>,
    leaders_return: bool,
) -> BTreeSet<BrokerId> {
    let rollout = cluster.and_then(|cluster| cluster.status.as_ref()?.rollout.as_ref()).filter(|_| leaders_return);
    settled.extend(rollout.iter().flat_map(|rollout| &rollout.away).copied());
    settled
}

/// When to look at a roll and at features again although nothing is shown; `None`: time changes nothing about them.
fn look_after(cluster: &KafkaCluster, now: &Time) -> Option<Duration> {
    let status = cluster.status.as_ref()?;
    let rollout = status.rollout.as_ref();
    let restarts = rollout.filter(|rollout| !rollout.away.is_empty()).map(|_| ROLL_LOOK);
    let is_blocked = rollout.filter(|rollout| !rollout.blocked_by.is_empty()).map(|_| BLOCKED_LOOK);
    let opens = rollout.and_then(|rollout| rollout.window_opens.as_ref()).map(|opens| opens.0);
    let settled = status.features.as_ref().and_then(|features| features.settled_at(cluster.spec.features_settle_for()));
    // Levels that have settled wait for a broker that was never seen: its Lease shows it.
    let settled = settled.filter(|settled| *settled > now.0);
    let until = |then: Timestamp| Duration::try_from(then.duration_since(now.0)).unwrap_or_default().max(ROLL_LOOK);
    let times = opens.into_iter().chain(settled).map(until);
    times.chain(restarts).chain(is_blocked).min()
}

/// How long a broker must have been live before leaders return to it; `None`: they do not return.
fn return_after(cluster: &KafkaCluster) -> Option<Duration> {
    BrokerSettings::resolve(&cluster.spec.broker_config()).leader_return_after
}

/// How long a new broker must have been live before it gets replicas of the others; `None`: it does not.
fn fill_after(cluster: &KafkaCluster) -> Option<Duration> {
    let rebalance = &cluster.spec.rebalance;
    let seconds = u64::try_from(rebalance.add_after_seconds).unwrap_or_default();
    rebalance.auto.contains(&Occasion::Add).then(|| Duration::from_secs(seconds))
}

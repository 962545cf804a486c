//! What a roll sees: the brokers' pods and partitions, who is away, and who has restarted.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{
    Interrupt, KafkaAssignment, KafkaCluster, Rollout, RolloutBacklog, RolloutProgress, RolloutState, RolloutStatus,
};
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::disruption::{Partition, Situation};
use ottla_rules::plan::roster::Wanted;

use crate::plan::platform::{Offer, PodRevision, Revisions, Stage, Volume};
use crate::plan::world::World;

/// Changes that ask for no other node.
const NOT_ABOUT_NODES: [&str; 3] = ["image", "listeners", "security"];

/// What a roll sees.
pub struct Scene<'a> {
    world: &'a World,
    cluster: &'a KafkaCluster,
    seen: &'a Revisions,
    min_in_sync: &'a dyn Fn(&str) -> usize,
    /// Collected when they are needed: at rest they are not.
    partitions: OnceCell<Vec<Partition<'a>>>,
    live: Live,
    racks: BTreeMap<BrokerId, String>,
    /// The brokers that the spec asks for.
    pub asked_for: BTreeSet<BrokerId>,
    away: BTreeSet<BrokerId>,
    broken: BTreeSet<BrokerId>,
    most_away: usize,
    interrupts: bool,
    /// Whether leaders return to preferred replicas.
    leaders_return: bool,
    /// The name of the namespace and the cluster, for commands.
    pub place: (&'a str, &'a str),
}

impl<'a> Scene<'a> {
    /// What is seen of this world.
    pub fn new(
        world: &'a World,
        cluster: &'a KafkaCluster,
        seen: &'a Revisions,
        (asked, status): (&Rollout, &RolloutStatus),
        min_in_sync: &'a dyn Fn(&str) -> usize,
        leaders_return: bool,
    ) -> Scene<'a> {
        let live = world.live();
        let racks = world.brokers.iter().filter_map(|(id, broker)| Some((*id, broker.rack.clone()?))).collect();
        let asked_for: BTreeSet<BrokerId> = cluster.spec.broker_ids().collect();
        let ids: BTreeSet<BrokerId> = asked_for.iter().chain(seen.pods.keys()).copied().collect();
        let is_well = |id: &BrokerId| {
            let is_ready = seen.pods.get(id).is_some_and(|pod| pod.stage == Stage::Ready);
            is_ready && live.get(id).is_some_and(|broker| !broker.draining)
        };
        let away: BTreeSet<BrokerId> = ids.into_iter().filter(|id| !is_well(id)).collect();
        let is_broken = |id: &BrokerId| {
            let has_failed = |pod: &PodRevision| status.failed.iter().any(|failed| failed.revision == pod.revision);
            seen.pods.get(id).filter(|pod| !pod.is_cut_off).is_some_and(|pod| match pod.stage {
                // A broker that opens its logs takes its time. One with a dead Lease may serve by what it knows.
                Stage::Ending | Stage::Ready => false,
                Stage::Starting => has_failed(pod),
                Stage::Pending | Stage::Started => has_failed(pod) || !live.contains_key(id),
            })
        };
        Scene {
            min_in_sync,
            partitions: OnceCell::new(),
            broken: away.iter().filter(|id| is_broken(id)).copied().collect(),
            away,
            most_away: usize::try_from(asked.max_unavailable).unwrap_or(1).max(1),
            interrupts: asked.interrupt == Interrupt::Unreplicated || asked_for.len() == 1,
            asked_for,
            leaders_return: leaders_return && world.forked.is_empty(),
            place: (
                cluster.metadata.namespace.as_deref().unwrap_or_default(),
                cluster.metadata.name.as_deref().unwrap_or_default(),
            ),
            world,
            cluster,
            seen,
            live,
            racks,
        }
    }

    fn partitions(&self) -> &[Partition<'a>] {
        self.partitions.get_or_init(|| {
            let standing = self.world.assignments.iter().filter(|object| !object.spec.deleted);
            let of_object = |object: &'a KafkaAssignment| {
                let topic = object.spec.topic_name.as_str();
                let min_in_sync = (self.min_in_sync)(topic);
                object.spec.partitions.iter().map(move |entry| Partition { topic, entry, min_in_sync })
            };
            standing.flat_map(|object| of_object(object)).collect()
        })
    }

    /// What a decision about restarts needs.
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            partitions: self.partitions(),
            live: &self.live,
            racks: &self.racks,
            away: &self.away,
            broken: &self.broken,
            most_away: self.most_away,
            interrupts_unreplicated: self.interrupts,
        }
    }

    /// The pods of the brokers that the spec asks for.
    pub fn pods(&self) -> impl Iterator<Item = (BrokerId, &'a PodRevision)> + '_ {
        self.seen.pods.iter().filter(|(id, _)| !self.leaves(**id)).map(|(id, pod)| (*id, pod))
    }

    /// A broker's pod.
    pub fn pod(&self, broker: BrokerId) -> Option<&'a PodRevision> {
        self.seen.pods.get(&broker)
    }

    /// The pool that a broker belongs to, if its pods have anything of their own in the revision that is offered that
    /// they do not have in the present one, or if nobody knows what they have in that; `None`: another pool's broker,
    /// or the default one's.
    pub fn changed_pool<'b>(&self, broker: BrokerId, offer: &'b Offer) -> Option<&'b str> {
        let (pool, asked) = offer.pools.get_key_value(&self.cluster.pool_of(broker)?.name)?;
        (self.seen.from_pools.get(pool) != Some(asked)).then_some(pool.as_str())
    }

    /// Whether the spec no longer asks for a broker.
    pub fn leaves(&self, broker: BrokerId) -> bool {
        self.world.wanted(broker) == Wanted::Leaving
    }

    /// Whether a restart would take a broker's volume: its claim is being deleted, and goes when no pod uses it. That
    /// restart has a rule of its own (`plan/fresh`).
    pub fn loses_volume(&self, broker: BrokerId) -> bool {
        self.volume(broker).is_some_and(|volume| volume.is_deleted)
    }

    /// A broker's volume; `None`: it has none.
    pub fn volume(&self, broker: BrokerId) -> Option<&'a Volume> {
        self.world.platform.as_ref()?.volumes.get(&broker)
    }

    /// Whether a broker is away and will not return by itself, as far as is known.
    pub fn is_broken(&self, broker: BrokerId) -> bool {
        self.broken.contains(&broker)
    }

    /// Whether a broker waits for a node: no fault of its revision. Once one broker has the revision, pods that find no
    /// node are a fault of it only if it may ask for more than the one before, and every node can be had.
    pub fn waits_for_node(&self, broker: BrokerId, status: &RolloutStatus) -> bool {
        let asks_for_more = || status.why.iter().any(|word| !NOT_ABOUT_NODES.contains(&word.as_str()));
        let elsewhere = || status.state == RolloutState::Rolling && (self.seen.lacks_nodes || !asks_for_more());
        self.pod(broker).is_some_and(|pod| pod.is_cut_off || pod.unscheduled.is_some() && elsewhere())
    }

    /// Whether a broker is away.
    pub fn is_away(&self, broker: BrokerId) -> bool {
        self.away.contains(&broker)
    }

    /// Whether nothing of a broker runs, and nothing will by itself: a restart costs nothing. One whose node is lost
    /// returns with the node.
    pub fn is_down(&self, pod: &PodRevision, broker: BrokerId) -> bool {
        let is_stuck = !pod.is_cut_off && (pod.stuck.is_some() || pod.unscheduled.is_some());
        pod.stage == Stage::Pending && is_stuck && !self.live.contains_key(&broker)
    }

    /// The brokers that are away.
    pub fn away(&self) -> &BTreeSet<BrokerId> {
        &self.away
    }

    /// Whether new pods get this revision.
    pub fn makes(&self, revision: &str) -> bool {
        self.seen.template.as_deref() == Some(revision)
    }

    /// How many partitions a broker leads.
    pub fn leads(&self, broker: BrokerId) -> usize {
        self.partitions().iter().filter(|one| one.entry.leader == Some(broker)).count()
    }

    /// The time.
    pub fn now(&self) -> &Time {
        &self.world.now
    }

    /// How long ago that was.
    pub fn since(&self, then: &Time) -> Duration {
        Duration::try_from(self.world.now.0.duration_since(then.0)).unwrap_or_default()
    }

    /// Whether a broker has restarted with this revision: it is ready, in sync, and leads what it prefers to lead.
    pub fn has_restarted(&self, broker: BrokerId, revision: &str) -> bool {
        let has = |pod: &PodRevision| pod.has(revision);
        self.pod(broker).is_some_and(has) && !self.is_away(broker) && self.behind(broker) == 0
    }

    /// How many partitions a broker has to catch up with, or to lead again.
    pub fn behind(&self, broker: BrokerId) -> usize {
        let lacks = |entry: &Assignment| {
            // Without a leader nobody can be in sync.
            let holds = entry.replicas.contains(&broker) && !entry.adding.contains(&broker) && entry.leader.is_some();
            let in_sync = entry.has_in_sync(broker, &self.live);
            let prefers = self.leaders_return && entry.replicas.first() == Some(&broker);
            holds && (!in_sync || prefers && entry.leader != Some(broker))
        };
        self.partitions().iter().filter(|one| lacks(one.entry)).count()
    }

    /// How many steps a broker has to take until its process serves with this revision.
    fn steps(&self, broker: BrokerId, revision: &str) -> i64 {
        match self.pod(broker) {
            Some(pod) if pod.stage == Stage::Ending => 4,
            Some(pod) if !pod.has(revision) => 5,
            None => 4,
            Some(pod) => match pod.stage {
                Stage::Ending => 4,
                Stage::Pending => 3,
                Stage::Starting => 2,
                Stage::Started => 1,
                Stage::Ready => 0,
            },
        }
    }

    /// How the brokers that restart by this status get on with it, `before` being what was written of it.
    pub fn progress(&self, status: &RolloutStatus, before: Option<&RolloutProgress>) -> RolloutProgress {
        let (revision, away) = (status.pinned(), &status.away);
        let steps: i64 = away.iter().map(|id| self.steps(*id, revision)).sum();
        let begun = away.iter().filter(|id| self.steps(**id, revision) < 5);
        let behind = i64::try_from(begun.map(|id| self.behind(*id)).sum::<usize>()).unwrap_or(i64::MAX);
        let backlog = RolloutBacklog { steps, behind };
        // A broker that has no node does not get on, and is given all its time once it has one; its volume may be
        // another one by then.
        let is_held_up = away.iter().any(|id| self.waits_for_node(*id, status));
        let least = before.filter(|_| !is_held_up).map(RolloutProgress::least);
        let same = before.filter(|_| least.is_some_and(|least| backlog >= least));
        RolloutProgress {
            behind,
            steps,
            least: Some(least.map_or(backlog, |least| least.min(backlog))),
            since: same.map_or_else(|| self.now().clone(), |same| same.since.clone()),
            ready_since: before.and_then(|before| before.ready_since.clone()),
            at: self.now().clone(),
        }
    }
}

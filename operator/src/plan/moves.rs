//! Moves of a topic's partitions to the wanted brokers, and of leaders to preferred replicas: one step for each at a
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_crds::{KafkaAssignment, KafkaTopicSpec, Placement};
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::placement::{self, Load, TooFewBrokers};
use ottla_rules::plan::reassignment;

use super::rules::RuleBook;
use super::step::Step;
use super::world::World;

/// What moves depend on.
pub struct Moves<'a> {
    /// The topic's spec.
    pub spec: &'a KafkaTopicSpec,
    /// Its assignments.
    pub objects: Vec<&'a Arc<KafkaAssignment>>,
    /// The live brokers.
    pub live: &'a Live,
    /// The brokers of the cluster, also those that are away: a move to one of these completes when it returns.
    pub brokers: &'a [placement::Broker],
    /// The topic's `min.insync.replicas`.
    pub min_in_sync: usize,
    /// The seed that decides between equally good brokers.
    pub seed: u64,
    /// The partitions of which no leader is elected: [`World::undecided`].
    pub undecided: BTreeSet<i32>,
}

/// Why a partition can't be moved to the wanted brokers.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// The spec places a replica on a broker that the cluster does not have, or that is cordoned, drained or leaving.
    #[error(
        "spec.placement puts partition {partition} on broker {broker}, which the cluster does not have, or which takes no new replicas"
    )]
    Stranger {
        /// The partition.
        partition: i32,
        /// The broker.
        broker: BrokerId,
    },
    /// The replication factor is more than there are brokers.
    #[error(transparent)]
    TooFewBrokers(#[from] TooFewBrokers),
}

impl Stuck {
    /// The reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Stuck::Stranger { .. } => "UnknownBroker",
            Stuck::TooFewBrokers(_) => "TooFewBrokers",
        }
    }
}

impl Moves<'_> {
    /// The next steps of partitions that are not on the wanted brokers.
    ///
    /// # Errors
    /// When one can't get there now; the others don't wait for it, but they do not start either.
    pub fn steps(&self) -> Result<Vec<Step>, Stuck> {
        let placed: BTreeMap<i32, &Placement> = self.spec.placement.iter().map(|p| (p.partition, p)).collect();
        let entries = || self.objects.iter().flat_map(|object| &object.spec.partitions);
        let mut load = Load::of(&entries().map(Assignment::target).collect::<Vec<_>>());
        let mut targets: BTreeMap<i32, Vec<BrokerId>> = BTreeMap::new();
        for entry in entries() {
            let target = match (placed.get(&entry.partition), self.factor()) {
                (Some(placement), _) => placement.replicas.clone(),
                (None, Some(factor)) if entry.target().len() != factor => {
                    reassignment::resized(entry, factor, self.brokers, &load, self.seed)?
                }
                (None, _) => continue,
            };
            self.check(entry, &target)?;
            load.replace(&entry.target(), &target);
            targets.insert(entry.partition, target);
        }
        let next = |entry: &Assignment| {
            let target = targets.get(&entry.partition)?;
            reassignment::step(entry, target, self.live, self.min_in_sync)
        };
        Ok(changes(&self.objects, next))
    }

    /// The wanted number of replicas; `None`: the spec has none, and the cluster's default counted when the topic was
    /// created.
    fn factor(&self) -> Option<usize> {
        usize::try_from(self.spec.replication_factor?).ok()
    }

    fn check(&self, entry: &Assignment, target: &[BrokerId]) -> Result<(), Stuck> {
        let is_known = |id: &BrokerId| entry.replicas.contains(id) || self.brokers.iter().any(|b| b.id == *id);
        match target.iter().find(|id| !is_known(id)) {
            Some(broker) => Err(Stuck::Stranger { partition: entry.partition, broker: *broker }),
            None => Ok(()),
        }
    }

    /// The spec without the placements that are for once, and whose partitions are there; `None`: there are none. If
    /// they have given every partition another number of replicas, that becomes the spec's; where they have not, they
    /// stay: without them the partition would be moved back.
    pub fn unpinned(&self) -> Option<KafkaTopicSpec> {
        let entries: BTreeMap<i32, &Assignment> =
            self.objects.iter().flat_map(|object| &object.spec.partitions).map(|e| (e.partition, e)).collect();
        let is_reached = |placement: &Placement| {
            let entry = entries.get(&placement.partition);
            placement.once && entry.is_some_and(|entry| !entry.is_reassigning() && entry.replicas == placement.replicas)
        };
        if !self.spec.placement.iter().any(is_reached) {
            return None;
        }
        let mut spec = self.spec.clone();
        let factors: BTreeSet<usize> = entries.values().map(|entry| entry.replicas.len()).collect();
        if let (true, Some(factor), None) = (spec.replication_factor.is_some(), factors.first(), factors.iter().nth(1))
        {
            spec.replication_factor = i32::try_from(*factor).ok();
        }
        let factor = spec.replication_factor.and_then(|factor| usize::try_from(factor).ok());
        let fits = |placement: &Placement| factor.is_none_or(|factor| placement.replicas.len() == factor);
        spec.placement.retain(|placement| !(is_reached(placement) && fits(placement)));
        (spec != *self.spec).then_some(spec)
    }

    /// The steps of a preferred election that the spec asks for.
    pub fn wished_elections(&self, held: Option<&str>) -> Vec<Step> {
        let wish = self.spec.preferred_election.as_ref().filter(|wish| held != Some(wish.id.as_str()));
        let wished: BTreeSet<i32> = wish.map(|wish| wish.partitions.iter().copied().collect()).unwrap_or_default();
        let next = |entry: &Assignment| {
            let is_elected = wished.contains(&entry.partition) && !self.undecided.contains(&entry.partition);
            let prefers = is_elected.then(|| entry.prefer(self.live))?;
            prefers.ok()
        };
        changes(&self.objects, next)
    }
}

/// Returns the leadership to the preferred replicas of settled brokers. It is not urgent: nothing else waits for it.
pub fn returns(world: &World, rules: &RuleBook<'_>) -> Vec<Step> {
    let live = world.live();
    let standing = world.assignments.iter().filter(|object| !object.spec.deleted);
    let of_object = |object: &Arc<KafkaAssignment>| {
        let undecided = world.undecided(object, rules.min_in_sync(&object.spec.topic_name));
        changes(&[object], |entry| {
            let preferred = entry.replicas.first()?;
            let returns = world.settled.contains(preferred) && !undecided.contains(&entry.partition);
            returns.then(|| entry.prefer(&live))?.ok()
        })
    };
    standing.flat_map(of_object).collect()
}

/// One step for each object with entries that change.
pub(super) fn changes(
    objects: &[&Arc<KafkaAssignment>],
    next: impl Fn(&Assignment) -> Option<Assignment>,
) -> Vec<Step> {
    let step = |object: &&Arc<KafkaAssignment>| {
        let next: Vec<Assignment> = object.spec.partitions.iter().filter_map(&next).collect();
        (!next.is_empty()).then(|| Step::Change { read: (*object).clone(), next, recovered: Vec::new() })
    };
    objects.iter().filter_map(step).collect()
}

//! Where the partitions of a topic are wanted, and who of their replicas should lead: one step each at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_crds::{KafkaAssignment, KafkaTopicSpec, Placement};
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::placement::{self, Load, TooFewBrokers};
use ottla_rules::plan::reassignment;

use super::{Step, World};

/// What moves rest on.
pub struct Moves<'a> {
    /// What the topic's user wants.
    pub spec: &'a KafkaTopicSpec,
    /// Its assignments.
    pub objects: Vec<&'a Arc<KafkaAssignment>>,
    /// Who is there.
    pub live: &'a Live,
    /// The brokers of the cluster, also those that are away: what moves to one of these is completed when it is back.
    pub brokers: &'a [placement::Broker],
    /// The topic's `min.insync.replicas`.
    pub min_in_sync: usize,
    /// Decides between brokers that are equally good.
    pub seed: u64,
}

/// Why a partition is not moved where it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// A broker that is to get a replica is none of the cluster's.
    #[error("spec.placement puts partition {partition} on broker {broker}, which the cluster does not have")]
    Stranger {
        /// Which.
        partition: i32,
        /// Who.
        broker: BrokerId,
    },
    /// The replication factor is more than there are brokers.
    #[error(transparent)]
    TooFewBrokers(#[from] TooFewBrokers),
}

impl Stuck {
    /// It in one word, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Stuck::Stranger { .. } => "UnknownBroker",
            Stuck::TooFewBrokers(_) => "TooFewBrokers",
        }
    }
}

impl Moves<'_> {
    /// The next steps of partitions that are not where they are wanted.
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

    /// How many replicas are wanted. Without a word the cluster's default counted when the topic was made.
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

    /// The partitions whose leaders are wished back now.
    pub fn wished_elections(&self, held: Option<&str>) -> Vec<Step> {
        let wish = self.spec.preferred_election.as_ref().filter(|wish| held != Some(wish.id.as_str()));
        let wished: BTreeSet<i32> = wish.map(|wish| wish.partitions.iter().copied().collect()).unwrap_or_default();
        let next = |entry: &Assignment| {
            let prefers = wished.contains(&entry.partition).then(|| entry.prefer(self.live))?;
            prefers.ok()
        };
        changes(&self.objects, next)
    }
}

/// Gives leaders back to brokers that have been there for long enough. Without haste: nothing else waits for it.
pub fn returns(world: &World) -> Vec<Step> {
    let live = world.live();
    let standing: Vec<_> = world.assignments.iter().filter(|object| !object.spec.deleted).collect();
    changes(&standing, |entry| {
        let preferred = entry.replicas.first()?;
        world.settled.contains(preferred).then(|| entry.prefer(&live))?.ok()
    })
}

/// One step for each object with entries that change.
fn changes(objects: &[&Arc<KafkaAssignment>], next: impl Fn(&Assignment) -> Option<Assignment>) -> Vec<Step> {
    let step = |object: &&Arc<KafkaAssignment>| {
        let next: Vec<Assignment> = object.spec.partitions.iter().filter_map(&next).collect();
        (!next.is_empty()).then(|| Step::Change { read: (*object).clone(), next, recovered: Vec::new() })
    };
    objects.iter().filter_map(step).collect()
}

//! Which brokers may be restarted now: no producer stops, no partition loses its leader, no record is at risk.
//!
//! Always: the brokers that may restart and those that are away are in one rack together and within the budget; every
//! partition of a broker that restarts keeps `max(1, min.insync.replicas)` valid in-sync replicas on other brokers. But
//! a broken broker that is in no ISR restarts also while others are away: it takes nothing from a partition.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Assignment, BrokerId, Live};

/// A partition, and the setting that limits restarts.
#[derive(Clone, Copy, Debug)]
pub struct Partition<'a> {
    /// Its topic's name.
    pub topic: &'a str,
    /// Its entry.
    pub entry: &'a Assignment,
    /// The topic's `min.insync.replicas`.
    pub min_in_sync: usize,
}

/// What a decision about restarts depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Every partition of the cluster.
    pub partitions: &'a [Partition<'a>],
    /// The live brokers.
    pub live: &'a Live,
    /// The rack of each broker whose rack is known.
    pub racks: &'a BTreeMap<BrokerId, String>,
    /// The brokers that are away: not live, draining, ending or not ready.
    pub away: &'a BTreeSet<BrokerId>,
    /// The broken brokers: they are away, and will not return by themselves as far as is known. One that starts, or
    /// catches up, is not broken.
    pub broken: &'a BTreeSet<BrokerId>,
    /// How many brokers may be away at once (`maxUnavailable`).
    pub most_away: usize,
    /// Whether partitions with too few replicas to survive a restart may be interrupted.
    pub interrupts_unreplicated: bool,
}

/// Who may restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartDecision {
    /// The candidates that may restart now, all at once, in the order of the candidates.
    pub may_restart: Vec<BrokerId>,
    /// The other candidates, and why each may not.
    pub blocked: Vec<Blocked>,
}

/// A candidate that may not restart now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The candidate.
    pub broker: BrokerId,
    /// Why it may not restart.
    pub by: Blocker,
}

/// What prevents a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// These brokers of other racks, or of unknown racks, are away or restart first.
    OtherRack(Vec<BrokerId>),
    /// As many brokers as the budget allows are away or restart first: these.
    Budget(Vec<BrokerId>),
    /// Partitions would have too few in-sync replicas.
    TooFewInSync {
        /// The topic; others may have such partitions, too.
        topic: String,
        /// The topic's partitions.
        partitions: Vec<i32>,
        /// The least number of in-sync replicas that one of them would have.
        in_sync: usize,
        /// The number that it needs.
        needed: usize,
        /// Its replicas that are away, restart first, or are not in sync.
        missing: Vec<BrokerId>,
    },
    /// Partitions have no more replicas than they need: no restart is possible without an interruption.
    Unreplicated {
        /// The topic; others may have such partitions, too.
        topic: String,
        /// The topic's partitions.
        partitions: Vec<i32>,
        /// The number of in-sync replicas that they need.
        needed: usize,
    },
}

/// Brokers that fail together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rack<'a> {
    Known(&'a str),
    /// A broker whose rack is unknown might be in the same rack as any other.
    Unknown(BrokerId),
}

/// Which of the candidates may restart now; `candidates` are in order of preference. It takes one rack, that in which
/// the most may restart; and broken brokers that are in no ISR, wherever they are.
pub fn decide(situation: &Situation<'_>, candidates: &[BrokerId]) -> RestartDecision {
    let held = HeldPartitions::by(situation, candidates);
    let mut chosen: Vec<BrokerId> = Vec::new();
    let mut racks: Vec<Rack<'_>> = Vec::new();
    for rack in candidates.iter().map(|id| situation.rack(*id)) {
        if !racks.contains(&rack) {
            racks.push(rack);
        }
    }
    for rack in racks {
        let mut gone = situation.away.clone();
        let mut set = Vec::new();
        for id in candidates.iter().filter(|id| situation.rack(**id) == rack) {
            if situation.blocker(&held, *id, &gone).is_none() {
                gone.insert(*id);
                set.push(*id);
            }
        }
        if set.len() > chosen.len() {
            chosen = set;
        }
    }
    let is_chosen = |id: &&BrokerId| chosen.contains(id) || situation.costs_nothing(&held, **id);
    let chosen: Vec<BrokerId> = candidates.iter().filter(is_chosen).copied().collect();
    let gone: BTreeSet<BrokerId> = situation.away.iter().chain(&chosen).copied().collect();
    let others = candidates.iter().filter(|id| !chosen.contains(id));
    let blocked = others.filter_map(|id| Some(Blocked { broker: *id, by: situation.blocker(&held, *id, &gone)? }));
    RestartDecision { blocked: blocked.collect(), may_restart: chosen }
}

/// Whether these brokers may still restart, all at once.
///
/// # Errors
/// The first of them that may not.
pub fn check(situation: &Situation<'_>, set: &[BrokerId]) -> Result<(), Blocked> {
    let held = HeldPartitions::by(situation, set);
    let mut gone = situation.away.clone();
    for id in set {
        if let Some(by) = situation.blocker(&held, *id, &gone) {
            return Err(Blocked { broker: *id, by });
        }
        gone.insert(*id);
    }
    Ok(())
}

/// The partitions that each candidate holds.
struct HeldPartitions<'a>(BTreeMap<BrokerId, Vec<Partition<'a>>>);

impl<'a> HeldPartitions<'a> {
    fn by(situation: &Situation<'a>, candidates: &[BrokerId]) -> HeldPartitions<'a> {
        let mut held: BTreeMap<BrokerId, Vec<Partition<'a>>> = candidates.iter().map(|id| (*id, Vec::new())).collect();
        for partition in situation.partitions {
            for id in &partition.entry.replicas {
                if let Some(held) = held.get_mut(id) {
                    held.push(*partition);
                }
            }
        }
        HeldPartitions(held)
    }

    fn of(&self, broker: BrokerId) -> &[Partition<'a>] {
        self.0.get(&broker).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Situation<'a> {
    fn rack(&self, broker: BrokerId) -> Rack<'a> {
        self.racks.get(&broker).map_or(Rack::Unknown(broker), |rack| Rack::Known(rack))
    }

    /// Whether the broker is broken and no partition has it in its ISR: then it leads none, and a restart delays none.
    fn costs_nothing(&self, held: &HeldPartitions<'a>, broker: BrokerId) -> bool {
        let counts_on = |one: &Partition<'a>| one.entry.isr.iter().any(|member| member.broker == broker);
        self.broken.contains(&broker) && !held.of(broker).iter().any(counts_on)
    }

    /// Why `broker` may not restart while `gone` are away.
    fn blocker(&self, held: &HeldPartitions<'a>, broker: BrokerId, gone: &BTreeSet<BrokerId>) -> Option<Blocker> {
        if self.costs_nothing(held, broker) {
            return None;
        }
        let others: BTreeSet<BrokerId> = gone.iter().filter(|id| **id != broker).copied().collect();
        let rack = self.rack(broker);
        let elsewhere: Vec<BrokerId> = others.iter().filter(|id| self.rack(**id) != rack).copied().collect();
        if !elsewhere.is_empty() {
            return Some(Blocker::OtherRack(elsewhere));
        }
        if others.len() >= self.most_away {
            return Some(Blocker::Budget(others.into_iter().collect()));
        }
        self.unreplicated(held.of(broker)).or_else(|| self.too_few_in_sync(held.of(broker), broker, &others))
    }

    fn unreplicated(&self, held: &[Partition<'a>]) -> Option<Blocker> {
        if self.interrupts_unreplicated {
            return None;
        }
        let mut such = held.iter().filter(|one| one.is_unreplicated());
        let first = such.next()?;
        let partitions = [first.entry.partition].into_iter();
        let more = such.filter(|one| one.topic == first.topic).map(|one| one.entry.partition);
        Some(Blocker::Unreplicated {
            topic: first.topic.to_owned(),
            partitions: sorted(partitions.chain(more)),
            needed: first.needed(),
        })
    }

    fn too_few_in_sync(
        &self,
        held: &[Partition<'a>],
        broker: BrokerId,
        others: &BTreeSet<BrokerId>,
    ) -> Option<Blocker> {
        let stays = |one: &Partition<'a>, id: BrokerId| {
            id != broker && !others.contains(&id) && one.entry.has_in_sync(id, self.live)
        };
        let in_sync = |one: &Partition<'a>| one.entry.replicas.iter().filter(|id| stays(one, **id)).count();
        let lacks = |one: &&Partition<'a>| !one.is_unreplicated() && in_sync(one) < one.needed();
        let mut such = held.iter().filter(lacks);
        let first = such.next()?;
        let of_topic: Vec<&Partition<'a>> =
            [first].into_iter().chain(such.filter(|one| one.topic == first.topic)).collect();
        let worst = of_topic.iter().min_by_key(|one| in_sync(one))?;
        let missing = worst.entry.replicas.iter().filter(|id| **id != broker && !stays(worst, **id));
        Some(Blocker::TooFewInSync {
            topic: first.topic.to_owned(),
            partitions: sorted(of_topic.iter().map(|one| one.entry.partition)),
            in_sync: in_sync(worst),
            needed: worst.needed(),
            missing: missing.copied().collect(),
        })
    }
}

impl Partition<'_> {
    fn needed(&self) -> usize {
        self.min_in_sync.max(1)
    }

    fn is_unreplicated(&self) -> bool {
        self.entry.replication_factor() <= self.needed()
    }
}

fn sorted(numbers: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut numbers: Vec<i32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests;

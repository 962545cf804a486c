//! Which brokers hold new partitions.
//!
//! Always: a partition's replicas are on different brokers, and on different racks while there are enough; the first
//! replica is on a live broker; leaders and replicas of a topic are spread evenly, in a large cluster over the brokers
//! of a few [`Copysets`]; the same arguments give the same placement.

mod copysets;

use std::{cmp::Reverse, collections::BTreeMap};

pub use copysets::Copysets;

use crate::assignment::BrokerId;

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Its rack; `None`: it counts as a rack of its own.
    pub rack: Option<String>,
    /// Whether it is dead or draining. Like a fenced broker in Kafka, it gets a replica only if the other brokers do
    /// not suffice, and never the first of a partition. The replica joins the ISR when the broker returns.
    pub away: bool,
}

/// Why partitions can not be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a replication factor of {replication_factor} needs {replication_factor} brokers, and the cluster has \
{brokers} that take new replicas"
)]
pub struct TooFewBrokers {
    /// The wanted number of replicas of each partition.
    pub replication_factor: usize,
    /// The number of brokers of the cluster that take new replicas.
    pub brokers: usize,
}

/// The replicas, in order of preference to lead, of `count` partitions that a topic gets beside those in `existing`.
/// `in_force` are the copysets of all topics of the cluster; the new partitions are added. The seed decides between
/// brokers that are equally good, so that many small topics don't all begin at the same one.
///
/// # Errors
/// When there are too few brokers, or none that can lead.
pub fn place(
    count: usize,
    replication_factor: usize,
    brokers: &[Broker],
    existing: &[Vec<BrokerId>],
    in_force: &mut Copysets,
    seed: u64,
) -> Result<Vec<Vec<BrokerId>>, TooFewBrokers> {
    if replication_factor > brokers.len() {
        return Err(TooFewBrokers { replication_factor, brokers: brokers.len() });
    }
    if copysets::are_worthwhile(brokers, replication_factor)
        && let Some(placed) = copysets::place(count, replication_factor, brokers, existing, in_force, seed)
    {
        return Ok(placed);
    }
    let placed = place_apart(count, replication_factor, brokers, existing, seed)?;
    placed.iter().for_each(|replicas| in_force.add(replicas));
    Ok(placed)
}

/// Places each partition of a topic for itself.
fn place_apart(
    count: usize,
    replication_factor: usize,
    brokers: &[Broker],
    existing: &[Vec<BrokerId>],
    seed: u64,
) -> Result<Vec<Vec<BrokerId>>, TooFewBrokers> {
    let mut load = Load::of(existing);
    let mut placed = Vec::with_capacity(count);
    for partition in existing.len()..existing.len() + count {
        let replicas = choose(Vec::new(), partition as u64, replication_factor, brokers, &load, seed)?;
        load.add(&replicas);
        placed.push(replicas);
    }
    Ok(placed)
}

/// `replicas` of a partition, and as many more as `replication_factor` needs.
///
/// # Errors
/// When there are too few brokers.
pub fn extend(
    replicas: Vec<BrokerId>,
    partition: i32,
    replication_factor: usize,
    brokers: &[Broker],
    load: &Load,
    seed: u64,
) -> Result<Vec<BrokerId>, TooFewBrokers> {
    choose(replicas, u64::from(partition.unsigned_abs()), replication_factor, brokers, load, seed)
}

/// Adds the brokers that are best for a partition: on other racks, not away, with few replicas; and for the first,
/// leading little.
fn choose(
    mut replicas: Vec<BrokerId>,
    partition: u64,
    replication_factor: usize,
    brokers: &[Broker],
    load: &Load,
    seed: u64,
) -> Result<Vec<BrokerId>, TooFewBrokers> {
    while replicas.len() < replication_factor {
        let chosen = || brokers.iter().filter(|broker| replicas.contains(&broker.id));
        let neighbours = |broker: &Broker| chosen().filter(|other| same_rack(other, broker)).count();
        let leads = |broker: &Broker| if replicas.is_empty() { load.leaders(broker.id) } else { 0 };
        let may_be_first = |broker: &Broker| !broker.away;
        let free = brokers
            .iter()
            .filter(|broker| if replicas.is_empty() { may_be_first(broker) } else { !replicas.contains(&broker.id) });
        let best = free.min_by_key(|broker| {
            let tie = mix(seed ^ mix(partition << 32 | u64::from(broker.id.0.unsigned_abs())));
            (neighbours(broker), broker.away, leads(broker), load.replicas(broker.id), tie, Reverse(broker.id))
        });
        match best {
            Some(broker) => replicas.push(broker.id),
            None => return Err(TooFewBrokers { replication_factor, brokers: brokers.len() }),
        }
    }
    Ok(replicas)
}

fn same_rack(one: &Broker, other: &Broker) -> bool {
    one.rack.is_some() && one.rack == other.rack
}

/// How many partitions of the topic each broker leads by preference, and how many it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load(BTreeMap<BrokerId, (usize, usize)>);

impl Load {
    /// With partitions on these replicas, each in order of preference to lead.
    pub fn of(existing: &[Vec<BrokerId>]) -> Self {
        let mut load = Self::default();
        existing.iter().for_each(|replicas| load.add(replicas));
        load
    }

    /// A partition that was counted with replicas `from` is to have `to`.
    pub fn replace(&mut self, from: &[BrokerId], to: &[BrokerId]) {
        for (position, broker) in from.iter().enumerate() {
            let (leaders, held) = self.0.entry(*broker).or_default();
            *leaders = leaders.saturating_sub(usize::from(position == 0));
            *held = held.saturating_sub(1);
        }
        self.add(to);
    }

    fn add(&mut self, replicas: &[BrokerId]) {
        for (position, broker) in replicas.iter().enumerate() {
            let (leaders, held) = self.0.entry(*broker).or_default();
            *leaders += usize::from(position == 0);
            *held += 1;
        }
    }

    fn leaders(&self, broker: BrokerId) -> usize {
        self.0.get(&broker).map_or(0, |(leaders, _)| *leaders)
    }

    fn replicas(&self, broker: BrokerId) -> usize {
        self.0.get(&broker).map_or(0, |(_, held)| *held)
    }
}

/// SplitMix64's finaliser: neighbouring numbers in, unrelated numbers out.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn place(
        count: usize,
        replication_factor: usize,
        brokers: &[Broker],
        existing: &[Vec<BrokerId>],
        seed: u64,
    ) -> Result<Vec<Vec<BrokerId>>, TooFewBrokers> {
        super::place(count, replication_factor, brokers, existing, &mut Copysets::default(), seed)
    }

    fn brokers(racks: &[Option<&str>]) -> Vec<Broker> {
        let broker = |(id, rack): (usize, &Option<&str>)| Broker {
            id: BrokerId(id as i32),
            rack: rack.map(str::to_owned),
            away: false,
        };
        racks.iter().enumerate().map(broker).collect()
    }

    fn without(mut brokers: Vec<Broker>, away: &[usize]) -> Vec<Broker> {
        away.iter().for_each(|id| brokers[*id].away = true);
        brokers
    }

    /// The difference between the most and the least loaded of the brokers.
    fn spread(brokers: &[Broker], count: impl Fn(BrokerId) -> usize) -> usize {
        let counts: Vec<usize> = brokers.iter().map(|broker| count(broker.id)).collect();
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    #[test]
    fn leaders_and_replicas_are_spread_evenly_over_brokers_and_racks() {
        for (racks, replication_factor) in [
            (vec![None; 1], 1),
            (vec![None; 3], 1),
            (vec![None; 3], 2),
            (vec![None; 5], 3),
            (vec![Some("a"), Some("b"), Some("c")], 3),
            (vec![Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")], 3),
            (vec![Some("a"), Some("a"), Some("b"), Some("b")], 3),
        ] {
            let brokers = brokers(&racks);
            for (partitions, seed) in (1..40).flat_map(|partitions| (0..10).map(move |seed| (partitions, seed))) {
                let placed = place(partitions, replication_factor, &brokers, &[], seed).unwrap();
                let story =
                    format!("{racks:?} × {replication_factor}, {partitions} partitions, seed {seed}: {placed:?}");
                let load = Load::of(&placed);
                assert_eq!(placed.len(), partitions);
                assert!(spread(&brokers, |broker| load.leaders(broker)) <= 1, "leaders: {story}");
                assert!(spread(&brokers, |broker| load.replicas(broker)) <= 2, "replicas: {story}");
                let different: BTreeSet<_> = racks.iter().flatten().collect();
                for replicas in &placed {
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replication_factor, "{story}");
                    let used: BTreeSet<_> = replicas.iter().filter_map(|id| racks[id.0 as usize]).collect();
                    assert_eq!(used.len(), different.len().min(replication_factor), "{story}");
                }
            }
        }
    }

    #[test]
    fn added_partitions_even_out_what_is_there() {
        let three = brokers(&[None, None, None]);
        let crowded = vec![vec![BrokerId(0), BrokerId(1)], vec![BrokerId(0), BrokerId(1)]];
        let added = place(4, 2, &three, &crowded, 7).unwrap();
        let load = Load::of(&[crowded, added].concat());
        assert!(spread(&three, |broker| load.leaders(broker)) <= 1);
        assert!(spread(&three, |broker| load.replicas(broker)) <= 2);
    }

    #[test]
    fn partitions_that_are_extended_one_by_one_are_spread_as_if_placed_at_once() {
        let five = brokers(&[None; 5]);
        let before = place(100, 1, &five, &[], 7).unwrap();
        let (mut load, mut after) = (Load::of(&before), Vec::new());
        for (partition, replicas) in (0..).zip(&before) {
            let extended = extend(replicas.clone(), partition, 3, &five, &load, 7).unwrap();
            load.replace(replicas, &extended);
            after.push(extended);
        }
        assert_eq!(load, Load::of(&after));
        assert!(spread(&five, |broker| load.leaders(broker)) <= 1);
        assert!(spread(&five, |broker| load.replicas(broker)) <= 2);
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let five = brokers(&[None; 5]);
        assert_eq!(place(12, 3, &five, &[], 42), place(12, 3, &five, &[], 42));
        let first: BTreeSet<_> = (0..50).map(|seed| place(1, 1, &five, &[], seed).unwrap()).collect();
        assert_eq!(first.len(), 5, "topics of one partition begin at every broker");
    }

    #[test]
    fn a_broker_that_is_away_gets_what_the_others_can_not_hold_and_leads_nothing() {
        let racks = [Some("a"), Some("a"), Some("b"), Some("b")];
        for (story, brokers, replication_factor, away, on_it) in [
            ("two of three are enough", without(brokers(&[None; 3]), &[1]), 2, 1, 0),
            ("all three are needed", without(brokers(&[None; 3]), &[1]), 3, 1, 30),
            ("its rack has another", without(brokers(&racks), &[3]), 2, 3, 0),
            ("it is its rack's last", without(brokers(&[Some("a"), Some("a"), Some("b")]), &[2]), 2, 2, 30),
        ] {
            for seed in 0..10 {
                let placed = place(30, replication_factor, &brokers, &[], seed).unwrap();
                let held = placed.iter().filter(|replicas| replicas.contains(&BrokerId(away))).count();
                assert_eq!(held, on_it, "{story}: {placed:?}");
                assert!(placed.iter().all(|replicas| replicas[0] != BrokerId(away)), "{story}: {placed:?}");
            }
        }
        assert!(place(1, 1, &without(brokers(&[None; 2]), &[0, 1]), &[], 0).is_err(), "nobody could lead");
    }

    #[test]
    fn a_replication_factor_beyond_the_brokers_is_refused() {
        let refusal = place(1, 4, &brokers(&[None; 3]), &[], 0).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "a replication factor of 4 needs 4 brokers, and the cluster has 3 that take new replicas"
        );
        assert!(place(1, 1, &[], &[], 0).is_err());
    }
}

//! Copysets: the sets of brokers that hold partitions together (Cidon and others, "Copysets: Reducing the Frequency of
//! Data Loss in Cloud Storage", 2013).
//!
//! If every partition has brokers of its own, any three brokers that are lost at once have some partition's only
//! replicas. So a broker shares partitions with about [`SCATTER_WIDTH`] others, and a topic is on few sets. Copysets
//! are read off the assignments in force and stored nowhere: moves may blur them, at the cost of writes.
//!
//! Always: no set has more brokers in one rack than racks make necessary; the least loaded broker comes first; a new
//! set is made only while its brokers share partitions with too few others.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broker, Load, mix, same_rack};
use crate::assignment::BrokerId;

/// How many others a broker should share partitions with: so many send it what it lacks after it lost its disk.
const SCATTER_WIDTH: usize = 10;
/// How many partitions of a topic a broker leads before the topic is on further sets.
const LEADERS_EACH: usize = 2;

/// The sets of brokers that hold partitions together, and how much each broker has.
#[derive(Clone, Debug, Default)]
pub struct Copysets {
    /// Each in the order of ids, with its number of partitions.
    sets: BTreeMap<Vec<BrokerId>, usize>,
    load: Load,
}

impl Copysets {
    /// Of the wanted replicas of every partition of the cluster.
    pub fn of(partitions: impl IntoIterator<Item = Vec<BrokerId>>) -> Self {
        let mut copysets = Self::default();
        partitions.into_iter().for_each(|replicas| copysets.add(&replicas));
        copysets
    }

    /// Counts a partition on these replicas.
    pub(super) fn add(&mut self, replicas: &[BrokerId]) {
        self.load.add(replicas);
        *self.sets.entry(sorted(replicas)).or_default() += 1;
    }

    fn sets(&self) -> impl Iterator<Item = &[BrokerId]> {
        self.sets.keys().map(Vec::as_slice)
    }
}

/// Whether a cluster is large enough for copysets: in a smaller one every broker may share partitions with every other.
/// They are on brokers that are not away, so these must have as many racks as the partitions need.
pub(super) fn are_worthwhile(brokers: &[Broker], replication_factor: usize) -> bool {
    let staying = || brokers.iter().filter(|broker| !broker.away);
    let racks = |brokers: &mut dyn Iterator<Item = &Broker>| {
        let racks: BTreeSet<&String> = brokers.filter_map(|broker| broker.rack.as_ref()).collect();
        racks.len().min(replication_factor)
    };
    replication_factor > 1
        && staying().count() > SCATTER_WIDTH + replication_factor
        && racks(&mut staying()) == racks(&mut brokers.iter())
}

/// The replicas of `count` partitions that a topic gets beside those in `existing`; `None`: these brokers can not hold
/// them so that no replica is on one that is away.
pub(super) fn place(
    count: usize,
    replication_factor: usize,
    brokers: &[Broker],
    existing: &[Vec<BrokerId>],
    in_force: &mut Copysets,
    seed: u64,
) -> Option<Vec<Vec<BrokerId>>> {
    let cluster = Cluster::of(brokers, replication_factor);
    let mut topic = Load::of(existing);
    let mut own: BTreeSet<Vec<BrokerId>> =
        existing.iter().map(|replicas| sorted(replicas)).filter(|set| cluster.is_good(set)).collect();
    let total = existing.len() + count;
    let wanted = total.div_ceil(LEADERS_EACH * replication_factor).max(1);
    let mut placed = Vec::with_capacity(count);
    for partition in existing.len()..total {
        let tie = mix(seed ^ mix(partition as u64));
        let preference = Preference { topic: &topic, in_force: &*in_force, tie };
        let further = (own.len() < wanted).then(|| cluster.further(&own, &preference)).flatten();
        let least = || own.iter().min_by_key(|set| preference.by_set(set)).cloned();
        let set = further.or_else(least)?;
        let replicas = preference.ordered(&set);
        topic.add(&replicas);
        in_force.add(&replicas);
        own.insert(set);
        placed.push(replicas);
    }
    Some(placed)
}

/// What decides between sets and between brokers: what they have of the topic, then of the cluster.
struct Preference<'a> {
    topic: &'a Load,
    in_force: &'a Copysets,
    tie: u64,
}

impl Preference<'_> {
    fn by(&self, id: BrokerId) -> (usize, usize, u64) {
        (self.topic.replicas(id), self.in_force.load.replicas(id), mix(self.tie ^ hash(&[id])))
    }

    fn by_set(&self, set: &[BrokerId]) -> (usize, usize, u64) {
        let sum = |load: &Load| set.iter().map(|id| load.replicas(*id)).sum::<usize>();
        (sum(self.topic), sum(&self.in_force.load), mix(self.tie ^ hash(set)))
    }

    /// The members in an order of preference: first the one that leads least.
    fn ordered(&self, set: &[BrokerId]) -> Vec<BrokerId> {
        let leads =
            |id: BrokerId| (self.topic.leaders(id), self.in_force.load.leaders(id), mix(self.tie ^ hash(&[id])));
        let mut replicas = set.to_vec();
        replicas.sort_by_key(|id| leads(*id));
        replicas
    }
}

/// The brokers on which sets may be.
struct Cluster<'a> {
    staying: Vec<&'a Broker>,
    replication_factor: usize,
    /// The most brokers of one rack in a set. 1 if the rack of a broker is not known: it counts as one of its own.
    in_one_rack: usize,
}

impl<'a> Cluster<'a> {
    fn of(brokers: &'a [Broker], replication_factor: usize) -> Self {
        let staying: Vec<&Broker> = brokers.iter().filter(|broker| !broker.away).collect();
        let racks: Option<BTreeSet<&String>> = staying.iter().map(|broker| broker.rack.as_ref()).collect();
        let in_one_rack = racks.map_or(1, |racks| replication_factor.div_ceil(racks.len().max(1)));
        Self { staying, replication_factor, in_one_rack }
    }

    fn broker(&self, id: BrokerId) -> Option<&'a Broker> {
        self.staying.iter().copied().find(|broker| broker.id == id)
    }

    /// Whether all members are there, and as many racks as there can be.
    fn is_good(&self, set: &[BrokerId]) -> bool {
        let members: Option<Vec<&Broker>> = set.iter().map(|id| self.broker(*id)).collect();
        let Some(members) = members.filter(|members| members.len() == self.replication_factor) else { return false };
        let neighbours = |broker: &&Broker| members.iter().filter(|other| same_rack(other, broker)).count();
        members.iter().all(|broker| neighbours(broker) <= self.in_one_rack.max(1))
    }

    /// A set that the topic does not have yet, with the broker that has the least: a new one while that broker shares
    /// partitions with too few others, else one in force; `None`: the topic has all of them.
    fn further(&self, own: &BTreeSet<Vec<BrokerId>>, preference: &Preference<'_>) -> Option<Vec<BrokerId>> {
        let first = self.staying.iter().map(|broker| broker.id).min_by_key(|id| preference.by(*id))?;
        let of_first = || preference.in_force.sets().filter(|set| set.contains(&first) && self.is_good(set));
        let peers: BTreeSet<BrokerId> = of_first().flatten().copied().filter(|id| *id != first).collect();
        if peers.len() < SCATTER_WIDTH {
            return self.new_set(first, &peers, preference);
        }
        let others = of_first().filter(|set| !own.contains(*set));
        others.min_by_key(|set| preference.by_set(set)).map(<[BrokerId]>::to_vec)
    }

    /// A set of `first` and others: of other racks, not its peers yet, in few sets, with little.
    fn new_set(
        &self,
        first: BrokerId,
        peers: &BTreeSet<BrokerId>,
        preference: &Preference<'_>,
    ) -> Option<Vec<BrokerId>> {
        let mut counts: BTreeMap<BrokerId, usize> = BTreeMap::new();
        preference.in_force.sets().flatten().for_each(|id| *counts.entry(*id).or_default() += 1);
        let mut set = vec![self.broker(first)?];
        while set.len() < self.replication_factor {
            let rank = |broker: &&&Broker| {
                let neighbours = set.iter().filter(|other| same_rack(other, broker)).count();
                let count = counts.get(&broker.id).copied().unwrap_or_default();
                (neighbours, peers.contains(&broker.id), count, preference.by(broker.id))
            };
            let free = self.staying.iter().filter(|broker| set.iter().all(|other| other.id != broker.id));
            set.push(free.min_by_key(rank)?);
        }
        Some(sorted(&set.iter().map(|broker| broker.id).collect::<Vec<_>>()))
    }
}

fn sorted(replicas: &[BrokerId]) -> Vec<BrokerId> {
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    sorted
}

fn hash(set: &[BrokerId]) -> u64 {
    set.iter().fold(0, |hash, id| mix(hash ^ u64::from(id.0.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::super::{place, place_apart};
    use super::*;

    /// Brokers over three racks in turn.
    fn brokers(count: i32) -> Vec<Broker> {
        let broker = |id: i32| Broker { id: BrokerId(id), rack: Some(format!("rack {}", id % 3)), away: false };
        (0..count).map(broker).collect()
    }

    /// Topics of 12 partitions on a large cluster, as they are placed with copysets or without.
    fn topics(brokers: &[Broker], count: u64, with_copysets: bool) -> Vec<Vec<Vec<BrokerId>>> {
        let mut in_force = Copysets::default();
        let mut topic = |seed: u64| {
            if with_copysets {
                return place(12, 3, brokers, &[], &mut in_force, mix(seed)).unwrap();
            }
            place_apart(12, 3, brokers, &[], mix(seed)).unwrap()
        };
        (0..count).map(&mut topic).collect()
    }

    /// Of the sets of one broker from each rack, the part that has all replicas of a partition.
    fn lost_with_three(topics: &[Vec<Vec<BrokerId>>]) -> f64 {
        let sets: BTreeSet<Vec<BrokerId>> = topics.iter().flatten().map(|replicas| sorted(replicas)).collect();
        sets.len() as f64 / (17.0 * 17.0 * 16.0)
    }

    /// The most topics, which have an assignment object each, that one broker holds replicas of.
    fn touched_by_a_death(topics: &[Vec<Vec<BrokerId>>]) -> usize {
        let holds = |id: i32| topics.iter().filter(|topic| topic.iter().flatten().any(|held| held.0 == id)).count();
        (0..50).map(holds).max().unwrap()
    }

    /// The difference between the most and the least loaded broker: replicas, leaders.
    fn spread(topics: &[Vec<Vec<BrokerId>>]) -> (usize, usize) {
        let load = Load::of(&topics.concat());
        let spread = |count: &dyn Fn(BrokerId) -> usize| {
            let counts: Vec<usize> = (0..50).map(|id| count(BrokerId(id))).collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        (spread(&|id| load.replicas(id)), spread(&|id| load.leaders(id)))
    }

    #[test]
    fn few_losses_of_three_brokers_lose_a_partition_and_a_death_touches_few_objects() {
        let brokers = brokers(50);
        let (apart, together) = (topics(&brokers, 1_000, false), topics(&brokers, 1_000, true));
        println!("lost with three: {:.3} -> {:.3}", lost_with_three(&apart), lost_with_three(&together));
        println!("touched by a death: {} -> {}", touched_by_a_death(&apart), touched_by_a_death(&together));
        println!("spread: {:?} -> {:?}", spread(&apart), spread(&together));
        assert!(lost_with_three(&apart) > 0.8 && lost_with_three(&together) < 0.025);
        assert!(touched_by_a_death(&apart) > 650 && touched_by_a_death(&together) < 150);
        assert!(spread(&together) <= spread(&apart), "{:?} {:?}", spread(&together), spread(&apart));
    }

    #[test]
    fn a_large_topic_is_on_all_brokers_evenly_and_leads_to_few_further_sets() {
        let brokers = brokers(50);
        let mut in_force = Copysets::default();
        for seed in 0..200 {
            place(12, 3, &brokers, &[], &mut in_force, mix(seed)).unwrap();
        }
        let large = vec![place(1_200, 3, &brokers, &[], &mut in_force, 7).unwrap()];
        assert!(in_force.sets.len() < 100, "50 × 10 / 6 are necessary: {}", in_force.sets.len());
        assert!(spread(&large).0 <= 6 && spread(&large).1 <= 3, "72 replicas on each broker: {:?}", spread(&large));
    }

    #[test]
    fn racks_come_first_and_brokers_that_are_away_get_nothing() {
        let mut brokers = brokers(50);
        brokers[7].away = true;
        let mut in_force = Copysets::default();
        for seed in 0..50 {
            for replicas in place(12, 3, &brokers, &[], &mut in_force, mix(seed)).unwrap() {
                let racks: BTreeSet<i32> = replicas.iter().map(|id| id.0 % 3).collect();
                assert_eq!(racks.len(), 3, "{replicas:?}");
                assert!(!replicas.contains(&BrokerId(7)));
            }
        }
    }

    #[test]
    fn added_partitions_stay_on_the_topics_sets_while_these_lead_little() {
        let brokers = brokers(50);
        let mut in_force = Copysets::default();
        let first = place(4, 3, &brokers, &[], &mut in_force, 1).unwrap();
        let more = place(2, 3, &brokers, &first, &mut in_force, 1).unwrap();
        let further = place(6, 3, &brokers, &[first.clone(), more.clone()].concat(), &mut in_force, 1).unwrap();
        let sets = |placed: &[Vec<BrokerId>]| placed.iter().map(|replicas| sorted(replicas)).collect::<BTreeSet<_>>();
        assert_eq!((sets(&first).len(), sets(&more)), (1, sets(&first)));
        assert_eq!(sets(&[first, more, further].concat()).len(), 2);
    }
}

//! Tables, and random placements against the rule in its plainest form.

use super::*;
use crate::assignment::{Incarnation, LiveBroker};
use crate::plan::placement::{Broker, Copysets, place};

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn live(ids: impl IntoIterator<Item = i32>) -> Live {
    let broker = |id| (BrokerId(id), LiveBroker { incarnation: Incarnation(1), draining: false });
    ids.into_iter().map(broker).collect()
}

/// Every replica is in sync.
fn entry(partition: i32, replicas: &[i32]) -> Assignment {
    Assignment::create(partition, ids(replicas), &live(replicas.iter().copied())).unwrap()
}

/// The same, with only these in sync.
fn in_sync(partition: i32, replicas: &[i32], isr: &[i32]) -> Assignment {
    let mut entry = entry(partition, replicas);
    entry.isr.retain(|member| isr.contains(&member.broker.0));
    entry
}

/// Two brokers in each of the racks a, b and c: 0 and 3, 1 and 4, 2 and 5.
fn racks() -> BTreeMap<BrokerId, String> {
    (0..6).map(|id| (BrokerId(id), ["a", "b", "c"][(id % 3) as usize].to_owned())).collect()
}

struct Case {
    entries: Vec<(&'static str, Assignment, usize)>,
    racks: BTreeMap<BrokerId, String>,
    live: Live,
    away: BTreeSet<BrokerId>,
    broken: BTreeSet<BrokerId>,
    most_away: usize,
    interrupts: bool,
}

impl Case {
    /// One partition on every three neighbours, `min.insync.replicas` 2.
    fn of_six() -> Case {
        let entries = (0..6).map(|n| ("pay", entry(n, &[n, (n + 1) % 6, (n + 2) % 6]), 2)).collect();
        let (away, broken) = Default::default();
        Case { entries, racks: racks(), live: live(0..6), away, broken, most_away: 1, interrupts: false }
    }

    fn without(mut self, away: &[i32]) -> Case {
        self.away = ids(away).into_iter().collect();
        self.live.retain(|id, _| !away.contains(&id.0));
        self
    }

    fn asks<T>(&self, ask: impl FnOnce(&Situation<'_>) -> T) -> T {
        let partition =
            |(topic, entry, min_in_sync): &'_ (&'static str, Assignment, usize)| (*topic, entry.clone(), *min_in_sync);
        let owned: Vec<_> = self.entries.iter().map(partition).collect();
        let partitions: Vec<Partition<'_>> = owned
            .iter()
            .map(|(topic, entry, min_in_sync)| Partition { topic, entry, min_in_sync: *min_in_sync })
            .collect();
        ask(&Situation {
            partitions: &partitions,
            live: &self.live,
            racks: &self.racks,
            away: &self.away,
            broken: &self.broken,
            most_away: self.most_away,
            interrupts_unreplicated: self.interrupts,
        })
    }

    fn decide(&self, candidates: &[i32]) -> (Vec<i32>, Vec<Blocked>) {
        let decision = self.asks(|situation| decide(situation, &ids(candidates)));
        (decision.may_restart.into_iter().map(|id| id.0).collect(), decision.blocked)
    }
}

#[test]
fn a_healthy_cluster_restarts_one_broker_or_a_rack() {
    let (may, blocked) = Case::of_six().decide(&[4, 1, 2]);
    assert_eq!(may, [4]);
    let by: Vec<&Blocker> = blocked.iter().map(|blocked| &blocked.by).collect();
    assert_eq!(by, [&Blocker::Budget(ids(&[4])), &Blocker::OtherRack(ids(&[4]))]);

    let wide = Case { most_away: 2, ..Case::of_six() };
    assert_eq!(wide.decide(&[2, 4, 1]).0, [4, 1], "the rack in which most may restart");
    assert_eq!(wide.decide(&[]), (vec![], vec![]));
}

#[test]
fn while_a_broker_is_away_only_its_rack_may_restart_and_only_if_it_holds_nothing_with_it() {
    let case = Case { most_away: 2, ..Case::of_six().without(&[0]) };
    let (may, blocked) = case.decide(&[3, 1]);
    assert_eq!(may, [3], "no partition is on both");
    assert_eq!(blocked, [Blocked { broker: BrokerId(1), by: Blocker::OtherRack(ids(&[0, 3])) }]);

    let one = Case::of_six().without(&[0]);
    assert_eq!(one.decide(&[3]).1, [Blocked { broker: BrokerId(3), by: Blocker::Budget(ids(&[0])) }]);
    assert_eq!(one.decide(&[0]).0, [0], "a broker that is away already costs nothing");
    let two = Case { most_away: 3, ..Case::of_six().without(&[0, 1]) };
    assert_eq!(two.decide(&[3, 4, 5]).0, [0; 0], "two racks are away");
}

#[test]
fn broken_brokers_restart_while_others_are_away_unless_a_partition_counts_on_them() {
    let mut case = Case::of_six().without(&[0, 1, 5]);
    for (_, entry, _) in &mut case.entries {
        entry.isr.retain(|member| !case.away.contains(&member.broker));
    }
    assert_eq!(case.decide(&[0, 1, 2]).0, [0; 0], "they may be starting");
    case.broken = ids(&[0, 1]).into_iter().collect();
    assert_eq!(case.decide(&[2, 1, 0]).0, [1, 0]);
    assert_eq!(case.asks(|situation| check(situation, &ids(&[0, 1]))), Ok(()));
    // The last member of an ISR leads again when it is back: a restart would delay that.
    case.entries[0].1.isr = entry(0, &[1]).isr;
    assert_eq!(case.decide(&[2, 1, 0]).0, [0]);
    assert_eq!(case.asks(|situation| check(situation, &ids(&[0, 1]))).unwrap_err().broker, BrokerId(1));
}

#[test]
fn a_partition_that_would_have_too_few_in_sync_is_named_with_who_is_missing() {
    let mut case = Case::of_six();
    case.entries[2].1 = in_sync(2, &[2, 3, 4], &[2, 3]);
    case.entries[3].1 = in_sync(3, &[3, 4, 5], &[3, 5]);
    let (may, blocked) = case.decide(&[3]);
    assert_eq!(may, [0; 0]);
    let by = Blocker::TooFewInSync {
        topic: "pay".to_owned(),
        partitions: vec![2, 3],
        in_sync: 1,
        needed: 2,
        missing: ids(&[4]),
    };
    assert_eq!(blocked, [Blocked { broker: BrokerId(3), by }]);
    // A member of an earlier incarnation has lost its content.
    let mut restored = Case::of_six();
    restored.live.insert(BrokerId(4), LiveBroker { incarnation: Incarnation(2), draining: false });
    assert_eq!(restored.decide(&[3]).0, [0; 0]);
    assert_eq!(restored.decide(&[1]).0, [1], "it shares no partition with that broker");
}

#[test]
fn a_partition_without_spare_replicas_blocks_until_interruptions_are_allowed() {
    for (replicas, min_in_sync, blocks) in
        [(&[0][..], 1, true), (&[0], 2, true), (&[0, 1], 2, true), (&[0, 1], 1, false), (&[0, 1, 2], 0, false)]
    {
        let mut case = Case { entries: vec![("logs", entry(7, replicas), min_in_sync)], ..Case::of_six() };
        let (may, blocked) = case.decide(&[0]);
        assert_eq!(may.is_empty(), blocks, "{replicas:?} {min_in_sync}");
        if blocks {
            let needed = min_in_sync.max(1);
            let by = Blocker::Unreplicated { topic: "logs".to_owned(), partitions: vec![7], needed };
            assert_eq!(blocked, [Blocked { broker: BrokerId(0), by }]);
            case.interrupts = true;
            assert_eq!(case.decide(&[0]).0, [0]);
        }
    }
}

#[test]
fn without_known_racks_one_broker_restarts_at_a_time() {
    let case = Case { racks: BTreeMap::new(), most_away: 3, ..Case::of_six() };
    let (may, blocked) = case.decide(&[5, 0]);
    assert_eq!(may, [5]);
    assert_eq!(blocked, [Blocked { broker: BrokerId(0), by: Blocker::OtherRack(ids(&[5])) }]);
    assert_eq!(case.without(&[2]).decide(&[5, 0]).0, [0; 0]);
}

#[test]
fn what_was_decided_is_checked_again_on_what_is_known_later() {
    let mut case = Case { most_away: 2, ..Case::of_six() };
    assert_eq!(case.asks(|situation| check(situation, &ids(&[0, 3]))), Ok(()));
    case.entries[0].1 = in_sync(0, &[0, 1, 2], &[0, 1]);
    let refused = case.asks(|situation| check(situation, &ids(&[3, 0]))).unwrap_err();
    assert_eq!(refused.broker, BrokerId(0));
}

#[test]
fn fifty_one_brokers_in_three_racks_restart_as_a_canary_and_three_sets() {
    let racks: BTreeMap<BrokerId, String> = (0..51).map(|id| (BrokerId(id), format!("rack-{}", id % 3))).collect();
    let brokers: Vec<Broker> =
        racks.iter().map(|(id, rack)| Broker { id: *id, rack: Some(rack.clone()), away: false }).collect();
    let mut entries = Vec::new();
    for topic in 0..40 {
        let placed = place(12, 3, &brokers, &[], &mut Copysets::default(), topic).unwrap();
        let numbers = placed.iter().enumerate();
        entries.extend(numbers.map(|(n, replicas)| {
            let replicas: Vec<i32> = replicas.iter().map(|id| id.0).collect();
            ("t", entry(n as i32, &replicas), 2)
        }));
    }
    let case = Case { entries, racks, live: live(0..51), most_away: 17, ..Case::of_six() };
    let mut left: Vec<i32> = (0..51).filter(|id| *id != 7).collect(); // the canary has restarted
    let mut sets = Vec::new();
    while !left.is_empty() {
        let (set, _) = case.decide(&left);
        assert!(!set.is_empty(), "stuck with {left:?}");
        left.retain(|id| !set.contains(id));
        sets.push(set.len());
    }
    assert_eq!(sets, [17, 17, 16]);
}

/// A small generator, so that a seed plays a case again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn restarts_in_random_clusters_leave_enough_in_sync() {
    let mut restarted = 0;
    for seed in 1..=400_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = 3 + dice.roll(9) as i32;
        let known = dice.roll(4) > 0;
        let racks: BTreeMap<BrokerId, String> =
            (0..count).filter(|_| known).map(|id| (BrokerId(id), format!("{}", dice.roll(3)))).collect();
        let away: Vec<i32> = (0..count).filter(|_| dice.roll(12) == 0).collect();
        let mut entries = Vec::new();
        for n in 0..dice.roll(30) as i32 {
            let factor = 1 + dice.roll(4).min(count as u64 - 1) as i32;
            let first = dice.roll(count as u64) as i32;
            let replicas: Vec<i32> = (0..factor).map(|k| (first + k) % count).collect();
            let isr: Vec<i32> = replicas.iter().copied().filter(|_| dice.roll(10) > 0).collect();
            entries.push(("t", in_sync(n, &replicas, &isr), 1 + dice.roll(3) as usize));
        }
        let most_away = 1 + dice.roll(4) as usize;
        let interrupts = dice.roll(2) == 0;
        let broken: BTreeSet<BrokerId> = away.iter().filter(|_| dice.roll(2) == 0).map(|id| BrokerId(*id)).collect();
        let case = Case { entries, racks, live: live(0..count), broken, most_away, interrupts, ..Case::of_six() };
        let case = case.without(&away);
        let candidates: Vec<i32> = (0..count).filter(|_| dice.roll(3) > 0).collect();
        let (set, blocked) = case.decide(&candidates);
        restarted += set.len();
        assert_eq!(set.len() + blocked.len(), candidates.len(), "seed {seed}: each candidate has an answer");
        let members = |id: &i32| case.entries.iter().any(|(_, entry, _)| entry.isr.iter().any(|m| m.broker.0 == *id));
        if set.iter().all(|id| case.broken.contains(&BrokerId(*id)) && !members(id)) {
            continue; // their restart costs nothing
        }
        let gone: BTreeSet<i32> = set.iter().chain(&away).copied().collect();
        assert!(gone.len() <= most_away, "seed {seed}: {gone:?}");
        let in_racks: BTreeSet<Option<&String>> = gone.iter().map(|id| case.racks.get(&BrokerId(*id))).collect();
        assert!(in_racks.len() == 1 && (gone.len() == 1 || !in_racks.contains(&None)), "seed {seed}: {gone:?}");
        for (_, entry, min_in_sync) in &case.entries {
            let holds = |id: &i32| entry.replicas.contains(&BrokerId(*id));
            let left = entry.isr.iter().filter(|member| !gone.contains(&member.broker.0)).count();
            let spared = interrupts && entry.replicas.len() <= *min_in_sync;
            let kept = spared || left >= *min_in_sync || !set.iter().any(holds);
            assert!(kept, "seed {seed}: {entry:?} without {gone:?}");
        }
    }
    assert!(restarted > 100, "{restarted}: the cases are too unlike to those that happen");
}

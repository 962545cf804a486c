//! Results of Kafka's own class, and what must hold for any.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::assignor::{MemberSpec, assign};
use crate::ids::MemberId;
use crate::record::Partitions;

fn topic(number: u32) -> Uuid {
    Uuid::from_u128(number.into())
}

/// Reads `0-1,2-0`: topic and partition.
fn partitions(text: &str) -> Partitions {
    let mut all = Partitions::new();
    for one in text.split(',').filter(|one| !one.is_empty()) {
        let (id, partition) = one.split_once('-').expect("a partition");
        let id = topic(id.parse().expect("a topic"));
        all.entry(id).or_default().insert(partition.parse().expect("a number"));
    }
    all
}

/// The case in one line, as the file has it: what may be assigned, members with the numbers of their topics and what
/// they have, what they get.
fn play(case: &str) -> Result<(), String> {
    let parts: Vec<&str> = case.split('|').collect();
    let [assignable, members, expected] = parts[..] else { return Err("three parts are wanted".to_owned()) };
    let mut before: BTreeMap<MemberId, (BTreeSet<Uuid>, Partitions)> = BTreeMap::new();
    for member in members.split(' ') {
        let (name, rest) = member.split_once('@').expect("topics");
        let (topics, has) = rest.split_once('=').expect("partitions");
        let topics = topics.chars().map(|digit| topic(digit.to_digit(10).expect("a digit"))).collect();
        before.insert(name.into(), (topics, partitions(has)));
    }
    let specs = before.iter().map(|(id, (topics, has))| (id, MemberSpec { topics: topics.clone(), before: Some(has) }));
    let assigned = assign(&specs.collect(), &partitions(assignable));
    for member in expected.split(' ') {
        let (name, gets) = member.split_once('=').expect("partitions");
        if assigned.get(name) != Some(&partitions(gets)) {
            return Err(format!("{case}\n{name} gets {:?}", assigned.get(name)));
        }
    }
    Ok(())
}

/// What `SimpleAssignor` of Kafka 4.3.1 made of random groups, some of them with members that come and go. The ids of
/// their topics were chosen so that Kafka's hash tables are in ascending order.
#[test]
fn partitions_are_shared_as_kafka_shares_them() {
    for case in include_str!("assignor_kafka.txt").lines() {
        if let Err(error) = play(case) {
            panic!("{error}");
        }
    }
}

proptest! {
    #[test]
    fn everybody_has_something_and_everything_has_somebody(
        counts in prop::collection::vec(0_i32..6, 1..4),
        subscriptions in prop::collection::vec(prop::collection::vec(any::<bool>(), 4), 1..12),
        rounds in prop::collection::vec(any::<u16>(), 1..4),
    ) {
        let all: Partitions = (0..).zip(&counts).filter(|(_, count)| **count > 0)
            .map(|(id, count)| (topic(id), (0..*count).collect())).collect();
        let names: Vec<MemberId> = (0..subscriptions.len()).map(|n| format!("m{n:02}").as_str().into()).collect();
        let mut before: BTreeMap<MemberId, Partitions> = BTreeMap::new();
        for present in rounds {
            let mut members = BTreeMap::new();
            for (index, (id, wishes)) in names.iter().zip(&subscriptions).enumerate() {
                if present & (1 << index) != 0 || index == 0 {
                    let topics = (0..).zip(wishes).filter(|(_, wish)| **wish).map(|(id, _)| topic(id));
                    let topics: BTreeSet<Uuid> = topics.filter(|id| all.contains_key(id)).collect();
                    members.insert(id, MemberSpec { topics, before: before.get(id) });
                }
            }
            let assigned = assign(&members, &all);
            for (id, member) in &members {
                let has = &assigned[*id];
                prop_assert!(has.keys().all(|id| member.topics.contains(id)), "{} has {:?}", id, has);
                prop_assert_eq!(has.is_empty(), member.topics.is_empty(), "{}", id);
            }
            for (id, partitions) in &all {
                let is_wanted = members.values().any(|member| member.topics.contains(id));
                for partition in partitions {
                    let has = |has: &&Partitions| has.get(id).is_some_and(|all| all.contains(partition));
                    prop_assert_eq!(assigned.values().any(|it| has(&it)), is_wanted, "{}-{}", id, partition);
                }
            }
            before = assigned;
        }
    }
}

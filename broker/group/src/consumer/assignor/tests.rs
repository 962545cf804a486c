//! Cases with the inputs of Kafka's own unit tests and the results that those describe, and what must hold for any.

use proptest::prelude::*;

use super::*;

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn partitions(text: &[(u128, &[i32])]) -> Partitions {
    text.iter().map(|(number, partitions)| (topic(*number), partitions.iter().copied().collect())).collect()
}

/// A member's id, the topics it subscribes to, and what it had.
type Row<'a> = (&'a str, &'a [u128], &'a [(u128, &'a [i32])]);

/// A member's id, and what it gets.
type Expected<'a> = (&'a str, &'a [(u128, &'a [i32])]);

fn members(rows: &[Row<'_>]) -> Members {
    let spec = |(id, topics, before): &Row<'_>| {
        let topics = Rc::new(topics.iter().copied().map(topic).collect());
        ((*id).into(), MemberSpec { instance: None, topics, before: partitions(before) })
    };
    rows.iter().map(spec).collect()
}

fn counts(counts: &[(u128, i32)]) -> Counts {
    counts.iter().map(|(number, count)| (topic(*number), *count)).collect()
}

fn check(assignor: Assignor, counted: &[(u128, i32)], rows: &[Row<'_>], expected: &[Expected<'_>]) {
    let expected: BTreeMap<MemberId, Partitions> =
        expected.iter().map(|(id, topics)| ((*id).into(), partitions(topics))).collect();
    assert_eq!(assignor.assign(&members(rows), &counts(counted)), expected, "{rows:?}");
}

#[test]
fn range_gives_the_first_members_one_more() {
    check(
        Assignor::Range,
        &[(1, 3), (3, 2)],
        &[("A", &[1, 3], &[]), ("B", &[1, 3], &[])],
        &[("A", &[(1, &[0, 1]), (3, &[0])]), ("B", &[(1, &[2]), (3, &[1])])],
    );
    check(
        Assignor::Range,
        &[(1, 3), (2, 3), (3, 2)],
        &[("A", &[1, 2], &[]), ("B", &[3], &[]), ("C", &[2, 3], &[])],
        &[("A", &[(1, &[0, 1, 2]), (2, &[0, 1])]), ("B", &[(3, &[0])]), ("C", &[(2, &[2]), (3, &[1])])],
    );
}

#[test]
fn range_leaves_members_without_a_partition_where_there_are_too_few() {
    check(
        Assignor::Range,
        &[(1, 3), (3, 2)],
        &[("A", &[1, 3], &[]), ("B", &[1, 3], &[]), ("C", &[1, 3], &[]), ("D", &[1, 3], &[])],
        &[("A", &[(1, &[0]), (3, &[0])]), ("B", &[(1, &[1]), (3, &[1])]), ("C", &[(1, &[2])]), ("D", &[])],
    );
}

#[test]
fn range_keeps_static_members_in_their_order() {
    let mut group = members(&[("1", &[1], &[]), ("2", &[1], &[]), ("3", &[1], &[])]);
    for (id, instance) in [("2", "b"), ("3", "a")] {
        if let Some(member) = group.get_mut(id) {
            member.instance = Some(instance.into());
        }
    }
    let assigned = Assignor::Range.assign(&group, &counts(&[(1, 3)]));
    let expected = [("1", 2), ("2", 1), ("3", 0)];
    assert_eq!(assigned, expected.map(|(id, partition)| (id.into(), partitions(&[(1, &[partition])]))).into());
}

#[test]
fn uniform_fills_those_who_have_less() {
    check(
        Assignor::Uniform,
        &[(3, 2)],
        &[("A", &[3], &[]), ("B", &[3], &[]), ("C", &[3], &[])],
        &[("A", &[]), ("B", &[(3, &[0])]), ("C", &[(3, &[1])])],
    );
    // A member comes: of six partitions one of each leaves.
    check(
        Assignor::Uniform,
        &[(1, 3), (2, 3)],
        &[("A", &[1, 2], &[(1, &[0, 2]), (2, &[0])]), ("B", &[1, 2], &[(1, &[1]), (2, &[1, 2])]), ("C", &[1, 2], &[])],
        &[("A", &[(1, &[0, 2])]), ("B", &[(1, &[1]), (2, &[1])]), ("C", &[(2, &[0, 2])])],
    );
    // A member has left.
    check(
        Assignor::Uniform,
        &[(1, 3), (2, 3)],
        &[("A", &[1, 2], &[(1, &[0]), (2, &[0])]), ("B", &[1, 2], &[(1, &[1]), (2, &[1])])],
        &[("A", &[(1, &[0, 2]), (2, &[0])]), ("B", &[(1, &[1]), (2, &[1, 2])])],
    );
}

#[test]
fn uniform_drops_topics_that_are_not_subscribed_to() {
    check(
        Assignor::Uniform,
        &[(2, 3)],
        &[("A", &[2], &[(1, &[0, 2]), (2, &[0])]), ("B", &[2], &[(1, &[1]), (2, &[1, 2])])],
        &[("A", &[(2, &[0])]), ("B", &[(2, &[1, 2])])],
    );
    check(Assignor::Uniform, &[], &[("A", &[], &[(1, &[0])]), ("B", &[], &[])], &[("A", &[]), ("B", &[])]);
}

/// What the assignors of Kafka 4.3.1 made of random groups, with members and topics in ascending order. A case is a
/// line of topics, a line for each member, and a line for each assignor.
#[test]
fn kafkas_assignors_have_the_same_results() {
    let mut cases = 0;
    for case in include_str!("kafka.txt").split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
        let (mut counted, mut group) = (Counts::new(), Members::new());
        for line in case.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "topics" => {
                    let count = |word: &&str| {
                        let (id, count) = word.split_once('x').unwrap();
                        (topic(id.parse().unwrap()), count.parse().unwrap())
                    };
                    counted = words[1..].iter().map(count).collect();
                }
                name @ ("uniform" | "range") => {
                    let mut expected: BTreeMap<MemberId, Partitions> = BTreeMap::new();
                    let mut member = MemberId::from("");
                    for word in &words[1..] {
                        match word.split_once('-') {
                            None => {
                                member = MemberId::from(*word);
                                expected.insert(member.clone(), Partitions::new());
                            }
                            Some(_) => add(expected.get_mut(&member).unwrap(), word),
                        }
                    }
                    let assignor = Assignor::by_name(name).unwrap();
                    assert_eq!(assignor.assign(&group, &counted), expected, "{name} of\n{case}");
                    cases += 1;
                }
                member => {
                    let (id, instance) = match member.split_once('/') {
                        Some((id, instance)) => (id, Some(InstanceId::from(instance))),
                        None => (member, None),
                    };
                    let had = words.iter().position(|word| *word == "had").unwrap();
                    let mut before = Partitions::new();
                    words[had + 1..].iter().for_each(|word| add(&mut before, word));
                    let wants = words[2..had].iter().map(|word| topic(word.parse().unwrap()));
                    group.insert(id.into(), MemberSpec { instance, topics: Rc::new(wants.collect()), before });
                }
            }
        }
    }
    assert_eq!(cases, 120);
}

/// `2-0`: partition 0 of topic 2.
fn add(partitions: &mut Partitions, word: &str) {
    let (id, partition) = word.split_once('-').unwrap();
    partitions.entry(topic(id.parse().unwrap())).or_default().insert(partition.parse().unwrap());
}

fn any_group() -> impl Strategy<Value = (Members, Counts)> {
    let topics = proptest::collection::vec(0..9i32, 1..5);
    let same = any::<bool>();
    let wishes = proptest::collection::vec((1u8..16, any::<bool>()), 1..7);
    // Whom each partition belonged to.
    let before = proptest::collection::vec(0..9usize, 45);
    (topics, same, wishes, before).prop_map(|(topics, same, wishes, before)| {
        let counts: Counts = (1u128..).zip(&topics).map(|(number, count)| (topic(number), *count)).collect();
        let mut members = Members::new();
        for (index, (wish, is_static)) in wishes.iter().enumerate() {
            let wish = if same { wishes[0].0 } else { *wish };
            let subscribed = counts.keys().enumerate().filter(|(bit, _)| wish & (1 << bit) != 0);
            let mut had = Partitions::new();
            for (at, (id, count)) in counts.iter().enumerate() {
                let mine = (0..*count).filter(|partition| before[at * 9 + *partition as usize] == index);
                let mine: BTreeSet<i32> = mine.collect();
                if !mine.is_empty() {
                    had.insert(*id, mine);
                }
            }
            let spec = MemberSpec {
                instance: is_static.then(|| format!("i{}", 9 - index).as_str().into()),
                topics: Rc::new(subscribed.map(|(_, id)| *id).collect()),
                before: had,
            };
            members.insert(format!("m{index}").as_str().into(), spec);
        }
        (members, counts)
    })
}

fn size(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_partition_has_one_subscriber_and_what_is_settled_stays((members, counts) in any_group()) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let assigned = assignor.assign(&members, &counts);
            prop_assert_eq!(assigned.keys().collect::<Vec<_>>(), members.keys().collect::<Vec<_>>());
            for (id, count) in &counts {
                let mut all = Vec::new();
                for (member, partitions) in &assigned {
                    let mine = partitions.get(id).cloned().unwrap_or_default();
                    prop_assert!(mine.is_empty() || members[member].topics.contains(id), "not subscribed");
                    all.extend(mine);
                }
                all.sort_unstable();
                let has_subscriber = members.values().any(|member| member.topics.contains(id));
                let expected: Vec<i32> = if has_subscriber { (0..*count).collect() } else { vec![] };
                prop_assert_eq!(all, expected, "each exactly once");
            }
            prop_assert!(assigned.values().flat_map(|topics| topics.values()).all(|topic| !topic.is_empty()));
            // What was assigned so already does not move.
            let mut again = members.clone();
            for (id, member) in &mut again {
                member.before = assigned[id].clone();
            }
            prop_assert_eq!(assignor.assign(&again, &counts), assigned);
        }
    }

    #[test]
    fn uniform_is_balanced_and_moves_no_more_than_it_must((members, counts) in any_group()) {
        let assigned = Assignor::Uniform.assign(&members, &counts);
        if have_one_subscription(&members) {
            let sizes: Vec<usize> = assigned.values().map(size).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{sizes:?}");
            // Nobody loses a partition who has fewer than the quota.
            for (id, member) in &members {
                let had = member.before.iter().filter(|(topic, _)| member.topics.contains(*topic));
                let had: Vec<(Uuid, i32)> = had.flat_map(|(t, all)| all.iter().map(|p| (*t, *p))).collect();
                let has_lost = had.iter().any(|(topic, partition)| {
                    !assigned[id].get(topic).is_some_and(|mine| mine.contains(partition))
                });
                prop_assert!(!has_lost || size(&assigned[id]) >= *least && had.len() > *least);
            }
        }
        // No partition can move to another subscriber of its topic that has two less.
        let is_single = |topics: &BTreeSet<Uuid>| members.values().all(|m| m.topics.is_disjoint(topics) || *m.topics == *topics);
        for (id, member) in &members {
            if !is_single(&member.topics) {
                continue; // Kafka promises only almost-balance where subscriptions overlap.
            }
            for (other, spec) in &members {
                if spec.topics == member.topics {
                    prop_assert!(size(&assigned[id]) <= size(&assigned[other]) + 1);
                }
            }
        }
    }
}

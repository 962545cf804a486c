//! Cases that are hard to reach through an API server; lives of topics are in `tests/stories.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use ottla_crds::{
    BrokerLoads, Brokers, ClusterRef, KafkaAssignment, KafkaCluster, KafkaClusterSpec, KafkaTopic, Placement,
    PreferredElection,
};
use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, IsrMember, LiveBroker};
use ottla_rules::features::SupportedFeatures;
use ottla_rules::plan::roster::Wanted;
use uuid::Uuid;

use super::platform::{Obstacle, Platform};
use super::*;

mod pools;
mod rebalance;
mod relocation;
mod status;
mod volumes;

fn world(brokers: &[(i32, bool)]) -> World {
    let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({})).unwrap();
    let spec = KafkaClusterSpec { brokers: Brokers { replicas: brokers.len() as i32, ..Brokers::default() }, ..spec };
    let broker = |&(id, draining): &(i32, bool)| {
        let live = Some(LiveBroker { incarnation: Incarnation(i64::from(id) + 1), draining });
        (BrokerId(id), Broker { live, ..Broker::default() })
    };
    World {
        cluster: Some(Arc::new(KafkaCluster::new("prod", spec))),
        topics: Vec::new(),
        assignments: Vec::new(),
        relocates: true,
        loads: Some(Arc::default()),
        loads_are_new: false,
        rebalances: Some(Vec::new()),
        held_back: None,
        forked: Default::default(),
        missing: Default::default(),
        brokers: brokers.iter().map(broker).collect(),
        platform: None,
        settled: Default::default(),
        seasoned: Default::default(),
        awaited: Default::default(),
        returning: Default::default(),
        now: Time(Timestamp::from_second(1).unwrap()),
        fresh_cluster_id: Uuid::from_u128(u128::MAX),
    }
}

fn topic(name: &str, partitions: i32) -> KafkaTopic {
    let mut topic = KafkaTopic::new(name, Default::default());
    topic.spec.cluster_ref = ClusterRef { name: "prod".to_owned() };
    topic.spec.partitions = Some(partitions);
    topic.metadata.uid = Some(Uuid::from_u128(7).to_string());
    topic.metadata.generation = Some(1);
    topic
}

fn of_uid(uid: u128, mut topic: KafkaTopic) -> KafkaTopic {
    topic.metadata.uid = Some(Uuid::from_u128(uid).to_string());
    topic
}

fn placed(mut topic: KafkaTopic, placement: &[(i32, &[i32])]) -> KafkaTopic {
    let place = |&(partition, replicas): &(i32, &[i32])| Placement {
        partition,
        replicas: replicas.iter().map(|id| BrokerId(*id)).collect(),
        once: false,
    };
    topic.spec.placement.extend(placement.iter().map(place));
    topic
}

/// Plans and applies, as an API server without anybody else would, until nothing is planned.
fn settle(world: &mut World) -> Vec<&'static str> {
    let mut taken = Vec::new();
    for _ in 0..20 {
        let steps = plan(world);
        if steps.is_empty() {
            return taken;
        }
        for step in steps {
            taken.push(step.name());
            apply(world, step);
        }
    }
    panic!("never settles: {taken:?}");
}

fn apply(world: &mut World, step: Step) {
    let replace = |world: &mut World, object: KafkaAssignment| {
        world.assignments.retain(|other| other.name_any() != object.name_any());
        world.assignments.push(Arc::new(object));
    };
    let replace_topic = |world: &mut World, topic: KafkaTopic| {
        world.topics.retain(|other| other.name_any() != topic.name_any());
        world.topics.push(Arc::new(topic));
    };
    match step {
        Step::Change { read, next, .. } => {
            let mut object = KafkaAssignment::clone(&read);
            object.spec.partitions.retain(|entry| next.iter().all(|changed| changed.partition != entry.partition));
            object.spec.partitions.extend(next);
            replace(world, object);
        }
        Step::Append { read, added } => {
            let mut object = KafkaAssignment::clone(&read);
            object.spec.partitions.extend(added);
            replace(world, object);
        }
        Step::Create(object) => replace(world, *object),
        Step::Bury { read, .. } => {
            let mut object = KafkaAssignment::clone(&read);
            object.spec.deleted = true;
            replace(world, object);
        }
        Step::Remove(read) => world.assignments.retain(|other| other.name_any() != read.name_any()),
        Step::Own(read) => {
            let mut topic = KafkaTopic::clone(&read);
            topic.finalizers_mut().push(KafkaTopic::FINALIZER.to_owned());
            replace_topic(world, topic);
        }
        Step::Release { topic, .. } => world.topics.retain(|other| other.name_any() != topic.name_any()),
        Step::Unpin { next, .. } | Step::TopicStatus { next, .. } => replace_topic(world, *next),
        // Kubernetes deletes the claim, and makes both again.
        Step::Renew { id, .. } => {
            let platform = Arc::make_mut(world.platform.as_mut().unwrap());
            let volume = platform.volumes.get_mut(&id).unwrap();
            (volume.uid, volume.lost) = ("new".to_owned(), None);
        }
        Step::ClusterStatus { next, .. } => world.cluster = Some(Arc::from(next)),
        Step::Restart(_) => {}
        Step::RebalanceStatus { next, .. } => {
            let rebalances = world.rebalances.get_or_insert_default();
            rebalances.retain(|other| other.name_any() != next.name_any());
            rebalances.push(Arc::from(next));
        }
    }
}

/// Why the topic is ready or not, as its status says.
fn ready_because<'a>(world: &'a World, topic: &str) -> &'a str {
    let topic = world.topics.iter().find(|object| object.name_any() == topic).unwrap();
    condition::reason(&topic.status.as_ref().unwrap().conditions, "Ready").unwrap()
}

#[test]
fn a_topics_first_steps_come_in_the_order_that_a_crash_needs() {
    let mut world = world(&[(0, false)]);
    settle(&mut world);
    world.topics.push(Arc::new(topic("orders", 65)));
    let expected =
        ["put the finalizer on a topic", "create an assignment", "create an assignment", "write a topic's status"];
    assert_eq!(settle(&mut world), expected);
    assert!(world.assignments.iter().all(|object| object.spec.topic_id == Uuid::from_u128(7)));
}

#[test]
fn a_topic_that_brokers_hold_waits_for_its_assignments_and_no_other_does() {
    for (missing, expected) in [("orders", "AssignmentsMissing"), ("*", "AssignmentsMissing"), ("payments", "Ready")] {
        let mut world = world(&[(0, false)]);
        world.missing.insert(missing.to_owned());
        world.topics.push(Arc::new(topic("orders", 1)));
        settle(&mut world);
        assert_eq!(ready_because(&world, "orders"), expected, "{missing}");
        assert_eq!(world.assignments.is_empty(), expected != "Ready", "{missing}");
    }
}

#[test]
fn a_topic_of_which_only_a_part_was_created_is_completed() {
    let mut world = world(&[(0, false), (1, false)]);
    world.topics.push(Arc::new(topic("orders", 130)));
    settle(&mut world);
    let middle = world.assignments.iter().position(|object| object.spec.first == 64).unwrap();
    let lost = world.assignments.remove(middle);
    let mut orders = KafkaTopic::clone(&world.topics[0]);
    orders.status = None; // as before the status was written
    world.topics = vec![Arc::new(orders)];
    settle(&mut world);
    let again = world.assignments.iter().find(|object| object.spec.first == 64).unwrap();
    assert_eq!(again.name_any(), lost.name_any());
    assert_eq!(again.spec.partitions.len(), 64);
}

#[test]
fn the_first_topics_wait_for_all_brokers_of_a_new_cluster_and_later_ones_for_nobody() {
    let mut world = world(&[(0, false), (1, false)]);
    let late = world.brokers.remove(&BrokerId(1)).unwrap();
    world.awaited.insert(BrokerId(1));
    world.topics.push(Arc::new(topic("orders", 10)));
    settle(&mut world);
    assert!(world.assignments.is_empty());
    assert_eq!(ready_because(&world, "orders"), "BrokersStarting");

    world.brokers.insert(BrokerId(1), late);
    world.awaited.clear();
    settle(&mut world);
    let leads =
        |id| world.assignments[0].spec.partitions.iter().filter(|entry| entry.leader == Some(BrokerId(id))).count();
    assert_eq!((leads(0), leads(1)), (5, 5));
    assert_eq!(ready_because(&world, "orders"), "Ready");

    // One more broker is to be, and what is there serves.
    world.awaited.insert(BrokerId(2));
    let mut next = topic("payments", 1);
    next.metadata.uid = Some(Uuid::from_u128(8).to_string());
    world.topics.push(Arc::new(next));
    settle(&mut world);
    assert_eq!(world.assignments.len(), 2);
}

/// Seed 621001892 of the simulation: of two operators one still saw the assignments of the topic before.
#[test]
fn a_status_of_an_earlier_topic_of_the_name_hides_no_partitions() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("orders", 1)));
    settle(&mut world);
    let mut overwritten = KafkaTopic::clone(&world.topics[0]);
    let status = overwritten.status.as_mut().unwrap();
    (status.topic_id, status.partitions) = (Some(Uuid::from_u128(6)), Some(3));
    world.topics = vec![Arc::new(overwritten)];
    settle(&mut world);
    assert_eq!(ready_because(&world, "orders"), "Ready");
    let status = world.topics[0].status.as_ref().unwrap();
    assert_eq!((status.topic_id, status.partitions), (Some(Uuid::from_u128(7)), Some(1)));

    // Without assignments nobody knows which of them is the topic whose records brokers hold.
    let mut overwritten = KafkaTopic::clone(&world.topics[0]);
    overwritten.status.as_mut().unwrap().topic_id = Some(Uuid::from_u128(6));
    (world.topics, world.assignments) = (vec![Arc::new(overwritten)], Vec::new());
    settle(&mut world);
    assert_eq!(ready_because(&world, "orders"), "AssignmentsMissing");
}

#[test]
fn of_two_objects_for_one_topic_the_one_without_a_part_can_be_deleted() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("orders", 1)));
    settle(&mut world);
    let mut other = topic("orders-of-kafka", 1);
    other.spec.topic_name = Some("orders".to_owned());
    other.metadata.uid = Some(Uuid::from_u128(1).to_string());
    other.metadata.finalizers = Some(vec![KafkaTopic::FINALIZER.to_owned()]);
    world.topics.push(Arc::new(other.clone()));
    settle(&mut world);
    assert_eq!((ready_because(&world, "orders"), ready_because(&world, "orders-of-kafka")), ("Ready", "Conflict"));

    other.metadata.deletion_timestamp = Some(world.now.clone());
    world.topics.retain(|topic| topic.name_any() == "orders");
    world.topics.push(Arc::new(other));
    assert_eq!(settle(&mut world), ["take the finalizer off a topic"]);
    assert!(world.assignments.iter().all(|object| !object.spec.deleted), "records stay");
}

#[test]
fn without_its_object_nobody_is_taken_out_of_a_topics_isr() {
    let mut world = world(&[(0, false), (1, false), (2, false)]);
    let mut orders = topic("orders", 1);
    orders.spec.replication_factor = Some(3);
    orders.spec.config.insert("min.insync.replicas".to_owned(), "2".to_owned());
    world.topics.push(Arc::new(orders));
    settle(&mut world);
    let orders = std::mem::take(&mut world.topics);
    let leader = world.assignments[0].spec.partitions[0].leader.unwrap();
    world.brokers.get_mut(&leader).unwrap().live = None;
    settle(&mut world);
    let entry = world.assignments[0].spec.partitions[0].clone();
    assert!(entry.leader.is_some_and(|successor| successor != leader), "another one leads");
    assert_eq!(entry.isr.len(), 3, "two of them may be what the object asked for, or three");

    world.topics = orders;
    settle(&mut world);
    assert_eq!(world.assignments[0].spec.partitions[0].isr.len(), 2);
}

#[test]
fn a_draining_broker_gets_nothing_new() {
    let mut world = world(&[(0, true), (1, false)]);
    world.topics.push(Arc::new(topic("orders", 10)));
    settle(&mut world);
    let entries = &world.assignments[0].spec.partitions;
    assert!(entries.iter().all(|entry| entry.replicas == [BrokerId(1)]));
}

#[test]
fn partitions_that_are_placed_by_hand_begin_there_and_the_others_even_it_out() {
    let mut world = world(&[(0, false), (1, false)]);
    world.topics.push(Arc::new(placed(topic("orders", 4), &[(0, &[1]), (2, &[1]), (9, &[7])])));
    settle(&mut world);
    let begins_on = |world: &World, partition: usize| world.assignments[0].spec.partitions[partition].replicas[0].0;
    assert_eq!([0, 1, 2, 3].map(|partition| begins_on(&world, partition)), [1, 0, 1, 0]);

    let mut grown = placed(KafkaTopic::clone(&world.topics[0]), &[(4, &[0])]);
    grown.spec.partitions = Some(5);
    world.topics = vec![Arc::new(grown)];
    settle(&mut world);
    assert_eq!(begins_on(&world, 4), 0);
}

#[test]
fn partitions_that_can_not_begin_where_they_are_placed_wait() {
    for (replicas, reason, message) in [
        (
            &[2, 3][..],
            "BrokersAway",
            "spec.placement puts partition 1 on brokers 2–3, and none of these is online: the topic is waiting for one that can \
             lead the partition",
        ),
        (
            &[0, 7],
            "UnknownBroker",
            "spec.placement puts partition 1 on broker 7, which the cluster does not have, or which takes no new replicas",
        ),
    ] {
        let mut world = world(&[(0, false), (1, false), (2, true), (3, false)]);
        world.brokers.get_mut(&BrokerId(3)).unwrap().live = None;
        world.brokers.get_mut(&BrokerId(2)).unwrap().is_filling = true; // which is no reason to lead while it drains
        world.topics.push(Arc::new(placed(topic("orders", 2), &[(1, replicas)])));
        settle(&mut world);
        assert!(world.assignments.is_empty(), "nothing is placed elsewhere");
        let ready = &world.topics[0].status.as_ref().unwrap().conditions[0];
        assert_eq!((ready.reason.as_str(), ready.message.as_str()), (reason, message));
    }
}

#[test]
fn a_condition_names_the_broker_whose_disk_hangs_while_it_does() {
    let mut world = world(&[(0, false), (1, false), (2, false)]);
    let condition = |world: &World| {
        let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
        status.conditions.iter().find(|condition| condition.type_ == "VolumesHanging").cloned()
    };
    for (hangs, expected) in [(false, false), (true, true), (false, false)] {
        world.brokers.get_mut(&BrokerId(1)).unwrap().hangs = hangs;
        settle(&mut world);
        let message = condition(&world).map(|condition| condition.message);
        assert_eq!(message.is_some_and(|message| message.starts_with("the disk of broker 1 hangs")), expected);
    }
}

/// As Kafka does it with brokers that are fenced or in controlled shutdown.
#[test]
fn a_broker_that_is_away_or_drains_gets_its_replicas_and_joins_when_it_is_back() {
    for (story, leaves) in [("it is away", None), ("it drains", Some(true))] {
        let mut world = world(&[(0, false), (1, false), (2, false)]);
        let back = world.brokers[&BrokerId(2)].live;
        world.brokers.get_mut(&BrokerId(2)).unwrap().live =
            back.filter(|_| leaves.is_some()).map(|live| LiveBroker { draining: true, ..live });
        let mut orders = topic("orders", 6);
        orders.spec.replication_factor = Some(3);
        orders.spec.config.insert("min.insync.replicas".to_owned(), "3".to_owned());
        world.topics.push(Arc::new(orders));
        world.topics.push(Arc::new(of_uid(8, placed(topic("by-hand", 1), &[(0, &[2, 0])]))));
        settle(&mut world);
        assert_eq!((ready_because(&world, "orders"), ready_because(&world, "by-hand")), ("Ready", "Ready"), "{story}");
        let entries = || world.assignments.iter().flat_map(|object| &object.spec.partitions);
        assert_eq!(entries().count(), 7, "{story}");
        for entry in entries() {
            assert!(entry.replicas.contains(&BrokerId(2)), "{story}: {entry:?}");
            assert!(entry.isr.iter().all(|member| member.broker != BrokerId(2)), "{story}: {entry:?}");
            assert!(entry.leader.is_some() && entry.leader != Some(BrokerId(2)), "{story}: {entry:?}");
        }
        let leads =
            |id| entries().filter(|entry| entry.replicas.len() == 3 && entry.leader == Some(BrokerId(id))).count();
        assert_eq!((leads(0), leads(1)), (3, 3), "{story}");
    }
}

#[test]
fn a_partition_moves_to_a_broker_that_is_away_and_a_factor_may_need_one() {
    let mut world = world(&[(0, false), (1, false), (2, false)]);
    world.topics.push(Arc::new(placed(topic("moves", 1), &[(0, &[0, 1])])));
    world.topics.push(Arc::new(of_uid(8, topic("grows", 1))));
    settle(&mut world);
    world.brokers.get_mut(&BrokerId(2)).unwrap().live = None;
    for topic in &mut world.topics {
        let topic = Arc::make_mut(topic);
        match topic.name_any().as_str() {
            "moves" => topic.spec.placement[0].replicas = vec![BrokerId(2), BrokerId(1)],
            _ => topic.spec.replication_factor = Some(3),
        }
    }
    settle(&mut world);
    for topic in ["moves", "grows"] {
        let entry =
            &world.assignments.iter().find(|object| object.spec.topic_name == topic).unwrap().spec.partitions[0];
        assert!(entry.adding.contains(&BrokerId(2)) && entry.leader.is_some(), "{topic}: {entry:?}");
        assert_eq!(ready_because(&world, topic), "Ready");
    }
}

#[test]
fn a_placement_for_once_is_removed_when_the_partition_is_there_and_its_factor_stays() {
    let at = |partition: i32, replicas: &[i32], once: bool| Placement {
        partition,
        replicas: replicas.iter().map(|id| BrokerId(*id)).collect(),
        once,
    };
    for (story, placement, left, factor) in [
        ("another broker", vec![at(0, &[0, 2], true)], vec![], 2),
        ("one of them stays pinned", vec![at(0, &[0, 2], true), at(1, &[2, 1], false)], vec![1], 2),
        ("all get a third replica", vec![at(0, &[0, 1, 2], true), at(1, &[2, 1, 0], true)], vec![], 3),
        ("one gets a third replica", vec![at(0, &[0, 1, 2], true)], vec![0], 2),
    ] {
        let mut world = world(&[(0, false), (1, false), (2, false)]);
        let mut orders = placed(topic("orders", 2), &[(0, &[0, 1]), (1, &[1, 0])]);
        orders.spec.replication_factor = Some(2);
        world.topics.push(Arc::new(orders));
        settle(&mut world);
        Arc::make_mut(&mut world.topics[0]).spec.placement = placement.clone();
        settle(&mut world);
        assert!(!world.topics[0].spec.placement.is_empty(), "{story}: it is not there yet");
        for object in &mut world.assignments {
            for entry in &mut Arc::make_mut(object).spec.partitions {
                let member = |id: &BrokerId| IsrMember { broker: *id, incarnation: Incarnation(i64::from(id.0) + 1) };
                entry.isr = entry.replicas.iter().map(member).collect();
            }
        }
        settle(&mut world);
        let spec = &world.topics[0].spec;
        let pinned: Vec<i32> = spec.placement.iter().map(|placement| placement.partition).collect();
        assert_eq!((pinned, spec.replication_factor), (left, Some(factor)), "{story}");
        for placement in placement {
            let entry = entries(&world).find(|entry| entry.partition == placement.partition).unwrap().clone();
            assert_eq!(entry.replicas, placement.replicas, "{story}");
        }
    }
}

fn entries(world: &World) -> impl Iterator<Item = &Assignment> {
    world.assignments.iter().flat_map(|object| &object.spec.partitions)
}

#[test]
fn a_replication_factor_that_needs_more_brokers_is_reported() {
    let mut world = world(&[(0, false), (1, false)]);
    let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.spec.config.insert("offsets.topic.replication.factor".to_owned(), "3".to_owned());
    world.cluster = Some(Arc::new(cluster));
    let told = |world: &World| {
        let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
        let condition = status.conditions.iter().find(|condition| condition.type_ == "Replicable").unwrap();
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    settle(&mut world);
    let message = "the cluster has 2 brokers, too few for the replication factors in its spec \
    (offsets.topic.replication.factor is 3: consumer groups \
                   do not work); raise spec.brokers.replicas or set at most 2";
    assert_eq!(told(&world), ("False".to_owned(), "TooFewBrokers".to_owned(), message.to_owned()));

    // Made while the setting was another.
    world.topics.push(Arc::new(topic("__consumer_offsets", 1)));
    settle(&mut world);
    assert_eq!(told(&world).0, "True");
}

#[test]
fn one_value_counts_for_a_topic_that_does_not_say_its_own_wherever_the_spec_has_it() {
    for (config, defaults) in [
        (&[("num.partitions", "6"), ("default.replication.factor", "2")][..], (None, None)),
        (&[][..], (Some(6), Some(2))),
        (&[("num.partitions", "6")], (None, Some(2))),
    ] {
        let mut world = world(&[(0, false), (1, false)]);
        let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
        cluster.spec.config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        (cluster.spec.defaults.partitions, cluster.spec.defaults.replication_factor) = defaults;
        world.cluster = Some(Arc::new(cluster));
        let mut orders = topic("orders", 1);
        orders.spec.partitions = None;
        world.topics.push(Arc::new(orders));
        settle(&mut world);
        let entries = &world.assignments[0].spec.partitions;
        assert_eq!((entries.len(), entries[0].replicas.len()), (6, 2), "{config:?} {defaults:?}");
    }
}

#[test]
fn a_topic_whose_name_is_equal_to_anothers_in_metrics_is_not_created() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("a.b", 1)));
    settle(&mut world);
    let mut second = of_uid(8, topic("second", 1));
    second.spec.topic_name = Some("a_b".to_owned());
    world.topics.push(Arc::new(second));
    settle(&mut world);
    assert_eq!((ready_because(&world, "a.b"), ready_because(&world, "second")), ("Ready", "NameCollision"));
}

#[test]
fn a_paused_cluster_gets_leaders_and_topics_and_says_that_it_is_paused() {
    let mut world = world(&[(0, false), (1, false)]);
    let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.spec.paused = true;
    cluster.metadata.generation = Some(2);
    world.cluster = Some(Arc::new(cluster));
    world.platform = Some(Arc::new(Platform { generation: Some(1), ..Platform::default() }));
    let mut orders = topic("orders", 1);
    orders.spec.replication_factor = Some(2);
    world.topics.push(Arc::new(orders));
    settle(&mut world);
    assert_eq!(ready_because(&world, "orders"), "Ready", "topics are created");
    let leader = |world: &World| world.assignments[0].spec.partitions[0].leader.unwrap();
    let dead = leader(&world);
    world.brokers.get_mut(&dead).unwrap().live = None;
    settle(&mut world);
    assert_ne!(leader(&world), dead, "leaders that fail are replaced");

    let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!(status.replicas, Some(1), "the status is written");
    assert_eq!(status.observed_generation, Some(1), "and is about the spec whose objects were made");
    let paused = status.conditions.iter().find(|condition| condition.type_ == "Paused").unwrap();
    assert_eq!((paused.status.as_str(), paused.observed_generation), ("True", Some(2)));

    let mut ending = KafkaTopic::clone(&world.topics[0]);
    ending.metadata.deletion_timestamp = Some(world.now.clone());
    world.topics = vec![Arc::new(ending)];
    settle(&mut world);
    assert!(world.assignments[0].spec.deleted && world.topics.is_empty(), "topics are let go");
}

#[test]
fn a_status_is_about_the_spec_that_was_applied_and_says_ready_only_when_it_was_examined() {
    let mut world = world(&[(0, false)]);
    let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.metadata.generation = Some(7);
    world.cluster = Some(Arc::new(cluster));
    let mut told = |generation: Option<i64>| {
        world.platform = Some(Arc::new(Platform { generation, ..Platform::default() }));
        settle(&mut world);
        let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
        let condition = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
            (found.status.clone(), found.reason.clone(), found.observed_generation)
        };
        let (ready, progressing) = (condition("Ready"), condition("Progressing"));
        assert_eq!((ready.2, progressing.2), (status.observed_generation, status.observed_generation));
        (status.observed_generation, ready.0, progressing.1)
    };
    let text = |generation, ready: &str, progressing: &str| (generation, ready.to_owned(), progressing.to_owned());
    assert_eq!(told(None), text(None, "False", "Applying"), "nothing was made yet");
    assert_eq!(told(Some(6)), text(Some(6), "True", "Applying"), "what was made is an earlier spec");
    assert_eq!(told(Some(7)), text(Some(7), "True", "Settled"));
    assert_eq!(told(Some(8)), text(Some(7), "True", "Settled"), "the other half of the operator sees less yet");
    assert_eq!(told(None), text(Some(7), "True", "Settled"), "an operator that takes over repeats what was said");
}

#[test]
fn brokers_that_compare_keep_entries_from_being_written_and_are_no_sign_of_a_restore() {
    let mut world = world(&[(0, false), (1, false)]);
    world.topics.push(Arc::new(topic("orders", 1)));
    settle(&mut world);
    let leader = world.assignments[0].spec.partitions[0].leader.unwrap();
    let mut told = |held_back: Option<HeldBack>| {
        world.held_back = held_back;
        settle(&mut world);
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        conditions.iter().find(|condition| condition.type_ == "SetBack").map(|condition| condition.message.clone())
    };
    assert_eq!(told(Some(HeldBack::Comparing)), None);
    let said = told(Some(HeldBack::SetBack(vec![BrokerId(1)])));
    assert!(said.as_ref().is_some_and(|said| said.contains("waiting for broker 1")), "{said:?}");
    assert_eq!(told(Some(HeldBack::Comparing)), said, "what was said stays");
    assert_eq!(told(None), None);

    world.brokers.get_mut(&leader).unwrap().live = None;
    world.held_back = Some(HeldBack::Comparing);
    settle(&mut world);
    assert_eq!(world.assignments[0].spec.partitions[0].leader, Some(leader));
}

#[test]
fn no_leader_is_elected_of_a_forked_partition_of_which_both_histories_could_acknowledge() {
    let cases = [
        ("nobody reports it", "", true, "1", true),
        ("it is forked", "orders-0", true, "1", false),
        ("too many forks to name", "*", true, "1", false),
        ("another is forked", "orders-1,order-0", true, "1", true),
        ("who reports it is gone", "orders-0", false, "1", true),
        ("two of three replicas are needed", "orders-0", true, "2", true),
    ];
    for (story, reported, reporter_lives, min_in_sync, elects) in cases {
        let mut world = world(&[(0, false), (1, false), (2, false), (3, false)]);
        let mut orders = placed(topic("orders", 1), &[(0, &[0, 1, 2])]);
        orders.spec.config.insert("min.insync.replicas".to_owned(), min_in_sync.to_owned());
        world.topics.push(Arc::new(orders));
        settle(&mut world);
        if !reported.is_empty() {
            world.forked.insert(BrokerId(3), reported.split(',').map(str::to_owned).collect());
        }
        let leads = |world: &World| world.assignments[0].spec.partitions[0].leader.unwrap().0;
        let message = |world: &World| {
            let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
            conditions.iter().find(|condition| condition.type_ == "SetBack").map(|condition| condition.message.clone())
        };
        if !reporter_lives {
            world.brokers.get_mut(&BrokerId(3)).unwrap().live = None;
        }
        let zero = world.brokers.get_mut(&BrokerId(0)).unwrap().live.take();
        settle(&mut world);
        assert_eq!(leads(&world), i32::from(elects), "{story}");
        if !elects {
            let message = message(&world).unwrap();
            assert!(message.contains("by which broker 3 serves") && message.contains("ottla objects"), "{message}");
        }

        // Neither do leaders return, of themselves or by request.
        let before = leads(&world);
        let other = 1 - before;
        world.brokers.get_mut(&BrokerId(0)).unwrap().live = zero;
        let mut object = KafkaAssignment::clone(&world.assignments[0]);
        let entry = &mut object.spec.partitions[0];
        entry.isr =
            [0, 1].map(|id| IsrMember { broker: BrokerId(id), incarnation: Incarnation(i64::from(id) + 1) }).into();
        entry.replicas = [other, before, 2].map(BrokerId).into();
        world.assignments = vec![Arc::new(object)];
        world.settled.insert(BrokerId(other));
        let mut orders = KafkaTopic::clone(&world.topics[0]);
        orders.spec.placement.clear();
        orders.spec.preferred_election = Some(PreferredElection { id: "a".to_owned(), partitions: vec![0] });
        world.topics = vec![Arc::new(orders)];
        settle(&mut world);
        assert_eq!(leads(&world), if elects { other } else { before }, "{story}");
    }
}

#[test]
fn a_broker_whose_pod_is_not_ready_keeps_the_cluster_from_being_ready() {
    let mut world = world(&[(0, false)]);
    let waiting = Some(Obstacle::new("PodNotReady", "pod prod-broker-0 is not ready yet"));
    world.platform = Some(Arc::new(Platform { waiting, ..Platform::default() }));
    settle(&mut world);
    let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "PodNotReady"));
}

#[test]
fn a_broker_that_leaves_gets_nothing_new() {
    let mut world = world(&[(0, false), (1, false)]);
    let mut smaller = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    smaller.spec.brokers.replicas = 1;
    world.cluster = Some(Arc::new(smaller));
    world.platform = Some(Arc::default());
    world.topics.push(Arc::new(topic("orders", 4)));
    settle(&mut world);
    assert!(world.assignments[0].spec.partitions.iter().all(|entry| entry.replicas == [BrokerId(0)]));
}

#[test]
fn a_grave_is_cleared_when_all_of_the_topic_is_gone() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("orders", 65)));
    settle(&mut world);
    let mut ending = KafkaTopic::clone(&world.topics[0]);
    ending.metadata.deletion_timestamp = Some(world.now.clone());
    world.topics = vec![Arc::new(ending)];
    settle(&mut world);
    for (emptied, left) in [(0, 2), (1, 0)] {
        let mut object = KafkaAssignment::clone(&world.assignments[emptied]);
        for entry in &mut object.spec.partitions {
            *entry = entry.forget(BrokerId(0)).unwrap();
        }
        world.assignments[emptied] = Arc::new(object);
        settle(&mut world);
        assert_eq!(world.assignments.len(), left);
    }
}

#[test]
fn a_change_of_the_spec_that_changes_nothing_is_seen_and_said() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("orders", 1)));
    settle(&mut world);
    let mut touched = KafkaTopic::clone(&world.topics[0]);
    touched.metadata.generation = Some(2);
    world.topics = vec![Arc::new(touched)];
    assert_eq!(settle(&mut world), ["write a topic's status"]);
    assert_eq!(world.topics[0].status.as_ref().unwrap().observed_generation, Some(2));
}

#[test]
fn a_recovery_has_an_event_for_the_partitions_that_were_written() {
    for (by_order, reason) in [(false, "Recovered"), (true, "RecoveredByOrder")] {
        let recovered = Recovered { topic: Arc::new(topic("orders", 4)), partitions: vec![0, 1, 2], by_order };
        for (stale, partitions) in [(&[][..], "partitions 0–2 "), (&[3], "partitions 0–2 "), (&[1], "partitions 0, 2 ")]
        {
            let news = recovered.news(stale).unwrap();
            assert!(news.reason == reason && news.note.contains(partitions), "{stale:?}: {news:?}");
        }
        assert_eq!(recovered.news(&[0, 1, 2]), None);
    }
}

#[test]
fn a_topic_without_its_cluster_says_so_and_keeps_what_is_known_of_it() {
    let mut world = world(&[(0, false)]);
    let cluster = world.cluster.take();
    world.topics = vec![Arc::new(topic("orders", 1))];
    assert_eq!(settle(&mut world), ["write a topic's status"]);
    assert_eq!(ready_because(&world, "orders"), "NoCluster");
    let message = |world: &World| world.topics[0].status.as_ref().unwrap().conditions[0].message.clone();
    assert!(message(&world).contains("the namespace has no KafkaCluster prod, so the topic is not created"));

    world.cluster = cluster;
    settle(&mut world);
    assert_eq!(ready_because(&world, "orders"), "Ready");
    let id = |world: &World| world.topics[0].status.as_ref().unwrap().topic_id;
    let known = id(&world);
    assert!(known.is_some());

    world.cluster = None;
    assert_eq!(settle(&mut world), ["write a topic's status"]);
    assert_eq!((ready_because(&world, "orders"), id(&world)), ("NoCluster", known));
    assert!(message(&world).contains("records stay on its retained volumes"));
}

#[test]
fn a_topic_has_at_least_the_partitions_that_its_spec_names_and_keeps_more() {
    let mut world = world(&[(0, false)]);
    world.topics.push(Arc::new(topic("orders", 3)));
    settle(&mut world);
    let ask = |world: &mut World, partitions: Option<i32>| {
        Arc::make_mut(&mut world.topics[0]).spec.partitions = partitions;
        settle(world);
        let status = world.topics[0].status.clone().unwrap();
        (entries(world).count(), status.partitions, ready_because(world, "orders").to_owned())
    };
    for (asked, there) in [(Some(2), 3), (Some(4), 4), (None, 4), (Some(1), 4)] {
        assert_eq!(ask(&mut world, asked), (there, Some(there as i32), "Ready".to_owned()), "{asked:?}");
    }
}

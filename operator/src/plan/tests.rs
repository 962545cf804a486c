//! Cases that are hard to reach through an API server; lives of topics are told in `tests/stories.rs`.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use ottla_crds::assignment::Incarnation;
use ottla_crds::{Brokers, ClusterRef, KafkaClusterSpec, Placement};

use super::platform::Obstacle;
use super::*;

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
        missing: Default::default(),
        brokers: brokers.iter().map(broker).collect(),
        platform: None,
        settled: Default::default(),
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

fn placed(mut topic: KafkaTopic, placement: &[(i32, &[i32])]) -> KafkaTopic {
    let place = |&(partition, replicas): &(i32, &[i32])| Placement {
        partition,
        replicas: replicas.iter().map(|id| BrokerId(*id)).collect(),
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
        Step::TopicStatus(topic, _) => replace_topic(world, *topic),
        Step::ClusterStatus(cluster, _) => world.cluster = Some(Arc::from(cluster)),
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
        (&[0, 2][..], "BrokerNotAvailable", "partition 1 is to begin on broker 2, which can not take it now"),
        (&[2], "BrokerNotAvailable", "partition 1 is to begin on broker 2, which can not take it now"),
        (&[7], "BrokerNotAvailable", "partition 1 is to begin on broker 7, which can not take it now"),
    ] {
        let mut world = world(&[(0, false), (1, false), (2, true)]);
        world.topics.push(Arc::new(placed(topic("orders", 2), &[(1, replicas)])));
        settle(&mut world);
        assert!(world.assignments.is_empty(), "nothing is placed elsewhere");
        let ready = &world.topics[0].status.as_ref().unwrap().conditions[0];
        assert_eq!((ready.reason.as_str(), ready.message.as_str()), (reason, message));
    }
}

#[test]
fn of_a_paused_cluster_nothing_is_changed() {
    let mut world = world(&[(0, false)]);
    let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.spec.paused = true;
    world.cluster = Some(Arc::new(cluster));
    world.topics.push(Arc::new(topic("orders", 1)));
    assert!(plan(&world).is_empty());
}

#[test]
fn a_cluster_id_is_drawn_once_and_never_looks_like_an_option() {
    let mut world = world(&[(0, false)]);
    world.fresh_cluster_id = Uuid::from_u128(0xf8 << 120);
    settle(&mut world);
    let id = |world: &World| world.cluster.as_ref().unwrap().status.as_ref().unwrap().cluster_id.clone().unwrap();
    let first = id(&world);
    assert_eq!((first.len(), first.starts_with('-')), (22, false));
    world.fresh_cluster_id = Uuid::from_u128(1);
    world.brokers.clear();
    settle(&mut world);
    assert_eq!(id(&world), first);
}

#[test]
fn a_lease_that_is_left_is_no_broker_unless_it_holds_something() {
    for (partitions, expected) in [(0, vec![0]), (2, vec![0, 1])] {
        let mut world = world(&[(0, false), (1, false)]);
        if partitions > 0 {
            world.topics.push(Arc::new(topic("orders", partitions)));
        }
        settle(&mut world);
        let mut smaller = KafkaCluster::clone(world.cluster.as_ref().unwrap());
        smaller.spec.brokers.replicas = 1;
        world.cluster = Some(Arc::new(smaller));
        world.brokers.insert(BrokerId(1), Broker::default());
        settle(&mut world);
        let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
        let ids: Vec<i32> = status.brokers.iter().map(|broker| broker.id.0).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn on_kubernetes_the_status_says_what_it_shows_and_whom_it_waits_for() {
    let platform = Platform {
        listeners: vec![ottla_crds::ListenerStatus { name: "internal".into(), bootstrap_servers: "b:9092".into() }],
        cluster_id: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
        ..Platform::default()
    };
    let stuck = Obstacle::new("ImageUnavailable", "pod prod-broker-0 can not get its image");
    let invalid = Obstacle::new("InvalidSpec", "brokers.storage is needed");
    for (there, platform, ready, progressing) in [
        (true, platform.clone(), ("True", "Ready"), ("False", "Settled")),
        (
            true,
            Platform { outdated: vec![BrokerId(0)], ..platform.clone() },
            ("True", "Ready"),
            ("True", "RestartNeeded"),
        ),
        (
            false,
            Platform { waiting: Some(stuck.clone()), ..platform.clone() },
            ("False", "NoBrokers"),
            ("True", "ImageUnavailable"),
        ),
        (true, Platform { obstacle: Some(invalid), ..platform }, ("False", "InvalidSpec"), ("True", "InvalidSpec")),
    ] {
        let mut world = world(&[(0, false)]);
        if !there {
            world.brokers.insert(BrokerId(0), Broker::default());
        }
        world.platform = Some(Arc::new(platform));
        settle(&mut world);
        let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
        let condition = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
            (found.status.as_str(), found.reason.as_str())
        };
        assert_eq!((condition("Ready"), condition("Progressing")), (ready, progressing));
        assert_eq!(status.cluster_id.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAA"), "that of the volumes");
        assert_eq!(status.listeners[0].bootstrap_servers, "b:9092");
        let available = status.conditions.iter().find(|condition| condition.type_ == "Available").unwrap();
        assert_eq!(available.message.contains(&stuck.message), !there, "why nobody is there");
    }
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
fn a_recovery_is_told_of_the_partitions_that_were_written() {
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

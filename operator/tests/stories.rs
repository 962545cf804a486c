//! Topics' lives, against the embedded API: the operator as it runs, brokers as their Leases show them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod moving;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_crds::{BrokerState, DeletionPolicy, KafkaAssignment, KafkaTopic};
use ottla_kube::lease::EXPIRE;
use ottla_operator::acting::Acting;
use ottla_rules::assignment::{BrokerId, Incarnation, LeaderEpoch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use world::{Seen, World, condition};

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_applied_gets_leaders_on_live_brokers() {
    let world = World::with_cluster(2).await;
    let _operator = world.operator();
    let _brokers = (world.broker(0, 7), world.broker(1, 8));
    world.until("both brokers are in the status", |seen| seen.cluster().is_some_and(|c| c.replicas == Some(2))).await;
    let before = tokio::time::Instant::now();
    world.apply_topic("orders", 100).await;
    world.until("each partition has a leader", |seen| seen.leaders("orders").len() == 100).await;
    let took = before.elapsed();
    assert!(took.as_millis() < 100, "no timer is waited for: {took:?} of paused time");
    let seen = world.seen().await;
    let leaders = seen.leaders("orders");
    let (on_0, on_1): (Vec<BrokerId>, Vec<BrokerId>) = leaders.into_values().partition(|leader| *leader == BrokerId(0));
    assert_eq!((on_0.len(), on_1.len()), (50, 50));
    assert_eq!(seen.assignments.len(), 2, "64 partitions per object");

    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    let topic = world.seen().await.topic("orders").unwrap().clone();
    let status = topic.status.unwrap();
    assert_eq!(
        (status.partitions, status.replication_factor, status.offline_partitions),
        (Some(100), Some(1), Some(0))
    );
    assert_eq!(status.topic_id.unwrap().to_string(), topic.metadata.uid.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_steady_state_writes_nothing_but_leases() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply_topic("orders", 3).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    world.settle().await;
    let before = world.seen().await.versions();
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert_eq!(world.seen().await.versions(), before);
}

/// The operator hangs before the first write too many.
#[tokio::test(start_paused = true)]
async fn a_topic_costs_three_writes_and_its_end_another_three() {
    const TOPICS: i64 = 150;
    const CLUSTERS_STATUS: i64 = 10;
    let world = World::with_cluster(2).await;
    let _brokers = (world.broker(0, 7), world.broker(1, 8));
    let first = world.operator_with(3 * TOPICS + CLUSTERS_STATUS);
    for n in 0..TOPICS {
        world.apply_topic(&format!("topic-{n}"), 2).await;
    }
    let ready = |topic: &KafkaTopic| condition(Some(topic), "Ready") == Some(("True", "Ready"));
    world.until("all are ready", |seen| seen.topics.iter().all(ready)).await;
    drop(first);

    let _second = world.operator_with(3 * TOPICS + CLUSTERS_STATUS);
    for n in 0..TOPICS {
        world.delete_topic(&format!("topic-{n}")).await;
    }
    world.until("all objects are gone", |seen| seen.topics.is_empty()).await;
    world.remove_replicas(BrokerId(0)).await;
    world.remove_replicas(BrokerId(1)).await;
    world.until("nothing is left", |seen| seen.assignments.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn deletion_waits_for_every_replicas_word_but_not_the_object() {
    let world = World::with_cluster(2).await;
    let _operator = world.operator();
    let _brokers = (world.broker(0, 7), world.broker(1, 8));
    world.apply_topic("orders", 70).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;

    world.delete_topic("orders").await;
    world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
    world.settle().await;
    let graves = world.seen().await.assignments;
    assert_eq!(graves.len(), 2);
    assert!(graves.iter().all(|grave| grave.spec.deleted));

    world.remove_replicas(BrokerId(0)).await;
    world.settle().await;
    assert_eq!(world.seen().await.assignments.len(), 2, "broker 1 has not said a word");
    world.remove_replicas(BrokerId(1)).await;
    world.until("nothing is left", |seen| seen.assignments.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_again_at_once_and_the_new_topic_is_another() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply_topic("orders", 1).await;
    world.until("it has a leader", |seen| seen.leaders("orders").len() == 1).await;
    let old = world.seen().await.assignments[0].spec.topic_id;
    world.delete_topic("orders").await;
    world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
    world.apply_topic("orders", 1).await;
    world.until("it has a leader", |seen| seen.leaders("orders").len() == 1).await;
    let seen = world.seen().await;
    let standing: Vec<&KafkaAssignment> = seen.assignments.iter().filter(|a| !a.spec.deleted).collect();
    assert_eq!(standing.len(), 1);
    assert_ne!(standing[0].spec.topic_id, old);
}

#[tokio::test(start_paused = true)]
async fn a_retained_topic_outlives_its_object_and_is_taken_over_by_the_next() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply(world.topic("orders", 2, |spec| spec.deletion_policy = DeletionPolicy::Retain)).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    let before = world.seen().await.assignments;
    world.delete_topic("orders").await;
    world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
    world.settle().await;
    assert_eq!(world.seen().await.assignments, before);

    world.apply_topic("orders", 3).await;
    world.until("it has grown", |seen| seen.leaders("orders").len() == 3).await;
    let after = world.seen().await;
    assert_eq!(after.assignments.len(), 1);
    assert_eq!(after.assignments[0].spec.topic_id, before[0].spec.topic_id);
    assert_eq!(after.assignments[0].spec.partitions[..2], before[0].spec.partitions[..]);
}

#[tokio::test(start_paused = true)]
async fn of_two_objects_for_one_topic_the_older_has_it() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply_topic("orders", 1).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    let second = world.topic("same", 5, |spec| spec.topic_name = Some("orders".to_owned()));
    world.apply(second).await;
    let conflict = |topic: Option<&KafkaTopic>| condition(topic, "Conflict") == Some(("True", "OtherObject"));
    world.until("the younger shows a conflict", |seen| conflict(seen.topic("same"))).await;
    world.settle().await;
    assert_eq!(world.seen().await.leaders("orders").len(), 1);

    world.delete_topic("orders").await;
    world.until("the younger takes its place", |seen| seen.leaders("orders").len() == 5).await;
    let free = |topic: Option<&KafkaTopic>| condition(topic, "Conflict") == Some(("False", "NoConflict"));
    world.until("and shows so", |seen| free(seen.topic("same"))).await;
}

/// Nobody listens there: when half of all brokers look dead, the operator asks them before it believes their Leases.
fn closed_port() -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket); // nobody else shall have it
    port
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_dies_takes_its_leaderships_with_it_and_brings_them_back() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let broker = world.broker_at(0, 7, closed_port());
    world.apply_topic("orders", 3).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    let identity = broker.kill();
    let offline = Some(("False", "PartitionsOffline"));
    world.until("nobody leads", |seen| condition(seen.topic("orders"), "Ready") == offline).await;
    let seen = world.seen().await;
    assert!(seen.leaders("orders").is_empty());
    assert!(seen.assignments[0].spec.partitions.iter().all(|p| (p.leader_epoch, p.isr.len()) == (LeaderEpoch(1), 1)));
    let message = seen.message(seen.topic("orders"), "Ready");
    assert_eq!(message, "partitions 0–2 are waiting for broker 0");

    let _again = world.broker_after(0, 7, identity);
    world.until("it leads again", |seen| seen.leaders("orders").len() == 3).await;
    let entry = world.seen().await.assignments[0].spec.partitions[0].clone();
    assert_eq!((entry.leader_epoch, entry.isr[0].incarnation), (LeaderEpoch(2), Incarnation(7)));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_may_have_lost_records_leads_only_after_its_report() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let broker = world.broker(0, 7);
    world.apply_topic("orders", 2).await;
    world.until("it has leaders", |seen| seen.leaders("orders").len() == 2).await;
    let identity = broker.kill();
    let _other_content = world.broker_after(0, 8, identity);
    world.until("nobody leads", |seen| seen.leaders("orders").is_empty()).await;
    world.settle().await;
    assert!(world.seen().await.leaders("orders").is_empty(), "nothing was reported yet");

    world.report(BrokerId(0), 8, 100).await;
    world.until("it leads again", |seen| seen.leaders("orders").len() == 2).await;
    let entry = world.seen().await.assignments[0].spec.partitions[1].clone();
    assert_eq!((entry.isr[0].incarnation, entry.reports.len()), (Incarnation(8), 0));
}

/// What the condition says is to be done, as `kubectl` would do it.
fn told_patch(seen: &Seen) -> Option<serde_json::Value> {
    let message = seen.message(seen.topic("orders"), "ReplicasHealthy");
    let (_, patch) = message.split_once("kubectl patch kafkatopic orders -n default --type merge -p '")?;
    Some(serde_json::from_str(patch.trim_end_matches('\'')).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_order_in_the_condition_recovers_partitions_of_a_lost_broker_and_only_once() {
    let world = World::with_cluster(3).await;
    let _operator = world.operator();
    let zero = world.broker_at(0, 7, closed_port());
    let one = world.broker_at(1, 8, closed_port());
    let _two = world.broker(2, 9);
    let placed = ottla_crds::Placement { partition: 0, replicas: vec![BrokerId(0), BrokerId(1)], once: false };
    world.apply(world.topic("orders", 1, |spec| spec.placement = vec![placed])).await;
    world.until("it has a leader", |seen| seen.leaders("orders").len() == 1).await;

    let zero = zero.kill();
    let one = one.kill();
    let offline = |seen: &Seen| condition(seen.topic("orders"), "Ready") == Some(("False", "PartitionsOffline"));
    world.until("nobody leads", offline).await;
    let seen = world.seen().await;
    assert_eq!(seen.message(seen.topic("orders"), "ReplicasHealthy"), "partition 0 is waiting for brokers 0–1");

    // One comes back without its last records; the other's volume is lost.
    let broker = world.broker_at_after(0, 17, closed_port(), zero);
    let recovering = |seen: &Seen| condition(seen.topic("orders"), "Ready") == Some(("False", "Recovering"));
    world.until("that is said", recovering).await;
    assert_eq!(told_patch(&world.seen().await), None, "it has not said what it has");
    world.report(BrokerId(0), 17, 100).await;
    world.settle().await;
    assert_eq!(told_patch(&world.seen().await), None, "the other may be on its way back");
    world.until("a command is shown", |seen| told_patch(seen).is_some()).await;
    world.settle().await;
    assert!(world.seen().await.leaders("orders").is_empty(), "nobody has given anything up");

    let patch = told_patch(&world.seen().await).unwrap();
    world.patch_topic("orders", patch.clone()).await;
    world.until("it continues", |seen| seen.leaders("orders") == [(0, BrokerId(0))].into()).await;
    let entry = world.seen().await.assignments[0].spec.partitions[0].clone();
    assert_eq!((entry.leader_epoch, entry.isr.len(), entry.isr[0].incarnation), (LeaderEpoch(2), 1, Incarnation(17)));
    world.settle().await;
    assert!(world.events().await.contains(&"RecoveredByOrder".to_owned()));

    // The same once more, while the order stands where it stood.
    let other = world.broker_at_after(1, 18, closed_port(), one);
    world.join(BrokerId(1), 18).await;
    world.until("both are in sync", |seen| seen.assignments[0].spec.partitions[0].isr.len() == 2).await;
    let (zero, _) = (broker.kill(), other.kill());
    world.until("nobody leads", |seen| seen.leaders("orders").is_empty()).await;
    let _broker = world.broker_after(0, 27, zero);
    world.report(BrokerId(0), 27, 50).await;
    world.until("a new order could be given", |seen| told_patch(seen).is_some_and(|new| new != patch)).await;
    world.patch_topic("orders", patch).await;
    world.settle().await;
    let seen = world.seen().await;
    assert!(seen.leaders("orders").is_empty(), "an order is obeyed once");
    let message = seen.message(seen.topic("orders"), "ReplicasHealthy");
    assert!(message.contains("the order is for leader epoch 1, and the present one is 3"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_made_again_has_nothing_of_one_whose_records_went() {
    let world = World::with_cluster(2).await;
    let _operator = world.operator();
    let brokers = (world.broker(0, 7), world.broker(1, 8));
    let placement = [0, 1].map(|partition| ottla_crds::Placement {
        partition,
        replicas: vec![BrokerId(0), BrokerId(1)],
        once: false,
    });
    world.apply(world.topic("orders", 2, |spec| spec.placement = placement.into())).await;
    world.apply_topic("gone", 2).await;
    world.until("both are ready", |seen| seen.leaders("orders").len() + seen.leaders("gone").len() == 4).await;
    world.settle().await;
    let id = |seen: &Seen| seen.cluster().and_then(|status| status.cluster_id.clone());
    let first = world.seen().await;
    // An order stays where it was given. Whether it was obeyed is all the same: its epoch comes again.
    let orders = [0, 1].map(|partition| serde_json::json!({ "partition": partition, "leaderEpoch": 1, "broker": 0 }));
    let mut order = serde_json::json!({ "spec": { "recovery": {
        "clusterId": id(&first),
        "topicId": first.topic("orders").unwrap().status.as_ref().unwrap().topic_id,
        "partitions": orders,
    } } });
    world.patch_topic("orders", order.clone()).await;
    drop(brokers);
    world.end_cluster().await;
    assert_eq!((world.seen().await.assignments.len(), world.leases().await), (0, 0));
    world.delete_topic("gone").await;
    world.until("it is let go", |seen| seen.topic("gone").is_none()).await;

    world.apply_cluster(2).await;
    let zero = world.broker_at(0, 17, closed_port());
    let one = world.broker_at(1, 18, closed_port());
    world.until("the topic is placed again", |seen| seen.leaders("orders").len() == 2).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    let seen = world.seen().await;
    assert!(id(&seen).is_some() && id(&seen) != id(&first));
    assert!(seen.leaders("gone").is_empty());

    // What the order names is here again: the topic, the epoch, the broker.
    let (zero, _) = (zero.kill(), one.kill());
    world.until("nobody leads", |seen| seen.leaders("orders").is_empty()).await;
    let _zero = world.broker_after(0, 27, zero);
    world.report(BrokerId(0), 27, 50).await;
    world.until("a command is shown", |seen| told_patch(seen).is_some()).await;
    world.settle().await;
    let seen = world.seen().await;
    assert!(seen.leaders("orders").is_empty(), "the order was given in another cluster");
    order["spec"]["recovery"]["clusterId"] = id(&seen).into();
    assert_eq!(told_patch(&seen).as_ref(), Some(&order));
    world.patch_topic("orders", order).await;
    world.until("it continues", |seen| seen.leaders("orders").len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_done_is_said_and_not_done() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    world.apply_topic("early", 1).await;
    let ready = |topic: Option<&KafkaTopic>, reason| condition(topic, "Ready") == Some(("False", reason));
    world.until("it waits for a broker", |seen| ready(seen.topic("early"), "BrokersStarting")).await;
    let _broker = world.broker(0, 7);
    world.until("it has one", |seen| seen.leaders("early").len() == 1).await;

    world.apply(world.topic("three", 1, |spec| spec.replication_factor = Some(3))).await;
    world.until("refused", |seen| ready(seen.topic("three"), "TooFewBrokers")).await;
    let typo = |spec: &mut ottla_crds::KafkaTopicSpec| {
        spec.config.insert("retention.mss".to_owned(), "1".to_owned());
    };
    world.apply(world.topic("typo", 1, typo)).await;
    world.until("refused", |seen| ready(seen.topic("typo"), "InvalidConfig")).await;
    let seen = world.seen().await;
    assert!(seen.message(seen.topic("typo"), "ConfigSynced").contains("retention.mss"));
    assert!(seen.leaders("three").is_empty() && seen.leaders("typo").is_empty());
}

#[tokio::test(start_paused = true)]
async fn missing_assignments_are_not_placed_again() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply_topic("orders", 2).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    world.lose_assignments().await;
    let missing = Some(("False", "AssignmentsMissing"));
    world.until("it is said", |seen| condition(seen.topic("orders"), "Ready") == missing).await;
    world.settle().await;
    let seen = world.seen().await;
    assert!(seen.assignments.is_empty());
    assert_eq!(seen.topic("orders").unwrap().status.as_ref().unwrap().partitions, Some(2));
    let way_out = seen.message(seen.topic("orders"), "Ready");
    assert!(way_out.contains("-broker-0 -- ottla objects --help"), "{way_out}");
}

#[tokio::test(start_paused = true)]
async fn without_its_cluster_a_topic_is_let_go() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.apply_topic("orders", 2).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
    world.delete_cluster().await;
    world.until("the cluster is gone", |seen| seen.cluster().is_none()).await;
    world.delete_topic("orders").await;
    world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
    assert!(world.events().await.contains(&"ClusterGone".to_owned()));
    assert!(!world.seen().await.assignments[0].spec.deleted, "records stay");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_applied_before_its_cluster_says_that_it_waits_for_it() {
    let world = World::with_cluster(1).await;
    world.delete_cluster().await;
    world.until("the cluster is gone", |seen| seen.cluster().is_none()).await;
    let (_operator, _broker) = (world.operator(), world.broker(0, 7));
    world.apply_topic("orders", 2).await;
    world.until("it waits", |seen| condition(seen.topic("orders"), "Ready") == Some(("False", "NoCluster"))).await;
    world.apply_cluster(1).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
}

#[tokio::test(start_paused = true)]
async fn where_one_cluster_is_operated_topics_of_others_say_that_these_do_not_exist() {
    let world = World::with_cluster(1).await;
    let (_operator, _others) = (world.operator(), world.operator_of_others());
    world.apply(world.topic("orders", 1, |spec| spec.cluster_ref.name = "elsewhere".to_owned())).await;
    world.until("it waits", |seen| condition(seen.topic("orders"), "Ready") == Some(("False", "NoCluster"))).await;
    world.delete_topic("orders").await;
    world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
}

/// The operator is killed before its n-th write, for every n, and another one takes over.
#[tokio::test(start_paused = true)]
async fn an_operator_may_stop_between_any_two_writes() {
    for writes in 1..10 {
        let world = World::with_cluster(2).await;
        let _brokers = (world.broker(0, 7), world.broker(1, 8));
        let first = world.operator_with(writes);
        world.apply_topic("orders", 65).await;
        world.settle().await;
        drop(first);
        let second = world.operator();
        world.until("each partition has a leader", |seen| seen.leaders("orders").len() == 65).await;
        world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;
        drop(second);

        let third = world.operator_with(writes);
        world.delete_topic("orders").await;
        world.settle().await;
        drop(third);
        let _fourth = world.operator();
        world.until("the object is gone", |seen| seen.topic("orders").is_none()).await;
        for broker in [BrokerId(0), BrokerId(1)] {
            world.remove_replicas(broker).await;
        }
        world.until("nothing is left", |seen| seen.assignments.is_empty()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_operators_at_once_make_one_topic() {
    let world = World::with_cluster(2).await;
    let _operators = (world.operator(), world.operator());
    let _brokers = (world.broker(0, 7), world.broker(1, 8));
    for n in 0..10 {
        world.apply_topic(&format!("topic-{n}"), 70).await;
    }
    for n in 0..10 {
        let name = format!("topic-{n}");
        world.until("each partition has a leader", |seen| seen.leaders(&name).len() == 70).await;
    }
    assert_eq!(world.seen().await.assignments.len(), 20);
}

fn unlimited() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(i64::MAX))
}

#[tokio::test(start_paused = true)]
async fn the_replica_that_waits_writes_nothing_and_has_seen_who_died_when_it_takes_over() {
    let world = World::with_cluster(2).await;
    let (held, holding) = watch::channel(None);
    let _waits = world.operator_that(Acting::while_held(holding), unlimited()).await;
    let acts = world.operator_that(Acting::alone(), unlimited()).await;
    let dies = world.broker_at(0, 7, closed_port());
    let _stays = world.broker(1, 8);
    world.apply(world.topic("orders", 6, |topic| topic.replication_factor = Some(2))).await;
    world.until("it is ready", |seen| condition(seen.topic("orders"), "Ready") == Some(("True", "Ready"))).await;

    drop((acts, dies));
    let before = world.seen().await.versions();
    tokio::time::sleep(2 * EXPIRE).await;
    assert_eq!(world.seen().await.versions(), before, "nobody acts");
    let takes_over = Instant::now();
    held.send_replace(Some(takes_over + 10 * EXPIRE));
    let led = |seen: &Seen| seen.leaders("orders").into_values().all(|leader| leader == BrokerId(1));
    world.until("the other one leads everything", led).await;
    assert!(takes_over.elapsed().as_millis() < 100, "no timer is waited for: {:?}", takes_over.elapsed());

    held.send_replace(None);
    world.settle().await;
    let before = world.seen().await.versions();
    world.apply_topic("too-late", 1).await;
    world.settle().await;
    let after = world.seen().await;
    assert!(after.leaders("too-late").is_empty() && before.iter().all(|version| after.versions().contains(version)));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_when_the_lease_was_lost_is_written_when_it_is_back() {
    let world = World::with_cluster(1).await;
    let _broker = world.broker(0, 7);
    let (held, holding) = watch::channel(Some(Instant::now() + 10 * EXPIRE));
    let writes = unlimited();
    let _operator = world.operator_that(Acting::while_held(holding), writes.clone()).await;
    world.until("the broker is there", |seen| seen.cluster().is_some_and(|c| c.replicas == Some(1))).await;
    world.settle().await;

    writes.store(0, Ordering::SeqCst);
    world.apply_topic("orders", 3).await;
    world.settle().await;
    held.send_replace(None);
    world.settle().await;
    writes.store(i64::MAX, Ordering::SeqCst);
    held.send_replace(Some(Instant::now() + 10 * EXPIRE));
    world.until("each partition has a leader", |seen| seen.leaders("orders").len() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn broken_watches_and_an_outage_cost_time_only() {
    let world = World::with_cluster(1).await;
    let _operator = world.operator();
    let _broker = world.broker(0, 7);
    world.until("the broker is there", |seen| seen.cluster().is_some_and(|c| c.replicas == Some(1))).await;
    for n in 0..5 {
        world.faults().expire_watches();
        world.faults().drop_watches();
        world.faults().refuse_writes(3);
        let name = format!("topic-{n}");
        world.apply_topic(&name, 70).await;
        world.until("each partition has a leader", |seen| seen.leaders(&name).len() == 70).await;
    }
    world.faults().set_outage(true);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    world.faults().set_outage(false);
    world.apply_topic("after", 1).await;
    world.until("it has a leader", |seen| seen.leaders("after").len() == 1).await;
    assert_eq!(world.seen().await.leaders("topic-0").len(), 70, "an outage moves nobody");
}

#[tokio::test]
async fn a_broker_whose_connection_breaks_and_whose_port_is_closed_is_offline_at_once() {
    let world = World::with_cluster(2).await;
    let _operator = world.operator();
    let socket = || async { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let (one, other) = (socket().await, socket().await);
    let port = |socket: &tokio::net::TcpListener| socket.local_addr().unwrap().port();
    let _one = world.broker_at(0, 1, port(&one));
    let _other = world.broker_at(1, 1, port(&other));
    let online = |seen: &Seen| {
        let brokers = seen.clusters.first().and_then(|cluster| cluster.status.as_ref()).map(|status| &status.brokers);
        brokers.map_or(0, |brokers| brokers.iter().filter(|broker| broker.state == BrokerState::Online).count())
    };
    world.until("both are online", |seen| online(seen) == 2).await;
    // As a broker does: every ping is answered. Then its sockets are gone, while its Lease is still renewed.
    let (mut connection, _) = one.accept().await.unwrap();
    answer_a_ping(&mut connection).await;
    answer_a_ping(&mut connection).await;
    drop((connection, one));
    world.until("it is offline", |seen| online(seen) == 1).await;
}

async fn answer_a_ping(connection: &mut tokio::net::TcpStream) {
    let length = connection.read_u32().await.unwrap();
    let mut request = vec![0; length as usize];
    connection.read_exact(&mut request).await.unwrap();
    // ApiVersions, version 0: the request's correlation id, no error, and no API.
    let response = [&[0, 0, 0, 10], &request[4..8], &[0; 6]].concat();
    connection.write_all(&response).await.unwrap();
}

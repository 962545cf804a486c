//! A KafkaRebalance from its proposal to its end.

use ottla_crds::{KafkaRebalance, KafkaRebalanceSpec, KafkaRebalanceStatus, RebalanceMode, RebalanceState};
use ottla_rules::assignment::PartitionEpoch;

use super::relocation::{catch_up, cluster, held, ids, loads, moving, origins, scale};
use super::*;

/// Three brokers that hold everything, and an empty one that nobody fills.
fn uneven() -> World {
    let mut world = cluster(3, 20);
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.rebalance.auto.clear();
    scale(&mut world, 4);
    let live = Some(LiveBroker { incarnation: Incarnation(4), draining: false });
    world.brokers.insert(BrokerId(3), Broker { live, ..Broker::default() });
    world.loads = Some(loads(4));
    settle(&mut world);
    world
}

fn ask(world: &mut World, name: &str, mode: RebalanceMode, brokers: &[i32]) {
    let cluster_ref = ClusterRef { name: "prod".to_owned() };
    let spec = KafkaRebalanceSpec { cluster_ref, mode, brokers: ids(brokers), ..KafkaRebalanceSpec::default() };
    let mut object = KafkaRebalance::new(name, spec);
    object.metadata.namespace = Some("shop".to_owned());
    world.rebalances.get_or_insert_default().push(Arc::new(object));
    settle(world);
}

fn change(world: &mut World, name: &str, change: impl FnOnce(&mut KafkaRebalanceSpec)) {
    let objects = world.rebalances.as_mut().unwrap();
    let object = objects.iter_mut().find(|object| object.name_any() == name).unwrap();
    change(&mut Arc::make_mut(object).spec);
    settle(world);
}

fn approve(world: &mut World, name: &str) {
    let hash = status(world, name).hash;
    change(world, name, |spec| spec.approved = Some(hash));
}

fn status(world: &World, name: &str) -> KafkaRebalanceStatus {
    let objects = world.rebalances.as_ref().unwrap();
    objects.iter().find(|object| object.name_any() == name).unwrap().status.clone().unwrap()
}

fn state(world: &World, name: &str) -> RebalanceState {
    status(world, name).state
}

fn message(world: &World, name: &str) -> String {
    status(world, name).conditions[0].message.clone()
}

fn versions(world: &World) -> Vec<PartitionEpoch> {
    entries(world).map(|entry| entry.partition_epoch).collect()
}

#[test]
fn a_proposal_moves_nothing_before_it_is_approved_and_then_all_of_it() {
    let mut world = uneven();
    let before = versions(&world);
    ask(&mut world, "even", RebalanceMode::Full, &[]);
    let proposed = status(&world, "even");
    assert_eq!((versions(&world), proposed.state), (before, RebalanceState::Proposed), "a dry run");
    assert!(proposed.moves >= 28, "{proposed:?}");
    assert_eq!(proposed.hash.len(), 6);
    let expected = format!(
        "; to carry it out: kubectl patch kafkarebalance even -n shop --type merge -p '{{\"spec\":{{\"approved\":\"{}\"}}}}'",
        proposed.hash
    );
    assert!(message(&world, "even").ends_with(&expected), "{}", message(&world, "even"));
    let empty = proposed.brokers.iter().find(|broker| broker.id == BrokerId(3)).unwrap();
    assert!(empty.replicas.starts_with("0→"), "{empty:?}");

    change(&mut world, "even", |spec| spec.approved = Some("abcdef".to_owned()));
    assert_eq!((moving(&world), state(&world, "even")), (0, RebalanceState::Proposed), "another proposal's hash");

    approve(&mut world, "even");
    let mut percents = Vec::new();
    for round in 0.. {
        settle(&mut world);
        percents.extend(status(&world, "even").percent);
        if state(&world, "even") != RebalanceState::Moving {
            break;
        }
        assert!(moving(&world) > 0 && round < 60, "round {round}");
        catch_up(&mut world);
    }
    let done = status(&world, "even");
    assert_eq!((done.state, done.percent, done.moves), (RebalanceState::Done, Some(100), proposed.moves));
    assert!(percents.is_sorted() && percents.len() > 4, "{percents:?}");
    let replicas: Vec<usize> = (0..4).map(|id| held(&world, id)).collect();
    assert!(replicas.iter().all(|held| (28..=32).contains(held)), "120 replicas: {replicas:?}");
}

#[test]
fn what_would_move_much_more_than_was_approved_waits_for_another_approval() {
    let mut world = uneven();
    ask(&mut world, "even", RebalanceMode::Fill, &[3]);
    let approved = status(&world, "even");
    for id in 100..120 {
        let mut topic = of_uid(id, placed(topic(&format!("topic-{id}"), 3), &[]));
        topic.spec.replication_factor = Some(2);
        topic.spec.placement =
            (0..3).map(|p| Placement { partition: p, replicas: ids(&[p, (p + 1) % 3]), once: true }).collect();
        world.topics.push(Arc::new(topic));
    }
    settle(&mut world);
    approve(&mut world, "even");
    let stale = status(&world, "even");
    assert!(stale.moves > approved.moves + approved.moves / 10, "{} after {}", stale.moves, approved.moves);
    assert!(stale.hash != approved.hash && moving(&world) == 0);
    assert_eq!(stale.state, RebalanceState::Stale);
    approve(&mut world, "even");
    assert_eq!(state(&world, "even"), RebalanceState::Moving);
}

#[test]
fn a_rebalance_that_is_cancelled_or_deleted_returns_what_is_moving() {
    for cancel in [true, false] {
        let mut world = uneven();
        let before = origins(&world);
        ask(&mut world, "even", RebalanceMode::Full, &[]);
        approve(&mut world, "even");
        assert!(moving(&world) > 0);
        if cancel {
            change(&mut world, "even", |spec| spec.cancel = true);
            assert_eq!(state(&world, "even"), RebalanceState::Cancelled);
        } else {
            world.rebalances = Some(Vec::new());
            settle(&mut world);
        }
        assert_eq!((origins(&world), moving(&world)), (before, 0), "cancelled: {cancel}");
    }
}

fn pause(world: &mut World, paused: bool) {
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.paused = paused;
    settle(world);
}

#[test]
fn rebalances_of_a_paused_cluster_say_so_and_continue_afterwards() {
    let mut world = uneven();
    ask(&mut world, "even", RebalanceMode::Full, &[]);
    pause(&mut world, true);
    assert_eq!(
        condition::reason(&status(&world, "even").conditions, "Ready"),
        Some("Proposed"),
        "nothing is to be done"
    );
    approve(&mut world, "even");
    assert_eq!((moving(&world), state(&world, "even")), (0, RebalanceState::Proposed));
    assert_eq!(
        message(&world, "even"),
        "the KafkaCluster is paused: the approved moves do not begin. To continue: kubectl patch kafkacluster prod -n shop \
         --type merge -p '{\"spec\":{\"paused\":false}}'"
    );
    ask(&mut world, "other", RebalanceMode::Fill, &[3]);
    assert!(message(&world, "other").contains("nothing is proposed"), "{}", message(&world, "other"));
    assert_eq!(state(&world, "other"), RebalanceState::Pending);
    pause(&mut world, false);
    assert!(moving(&world) > 0 && state(&world, "even") == RebalanceState::Moving);
    assert_eq!(state(&world, "other"), RebalanceState::Proposed);

    pause(&mut world, true);
    change(&mut world, "even", |spec| spec.cancel = true);
    assert!(moving(&world) > 0 && message(&world, "even").contains("the moves are not cancelled"));
    pause(&mut world, false);
    assert_eq!((moving(&world), state(&world, "even")), (0, RebalanceState::Cancelled));
}

#[test]
fn moves_are_left_alone_until_the_rebalances_are_listed() {
    let mut world = uneven();
    ask(&mut world, "even", RebalanceMode::Full, &[]);
    approve(&mut world, "even");
    let (before, listed) = (versions(&world), world.rebalances.take());
    settle(&mut world);
    assert!(listed.is_some() && moving(&world) > 0 && versions(&world) == before);
}

#[test]
fn one_rebalance_moves_replicas_at_a_time() {
    let mut world = uneven();
    ask(&mut world, "one", RebalanceMode::Fill, &[3]);
    ask(&mut world, "two", RebalanceMode::Full, &[]);
    approve(&mut world, "one");
    approve(&mut world, "two");
    assert_eq!((state(&world, "one"), state(&world, "two")), (RebalanceState::Moving, RebalanceState::Proposed));
    assert_eq!(message(&world, "two"), "approved: it begins when the KafkaRebalance one is done");
}

#[test]
fn a_broker_that_gets_no_replicas_is_named_and_a_proposal_waits_for_the_loads() {
    let mut world = uneven();
    ask(&mut world, "fill", RebalanceMode::Fill, &[3, 7]);
    assert!(message(&world, "fill").starts_with("spec.brokers names broker 7: "), "{}", message(&world, "fill"));
    assert_eq!(state(&world, "fill"), RebalanceState::Pending);

    world.loads = None;
    ask(&mut world, "later", RebalanceMode::Full, &[]);
    let later = world.rebalances.as_ref().unwrap().iter().find(|object| object.name_any() == "later").unwrap();
    assert_eq!(later.status, None);
}

fn reason(world: &World, name: &str) -> String {
    status(world, name).conditions[0].reason.clone()
}

#[test]
fn a_proposal_waits_for_brokers_that_start_and_says_so() {
    for mode in [RebalanceMode::Full, RebalanceMode::Fill] {
        let named: &[i32] = if mode == RebalanceMode::Fill { &[3] } else { &[] };
        let mut world = uneven();
        let new = world.brokers.remove(&BrokerId(3)).unwrap();
        world.loads = None;
        ask(&mut world, "even", mode, named);
        assert_eq!((reason(&world, "even").as_str(), status(&world, "even").hash), ("BrokersStarting", String::new()));
        assert_eq!(state(&world, "even"), RebalanceState::Pending);
        let expected = "nothing is proposed yet: the spec of the KafkaCluster prod asks for broker 3, which has not started. \
                        The proposal comes by itself when broker 3 starts; to see why that takes so long: kubectl describe \
                        kafkacluster prod -n shop. ";
        assert!(message(&world, "even").starts_with(expected), "{}", message(&world, "even"));

        // Kubernetes knows its address before its first Lease.
        let http = Some(([127, 0, 0, 1], 9404).into());
        world.brokers.insert(BrokerId(3), Broker { http, ..Broker::default() });
        world.loads = Some(loads(3));
        settle(&mut world);
        assert_eq!(reason(&world, "even"), "BrokersStarting");

        world.brokers.insert(BrokerId(3), Broker { http, ..new });
        settle(&mut world);
        assert_eq!(reason(&world, "even"), "BrokersSilent", "it has not been asked yet");
        assert_eq!(state(&world, "even"), RebalanceState::Pending);
        world.loads = Some(loads(4));
        settle(&mut world);
        assert_eq!(state(&world, "even"), RebalanceState::Proposed);
        assert!(status(&world, "even").moves >= 28, "{:?}", status(&world, "even"));
    }
}

/// The state of an older version, which had no other word, and that of a rebalance that was cancelled before.
#[test]
fn what_waits_for_brokers_is_not_called_proposed_whatever_it_was_before() {
    for was in [RebalanceState::Proposed, RebalanceState::Cancelled] {
        let mut world = uneven();
        ask(&mut world, "even", RebalanceMode::Full, &[]);
        if was == RebalanceState::Cancelled {
            change(&mut world, "even", |spec| spec.cancel = true);
        } else {
            let object = Arc::make_mut(world.rebalances.as_mut().unwrap().last_mut().unwrap());
            object.status = Some(KafkaRebalanceStatus { state: was, ..KafkaRebalanceStatus::default() });
        }
        let there = world.brokers.remove(&BrokerId(3)).unwrap();
        change(&mut world, "even", |spec| spec.cancel = false);
        let pending = status(&world, "even");
        assert_eq!((pending.state, pending.hash.as_str(), pending.moves), (RebalanceState::Pending, "", 0), "{was:?}");
        assert_eq!(reason(&world, "even"), "BrokersStarting", "{was:?}");

        world.brokers.insert(BrokerId(3), there);
        settle(&mut world);
        assert_eq!(state(&world, "even"), RebalanceState::Proposed, "{was:?}");
    }
}

#[test]
fn a_proposal_waits_for_no_broker_that_it_is_not_about() {
    let leaves = |world: &mut World, order: serde_json::Value| {
        let cluster = Arc::make_mut(world.cluster.as_mut().unwrap());
        cluster.spec.brokers.overrides = serde_json::from_value(order).unwrap();
    };
    for (story, mode, named, away, order) in [
        ("leaders need no empty broker", RebalanceMode::Leaders, &[][..], 3, serde_json::json!([])),
        ("another one is filled", RebalanceMode::Fill, &[2], 3, serde_json::json!([])),
        ("it holds replicas, and may be away for long", RebalanceMode::Full, &[], 2, serde_json::json!([])),
        (
            "its user does not wait",
            RebalanceMode::Full,
            &[],
            3,
            serde_json::json!([{ "broker": 3, "state": "Cordoned" }]),
        ),
    ] {
        let mut world = uneven();
        let seen = Some(SupportedFeatures::default());
        world.brokers.insert(BrokerId(away), Broker { features: seen, ..Broker::default() });
        leaves(&mut world, order);
        settle(&mut world);
        ask(&mut world, "even", mode, named);
        assert_ne!(reason(&world, "even"), "BrokersStarting", "{story}");
        assert!(!status(&world, "even").hash.is_empty(), "{story}: {}", message(&world, "even"));
    }
}

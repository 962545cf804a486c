//! Replicas leave brokers that must become empty, round by round.

use super::*;
use crate::plan::relocation::asks_for_loads;

/// A cluster on Kubernetes that has as many brokers as are live, with these topics of three partitions.
pub(super) fn cluster(brokers: i32, topics: u128) -> World {
    let mut world = world(&(0..brokers).map(|id| (id, false)).collect::<Vec<_>>());
    world.platform = Some(Arc::new(Platform::default()));
    world.loads = Some(loads(brokers));
    world.brokers.values_mut().for_each(|broker| broker.http = Some(([127, 0, 0, 1], 9404).into()));
    for id in 0..topics {
        let mut topic = of_uid(id + 1, topic(&format!("topic-{id}"), 3));
        topic.spec.replication_factor = Some(2);
        world.topics.push(Arc::new(topic));
    }
    settle(&mut world);
    world
}

/// What so many brokers say that have nothing to do.
pub(super) fn loads(brokers: i32) -> Arc<BTreeMap<BrokerId, BrokerLoads>> {
    Arc::new((0..brokers).map(|id| (BrokerId(id), BrokerLoads::default())).collect())
}

pub(super) fn scale(world: &mut World, replicas: i32) {
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.brokers.replicas = replicas;
}

/// Every replica catches up.
pub(super) fn catch_up(world: &mut World) {
    for object in &mut world.assignments {
        for entry in &mut Arc::make_mut(object).spec.partitions {
            let member = |id: &BrokerId| IsrMember { broker: *id, incarnation: Incarnation(i64::from(id.0) + 1) };
            entry.isr = entry.replicas.iter().map(member).collect();
        }
    }
}

pub(super) fn held(world: &World, broker: i32) -> usize {
    entries(world).filter(|entry| entry.replicas.contains(&BrokerId(broker))).count()
}

pub(super) fn moving(world: &World) -> usize {
    entries(world).map(|entry| entry.adding.len()).sum()
}

/// The replicas of each partition without those that moves add. A move that is cancelled leaves another order of
/// preference, as in Kafka.
pub(super) fn origins(world: &World) -> Vec<(String, i32, Vec<BrokerId>)> {
    let objects = world.assignments.iter().map(|object| &object.spec);
    let entries = objects.flat_map(|spec| spec.partitions.iter().map(|entry| (&spec.topic_name, entry)));
    let origin = |entry: &Assignment| {
        let mut origin = entry.origin();
        origin.sort_unstable();
        origin
    };
    let mut origins: Vec<_> = entries.map(|(topic, entry)| (topic.clone(), entry.partition, origin(entry))).collect();
    origins.sort();
    origins
}

fn moves(world: &World) -> Option<ottla_crds::MovesStatus> {
    world.cluster.as_ref().unwrap().status.as_ref().unwrap().moves.clone()
}

#[test]
fn replicas_leave_a_broker_that_the_spec_no_longer_asks_for_a_few_at_a_time() {
    let mut world = cluster(4, 20);
    let before = held(&world, 3);
    assert!(before > 16 && moving(&world) == 0, "{before}");
    scale(&mut world, 3);
    let mut percents = Vec::new();
    for round in 0.. {
        settle(&mut world);
        if held(&world, 3) == 0 {
            break;
        }
        let is_progress = moving(&world) > 0 && round < before;
        assert!(is_progress, "round {round}: {} of {before} are left", held(&world, 3));
        for id in 0..3 {
            let into = entries(&world).filter(|entry| entry.adding.contains(&BrokerId(id))).count();
            let out = entries(&world).filter(|entry| entry.leader == Some(BrokerId(id)) && !entry.adding.is_empty());
            assert!(into <= 4 && out.count() <= 4, "round {round}, broker {id}");
        }
        percents.push(moves(&world).unwrap().percent);
        catch_up(&mut world);
    }
    assert!(percents.first() == Some(&0) && percents.is_sorted() && percents.last() > Some(&50), "{percents:?}");
    assert_eq!(moves(&world), None, "nothing is left to say");
    assert!(entries(&world).all(|entry| entry.replicas.len() == 2 && !entry.is_reassigning()));
}

#[test]
fn a_scale_down_that_is_taken_back_cancels_what_is_moving() {
    let mut world = cluster(4, 20);
    let before = origins(&world);
    scale(&mut world, 3);
    settle(&mut world);
    assert!(moving(&world) > 0);
    scale(&mut world, 4);
    settle(&mut world);
    assert_eq!((origins(&world), moving(&world), moves(&world)), (before, 0, None));
}

#[test]
fn moves_that_a_user_asked_for_are_not_cancelled() {
    let mut world = cluster(4, 1);
    let mut topic = KafkaTopic::clone(&world.topics[0]);
    topic.spec.replication_factor = Some(3);
    topic.spec.placement = vec![Placement { partition: 0, replicas: ids(&[3, 1, 0]), once: true }];
    world.topics = vec![Arc::new(topic)];
    settle(&mut world);
    assert!(entries(&world).all(|entry| entry.is_reassigning() && entry.target().len() == 3));
}

#[test]
fn a_placement_on_a_broker_that_leaves_is_a_blocker_with_a_command() {
    let mut world = cluster(4, 1);
    let mut pinned = KafkaTopic::clone(&world.topics[0]);
    pinned.metadata.namespace = Some("shop".to_owned());
    pinned.spec.placement = vec![
        Placement { partition: 0, replicas: ids(&[3, 1]), once: false },
        Placement { partition: 1, replicas: ids(&[0, 1]), once: false },
    ];
    world.topics = vec![Arc::new(pinned)];
    for _ in 0..3 {
        settle(&mut world);
        catch_up(&mut world);
    }
    scale(&mut world, 3);
    for _ in 0..3 {
        settle(&mut world);
        catch_up(&mut world);
    }
    assert_eq!(held(&world, 3), 1, "what is not pinned has left");
    let moves = moves(&world).unwrap();
    let [blocker] = &*moves.blocked_by else { panic!("{moves:?}") };
    assert_eq!((blocker.broker, &*blocker.reason, &*blocker.partitions), (BrokerId(3), "PlacedByHand", "0"));
    assert_eq!(
        blocker.message,
        "spec.placement of its KafkaTopic names the broker: place them elsewhere, or leave the choice to the operator: \
         kubectl patch kafkatopic topic-0 -n shop --type merge -p \
         '{\"spec\":{\"placement\":[{\"partition\":1,\"replicas\":[0,1]}]}}'"
    );
    Arc::make_mut(&mut world.topics[0]).spec.placement.remove(0);
    for _ in 0..2 {
        settle(&mut world);
        catch_up(&mut world);
    }
    assert_eq!((held(&world, 3), self::moves(&world)), (0, None));
}

#[test]
fn nothing_moves_while_the_cluster_is_paused() {
    let mut world = cluster(4, 2);
    scale(&mut world, 3);
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.paused = true;
    settle(&mut world);
    assert_eq!(moving(&world), 0);
}

#[test]
fn a_broker_that_is_away_is_emptied_from_the_others_and_gets_nothing() {
    let mut world = cluster(4, 4);
    world.brokers.get_mut(&BrokerId(3)).unwrap().live = None;
    settle(&mut world);
    scale(&mut world, 3);
    world.brokers.get_mut(&BrokerId(2)).unwrap().live = None;
    settle(&mut world);
    assert!(moving(&world) > 0 && entries(&world).all(|entry| !entry.adding.contains(&BrokerId(2))));
}

/// A fourth broker beside three that hold replicas.
fn with_a_new_broker() -> World {
    let mut world = cluster(3, 20);
    scale(&mut world, 4);
    let live = Some(LiveBroker { incarnation: Incarnation(4), draining: false });
    world.brokers.insert(BrokerId(3), Broker { live, ..Broker::default() });
    world.loads = Some(loads(4));
    settle(&mut world);
    world
}

#[test]
fn nothing_is_copied_before_brokers_say_how_much_space_they_have_and_the_status_has_the_rate() {
    let mut world = cluster(4, 20);
    let before = origins(&world);
    world.loads = None;
    scale(&mut world, 3);
    settle(&mut world);
    let asked = asks_for_loads(&world).map(|asked| asked.len());
    let shown = moves(&world).unwrap();
    assert_eq!((moving(&world), shown.rate.as_deref(), asked), (0, Some("25Mi"), Some(4)), "brokers are asked first");
    assert!(shown.waiting_for.unwrap().starts_with("the operator is asking the brokers"));
    world.loads = Some(loads(4));
    Arc::make_mut(world.cluster.as_mut().unwrap()).status.as_mut().unwrap().moves = None;
    let steps = plan(&world);
    let of_assignments = |step: &Step| matches!(step, Step::Change { .. });
    assert!(!steps.iter().any(of_assignments), "brokers do not know the rate yet: {steps:?}");
    settle(&mut world);
    assert!(moving(&world) > 0 && origins(&world) == before);
    assert_eq!(moves(&world).unwrap().waiting_for, None);
}

#[test]
fn a_broker_that_does_not_say_how_much_space_it_has_gets_nothing_and_keeps_what_is_moving_there() {
    let mut world = cluster(4, 20);
    scale(&mut world, 3);
    settle(&mut world);
    let to = |world: &World, id: i32| entries(world).filter(|entry| entry.adding.contains(&BrokerId(id))).count();
    let (before, full) =
        (to(&world, 2), BrokerLoads { capacity: Some(100), used: Some(100), ..BrokerLoads::default() });
    assert!(before > 0);
    let mut answers = BTreeMap::clone(&loads(4));
    answers.remove(&BrokerId(2));
    world.loads = Some(Arc::new(answers.clone()));
    settle(&mut world);
    assert_eq!(to(&world, 2), before);
    let waiting_for = moves(&world).unwrap().waiting_for.unwrap();
    assert!(waiting_for.starts_with("broker 2 has not said how much space its disk has"), "{waiting_for}");
    // Its answer is that it is full: what moves there returns, and does not come again when it is silent.
    answers.insert(BrokerId(2), full);
    world.loads = Some(Arc::new(answers.clone()));
    settle(&mut world);
    assert_eq!(to(&world, 2), 0);
    answers.remove(&BrokerId(2));
    world.loads = Some(Arc::new(answers));
    settle(&mut world);
    assert_eq!(to(&world, 2), 0, "unknown space is no space");
}

#[test]
fn a_disk_that_fills_up_gets_no_new_partitions_and_from_90_percent_on_replicas_leave_it() {
    let mut world = cluster(4, 20);
    let condition = |world: &World| {
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        conditions
            .iter()
            .find(|condition| condition.type_ == "VolumesFilling")
            .map(|condition| condition.message.clone())
    };
    let create = |world: &mut World, id: u128| {
        let before = held(world, 3);
        let mut topic = of_uid(id + 1, topic(&format!("topic-{id}"), 8));
        topic.spec.replication_factor = Some(2);
        world.topics.push(Arc::new(topic));
        settle(world);
        held(world, 3) - before
    };
    let fills = |world: &mut World, filling: &[i32], used: u64| {
        let mut answers = BTreeMap::clone(&loads(4));
        for (id, answer) in &mut answers {
            let used = if filling.contains(&id.0) { used } else { 10 };
            *answer = BrokerLoads { capacity: Some(100), used: Some(used), ..BrokerLoads::default() };
            world.brokers.get_mut(id).unwrap().is_filling = filling.contains(&id.0);
        }
        world.loads = Some(Arc::new(answers));
        settle(world);
    };
    fills(&mut world, &[3], 86);
    assert_eq!((moving(&world), create(&mut world, 100)), (0, 0), "it is cordoned, and gives nothing");
    assert!(condition(&world).unwrap().starts_with("the disk of broker 3 can take few more records"));
    let mut answers = BTreeMap::clone(world.loads.as_ref().unwrap());
    answers.get_mut(&BrokerId(3)).unwrap().replicas = partitions_on(&world, 3).into_iter().map(small).collect();
    answers.get_mut(&BrokerId(3)).unwrap().used = Some(95);
    world.loads = Some(Arc::new(answers));
    settle(&mut world);
    assert!(entries(&world).any(|entry| entry.removing.contains(&BrokerId(3))), "it is relieved");
    fills(&mut world, &[0, 1, 2, 3], 86);
    assert!(create(&mut world, 101) > 0, "there is no other broker");
    fills(&mut world, &[], 10);
    assert_eq!(condition(&world), None);
    assert!(create(&mut world, 102) > 0);
}

/// A replica of one byte.
fn small((topic, partition): (String, i32)) -> ottla_crds::ReplicaLoad {
    ottla_crds::ReplicaLoad { topic, partition, bytes: 1, ..Default::default() }
}

fn partitions_on(world: &World, broker: i32) -> Vec<(String, i32)> {
    let objects = world.assignments.iter().map(|object| &object.spec);
    let entries = objects.flat_map(|spec| spec.partitions.iter().map(|entry| (&spec.topic_name, entry)));
    let here = entries.filter(|(_, entry)| entry.replicas.contains(&BrokerId(broker)));
    here.map(|(topic, entry)| (topic.clone(), entry.partition)).collect()
}

fn unfilled(world: &World) -> Vec<i32> {
    let brokers = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().brokers;
    brokers.iter().filter(|broker| broker.unfilled).map(|broker| broker.id.0).collect()
}

#[test]
fn a_new_broker_gets_its_part_once_it_has_been_online_for_long_enough() {
    let mut world = with_a_new_broker();
    assert_eq!((moving(&world), unfilled(&world)), (0, vec![3]), "it is new");
    world.seasoned.insert(BrokerId(3));
    for round in 0.. {
        settle(&mut world);
        if moving(&world) == 0 {
            break;
        }
        assert!(round < 60, "{} replicas so far", held(&world, 3));
        catch_up(&mut world);
    }
    assert!((28..=32).contains(&held(&world, 3)), "{} of 120 replicas", held(&world, 3));
    assert_eq!((unfilled(&world), moves(&world)), (vec![], None));
}

#[test]
fn a_full_disk_keeps_replicas_away_but_not_on_a_laptop_whose_brokers_share_it() {
    let moves = |platform: Option<Platform>| {
        let mut world = with_a_new_broker();
        world.platform = platform.map(Arc::new);
        world.seasoned.insert(BrokerId(3));
        let replicas = |id| partitions_on(&world, id).into_iter().map(small).collect();
        let disk = |id| BrokerLoads {
            capacity: Some(1_000),
            used: Some(820),
            replicas: replicas(id),
            ..BrokerLoads::default()
        };
        world.loads = Some(Arc::new((0..4).map(|id| (BrokerId(id), disk(id))).collect()));
        settle(&mut world);
        moving(&world) > 0
    };
    assert!(!moves(Some(Platform::default())), "a volume of its own");
    assert!(moves(None));
}

#[test]
fn a_new_broker_that_is_away_for_a_moment_loses_none_of_its_moves() {
    let mut world = with_a_new_broker();
    world.seasoned.insert(BrokerId(3));
    settle(&mut world);
    let before = moving(&world);
    world.brokers.get_mut(&BrokerId(3)).unwrap().live = None;
    world.seasoned.clear();
    settle(&mut world);
    assert!(before > 0 && moving(&world) == before);
}

#[test]
fn without_auto_nothing_moves_by_itself() {
    let mut world = with_a_new_broker();
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.rebalance.auto.clear();
    world.seasoned.insert(BrokerId(3));
    settle(&mut world);
    scale(&mut world, 2);
    settle(&mut world);
    assert_eq!(moving(&world), 0);
}

#[test]
fn the_rate_follows_what_brokers_say_and_is_gone_when_nothing_moves() {
    let mut world = cluster(4, 20);
    scale(&mut world, 3);
    settle(&mut world);
    let rate = |world: &World| moves(world).and_then(|moves| moves.rate);
    assert_eq!(rate(&world).as_deref(), Some("25Mi"), "a quarter of the most");
    let latency = |now_ms, before_ms| ottla_crds::Latency { now_ms: Some(now_ms), before_ms: Some(before_ms) };
    for (produce, expected) in [(latency(5.0, 5.0), "27.5Mi"), (latency(50.0, 5.0), "13.8Mi")] {
        let loads = BrokerLoads { produce, ..BrokerLoads::default() };
        world.loads = Some(Arc::new((0..4).map(|id| (BrokerId(id), loads.clone())).collect()));
        world.loads_are_new = true;
        let steps = plan(&world);
        world.loads_are_new = false;
        steps.into_iter().for_each(|step| apply(&mut world, step));
        settle(&mut world);
        assert_eq!(rate(&world).as_deref(), Some(expected));
    }
}

pub(super) fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

//! What the status of a KafkaCluster says.

use super::*;

#[test]
fn one_offline_broker_is_named_in_the_singular() {
    for (away, expected) in [(vec![1], "broker 1 is offline"), (vec![0, 1], "brokers 0–1 are offline")] {
        let mut world = world(&[(0, false), (1, false), (2, false)]);
        for id in away {
            world.brokers.insert(BrokerId(id), Broker::default());
        }
        settle(&mut world);
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        let degraded = conditions.iter().find(|condition| condition.type_ == "Degraded").unwrap();
        assert_eq!(degraded.message, expected);
    }
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
fn a_feature_is_finalized_once_every_broker_supports_it() {
    let mut world = world(&[(0, false), (1, false)]);
    says(&mut world, 0, "transaction.version=2");
    assert_eq!(finalized(&mut world), None, "broker 1 has not said it");
    says(&mut world, 1, "transaction.version=2");
    world.brokers.get_mut(&BrokerId(1)).unwrap().live = None;
    assert_eq!(finalized(&mut world), Some((1, 2)), "a dead broker's Lease counts");
    world.brokers.remove(&BrokerId(1));
    says(&mut world, 0, "");
    assert_eq!(finalized(&mut world), Some((1, 2)), "a level is never lowered");
}

fn says(world: &mut World, id: i32, text: &str) {
    let broker = world.brokers.entry(BrokerId(id)).or_default();
    broker.features = Some(SupportedFeatures::from_annotation(text));
}

fn finalized(world: &mut World) -> Option<(i64, i16)> {
    settle(world);
    let status = world.cluster.as_ref().unwrap().status.as_ref().unwrap();
    let finalized = status.features.as_ref().map(|features| &features.finalized)?;
    Some((finalized.epoch, finalized.level("transaction.version")))
}

#[test]
fn a_higher_level_is_finalized_when_it_has_settled_and_within_its_limit() {
    let mut world = world(&[(0, false), (1, false)]);
    let asks = |world: &mut World, features: serde_json::Value| {
        Arc::make_mut(world.cluster.as_mut().unwrap()).spec.features = serde_json::from_value(features).unwrap();
    };
    let later = |world: &mut World, seconds: i64| {
        world.now = Time(Timestamp::from_second(world.now.0.as_second() + seconds).unwrap());
    };
    let shown = |world: &World| {
        let features = world.cluster.as_ref().unwrap().status.as_ref().unwrap().features.clone().unwrap();
        (features.supported.into_values().collect::<Vec<_>>(), features.behind)
    };
    asks(&mut world, serde_json::json!({ "settleFor": "1h" }));
    (0..2).for_each(|id| says(&mut world, id, "transaction.version=1"));
    assert_eq!(finalized(&mut world), Some((1, 1)), "a new cluster: at once");
    says(&mut world, 0, "transaction.version=2");
    assert_eq!((finalized(&mut world), shown(&world)), (Some((1, 1)), (vec![], vec![BrokerId(1)])));
    says(&mut world, 1, "transaction.version=2");
    assert_eq!((finalized(&mut world), shown(&world)), (Some((1, 1)), (vec![2], vec![])));
    later(&mut world, 3000);
    says(&mut world, 1, "transaction.version=1");
    assert_eq!(finalized(&mut world), Some((1, 1)), "a broker has returned to the version before");
    says(&mut world, 1, "transaction.version=2");
    assert_eq!(finalized(&mut world), Some((1, 1)));
    later(&mut world, 3599);
    assert_eq!(finalized(&mut world), Some((1, 1)), "it begins to settle again");
    // A broker joins that was never seen.
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.brokers.replicas = 3;
    assert_eq!((finalized(&mut world), shown(&world)), (Some((1, 1)), (vec![2], vec![BrokerId(2)])));
    later(&mut world, 1);
    assert_eq!(
        (finalized(&mut world), shown(&world)),
        (Some((1, 1)), (vec![2], vec![BrokerId(2)])),
        "it is waited for"
    );
    says(&mut world, 2, "transaction.version=2");
    assert_eq!((finalized(&mut world), shown(&world)), (Some((2, 2)), (vec![], vec![])), "and begins nothing again");

    (0..3).for_each(|id| says(&mut world, id, "transaction.version=3"));
    asks(&mut world, serde_json::json!({ "settleFor": "0s", "levels": { "transaction.version": 2 } }));
    assert_eq!(finalized(&mut world), Some((2, 2)), "not above its limit");
    asks(&mut world, serde_json::json!({ "settleFor": "0s" }));
    assert_eq!(finalized(&mut world), Some((3, 3)));
    for (levels, expected) in [
        (serde_json::json!({ "transaction.version": 2 }), "set 3 or more"),
        (serde_json::json!({ "eternity.version": 1 }), "there is no feature eternity.version"),
    ] {
        asks(&mut world, serde_json::json!({ "levels": levels }));
        settle(&mut world);
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!(ready.reason, "InvalidConfig");
        assert!(ready.message.contains(expected), "{}", ready.message);
    }
}

#[test]
fn kubectl_prints_how_far_a_removal_is() {
    let mut world = world(&[(0, false), (1, false)]);
    let leaving = platform::Obstacle::new("BrokersLeaving", "broker 1 leaves when it is empty");
    let platform = Platform { generation: None, leaving: Some(leaving), ..Platform::default() };
    world.platform = Some(Arc::new(platform));
    let moves = |blocked: serde_json::Value| {
        let mut moves = serde_json::json!({ "total": 100, "left": 38, "percent": 62, "eta": "2h10m", "rate": "80Mi" });
        if !blocked.is_null() {
            (moves["blockedBy"], moves["left"]) = (serde_json::json!([blocked]), 0.into());
        }
        moves
    };
    let blocked = serde_json::json!({
        "broker": 1, "reason": "PlacedByHand", "topic": "pay", "partitions": "0", "message": "pay 0 was placed by hand",
    });
    for (moves, expected) in [
        (moves(serde_json::Value::Null), "Removing broker 1: 62 %, 2h10m left at 80 MiB/s"),
        (moves(blocked), "Removing broker 1: pay 0 was placed by hand"),
        (serde_json::Value::Null, "Removing broker 1: looking whether it is empty"),
    ] {
        let cluster = Arc::make_mut(world.cluster.as_mut().unwrap());
        cluster.spec.brokers.replicas = 1;
        cluster.status.get_or_insert_default().moves = serde_json::from_value(moves).unwrap();
        world.relocates = false;
        settle(&mut world);
        let summary = world.cluster.as_ref().unwrap().status.as_ref().unwrap().summary.clone();
        assert_eq!(summary.as_deref(), Some(expected));
    }
}

#[test]
fn listeners_that_strangers_can_use_are_said() {
    let mut world = world(&[(0, false)]);
    for (listener, is_said) in [
        (serde_json::json!({"name": "apps", "port": 9094}), false),
        (serde_json::json!({"name": "apps", "port": 9094, "type": "clusterIP"}), false),
        (serde_json::json!({"name": "apps", "port": 9094, "type": "nodePort"}), true),
        (serde_json::json!({"name": "apps", "port": 9094, "type": "nodePort", "tls": {}}), true),
        (serde_json::json!({"name": "apps", "port": 9094, "type": "nodePort", "insecure": true}), false),
        (
            serde_json::json!({
                "name": "apps", "port": 9094, "type": "loadBalancer", "tls": {}, "authentication": [{"type": "plain"}]
            }),
            false,
        ),
    ] {
        let of_world = world.cluster.as_mut().unwrap();
        Arc::make_mut(of_world).spec.listeners = vec![serde_json::from_value(listener.clone()).unwrap()];
        settle(&mut world);
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        let said = conditions.iter().find(|condition| condition.type_ == "Insecure");
        assert_eq!(said.is_some(), is_said, "{listener}");
        assert!(said.is_none_or(|said| said.message.starts_with("the listener apps lacks")), "{said:?}");
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

//! Volumes that are replaced, or gone.

use super::*;

/// Three brokers with a volume each; that of broker 1 is ordered to be replaced. The topic `orders` is on `replicas`.
fn ordered(replicas: &[i32]) -> World {
    let mut world = world(&[(0, false), (1, false), (2, false)]);
    let volume =
        |id| platform::Volume { uid: "old".to_owned(), claim: format!("data-prod-broker-{id}"), ..Default::default() };
    let volumes = (0..3).map(|id| (BrokerId(id), volume(id))).collect();
    world.platform = Some(Arc::new(Platform { generation: Some(1), volumes, ..Platform::default() }));
    world.topics.push(Arc::new(placed(topic("orders", 1), &[(0, replicas)])));
    let mut cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.metadata.generation = Some(1);
    cluster.spec.brokers.storage = Some(serde_json::from_value(serde_json::json!({ "size": "1Gi" })).unwrap());
    world.cluster = Some(Arc::new(cluster.clone()));
    settle(&mut world);
    let order = serde_json::json!([{ "broker": 1, "state": "Fresh", "volume": "old" }]);
    cluster = KafkaCluster::clone(world.cluster.as_ref().unwrap());
    cluster.spec.brokers.overrides = serde_json::from_value(order).unwrap();
    world.cluster = Some(Arc::new(cluster));
    world
}

/// How many of these steps replace a volume.
fn renewals(taken: Vec<&str>) -> usize {
    taken.into_iter().filter(|step| *step == "replace a volume").count()
}

/// Reason and message of a condition.
fn said(world: &World, type_: &str) -> Option<(String, String)> {
    let conditions = &world.cluster.as_ref()?.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.reason.clone(), condition.message.clone()))
}

#[test]
fn a_volume_is_replaced_once_by_an_order_unless_a_partition_needs_it() {
    let progressing = |world: &World| said(world, "Progressing").map(|(reason, _)| reason).unwrap();

    let mut elsewhere = ordered(&[0, 2]);
    assert_eq!(renewals(settle(&mut elsewhere)), 1, "the order names a volume that is no more");
    assert_eq!(progressing(&elsewhere), "Settled");

    let mut alone = ordered(&[1]);
    assert_eq!(renewals(settle(&mut alone)), 0, "it alone has the partition");
    assert_eq!(progressing(&alone), "VolumeNeeded");

    let mut paused = ordered(&[0, 1]);
    let mut cluster = KafkaCluster::clone(paused.cluster.as_ref().unwrap());
    cluster.spec.paused = true;
    paused.cluster = Some(Arc::new(cluster));
    assert_eq!(renewals(settle(&mut paused)), 0);

    let mut held_back = ordered(&[0, 1]);
    held_back.held_back = Some(HeldBack::Unheard);
    assert_eq!(renewals(settle(&mut held_back)), 0, "the API server may be set back");

    let mut copying = ordered(&[0, 1, 2]);
    let object = Arc::make_mut(&mut copying.assignments[0]);
    object.spec.partitions[0].isr.retain(|member| member.broker != BrokerId(0));
    assert_eq!(renewals(settle(&mut copying)), 0, "broker 0 copies its replicas, and broker 2 would be the last");
    let (_, message) = said(&copying, "Progressing").unwrap();
    assert!(message.contains("broker 0 is not in sync with partition 0 of orders"), "{message}");
    copying.brokers.get_mut(&BrokerId(0)).unwrap().live = None;
    assert_eq!(renewals(settle(&mut copying)), 1, "who is away for another reason is not waited for");

    let mut another = ordered(&[0, 1]);
    let platform = Arc::make_mut(another.platform.as_mut().unwrap());
    platform.volumes.get_mut(&BrokerId(2)).unwrap().is_deleted = true;
    assert_eq!(renewals(settle(&mut another)), 0, "one volume at a time");

    let mut under_way = ordered(&[0, 1]);
    let platform = Arc::make_mut(under_way.platform.as_mut().unwrap());
    platform.volumes.get_mut(&BrokerId(1)).unwrap().is_deleted = true;
    assert_eq!(renewals(settle(&mut under_way)), 0, "its pod has gone already");
    assert_eq!(progressing(&under_way), "ReplacingVolume");

    let mut taken_back = ordered(&[0, 1]);
    let platform = Arc::make_mut(taken_back.platform.as_mut().unwrap());
    let volume = platform.volumes.get_mut(&BrokerId(1)).unwrap();
    (volume.is_deleted, volume.pod) = (true, Some("pod".to_owned()));
    Arc::make_mut(taken_back.cluster.as_mut().unwrap()).spec.brokers.overrides.clear();
    let steps = plan(&taken_back).iter().map(Step::name).collect();
    assert_eq!(renewals(steps), 1, "a deletion of a claim can't be taken back");
    taken_back.platform.as_mut().map(Arc::make_mut).unwrap().volumes.get_mut(&BrokerId(1)).unwrap().pod = None;
    assert_eq!(renewals(settle(&mut taken_back)), 0);
    assert_eq!(progressing(&taken_back), "ReplacingVolume");

    let mut by_mistake = ordered(&[0, 1, 2]);
    Arc::make_mut(by_mistake.cluster.as_mut().unwrap()).spec.brokers.overrides.clear();
    for volume in Arc::make_mut(by_mistake.platform.as_mut().unwrap()).volumes.values_mut() {
        (volume.is_deleted, volume.pod) = (true, Some("pod".to_owned()));
    }
    let count = |world: &World| renewals(plan(world).iter().map(Step::name).collect());
    assert_eq!(count(&by_mistake), 1, "somebody has deleted all claims");
    by_mistake.brokers.get_mut(&BrokerId(0)).unwrap().live = None;
    for volume in [None, Some(false)] {
        let volumes = &mut Arc::make_mut(by_mistake.platform.as_mut().unwrap()).volumes;
        match volume {
            None => volumes.get_mut(&BrokerId(0)).unwrap().pod = None,
            Some(is_deleted) => volumes.get_mut(&BrokerId(0)).unwrap().is_deleted = is_deleted,
        }
        assert_eq!(count(&by_mistake), 0, "the next waits until broker 0 has copied its replicas: {volume:?}");
    }
}

/// The same without the order; the nodes of these brokers' volumes are gone, for so long, and the brokers with them.
fn lost(replicas: &[i32], on_lost_node: &str, of: &[(i32, bool)]) -> World {
    let mut world = ordered(replicas);
    let spec = &mut Arc::make_mut(world.cluster.as_mut().unwrap()).spec;
    spec.brokers.overrides.clear();
    let storage = serde_json::json!({ "size": "1Gi", "onLostNode": on_lost_node });
    spec.brokers.storage = Some(serde_json::from_value(storage).unwrap());
    let platform = Arc::make_mut(world.platform.as_mut().unwrap());
    platform.waiting = Some(Obstacle::new("PodUnschedulable", "pod prod-broker-1 can not be scheduled"));
    for (id, for_long) in of {
        let nodes = [format!("node-{id}")].into();
        platform.volumes.get_mut(&BrokerId(*id)).unwrap().lost = Some(platform::Lost { nodes, for_long: *for_long });
        world.brokers.get_mut(&BrokerId(*id)).unwrap().live = None;
    }
    world
}

#[test]
fn a_broker_whose_node_is_lost_waits_for_a_person_or_gets_a_volume_as_if_ordered() {
    let (all, long) = (&[0, 1, 2][..], &[(1, true)][..]);
    for (story, replicas, on_lost_node, of, renewed, (reason, stalls)) in [
        ("by default", all, "Wait", long, 0, ("NodeLost", true)),
        ("not for long", all, "Replace", &[(1, false)], 0, ("AwaitingNode", false)),
        ("it alone has the partition", &[1], "Replace", long, 0, ("VolumeNeeded", false)),
        ("two are lost", all, "Replace", &[(1, true), (2, true)], 0, ("NodeLost", true)),
        ("replaced", all, "Replace", long, 1, ("PodUnschedulable", false)),
    ] {
        let mut world = lost(replicas, on_lost_node, of);
        assert_eq!(renewals(settle(&mut world)), renewed, "{story}");
        assert_eq!(said(&world, "Progressing").unwrap().0, reason, "{story}");
        assert_eq!(said(&world, "Stalled").is_some(), stalls, "{story}");
    }

    // A roll that waits for this broker does not keep it from its volume.
    let mut restarting = lost(all, "Replace", long);
    let mut status = restarting.cluster.as_ref().unwrap().status.clone().unwrap();
    status.rollout.get_or_insert_default().away = vec![BrokerId(1)];
    Arc::make_mut(restarting.cluster.as_mut().unwrap()).status = Some(status);
    assert_eq!(renewals(settle(&mut restarting)), 1);

    // An order of a person comes first.
    let mut drained = lost(all, "Replace", long);
    let entry = serde_json::json!([{ "broker": 1, "state": "Drained" }]);
    Arc::make_mut(drained.cluster.as_mut().unwrap()).spec.brokers.overrides = serde_json::from_value(entry).unwrap();
    assert_eq!(renewals(settle(&mut drained)), 0);
    assert_eq!(said(&drained, "Progressing").unwrap().0, "NodeLost");
}

#[test]
fn a_lost_node_is_named_with_what_to_type() {
    let mut world = lost(&[0, 1, 2], "Wait", &[(1, true)]);
    let entry = serde_json::json!([{ "broker": 2, "config": { "log.dirs": "it's" } }]);
    let spec = &mut Arc::make_mut(world.cluster.as_mut().unwrap()).spec;
    spec.brokers.overrides = serde_json::from_value(entry).unwrap();
    settle(&mut world);
    let (_, message) = said(&world, "Progressing").unwrap();
    let command = r#"kubectl patch kafkacluster prod -n  --type merge -p '{"spec":{"brokers":{"overrides":[{"broker":2,"config":{"log.dirs":"it'\''s"}},{"broker":1,"state":"Fresh","volume":"old"}]}}}'"#;
    assert_eq!(
        message,
        "broker 1 can not start, because the node of its volume does not exist any more: data-prod-broker-1 on node \
         node-1. Bring the node back with the disk, or give it a new volume, to which it copies its replicas from the \
         other brokers: "
            .to_owned()
            + command
    );
    world = lost(&[0, 1, 2], "Replace", &[(1, false)]);
    settle(&mut world);
    let (reason, message) = said(&world, "Ready").unwrap();
    assert_eq!(reason, "BrokersOffline");
    assert_eq!(
        message,
        "broker 1 is offline: broker 1 can not start: its volume data-prod-broker-1 is on node node-1, which does not \
         exist any more. If the node does not return within 10 minutes, the broker gets a new volume, to which it copies \
         its replicas from the other brokers"
    );
}

/// Volumes of brokers that hold these topics of one partition. The order for broker 2 was carried out long ago; broker
/// 2 died since, or is copying.
fn after_broker_2(brokers: i32, topics: &[&[i32]], is_live: bool) -> World {
    let mut world = world(&(0..brokers).map(|id| (id, false)).collect::<Vec<_>>());
    let volume =
        |id| platform::Volume { uid: "now".to_owned(), claim: format!("data-prod-broker-{id}"), ..Default::default() };
    let volumes = (0..brokers).map(|id| (BrokerId(id), volume(id))).collect();
    world.platform = Some(Arc::new(Platform { generation: Some(1), volumes, ..Platform::default() }));
    for (uid, replicas) in (1..).zip(topics) {
        world.topics.push(Arc::new(of_uid(uid, placed(topic(&format!("topic-{uid}"), 1), &[(0, replicas)]))));
    }
    let cluster = Arc::make_mut(world.cluster.as_mut().unwrap());
    (cluster.metadata.generation, cluster.metadata.namespace) = (Some(1), Some("shop".to_owned()));
    cluster.spec.brokers.storage = Some(serde_json::from_value(serde_json::json!({ "size": "1Gi" })).unwrap());
    settle(&mut world);
    for object in &mut world.assignments {
        Arc::make_mut(object).spec.partitions[0].isr.retain(|member| member.broker != BrokerId(2));
    }
    if !is_live {
        world.brokers.get_mut(&BrokerId(2)).unwrap().live = None;
        settle(&mut world);
    }
    let orders = serde_json::json!([
        { "broker": 2, "state": "Fresh", "volume": "before" }, { "broker": 1, "state": "Fresh", "volume": "now" },
    ]);
    Arc::make_mut(world.cluster.as_mut().unwrap()).spec.brokers.overrides = serde_json::from_value(orders).unwrap();
    world
}

#[test]
fn a_dead_broker_with_an_old_order_holds_only_volumes_that_would_leave_one_copy() {
    let renews = |world: &World| plan(world).iter().any(|step| step.name() == "replace a volume");
    for (story, brokers, topics, is_live, expected) in [
        ("broker 0 would be the last", 3, &[&[0, 1, 2][..]][..], false, false),
        ("it has nothing in common with broker 1", 3, &[&[0, 1], &[0, 2]], false, true),
        ("the same, and it is copying: one volume after the other", 3, &[&[0, 1], &[0, 2]], true, false),
        ("two others have the records", 4, &[&[0, 1, 2, 3]], false, true),
    ] {
        assert_eq!(renews(&after_broker_2(brokers, topics, is_live)), expected, "{story}");
    }
    let mut holds = after_broker_2(3, &[&[0, 1, 2]], false);
    settle(&mut holds);
    let conditions = &holds.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
    let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap();
    let expected = "broker 1 keeps the volume data-prod-broker-1 for now: broker 2 is offline and has not copied partition 0 of \
                    topic-1 to its own new volume, as far as is known. Start broker 2. If broker 2 is lost for good, withdraw its \
                    order, and it is not waited for; then one broker alone has these records until broker 1 has copied them: \
                    kubectl patch kafkacluster prod -n shop --type json -p \
                    '[{\"op\":\"test\",\"path\":\"/spec/brokers/overrides/0/broker\",\"value\":2},\
                    {\"op\":\"remove\",\"path\":\"/spec/brokers/overrides/0\"}]'";
    assert_eq!((&*progressing.reason, &*progressing.message), ("VolumeNeeded", expected));
    Arc::make_mut(holds.cluster.as_mut().unwrap()).spec.brokers.overrides.remove(0);
    assert!(renews(&holds), "the order was withdrawn");
}

#[test]
fn only_the_operator_can_forget_a_broker_that_has_gone_with_its_volume() {
    let mut world = relocation::cluster(4, 1);
    let buried = KafkaTopic::clone(&world.topics[0]);
    let mut ending = buried.clone();
    ending.metadata.deletion_timestamp = Some(world.now.clone());
    world.topics = vec![Arc::new(ending)];
    let named = |world: &World| relocation::held(world, 3);
    let before = named(&world);
    settle(&mut world);
    relocation::scale(&mut world, 3);
    world.brokers.get_mut(&BrokerId(3)).unwrap().live = None;
    assert!(before > 0 && world.assignments.iter().all(|object| object.spec.deleted));
    let claims = |world: &mut World, claimants: Option<&[i32]>| {
        let platform = Arc::make_mut(world.platform.as_mut().unwrap());
        platform.claimants = claimants.map(|brokers| relocation::ids(brokers).into_iter().collect());
        settle(world);
    };
    claims(&mut world, None);
    assert_eq!(named(&world), before, "nobody has read the claims");
    claims(&mut world, Some(&[0, 1, 2, 3]));
    assert_eq!(named(&world), before, "it may return, and must find the tombstone");
    let told = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().brokers;
    assert!(told.iter().all(|broker| broker.id != BrokerId(3)), "it is no broker any more");
    claims(&mut world, Some(&[0, 1, 2]));
    assert_eq!(named(&world), 0);
    assert!(entries(&world).any(|entry| !entry.replicas.is_empty()), "the others remove their files first");
}

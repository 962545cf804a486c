//! Volumes that are replaced, or gone.

use super::*;

#[test]
fn a_volume_is_replaced_once_by_an_order_unless_a_partition_needs_it() {
    let ordered = |replicas: &[i32]| {
        let mut world = world(&[(0, false), (1, false), (2, false)]);
        let volume = |id| platform::Volume {
            uid: "old".to_owned(),
            claim: format!("data-prod-broker-{id}"),
            ..Default::default()
        };
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
    };
    let progressing = |world: &World| {
        let conditions = &world.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
        condition::reason(conditions, "Progressing").unwrap().to_owned()
    };
    let renewals = |taken: Vec<&str>| taken.into_iter().filter(|step| *step == "replace a volume").count();

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
    let conditions = &copying.cluster.as_ref().unwrap().status.as_ref().unwrap().conditions;
    let message = &conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap().message;
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

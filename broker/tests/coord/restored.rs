//! An API server that was restored from a backup, or that a newer version of Ottla has been at.

use super::*;

/// As a restore of etcd's backup does. Watches may be refused then, or show nothing.
#[tokio::test]
async fn what_an_api_server_that_was_set_back_has_lost_is_put_back_and_nobody_is_elected_on_it() {
    for silently in [false, true] {
        let world = World::new(2).await;
        let (zero, one) = (world.dir(0), world.dir(1));
        let (zero, one) = (world.open(&zero).await, world.open(&one).await);
        shows(&zero, "both are there", |image| image.live_brokers().count() == 2).await;
        world.apply("t", |spec| (spec.partitions, spec.replication_factor) = (Some(1), Some(2))).await;
        shows(&zero, "it is placed", |image| led(image, "t") == 1).await;
        let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
        let stands = async || assignments.list(&ListParams::default()).await.unwrap().items.remove(0);
        let backup = world.server.faults().snapshot();

        let before = stands().await;
        let entry = before.spec.partitions[0].clone();
        let led_by = entry.leader.unwrap();
        let live = |id: BrokerId| {
            let member = entry.isr.iter().find(|member| member.broker == id).unwrap();
            (id, LiveBroker { incarnation: member.incarnation, draining: false })
        };
        let others = entry.replicas.iter().copied().filter(|id| *id != led_by).map(live).collect();
        let moved = entry.heal(&others, 1).unwrap();
        assert!(change::write(&assignments, &before, std::slice::from_ref(&moved)).await.unwrap().is_empty());
        for coord in [&zero, &one] {
            shows(coord, "the other leads", |image| image.topic("t").unwrap().partitions[0] == moved).await;
        }

        // A backup is older than the last renewals: by those brokers notice where watches are silent.
        let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
        let version = |metadata: &ObjectMeta| ottla_kube::versions::version(metadata);
        let written = version(&stands().await.metadata);
        until("Leases are renewed", async || {
            leases.list(&ListParams::default()).await.unwrap().iter().all(|lease| version(&lease.metadata) > written)
        })
        .await;
        world.server.faults().set_back(&backup, silently);
        assert_eq!(stands().await.spec.partitions[0], entry, "history is lost");
        until("it is put back", async || stands().await.spec.partitions[0] == moved).await;
        for coord in [&zero, &one] {
            assert_eq!(coord.images().borrow().topic("t").unwrap().partitions[0], moved, "nobody has moved");
        }
        until("all is compared", async || {
            let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
            let leases = leases.list(&ListParams::default()).await.unwrap().items;
            leases
                .iter()
                .all(|lease| lease.annotations().get(names::NEWER_ANNOTATION).is_some_and(|newer| newer == "0"))
        })
        .await;
        create(&zero, "later", 1).await.unwrap();
        assert_eq!(stands_for(&assignments, "t").await, moved, "and nothing came of the backup");
    }
}

/// It was killed before, and has an older copy: what it leads there is led by another since.
#[tokio::test]
async fn a_leader_that_starts_after_a_restore_changes_no_isr_before_others_have_put_back_what_they_know() {
    let world = World::new(2).await;
    let (dir_zero, dir_one) = (world.dir(0), world.dir(1));
    let (zero, one) = (world.open(&dir_zero).await, world.open(&dir_one).await);
    shows(&zero, "both are there", |image| image.live_brokers().count() == 2).await;
    world.apply("t", |spec| (spec.partitions, spec.replication_factor) = (Some(1), Some(2))).await;
    for coord in [&zero, &one] {
        shows(coord, "it is placed", |image| led(image, "t") == 1).await;
    }
    world.operator.abort();
    let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
    let stands = async || assignments.list(&ListParams::default()).await.unwrap().items.remove(0);
    let before = stands().await;
    let entry = before.spec.partitions[0].clone();
    let was_leader = entry.leader.unwrap();
    let both = ((one, dir_one), (zero, dir_zero));
    let (killed, (other, _dir)) = if was_leader == BrokerId(1) { both } else { (both.1, both.0) };
    drop(killed);
    let backup = world.server.faults().snapshot();

    let live = LiveBroker { incarnation: other.incarnation(), draining: false };
    let moved = entry.heal(&[(other.broker(), live)].into(), 1).unwrap();
    assert!(change::write(&assignments, &before, std::slice::from_ref(&moved)).await.unwrap().is_empty());
    shows(&other, "it leads", |image| image.topic("t").unwrap().partitions[0] == moved).await;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let renewed = async || leases.get(&names::broker(CLUSTER, other.broker())).await.unwrap().spec;
    let last = renewed().await;
    until("its Lease is renewed", async || renewed().await != last).await;

    // The other one notices with its next renewal.
    world.server.faults().set_back(&backup, true);
    let dir = world.dir(was_leader.0);
    let again = world.open(&dir).await;
    let leader = Leader {
        broker: was_leader,
        incarnation: again.incarnation(),
        leader_epoch: entry.leader_epoch,
        epoch_start: 0,
        high_watermark: 0,
        log_start: 0,
        write_in_flight: false,
    };
    let long = Duration::from_secs(60);
    let next = Box::new(entry.shrink(&leader, other.broker(), long, Duration::ZERO, 1).unwrap());
    let topic_id = before.spec.topic_id;
    let outcome = ask(&again, |answer| Ask::ChangeIsr { topic_id, next, answer }).await;
    assert_eq!(outcome, Ok(Swap::Moved));
    assert_eq!(stands().await.spec.partitions[0], moved, "it was put back");
}

async fn stands_for(assignments: &Api<KafkaAssignment>, topic: &str) -> Assignment {
    let objects = assignments.list(&ListParams::default()).await.unwrap().items;
    objects.into_iter().find(|object| object.spec.topic_name == topic).unwrap().spec.partitions.remove(0)
}

/// Brokers that were away come back to entries that do not follow from what they acted on.
#[tokio::test]
async fn a_fork_is_refused_and_reported_and_the_broker_continues() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    create(&coord, "t", 1).await.unwrap();
    let assignments: Api<KafkaAssignment> = Api::namespaced(world.client.clone(), "default");
    let backup = world.server.faults().snapshot();
    let stands = async || assignments.list(&ListParams::default()).await.unwrap().items.remove(0);
    // What really happened: nobody leads, and then the broker again.
    let first = stands().await;
    let none = first.spec.partitions[0].heal(&Default::default(), 1).unwrap();
    world.operator.abort();
    let wrote = change::write(&assignments, &first, std::slice::from_ref(&none)).await.unwrap();
    assert!(wrote.is_empty());
    shows(&coord, "nobody leads", |image| image.topic("t").unwrap().partitions[0] == none).await;

    // What is shown of the other history: as many changes, others.
    world.server.faults().set_back(&backup, false);
    let fork = Assignment { replicas: vec![BrokerId(0), BrokerId(7)], ..none.clone() };
    let object = stands().await;
    let fork = [Assignment { leader_epoch: fork.leader_epoch, ..fork }];
    change::write(&assignments, &object, &fork).await.unwrap();
    shows(&coord, "it is refused", |image| image.forked == 1).await;
    assert_eq!(coord.images().borrow().topic("t").unwrap().partitions[0], none);
    until("it is reported", async || {
        let leases: Api<Lease> = Api::namespaced(world.client.clone(), "default");
        let lease = leases.get(&names::broker(CLUSTER, BrokerId(0))).await.unwrap();
        lease.annotations().get(names::FORKED_ANNOTATION).is_some_and(|forked| forked == "t-0")
    })
    .await;
}

/// A newer version has added a word and a field to the definition.
#[tokio::test]
async fn words_and_fields_of_a_newer_version_end_no_watch_and_are_kept() {
    let world = World::with(1, |definition| {
        let json = serde_json::to_string(&definition).unwrap();
        let json = json.replace(r#"["Delete","Retain"]"#, r#"["Delete","Retain","Archive"]"#);
        let json = json.replace(r#"["internal","nodePort","#, r#"["gateway","internal","nodePort","#);
        let json = json.replace(r#""topicName":{"#, r#""tier":{"type":"string"},"topicName":{"#);
        serde_json::from_str(&json).unwrap()
    })
    .await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let newer = serde_json::json!({
        "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaTopic", "metadata": { "name": "newer" },
        "spec": { "clusterRef": { "name": CLUSTER }, "partitions": 1, "deletionPolicy": "Archive", "tier": "cold" },
    });
    let kind = kube::core::ApiResource::erase::<KafkaTopic>(&());
    let topics: Api<kube::core::DynamicObject> = Api::namespaced_with(world.client.clone(), "default", &kind);
    topics.create(&PostParams::default(), &serde_json::from_value(newer).unwrap()).await.unwrap();
    shows(&coord, "it is placed", |image| led(image, "newer") == 1).await;
    create(&coord, "other", 1).await.unwrap();

    let id = coord.images().borrow().topic("newer").unwrap().id;
    let to = BTreeMap::from([("retention.ms".to_owned(), "5000".to_owned())]);
    let swap = ask(&coord, |answer| Ask::SetTopicConfig { topic_id: id, from: BTreeMap::new(), to, answer });
    assert_eq!(swap.await.unwrap(), Swap::Done);
    let spec = topics.get("newer").await.unwrap().data["spec"].clone();
    assert_eq!((&spec["deletionPolicy"], &spec["tier"]), (&"Archive".into(), &"cold".into()));
    assert_eq!(spec["config"]["retention.ms"], "5000");
    let deleted = ask(&coord, |answer| Ask::DeleteTopic { topic_id: id, answer }).await;
    assert_eq!(deleted.unwrap_err().code, ErrorCode::POLICY_VIOLATION, "an unknown policy keeps the data");

    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let listeners = serde_json::json!([
        { "name": "internal", "port": 9092, "type": "internal" }, { "name": "outside", "port": 9094, "type": "gateway", "insecure": true },
    ]);
    let patch = Patch::Merge(serde_json::json!({ "spec": { "listeners": listeners } }));
    clusters.patch(CLUSTER, &PatchParams::default(), &patch).await.unwrap();
    let dir = world.dir(1);
    let started = tokio::time::timeout(Duration::from_secs(60), world.open(&dir)).await;
    shows(&started.expect("a new broker starts"), "both", |image| image.live_brokers().count() == 2).await;
}

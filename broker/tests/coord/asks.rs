//! What Kafka's clients ask of the cluster becomes changes of objects.

use super::*;

#[tokio::test(start_paused = true)]
async fn topics_are_made_changed_grown_and_deleted_as_kafkas_admin_asks() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let id = create(&coord, "Orders_EU", 3).await.unwrap();
    let image = coord.images().borrow().clone();
    assert_eq!((image.topic("Orders_EU").unwrap().id, led(&image, "Orders_EU")), (id, 3));
    let objects = world.topics().list(&ListParams::default()).await.unwrap();
    assert_eq!(objects.items[0].spec.topic_name.as_deref(), Some("Orders_EU"));

    let again = create(&coord, "Orders_EU", 3).await.unwrap_err();
    assert_eq!(again, AskRefusal::new(ErrorCode::TOPIC_ALREADY_EXISTS, "Topic 'Orders_EU' already exists."));

    let config = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    let set = |from, to| move |answer| Ask::SetTopicConfig { topic_id: id, from, to, answer };
    let swap = ask(&coord, set(BTreeMap::new(), config.clone())).await.unwrap();
    assert_eq!(swap, Swap::Done);
    assert_eq!(coord.images().borrow().topic("Orders_EU").unwrap().config, config);
    assert_eq!(ask(&coord, set(BTreeMap::new(), config.clone())).await.unwrap(), Swap::Moved);

    let grow = |answer| Ask::CreatePartitions { topic_id: id, count: 70, assignments: Vec::new(), answer };
    ask(&coord, grow).await.unwrap();
    assert_eq!(led(&coord.images().borrow(), "Orders_EU"), 70);

    ask(&coord, |answer| Ask::DeleteTopic { topic_id: id, answer }).await.unwrap();
    let image = coord.images().borrow().clone();
    assert!(image.topic("Orders_EU").is_none());
    assert_eq!(image.deleted[&id].partitions.len(), 70);
    for partition in 0..70 {
        coord.ask().send(Ask::Removed { topic_id: id, partition }).await.unwrap();
    }
    shows(&coord, "the grave is gone", |image| image.deleted.is_empty()).await;

    let new = create(&coord, "Orders_EU", 1).await.unwrap();
    assert_ne!(new, id);
}

#[tokio::test(start_paused = true)]
async fn partitions_begin_where_kafkas_admin_puts_them() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, _one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    shows(&zero, "both brokers", |image| image.live_brokers().count() == 2).await;
    let on = |brokers: &[i32]| brokers.iter().map(|id| vec![BrokerId(*id)]).collect::<Vec<_>>();
    let assignments = on(&[1, 1, 1]);
    let topic = NewTopic { name: "orders".into(), partitions: Some(3), assignments, ..NewTopic::default() };
    let topic_id = ask(&zero, |answer| Ask::CreateTopic { topic, answer }).await.unwrap();

    let grow = |count, brokers: &[i32]| {
        let assignments = on(brokers);
        move |answer| Ask::CreatePartitions { topic_id, count, assignments, answer }
    };
    ask(&zero, grow(5, &[1, 0])).await.unwrap();
    ask(&zero, grow(5, &[1, 0])).await.unwrap(); // as after a write whose answer was lost
    let refused = ask(&zero, grow(6, &[1, 0])).await.unwrap_err();
    let message = "The KafkaTopic of orders already asks for 5 partition(s).";
    assert_eq!(refused, AskRefusal::new(ErrorCode::INVALID_PARTITIONS, message));

    let image = zero.images().borrow().clone();
    let replicas = image.topic("orders").unwrap().partitions.iter().map(|entry| entry.replicas.clone());
    assert_eq!(replicas.collect::<Vec<_>>(), on(&[1, 1, 1, 1, 0]));
    let spec = async || world.topics().get("orders").await.unwrap().spec;
    until("nothing pins them there", async || spec().await.placement.is_empty()).await;
    ask(&zero, grow(5, &[1, 0])).await.unwrap(); // as after a write whose answer came late
    assert_eq!((spec().await.partitions, spec().await.placement), (Some(5), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_the_objects_forbid_is_refused_on_the_wire() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let three = NewTopic { name: "three".into(), replication_factor: Some(3), ..NewTopic::default() };
    let refused = ask(&coord, |answer| Ask::CreateTopic { topic: three, answer }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::INVALID_REPLICATION_FACTOR);
    create(&coord, "a.b", 1).await.unwrap();
    let message = "Topic 'a_b' collides with existing topic: a.b";
    let refused = create(&coord, "a_b", 1).await.unwrap_err();
    assert_eq!(refused, AskRefusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));

    world.apply("kept", |spec| spec.deletion_policy = DeletionPolicy::Retain).await;
    shows(&coord, "its leader", |image| led(image, "kept") == 1).await;
    let topic_id = coord.images().borrow().topic("kept").unwrap().id;
    let refused = ask(&coord, |answer| Ask::DeleteTopic { topic_id, answer }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::POLICY_VIOLATION);

    world.topics().delete("kept", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(led(&coord.images().borrow(), "kept"), 1, "a retained topic stays");
    let refused = ask(&coord, |answer| Ask::DeleteTopic { topic_id, answer }).await.unwrap_err();
    assert!(refused.message.contains("The topic kept has no KafkaTopic"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_objects_only_administrators_change_refuses_clients_by_name() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    let topic_id = create(&coord, "orders", 1).await.unwrap();
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let wire = async |word: &str, partitions: &str| {
        let spec = serde_json::json!({ "wireChanges": word, "config": { "num.partitions": partitions } });
        let patch = Patch::Merge(serde_json::json!({ "spec": spec }));
        clusters.patch(CLUSTER, &PatchParams::default(), &patch).await.unwrap();
        shows(&coord, "the spec", |image| image.settings.num_partitions.to_string() == partitions).await;
    };
    wire("Refuse", "7").await;
    let message = |objects: &str| {
        AskRefusal::new(
            ErrorCode::POLICY_VIOLATION,
            format!("spec.wireChanges of the KafkaCluster {CLUSTER} is Refuse: change the {objects} instead."),
        )
    };
    assert_eq!(create(&coord, "payments", 1).await.unwrap_err(), message("KafkaTopic of the topic payments"));
    let of_orders = message("KafkaTopic of the topic orders");
    let grow = |answer| Ask::CreatePartitions { topic_id, count: 2, assignments: Vec::new(), answer };
    assert_eq!(ask(&coord, grow).await.unwrap_err(), of_orders);
    let config = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    let set = |answer| Ask::SetTopicConfig { topic_id, from: BTreeMap::new(), to: config, answer };
    assert_eq!(ask(&coord, set).await.unwrap_err(), of_orders);
    assert_eq!(ask(&coord, |answer| Ask::DeleteTopic { topic_id, answer }).await.unwrap_err(), of_orders);
    create(&coord, "__consumer_offsets", 1).await.unwrap();
    let elect = |answer| Ask::ElectPreferred { topic_id, partitions: vec![0], answer };
    ask(&coord, elect).await.unwrap();

    wire("Allow", "8").await;
    create(&coord, "payments", 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_objects_name_that_is_taken_by_another_topic_is_no_obstacle() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    world.apply("orders", |spec| spec.topic_name = Some("something.else".into())).await;
    create(&coord, "orders", 1).await.unwrap();
    let names: Vec<String> =
        world.topics().list(&ListParams::default()).await.unwrap().iter().map(KafkaTopic::name_any).collect();
    assert!(names.iter().any(|name| name.starts_with("orders-")), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn broker_settings_and_producer_ids_live_in_the_cluster_object() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    let mut blocks = Vec::new();
    for coord in [&zero, &one, &zero] {
        blocks.push(ask(coord, |answer| Ask::ProducerIds { answer }).await.unwrap());
    }
    assert_eq!(blocks, [0, 1000, 2000]);

    let from = zero.images().borrow().settings.config().clone();
    let mut to = from.clone();
    to.insert("log.retention.ms".into(), "5".into());
    let set = |answer| Ask::SetClusterConfig { whose: Whose::All, from: from.clone(), to: to.clone(), answer };
    assert_eq!(ask(&zero, set).await.unwrap(), Swap::Done);
    shows(&one, "the setting", |image| *image.settings.config() == to).await;
    let set = |answer| Ask::SetClusterConfig { whose: Whose::All, from: from.clone(), to: to.clone(), answer };
    assert_eq!(ask(&one, set).await.unwrap(), Swap::Moved);
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let config = clusters.get(CLUSTER).await.unwrap().spec.config;
    assert_eq!(config, BTreeMap::from([("log.retention.ms".to_owned(), "5".to_owned())]));
}

#[tokio::test(start_paused = true)]
async fn a_brokers_own_settings_live_in_the_cluster_object_and_hold_for_it_alone() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    let own = BTreeMap::from([("log.retention.ms".to_owned(), "7".to_owned())]);
    let set = |from: &BTreeMap<String, String>, to: &BTreeMap<String, String>| {
        let (from, to) = (from.clone(), to.clone());
        move |answer| Ask::SetClusterConfig { whose: Whose::Own, from, to, answer }
    };
    assert_eq!(ask(&one, set(&BTreeMap::new(), &own)).await.unwrap(), Swap::Done);
    assert_eq!(*one.images().borrow().settings.own_config(), own);
    assert_eq!(ask(&one, set(&BTreeMap::new(), &own)).await.unwrap(), Swap::Moved);
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let overrides = clusters.get(CLUSTER).await.unwrap().spec.brokers.overrides;
    assert_eq!(overrides, [BrokerOverride { broker: BrokerId(1), config: own.clone(), ..BrokerOverride::default() }]);

    // Another change of the object, which the other broker must see: it has nothing of its own then.
    let from = zero.images().borrow().settings.config().clone();
    let mut to = from.clone();
    to.insert("log.retention.ms".into(), "5".into());
    let all = |answer| Ask::SetClusterConfig { whose: Whose::All, from: from.clone(), to: to.clone(), answer };
    assert_eq!(ask(&zero, all).await.unwrap(), Swap::Done);
    assert_eq!(*zero.images().borrow().settings.own_config(), BTreeMap::new());
    shows(&one, "both", |image| *image.settings.config() == to && *image.settings.own_config() == own).await;

    assert_eq!(ask(&one, set(&own, &BTreeMap::new())).await.unwrap(), Swap::Done);
    assert_eq!(clusters.get(CLUSTER).await.unwrap().spec.brokers.overrides, []);
}

#[tokio::test(start_paused = true)]
async fn a_groups_settings_live_in_the_cluster_object_and_every_broker_sees_them() {
    let world = World::new(2).await;
    let (dir_0, dir_1) = (world.dir(0), world.dir(1));
    let (zero, one) = (world.open(&dir_0).await, world.open(&dir_1).await);
    let own = BTreeMap::from([("consumer.session.timeout.ms".to_owned(), "50000".to_owned())]);
    let set = |from: &BTreeMap<String, String>, to: &BTreeMap<String, String>| {
        let (from, to) = (from.clone(), to.clone());
        move |answer| Ask::SetClusterConfig { whose: Whose::Group("g".into()), from, to, answer }
    };
    assert_eq!(ask(&one, set(&BTreeMap::new(), &own)).await.unwrap(), Swap::Done);
    shows(&zero, "the setting", |image| *image.group_config("g") == own).await;
    assert_eq!(zero.images().borrow().groups["g"].settings.consumer.session_timeout.as_secs(), 50);
    assert_eq!(ask(&zero, set(&BTreeMap::new(), &own)).await.unwrap(), Swap::Moved);
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let groups = clusters.get(CLUSTER).await.unwrap().spec.groups;
    assert_eq!(groups, [GroupOverride { name: "g".into(), config: own.clone() }]);
    assert_eq!(ask(&zero, set(&own, &BTreeMap::new())).await.unwrap(), Swap::Done);
    assert_eq!(clusters.get(CLUSTER).await.unwrap().spec.groups, []);
}

#[tokio::test(start_paused = true)]
async fn producer_ids_continue_in_a_kafka_cluster_that_is_created_again() {
    let world = World::new(1).await;
    let dir = world.dir(0);
    let coord = world.open(&dir).await;
    assert_eq!(ask(&coord, |answer| Ask::ProducerIds { answer }).await.unwrap(), 0);
    world.operator.abort();
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let lost = clusters.get(CLUSTER).await.unwrap();
    clusters.delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    let mut again = clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, lost.spec)).await.unwrap();
    again.status.get_or_insert_default().cluster_id = lost.status.unwrap().cluster_id;
    clusters.replace_status(CLUSTER, &PostParams::default(), &again).await.unwrap();
    assert_eq!(ask(&coord, |answer| Ask::ProducerIds { answer }).await.unwrap(), 1000);
}

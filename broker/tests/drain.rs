//! Two brokers, the embedded API and the operator's coordination in one process: one broker is told to stop while clients use it.
#![allow(clippy::unwrap_used, reason = "a test that can not go on fails here")]

mod common;

use std::time::Duration;

use common::{Client, batch};
use kube::api::PostParams;
use kube::{Api, Client as KubeClient};
use ottla_broker::image::{BrokerId, ClusterImage};
use ottla_broker::node::{Config, Listener, Node};
use ottla_crds::{KafkaCluster, KafkaClusterSpec};
use ottla_local_api::{Server, Store};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::m19_create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla_wire::{ErrorCode, Str};
use tempfile::TempDir;

const CLUSTER: &str = "local";
const DEADLINE: Duration = Duration::from_secs(120);

async fn start(client: &KubeClient, id: i32, data: &TempDir) -> Node {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { name: "internal".into(), bind: any_port, advertised_host: Some("127.0.0.1".to_owned()) };
    let config = Config {
        id: BrokerId(id),
        namespace: "default".to_owned(),
        cluster: CLUSTER.to_owned(),
        data: data.path().join(id.to_string()),
        listeners: vec![listener],
        http: any_port,
        pod_uid: None,
        reactors: 1,
        workers: 2,
        request_memory: 64 << 20,
    };
    Node::start(config, client.clone()).await.unwrap()
}

async fn shows(node: &Node, story: &str, so: impl Fn(&ClusterImage) -> bool) {
    let mut images = node.images();
    let shown = tokio::time::timeout(DEADLINE, images.wait_for(|image| so(image))).await;
    assert!(shown.is_ok(), "never: {story}");
}

async fn produce(client: &mut Client, topic: &str) -> ProduceResponse {
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch(&["x"]).bytes().clone().into()) }];
    let topic_data = vec![TopicProduceData { name: Str::from(topic), partition_data, ..Default::default() }];
    client.call(12, &ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() }).await
}

#[tokio::test]
async fn a_broker_that_is_told_to_stop_tells_its_clients_where_to_go_before_it_hangs_up() {
    let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
    let client = server.client("default");
    let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({ "brokers": { "replicas": 2 } })).unwrap();
    let clusters = Api::namespaced(client.clone(), "default");
    clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
    let coordination = ottla_operator::coordination::run(client.clone(), "default", CLUSTER, std::future::pending());
    let operator = tokio::spawn(coordination);
    let data = tempfile::tempdir().unwrap();
    let (zero, one) = (start(&client, 0, &data).await, start(&client, 1, &data).await);
    shows(&one, "both brokers", |image| image.live_brokers().count() == 2).await;

    let port = |node: &Node| u16::try_from(node.endpoints[0].port).unwrap();
    let (mut producer, next_port) = (Client::connect(port(&zero)).await, port(&one));
    let replicas = CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![0, 1] };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![replicas],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(producer.call(7, &request).await.topics[0].error_code, ErrorCode::NONE);
    let leader = |image: &ClusterImage| image.assignment("t", 0).and_then(|entry| entry.leader);
    shows(&zero, "0 leads", |image| leader(image) == Some(BrokerId(0))).await;

    while !produce(&mut producer, "t").await.responses[0].partition_responses[0].error_code.is_none() {}
    let stopped = tokio::spawn(zero.stop(DEADLINE));
    // On one connection, which must not break before the new leader is named.
    let told = loop {
        let answer = produce(&mut producer, "t").await;
        match answer.responses[0].partition_responses[0].error_code {
            ErrorCode::NONE => {}
            ErrorCode::NOT_LEADER_OR_FOLLOWER => break answer,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told.responses[0].partition_responses[0].current_leader.leader_id, 1);
    assert_eq!((told.node_endpoints[0].node_id, told.node_endpoints[0].port), (1, i32::from(next_port)));
    tokio::time::timeout(DEADLINE, stopped).await.unwrap().unwrap();
    assert_eq!(leader(&one.images().borrow()), Some(BrokerId(1)));
    operator.abort();
}

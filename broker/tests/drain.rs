//! Brokers, the embedded API and the operator's coordination in one process: one broker is stopping, or dead, while
//! clients use the others.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::time::Duration;

use common::{Client, batch, start_node};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client as KubeClient};
use ottla_broker::image::{BrokerId, ClusterImage};
use ottla_broker::node::Node;
use ottla_crds::{BrokerState, KafkaCluster, KafkaClusterSpec};
use ottla_local_api::{Server, Store};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use ottla_wire::m19_create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla_wire::m37_create_partitions::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::{ErrorCode, Str};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const CLUSTER: &str = "local";
const DEADLINE: Duration = Duration::from_secs(120);

async fn start(client: &KubeClient, id: i32, data: &TempDir) -> Node {
    start_node(client.clone(), CLUSTER, BrokerId(id), data.path().join(id.to_string())).await
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

struct World {
    client: KubeClient,
    operator: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.operator.abort();
    }
}

impl World {
    async fn new(brokers: i32) -> World {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let client = server.client("default");
        let spec = serde_json::json!({ "brokers": { "replicas": brokers } });
        let spec: KafkaClusterSpec = serde_json::from_value(spec).unwrap();
        let clusters = Api::namespaced(client.clone(), "default");
        clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
        let run = ottla_operator::coordination::run(client.clone(), "default", CLUSTER, std::future::pending());
        World { client, operator: tokio::spawn(run) }
    }
}

fn port(node: &Node) -> u16 {
    u16::try_from(node.endpoints[0].port).unwrap()
}

/// A topic of one partition.
fn by_hand(name: &str, replicas: &[i32]) -> CreatableTopic {
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas.to_vec() }];
    CreatableTopic { name: name.into(), num_partitions: -1, replication_factor: -1, assignments, ..Default::default() }
}

async fn create(client: &mut Client, topic: CreatableTopic) -> ErrorCode {
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    client.call(7, &request).await.topics[0].error_code
}

#[tokio::test]
async fn a_stopping_broker_sends_its_clients_to_the_new_leaders_before_it_closes() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(2).await;
    let (zero, one) = (start(&world.client, 0, &data).await, start(&world.client, 1, &data).await);
    shows(&one, "both brokers", |image| image.live_brokers().count() == 2).await;

    let (mut producer, next_port) = (Client::connect(port(&zero)).await, port(&one));
    assert_eq!(create(&mut producer, by_hand("t", &[0, 1])).await, ErrorCode::NONE);
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
    tokio::time::timeout(DEADLINE, stopped).await.unwrap().unwrap().unwrap();
    assert_eq!(leader(&one.images().borrow()), Some(BrokerId(1)));
}

/// As while a cluster is rolled: Streams and Connect create their topics all the same.
#[tokio::test]
async fn topics_are_created_grown_and_moved_while_a_broker_is_away_and_it_joins_when_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(3).await;
    let (zero, one) = (start(&world.client, 0, &data).await, start(&world.client, 1, &data).await);
    let two = start(&world.client, 2, &data).await;
    shows(&zero, "all brokers", |image| image.live_brokers().count() == 3).await;
    let mut client = Client::connect(port(&zero)).await;
    assert_eq!(create(&mut client, by_hand("moved", &[0, 1])).await, ErrorCode::NONE);
    let mut uneven = by_hand("uneven", &[0, 1]);
    uneven.assignments.push(CreatableReplicaAssignment { partition_index: 1, broker_ids: vec![0] });
    assert_eq!(create(&mut client, uneven).await, ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    for shorter_or_longer in [vec![0], vec![0, 1, 2]] {
        let assignments = Some(vec![CreatePartitionsAssignment { broker_ids: shorter_or_longer }]);
        let grown = CreatePartitionsTopic { name: "moved".into(), count: 2, assignments };
        let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 60_000, ..Default::default() };
        let answer = client.call(3, &request).await.results.remove(0);
        assert_eq!(answer.error_code, ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{:?}", answer.error_message);
    }
    two.stop(DEADLINE).await.unwrap();
    shows(&zero, "one is away", |image| image.live_brokers().count() == 2).await;

    let placed = CreatableTopic { num_partitions: 2, replication_factor: 3, ..by_hand("placed", &[]) };
    assert_eq!(create(&mut client, CreatableTopic { assignments: Vec::new(), ..placed }).await, ErrorCode::NONE);
    assert_eq!(create(&mut client, by_hand("by-hand", &[2, 1])).await, ErrorCode::NONE);
    assert_eq!(create(&mut client, by_hand("nobody", &[2])).await, ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    let grown = CreatePartitionsTopic { name: "placed".into(), count: 3, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(3, &request).await.results[0].error_code, ErrorCode::NONE);
    let too_many = CreatePartitionsTopic { name: "placed".into(), count: 10_004, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![too_many], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(3, &request).await.results[0].error_code, ErrorCode::POLICY_VIOLATION);
    let target = ReassignablePartition { partition_index: 0, replicas: Some(vec![2, 1]) };
    let moved = ReassignableTopic { name: "moved".into(), partitions: vec![target] };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![moved],
        timeout_ms: 60_000,
        allow_replication_factor_change: true,
    };
    assert_eq!(client.call(1, &request).await.responses[0].partitions[0].error_code, ErrorCode::NONE);
    let image = zero.images().borrow().clone();
    for (topic, partition) in [("placed", 0), ("placed", 1), ("placed", 2), ("by-hand", 0)] {
        let entry = image.assignment(topic, partition).unwrap();
        assert!(entry.replicas.contains(&BrokerId(2)) && entry.leader.is_some(), "{topic}: {entry:?}");
        assert!(entry.isr.iter().all(|member| member.broker != BrokerId(2)), "{topic}: {entry:?}");
    }

    let two = start(&world.client, 2, &data).await;
    let whole = |image: &ClusterImage| {
        let entries: Vec<_> = image.topics.values().flat_map(|topic| &topic.partitions).collect();
        let ids =
            |topic| image.assignment(topic, 0).map(|entry| entry.replicas.iter().map(|id| id.0).collect::<Vec<_>>());
        entries.len() == 5
            && entries.iter().all(|entry| entry.isr.len() == entry.replicas.len())
            && ids("moved") == Some(vec![2, 1])
    };
    shows(&zero, "every replica is in sync", whole).await;
    futures::future::join_all([zero, one, two].map(|node| node.stop(Duration::ZERO))).await;
}

#[tokio::test]
async fn a_topic_that_no_broker_can_lead_is_refused_at_once() {
    use BrokerState::{Draining, Offline, Online};

    let data = tempfile::tempdir().unwrap();
    let world = World::new(2).await;
    let (zero, one) = (start(&world.client, 0, &data).await, start(&world.client, 1, &data).await);
    shows(&zero, "both brokers", |image| image.live_brokers().count() == 2).await;
    let mut client = Client::connect(port(&zero)).await;
    assert_eq!(create(&mut client, by_hand("small", &[0, 1])).await, ErrorCode::NONE);

    // The operator would see that they are both online.
    world.operator.abort();
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    for (story, states, expected) in [
        ("this broker drains, the other is away", [Draining, Offline], ErrorCode::INVALID_REPLICATION_FACTOR),
        ("both drain", [Draining, Draining], ErrorCode::INVALID_REPLICATION_FACTOR),
        ("the other can lead", [Draining, Online], ErrorCode::NONE),
        ("this broker is not seen, but there", [Offline, Offline], ErrorCode::NONE),
    ] {
        let mut brokers = clusters.get(CLUSTER).await.unwrap().status.unwrap().brokers;
        brokers.iter_mut().zip(states).for_each(|(broker, state)| broker.state = state);
        let status = Patch::Merge(serde_json::json!({ "status": { "brokers": brokers } }));
        clusters.patch_status(CLUSTER, &PatchParams::default(), &status).await.unwrap();
        let alive_and_draining = states.map(|state| (state != Offline, state == Draining));
        shows(&zero, story, |image| {
            image.brokers.values().map(|broker| (broker.alive, broker.draining)).eq(alive_and_draining)
        })
        .await;
        let topic = CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 2, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: true };
        let answer = client.call(7, &request).await.topics.remove(0);
        assert_eq!(answer.error_code, expected, "{story}: {:?}", answer.error_message);
        let grown = CreatePartitionsTopic { name: "small".into(), count: 2, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 60_000, validate_only: true };
        let answer = client.call(3, &request).await.results.remove(0);
        assert_eq!(answer.error_code, expected, "{story}: {:?}", answer.error_message);
    }
    futures::future::join_all([zero, one].map(|node| node.stop(Duration::ZERO))).await;
}

#[tokio::test]
async fn brokers_of_a_cluster_that_is_being_deleted_wait_for_nobody() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(2).await;
    let (zero, one) = (start(&world.client, 0, &data).await, start(&world.client, 1, &data).await);
    shows(&one, "both brokers", |image| image.live_brokers().count() == 2).await;
    let mut client = Client::connect(port(&zero)).await;
    assert_eq!(create(&mut client, by_hand("t", &[0, 1])).await, ErrorCode::NONE);

    // As the operator does it: what it has is removed, the brokers' pods with it, and then it sees no such cluster any
    // more.
    world.operator.abort();
    let clusters: Api<KafkaCluster> = Api::namespaced(world.client.clone(), "default");
    let finalizer = Patch::Merge(serde_json::json!({ "metadata": { "finalizers": ["ottla.io/cluster"] } }));
    clusters.patch(CLUSTER, &PatchParams::default(), &finalizer).await.unwrap();
    clusters.delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    let stopped = futures::future::join_all([zero, one].map(|node| node.stop(10 * DEADLINE)));
    assert!(tokio::time::timeout(DEADLINE, stopped).await.is_ok(), "nobody will take over");
}

//! A disk that hangs: what is written or synced never returns. The Lease is renewed all the same, on one control
//! thread, with the embedded API and the operator's coordination beside it; others lead, and clients need not wait.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, OneBroker, batch, image, start_node_on, topic, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ListParams, PostParams};
use ottla_broker::image::{BrokerId, ClusterImage, LeaderEpoch, PartitionEpoch, Topic};
use ottla_broker::node::Node;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaClusterSpec, names};
use ottla_kube::lease::EXPIRE;
use ottla_local_api::{Server, Store};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::{Below, stand_in_below};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m03_metadata::MetadataRequest;
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::{ErrorCode, Str};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const CLUSTER: &str = "local";
const ME: BrokerId = BrokerId(0);
const PATIENCE: Duration = Duration::from_secs(60);
/// The program has two, and nothing may wait on either.
const CONTROL_THREADS: usize = 1;
/// Renewals that must come while the disk hangs: for longer than the session of the group's member.
const RENEWALS: usize = 5;
/// One for each connection: those that hang answer no ping of the operator, and others do.
const REACTORS: usize = 12;
/// Within which others lead.
const ELECTED_WITHIN: Duration = Duration::from_secs(15);

/// Topics, the first of which is compacted: its leader epochs are synced.
const TOPICS: [&str; 2] = ["compacted", "plain"];

/// The threads of the broker's process; a test that fails does not wait for those that hang.
struct Control(Option<Runtime>);

impl Control {
    fn start() -> Control {
        Control(Some(Builder::new_multi_thread().worker_threads(CONTROL_THREADS).enable_all().build().unwrap()))
    }

    async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.0.as_ref().unwrap().spawn(task).await.unwrap()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A disk on which some changes hang until this is dropped.
struct Hanging {
    /// The files that somebody waits for.
    waits_for: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    _disk: Below,
}

impl Hanging {
    fn begin(data: &Path, hangs: fn(&DiskChange<'_>) -> bool) -> Hanging {
        let (waits_for, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (note, is_over) = (waits_for.clone(), over.clone());
        let disk = stand_in_below(data, move |change| {
            if hangs(&change) {
                note.lock().unwrap().push(change.path().display().to_string());
                while !is_over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(())
        });
        Hanging { waits_for, over, _disk: disk }
    }

    async fn hangs(&self, file: &str) {
        let is_it = || self.waits_for.lock().unwrap().iter().any(|path| path.contains(file));
        until(&format!("{file} hangs"), is_it).await;
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// A cluster of so many brokers.
async fn clustered(server: &Server, brokers: usize) {
    let client = server.client("default");
    let spec = serde_json::json!({ "brokers": { "replicas": brokers } });
    let spec: KafkaClusterSpec = serde_json::from_value(spec).unwrap();
    let clusters = Api::namespaced(client.clone(), "default");
    clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
    tokio::spawn(ottla_operator::coordination::run(client, "default", CLUSTER, std::future::pending()));
}

async fn started(reactors: usize, control: &Control, server: &Server, id: BrokerId, data: &Path) -> Node {
    let (client, data) = (server.client("default"), data.to_owned());
    control.run(async move { start_node_on(reactors, client, CLUSTER, id, data).await }).await
}

async fn connected(node: &Node) -> Client {
    Client::connect(u16::try_from(node.endpoints[0].port).unwrap()).await
}

async fn create(client: &mut Client, topic: &str, replicas: i16) {
    let policy = if topic == "compacted" { "compact" } else { "delete" };
    let configs = vec![CreatableTopicConfig { name: "cleanup.policy".into(), value: Some(policy.into()) }];
    let topic = CreatableTopic {
        name: topic.into(),
        num_partitions: 1,
        replication_factor: replicas,
        configs,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, ErrorCode::NONE);
}

/// Writes a record to the topic `plain` once this broker leads it.
async fn write(client: &mut Client) {
    while client.call(12, &produce()).await.responses[0].partition_responses[0].error_code != ErrorCode::NONE {}
}

/// A broker that leads a partition of each topic, and a client of it.
async fn serving(control: &Control, server: &Server, data: &Path) -> (Node, Client) {
    clustered(server, 1).await;
    let node = started(1, control, server, ME, data).await;
    let mut client = connected(&node).await;
    for topic in TOPICS {
        create(&mut client, topic, 1).await;
    }
    write(&mut client).await;
    (node, client)
}

/// Joins a group, as a member whose session ends six seconds later.
async fn join_group(client: &mut Client) {
    let find = FindCoordinatorRequest { coordinator_keys: vec!["group".into()], ..Default::default() };
    while client.call(4, &find).await.coordinators[0].error_code != ErrorCode::NONE {}
    let mut join = JoinGroupRequest {
        group_id: "group".into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    loop {
        let joined = client.call(9, &join).await;
        join.member_id = joined.member_id;
        if joined.error_code == ErrorCode::NONE {
            return;
        }
    }
}

fn produce() -> ProduceRequest {
    let records = Some(batch(&["x"]).bytes().clone().into());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: Str::from("plain"), partition_data, ..Default::default() }];
    ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() }
}

/// Has the broker lead a topic in the next leader epoch, as after an election.
async fn elect_again(client: &kube::Client, topic: &str) {
    let assignments: Api<KafkaAssignment> = Api::namespaced(client.clone(), "default");
    let all = assignments.list(&ListParams::default()).await.unwrap();
    let mut object = all.into_iter().find(|object| object.spec.topic_name == topic).unwrap();
    let entry = &mut object.spec.partitions[0];
    (entry.leader_epoch, entry.partition_epoch) =
        (entry.leader_epoch.next().unwrap(), entry.partition_epoch.next().unwrap());
    assignments.replace(&object.metadata.name.clone().unwrap(), &PostParams::default(), &object).await.unwrap();
}

/// Waits for a renewal, for no longer than until others take the broker for dead.
async fn renewed(leases: &Api<Lease>) -> Result<(), String> {
    let read = async || leases.get(&names::broker(CLUSTER, ME)).await.unwrap().spec.unwrap();
    let before = read().await;
    let renewed = async {
        while read().await.renew_time == before.renew_time {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(EXPIRE, renewed).await.map_err(|_| format!("no renewal after {before:?}"))
}

/// Sends a request to the HTTP port; returns the connection, from which an answer may come.
async fn ask_http(node: &Node, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answered(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

fn is_sync(change: &DiskChange<'_>) -> bool {
    matches!(change, DiskChange::Sync(_) | DiskChange::SyncDir(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_renewed_while_the_data_directory_hangs() {
    type Hangs = fn(&DiskChange<'_>) -> bool;
    let cases: [(&str, Hangs, &str); 2] = [
        ("no sync returns", is_sync, "offset-checkpoint"),
        ("nothing returns", |_| true, "plain-0/00000000000000000000.log"),
    ];
    for (story, hangs, first) in cases {
        let (data, control) = (tempfile::tempdir().unwrap(), Control::start());
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let (node, mut producer) = serving(&control, &server, data.path()).await;
        let client = server.client("default");
        let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
        renewed(&leases).await.unwrap();
        join_group(&mut producer).await;

        let disk = Hanging::begin(data.path(), hangs);
        producer.send(12, &produce()).await;
        disk.hangs(first).await;
        elect_again(&client, "compacted").await;
        disk.hangs("compacted-0/").await;
        elect_again(&client, "plain").await;
        let mut looks = Vec::new();
        for path in ["/metrics", "/loads", "/metrics"] {
            looks.push(ask_http(&node, path).await);
        }
        for n in 0..RENEWALS {
            renewed(&leases).await.unwrap_or_else(|error| panic!("{story}: {n} renewals, then {error}"));
        }
        let lives = answered(ask_http(&node, "/livez").await).await;
        assert!(lives.starts_with("HTTP/1.1 200"), "{story}: {lives}");

        drop(disk);
        for look in looks {
            let text = answered(look).await;
            assert!(text.starts_with("HTTP/1.1 200"), "{story}: {text}");
        }
        control.run(node.stop(PATIENCE)).await.unwrap();
    }
}

/// Who leads the topic `plain`, and in which epoch.
async fn leads(client: &kube::Client) -> (Option<BrokerId>, LeaderEpoch) {
    let assignments: Api<KafkaAssignment> = Api::namespaced(client.clone(), "default");
    let all = assignments.list(&ListParams::default()).await.unwrap();
    let object = all.into_iter().find(|object| object.spec.topic_name == "plain").unwrap();
    (object.spec.partitions[0].leader, object.spec.partitions[0].leader_epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_in_sync_replicas_lead_while_the_disk_of_the_leader_hangs() {
    let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
    let (client, control) = (server.client("default"), Control::start());
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    clustered(&server, 3).await;
    let (mut nodes, mut data) = (Vec::new(), Vec::new());
    for id in 0..3 {
        data.push(tempfile::tempdir().unwrap());
        let data = data.last().unwrap().path();
        nodes.push(started(REACTORS, &control, &server, BrokerId(id), data).await);
    }
    create(&mut connected(&nodes[0]).await, "plain", 3).await;
    let (leader, epoch) = leads(&client).await;
    let hung = usize::try_from(leader.unwrap().0).unwrap();
    let mut producer = connected(&nodes[hung]).await;
    write(&mut producer).await;

    let disk = Hanging::begin(data[hung].path(), |_| true);
    producer.send(12, &ProduceRequest { acks: 1, ..produce() }).await;
    disk.hangs("plain-0/00000000000000000000.log").await;
    let elected = async {
        loop {
            match leads(&client).await {
                (Some(next), later) if later > epoch => return usize::try_from(next.0).unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let next = timeout(ELECTED_WITHIN, elected).await.expect("another broker leads in time");
    assert_ne!(next, hung);
    timeout(PATIENCE, async { write(&mut connected(&nodes[next]).await).await }).await.unwrap();
    let ended = timeout(PATIENCE, producer.frame()).await.expect("the connection ends while the disk hangs");
    ended.unwrap_err();
    // Followers that miss the leader may have been faster.
    let says_so = async {
        while !answered(ask_http(&nodes[hung], "/readyz").await).await.contains("the disk hangs") {}
        let lease = names::broker(CLUSTER, leader.unwrap());
        let said = async || leases.get(&lease).await.unwrap().metadata.annotations.unwrap();
        while said().await[names::DISK_ANNOTATION] != names::HANGING {}
    };
    timeout(ELECTED_WITHIN, says_so).await.expect("the broker reports that its disk hangs");

    drop(disk);
    // What only the hanging disk had is gone, and what was acknowledged is there.
    until("it follows", || {
        let replicas = nodes[hung].images().borrow().topic("plain").map(|topic| topic.partitions[0].leader);
        replicas == Some(Some(BrokerId(i32::try_from(next).unwrap())))
    })
    .await;
    for node in nodes {
        control.run(node.close()).await.unwrap();
    }
}

/// The topic `plain`, led by this broker or another one since this epoch.
fn plain(topic: &Topic, leader: BrokerId, epoch: LeaderEpoch) -> Topic {
    let mut topic = topic.clone();
    let entry = &mut topic.partitions[0];
    entry.replicas = vec![ME, BrokerId(1)];
    (entry.leader, entry.leader_epoch, entry.partition_epoch) = (Some(leader), epoch, PartitionEpoch(epoch.0));
    topic
}

/// Whether the connection is there, and has nothing to read.
fn is_open(client: &Client) -> bool {
    client.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// A new connection's Metadata request; an error if the broker ends the connection.
async fn look_up(port: u16) -> std::io::Result<usize> {
    let answered = async { Client::connect(port).await.try_call(12, &MetadataRequest::default()).await };
    timeout(PATIENCE, answered).await.expect("the connection is served or ends").map(|answer| answer.brokers.len())
}

/// The broker has two reactors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_need_not_wait_for_reactors_that_wait_for_the_disk() {
    let data = tempfile::tempdir().unwrap();
    let first = plain(&topic("plain", &[]), ME, LeaderEpoch::FIRST);
    let one = OneBroker::start(data.path(), false, vec![first.clone()]).await;
    one.led(&first).await;
    let mut producer = Client::connect(one.port).await;
    write(&mut producer).await;
    let disk = Hanging::begin(data.path(), |_| true);
    producer.send(12, &produce()).await;
    disk.hangs("plain-0/00000000000000000000.log").await;

    // They would be shared out evenly.
    let mut others = Vec::new();
    for number in 0..4 {
        let mut client = Client::connect(one.port).await;
        let answered = timeout(PATIENCE, client.call(12, &MetadataRequest::default())).await;
        assert_eq!(answered.unwrap_or_else(|_| panic!("connection {number} waits")).brokers.len(), 1);
        others.push(client);
    }
    assert!(is_open(&producer), "it would find no other leader");

    let next = plain(&first, BrokerId(1), first.partitions[0].leader_epoch.next().unwrap());
    let shown: ClusterImage = image(one.port, vec![next], &[]);
    one.images.send(Arc::new(shown)).unwrap();
    let ended = timeout(PATIENCE, producer.frame()).await.expect("the connection ends while the disk hangs");
    ended.unwrap_err();
    for client in &mut others {
        assert_eq!(client.call(12, &MetadataRequest::default()).await.brokers.len(), 1, "its reactor does not wait");
    }

    drop(disk);
    one.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_reactors_wait_for_the_disk_new_connections_end_at_once() {
    let data = tempfile::tempdir().unwrap();
    let led = topic("plain", &[]);
    let one = OneBroker::start(data.path(), false, vec![led.clone()]).await;
    one.led(&led).await;
    let (mut first, mut second) = (Client::connect(one.port).await, Client::connect(one.port).await);
    write(&mut first).await;
    write(&mut second).await;
    let disk = Hanging::begin(data.path(), |_| true);
    first.send(12, &produce()).await;
    disk.hangs("plain-0/00000000000000000000.log").await;
    second.send(12, &produce()).await;
    // One that comes before the second request has hung its reactor is served.
    while look_up(one.port).await.is_ok() {}
    look_up(one.port).await.expect_err("all wait");
    assert!(is_open(&first) && is_open(&second), "they would find no other leader");

    drop(disk);
    for producer in [&mut first, &mut second] {
        let (_, answer) = producer.receive::<ProduceRequest>(12).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }
    // Until the next look at the reactors.
    while look_up(one.port).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    one.broker.stop().await;
}

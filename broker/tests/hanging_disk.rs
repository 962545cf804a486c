//! A disk that hangs: what is written or synced never returns. The Lease is renewed all the same, on the control
//! threads that the program gives a broker, with the embedded API and the operator's coordination beside them.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, batch, start_node, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ListParams, PostParams};
use ottla_broker::image::BrokerId;
use ottla_broker::node::Node;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaClusterSpec, names};
use ottla_kube::lease::EXPIRE;
use ottla_local_api::{Server, Store};
use ottla_log::disk::Change;
use ottla_log::disk::simulated::{Below, stand_in_below};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m19_create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::{ErrorCode, Str};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const CLUSTER: &str = "local";
const ME: BrokerId = BrokerId(0);
const PATIENCE: Duration = Duration::from_secs(60);
/// As in `ottla/src/main.rs`.
const CONTROL_THREADS: usize = 2;
/// Renewals that must come while the disk hangs.
const RENEWALS: usize = 4;

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
    fn begin(data: &Path, hangs: fn(&Change<'_>) -> bool) -> Hanging {
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

/// A broker that leads a partition of each topic, and a client of it.
async fn serving(control: &Control, server: &Server, data: &Path) -> (Node, Client) {
    let client = server.client("default");
    let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({ "brokers": { "replicas": 1 } })).unwrap();
    let clusters = Api::namespaced(client.clone(), "default");
    clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
    tokio::spawn(ottla_operator::coordination::run(client, "default", CLUSTER, std::future::pending()));
    let (server, data) = (server.clone(), data.to_owned());
    let node = control.run(async move { start_node(server.client("default"), CLUSTER, ME, data).await }).await;
    let mut client = Client::connect(u16::try_from(node.endpoints[0].port).unwrap()).await;
    for topic in TOPICS {
        let policy = if topic == "compacted" { "compact" } else { "delete" };
        let configs = vec![CreatableTopicConfig { name: "cleanup.policy".into(), value: Some(policy.into()) }];
        let topic = CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        assert_eq!(client.call(7, &request).await.topics[0].error_code, ErrorCode::NONE);
    }
    while client.call(12, &produce()).await.responses[0].partition_responses[0].error_code != ErrorCode::NONE {}
    (node, client)
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

fn is_sync(change: &Change<'_>) -> bool {
    matches!(change, Change::Sync(_) | Change::SyncDir(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_renewed_while_the_data_directory_hangs() {
    // A reactor that hangs in a write is what a restart is for.
    type Hangs = fn(&Change<'_>) -> bool;
    let cases: [(&str, Hangs, &str, bool); 2] = [
        ("no sync returns", is_sync, "offset-checkpoint", true),
        ("nothing returns", |_| true, "plain-0/00000000000000000000.log", false),
    ];
    for (story, hangs, first, stays_alive) in cases {
        let (data, control) = (tempfile::tempdir().unwrap(), Control::start());
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let (node, mut producer) = serving(&control, &server, data.path()).await;
        let client = server.client("default");
        let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
        renewed(&leases).await.unwrap();

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
        if stays_alive {
            let lives = answered(ask_http(&node, "/livez").await).await;
            assert!(lives.starts_with("HTTP/1.1 200"), "{story}: {lives}");
        }

        drop(disk);
        for look in looks {
            let text = answered(look).await;
            assert!(text.starts_with("HTTP/1.1 200"), "{story}: {text}");
        }
        control.run(node.stop(PATIENCE)).await.unwrap();
    }
}

//! A disk fails once, as Linux has it: the second sync succeeds without having written anything. One broker or two, the
//! embedded API and the operator's coordination in one process.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use common::{Client, batch, start_node, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client as KubeClient};
use ottla_broker::image::BrokerId;
use ottla_broker::node::Node;
use ottla_crds::{KafkaCluster, KafkaClusterSpec, names};
use ottla_kube::lease::BrokerSession;
use ottla_local_api::{Server, Store};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::stand_in_below;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m19_create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use ottla_wire::{ErrorCode, Str};
use tokio::task::JoinHandle;

const CLUSTER: &str = "local";
const PATIENCE: Duration = Duration::from_secs(60);
const IDENTITY: &str = "ottla.identity";
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";

/// The API of a cluster of so many brokers, and its operator.
async fn cluster(brokers: i32) -> (KubeClient, JoinHandle<()>) {
    let client = Server::new(Store::Memory, ottla_crds::all()).unwrap().client("default");
    let spec = serde_json::json!({ "brokers": { "replicas": brokers } });
    let spec: KafkaClusterSpec = serde_json::from_value(spec).unwrap();
    let clusters = Api::namespaced(client.clone(), "default");
    clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
    let run = ottla_operator::coordination::run(client.clone(), "default", CLUSTER, std::future::pending());
    (client, tokio::spawn(run))
}

/// Creates the topic `t` of one partition. Returns a client of its leader.
async fn create(leader: &Node, topic: CreatableTopic) -> Client {
    let mut client = Client::connect(u16::try_from(leader.endpoints[0].port).unwrap()).await;
    let topic = CreatableTopic { name: "t".into(), ..topic };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, ErrorCode::NONE);
    produce(&mut client).await;
    client
}

/// A broker that leads the one partition of the topic `t`, and a client of it.
async fn serving(data: &Path) -> (Node, Client) {
    let (client, _operator) = cluster(1).await;
    let node = start_node(client, CLUSTER, BrokerId(0), data.to_owned()).await;
    let topic = CreatableTopic { num_partitions: 1, replication_factor: 1, ..Default::default() };
    let client = create(&node, topic).await;
    (node, client)
}

fn one_record() -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch(&["x"]).bytes().clone().into()) }];
    let topic_data = vec![TopicProduceData { name: Str::from("t"), partition_data, ..Default::default() }];
    ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() }
}

async fn produce(client: &mut Client) {
    while !client.call(12, &one_record()).await.responses[0].partition_responses[0].error_code.is_none() {}
}

/// Whether this change is made by the work that a data directory is for: not by what counts time or copies objects
/// beside it.
fn is_work(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with("ottla.ticks") && !name.starts_with("ottla.objects")
}

fn path<'a>(change: &DiskChange<'a>) -> &'a Path {
    match *change {
        DiskChange::Create(path) | DiskChange::Write(path) | DiskChange::Truncate(path, _) | DiskChange::Sync(path) => {
            path
        }
        DiskChange::Open(path)
        | DiskChange::SyncDir(path)
        | DiskChange::CreateDir(path)
        | DiskChange::Rename(path, _)
        | DiskChange::Remove(path) => path,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Running,
    Stopping,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_whose_disk_failed_once_is_disowned_before_anything_else_and_never_marked_clean() {
    let cases = [
        ("a background flush", When::Running, "00000000000000000000.log"),
        ("checkpoints in the background", When::Running, "recovery-point-offset-checkpoint.tmp"),
        ("a snapshot, which only a close writes", When::Stopping, ".snapshot"),
        ("the last flush", When::Stopping, "00000000000000000000.log"),
        ("checkpoints at a close", When::Stopping, "recovery-point-offset-checkpoint.tmp"),
        ("the marker of a clean stop itself", When::Stopping, ".kafka_cleanshutdown.tmp"),
    ];
    for (story, when, file) in cases {
        let data = tempfile::tempdir().unwrap();
        let (node, mut client) = serving(data.path()).await;
        // Both are armed once the broker serves. The test notes what the thread that gets the error does next, which
        // nothing may hold up. Another thread may be in the middle of a change.
        let armed = Arc::new(AtomicBool::new(false));
        let (is_armed, failed) = (armed.clone(), OnceLock::new());
        let after: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = after.clone();
        let _disk = stand_in_below(data.path(), move |change| {
            let (path, this) = (path(&change), thread::current().id());
            if failed.get() == Some(&this) && is_work(path) {
                seen.lock().unwrap().push(format!("{change:?}"));
            }
            let is_it = matches!(change, DiskChange::Sync(path) if path.to_string_lossy().ends_with(file));
            if is_it && is_armed.load(Ordering::SeqCst) && failed.set(this).is_ok() {
                return Err(io::Error::other("the device has lost a page"));
            }
            Ok(())
        });
        let noticed = match when {
            When::Running => {
                armed.store(true, Ordering::SeqCst);
                produce(&mut client).await;
                let noticed = tokio::time::timeout(PATIENCE, node.disk_failed()).await.is_ok();
                // What the process does next, if it is stopped at that very moment.
                noticed && node.stop(PATIENCE).await.is_err()
            }
            When::Stopping => {
                armed.store(true, Ordering::SeqCst);
                produce(&mut client).await;
                node.stop(PATIENCE).await.is_err()
            }
        };
        assert!(noticed, "{story}: the stop says so");
        let has = |name: &str| data.path().join(name).exists();
        assert_eq!((has(IDENTITY), has(CLEAN_MARKER)), (false, false), "{story}: identity and marker");
        let after = after.lock().unwrap();
        assert!(after[0].starts_with("Remove") && after[0].contains(IDENTITY), "{story}: first {}", after[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_while_a_flush_is_under_way_is_not_closed_clean_over_it() {
    let data = tempfile::tempdir().unwrap();
    let (node, mut client) = serving(data.path()).await;
    // The flush hangs until the close has begun, and then fails; every later sync succeeds.
    let (hanging, release) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (hangs, may_fail) = (hanging.clone(), release.clone());
    let _disk = stand_in_below(data.path(), move |change| {
        let is_log = matches!(change, DiskChange::Sync(path) if path.extension().is_some_and(|found| found == "log"));
        if is_log && !hangs.swap(true, Ordering::SeqCst) {
            while !may_fail.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            return Err(io::Error::other("the device has lost a page"));
        }
        Ok(())
    });
    produce(&mut client).await;
    until("a flush hangs", || hanging.load(Ordering::SeqCst)).await;
    let stopping = tokio::spawn(node.stop(PATIENCE));
    // The connection ends when the stop gets to the logs.
    client.frame().await.unwrap_err();
    release.store(true, Ordering::SeqCst);
    stopping.await.unwrap().unwrap_err();
    assert!(!data.path().join(CLEAN_MARKER).exists() && !data.path().join(IDENTITY).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_while_partitions_are_handed_over_ends_the_hand_over() {
    let data = tempfile::tempdir().unwrap();
    let (of_zero, of_one) = (data.path().join("0"), data.path().join("1"));
    let (api, operator) = cluster(2).await;
    let zero = start_node(api.clone(), CLUSTER, BrokerId(0), of_zero.clone()).await;
    let one = start_node(api.clone(), CLUSTER, BrokerId(1), of_one).await;
    let mut images = zero.images();
    images.wait_for(|image| image.live_brokers().count() == 2).await.unwrap();
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![0, 1] }];
    let by_hand =
        CreatableTopic { num_partitions: -1, replication_factor: -1, assignments, ..CreatableTopic::default() };
    let mut client = create(&zero, by_hand).await;

    // Without an operator nobody takes over, and the hand-over would last as long as it may.
    operator.abort();
    operator.await.unwrap_err();
    let stopping = tokio::spawn(zero.stop(10 * PATIENCE));
    let leases: Api<Lease> = Api::namespaced(api, "default");
    let drains = async || {
        let lease = leases.get(&names::broker(CLUSTER, BrokerId(0))).await.unwrap();
        let session = BrokerSession::from_annotations(&lease.metadata.annotations.unwrap_or_default());
        session.is_some_and(|session| session.draining)
    };
    while !drains().await {
        tokio::task::yield_now().await;
    }
    let failed = AtomicBool::new(false);
    let _disk = stand_in_below(&of_zero, move |change| {
        let is_log = matches!(change, DiskChange::Sync(path) if path.extension().is_some_and(|found| found == "log"));
        if is_log && !failed.swap(true, Ordering::SeqCst) {
            return Err(io::Error::other("the device has lost a page"));
        }
        Ok(())
    });
    // What it appends is flushed in the background. The connection may end before the answer.
    client.send(12, &one_record()).await;
    let stopped = tokio::time::timeout(PATIENCE, stopping).await.expect("the stop waits for other brokers no longer");
    stopped.unwrap().unwrap_err();
    assert!(!of_zero.join(CLEAN_MARKER).exists() && !of_zero.join(IDENTITY).exists());
    one.stop(Duration::ZERO).await.unwrap();
}

//! A disk fails once, as Linux has it: the second sync succeeds without having written anything. One broker, the
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
use kube::Api;
use kube::api::PostParams;
use ottla_broker::image::BrokerId;
use ottla_broker::node::Node;
use ottla_crds::{KafkaCluster, KafkaClusterSpec};
use ottla_local_api::{Server, Store};
use ottla_log::disk::Change;
use ottla_log::disk::simulated::stand_in_below;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::{ErrorCode, Str};

const CLUSTER: &str = "local";
const PATIENCE: Duration = Duration::from_secs(60);
const IDENTITY: &str = "ottla.identity";
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";

/// A broker that leads the one partition of the topic `t`, and a client of it.
async fn serving(data: &Path) -> (Node, Client) {
    let client = Server::new(Store::Memory, ottla_crds::all()).unwrap().client("default");
    let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({ "brokers": { "replicas": 1 } })).unwrap();
    let clusters = Api::namespaced(client.clone(), "default");
    clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
    tokio::spawn(ottla_operator::coordination::run(client.clone(), "default", CLUSTER, std::future::pending()));
    let node = start_node(client, CLUSTER, BrokerId(0), data.to_owned()).await;
    let mut client = Client::connect(u16::try_from(node.endpoints[0].port).unwrap()).await;
    let topic = CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, ErrorCode::NONE);
    produce(&mut client).await;
    (node, client)
}

async fn produce(client: &mut Client) {
    loop {
        let records = Some(batch(&["x"]).bytes().clone().into());
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic_data = vec![TopicProduceData { name: Str::from("t"), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() };
        if client.call(12, &request).await.responses[0].partition_responses[0].error_code.is_none() {
            return;
        }
    }
}

/// Whether this change is made by the work that a data directory is for: not by what counts time or copies objects
/// beside it.
fn is_work(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with("ottla.ticks") && !name.starts_with("ottla.objects")
}

fn path<'a>(change: &Change<'a>) -> &'a Path {
    match *change {
        Change::Create(path) | Change::Write(path) | Change::Truncate(path, _) | Change::Sync(path) => path,
        Change::Open(path)
        | Change::SyncDir(path)
        | Change::CreateDir(path)
        | Change::Rename(path, _)
        | Change::Remove(path) => path,
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
            let is_it = matches!(change, Change::Sync(path) if path.to_string_lossy().ends_with(file));
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
        let is_log = matches!(change, Change::Sync(path) if path.extension().is_some_and(|found| found == "log"));
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

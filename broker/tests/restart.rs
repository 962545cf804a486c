//! A broker that starts again after a clean stop, on assignments that have not changed, writes nothing to its logs.
//! With thousands of partitions, each sync would count.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{OneBroker, batch, topic, until};
use ottla_broker::image::{LeaderEpoch, PartitionEpoch, Topic};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::{Below, Looks, stand_in_below};
use parking_lot::Mutex;

/// What is changed on the disk below a directory from now on.
fn changes_below(data: &Path) -> (Arc<Mutex<Vec<String>>>, Below) {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let heard = changes.clone();
    let below = stand_in_below(data, move |change| {
        if !matches!(change, DiskChange::Open(_)) {
            heard.lock().push(format!("{change:?}"));
        }
        Ok(())
    });
    (changes, below)
}

/// Starts on these topics, waits until everything is led, and stops.
async fn live(data: &Path, clean: bool, topics: &[Topic]) {
    let one = OneBroker::start(data, clean, topics.to_vec()).await;
    for topic in topics {
        one.led(topic).await;
    }
    assert!(one.broker.stop().await);
}

#[tokio::test]
async fn a_restart_on_the_same_assignments_changes_no_file() {
    let data = tempfile::tempdir().unwrap();
    let mut topics =
        [topic("used", &[]), topic("idle", &[]), topic("compacted", &[("cleanup.policy", "compact")])].to_vec();
    // An epoch in which nothing was written yet.
    topics.iter_mut().for_each(|topic| topic.partitions[0].leader_epoch = LeaderEpoch(3));
    let one = OneBroker::start(data.path(), false, topics.clone()).await;
    for topic in &topics {
        one.led(topic).await;
    }
    let used = one.broker.replicas().get(&topics[0], 0).unwrap();
    used.append_own(&batch(&["a", "b"]), LeaderEpoch(3), 0).unwrap();
    until("what was appended is committed", || used.high_watermark.get() == 2).await;
    assert!(one.broker.stop().await);
    drop(used);

    live(data.path(), true, &topics).await;
    let (changes, _below) = changes_below(data.path());
    live(data.path(), true, &topics).await;
    assert_eq!(*changes.lock(), Vec::<String>::new(), "a start and a stop without anything in between");

    // The next epoch is another matter: it must be known before anybody acts in it.
    topics[1].partitions[0].leader_epoch = LeaderEpoch(4);
    topics[1].partitions[0].partition_epoch = PartitionEpoch(1);
    live(data.path(), true, &topics).await;
    let changed = changes.lock().clone();
    assert!(!changed.is_empty() && changed.iter().all(|change| !change.contains("used-0")), "{changed:#?}");
}

/// What a start looks at for an idle log: its folder's names, and seven files, of which the one with the topic id is
/// read when the folders are found and when the log is opened.
const LOOKS_AT_AN_IDLE_LOG: usize = 9;

#[tokio::test]
async fn a_restart_looks_at_each_file_of_an_idle_log_once() {
    let data = tempfile::tempdir().unwrap();
    let topics = [topic("idle", &[])];
    live(data.path(), false, &topics).await;
    let looks = Looks::below(&data.path().join("idle-0"));
    for start in ["first", "second"] {
        live(data.path(), true, &topics).await;
        assert_eq!(looks.take(), LOOKS_AT_AN_IDLE_LOG, "{start}");
    }
}

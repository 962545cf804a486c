//! Topics are deleted while the disk hangs, and by the hundred.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{OneBroker, image, topic, until};
use ottla_broker::ask::Ask;
use ottla_broker::image::{BrokerId, ClusterImage, LeaderEpoch, PartitionEpoch, Topic};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::stand_in_below;

fn with_tombstones(port: u16, topics: Vec<Topic>, deleted: &[Topic]) -> Arc<ClusterImage> {
    let deleted = deleted.iter().map(|topic| (topic.id, Arc::new(topic.clone()))).collect();
    Arc::new(ClusterImage { deleted, ..image(port, topics, &[]) })
}

/// Waits until the broker has reported to the cluster that it has nothing of these any more; reported again and again
/// until the tombstones go.
async fn removed(one: &mut OneBroker, topics: &[Topic]) {
    let mut left: HashSet<_> = topics.iter().map(|topic| topic.id).collect();
    while !left.is_empty() {
        let asked = tokio::time::timeout(Duration::from_secs(120), one.asks.recv()).await;
        if let Ask::Removed { topic_id, partition: 0 } = asked.expect("the cluster is informed").unwrap() {
            left.remove(&topic_id);
        }
        // As coord does it with whatever changes: an image after another.
        one.images.send_modify(|_| ());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_an_election_nor_a_new_topic_waits_for_a_removal_that_hangs() {
    let data = tempfile::tempdir().unwrap();
    let (gone, elected, new) = (topic("gone", &[]), topic("elected", &[]), topic("new", &[]));
    let mut leaderless = elected.clone();
    leaderless.partitions[0].leader = None;
    let mut one = OneBroker::start(data.path(), false, vec![gone.clone(), leaderless]).await;
    one.led(&gone).await;
    let hang = Arc::new(AtomicBool::new(true));
    let hangs = hang.clone();
    let _disk = stand_in_below(data.path(), move |change| {
        let is_gone =
            matches!(change, DiskChange::Rename(path, _) | DiskChange::Remove(path) if path.ends_with("gone-0"));
        while is_gone && hangs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(())
    });
    let mut elected = elected;
    (elected.partitions[0].leader_epoch, elected.partitions[0].partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    let tombstone = [gone.clone()];
    one.images.send_replace(with_tombstones(one.port, vec![elected.clone(), new.clone()], &tombstone));
    one.led(&elected).await;
    one.led(&new).await;

    let again = topic("gone", &[]);
    let topics = vec![elected, new.clone(), again.clone()];
    let newer = topic("newer", &[]);
    one.images.send_replace(with_tombstones(one.port, [topics, vec![newer.clone()]].concat(), &tombstone));
    one.led(&newer).await;
    assert!(one.broker.replicas().is_to_be_opened(again.id, 0), "its name is not free yet");
    hang.store(false, Ordering::SeqCst);
    one.led(&again).await;
    removed(&mut one, &tombstone).await;
    let names = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("gone-")).collect();
    assert_eq!(left, ["gone-0"], "nothing is quarantined");
    assert!(one.broker.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_topics_are_deleted_with_a_handful_of_syncs() {
    let data = tempfile::tempdir().unwrap();
    let topics: Vec<Topic> = (0..100).map(|n| topic(&format!("t{n}"), &[])).collect();
    let mut one = OneBroker::start(data.path(), false, topics.clone()).await;
    for topic in &topics {
        one.led(topic).await;
    }
    let syncs = Arc::new(AtomicUsize::new(0));
    let count = syncs.clone();
    let _disk = stand_in_below(data.path(), move |change| {
        let is_sync = matches!(change, DiskChange::Sync(_) | DiskChange::SyncDir(_));
        count.fetch_add(usize::from(is_sync), Ordering::SeqCst);
        Ok(())
    });
    one.images.send_replace(with_tombstones(one.port, vec![], &topics));
    removed(&mut one, &topics).await;
    let (syncs, names) = (syncs.load(Ordering::SeqCst), std::fs::read_dir(data.path()).unwrap());
    assert!(syncs < 100, "{syncs} syncs");
    let folders = names.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 0);
    one.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_empty_at_once_is_removed_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let gone = topic("gone", &[]);
    let mut one = OneBroker::start(data.path(), false, vec![gone.clone()]).await;
    one.led(&gone).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let _disk = stand_in_below(data.path(), move |change| match change {
        // A file came into it while the others were removed.
        DiskChange::Remove(path) if path.is_dir() && count.fetch_add(1, Ordering::SeqCst) == 0 => {
            Err(std::io::ErrorKind::DirectoryNotEmpty.into())
        }
        _ => Ok(()),
    });
    let tombstone = [gone];
    one.images.send_replace(with_tombstones(one.port, vec![], &tombstone));
    removed(&mut one, &tombstone).await;
    let is_gone = || !std::fs::read_dir(data.path()).unwrap().any(|entry| entry.unwrap().path().is_dir());
    until("its folder is gone", is_gone).await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    assert!(one.broker.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_away_stays_on_disk_until_the_copy_of_the_objects_there_says_so() {
    let data = tempfile::tempdir().unwrap();
    let (t, new) = (topic("t", &[]), topic("new", &[]));
    let mut one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut moved = t.clone();
    let entry = &mut moved.partitions[0];
    (entry.replicas, entry.leader, entry.isr) = (vec![BrokerId(1)], Some(BrokerId(1)), vec![]);
    (entry.leader_epoch, entry.partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    let entry = entry.clone();
    one.images.send_replace(Arc::new(image(one.port, vec![moved.clone(), new.clone()], &[])));
    one.led(&new).await;
    let Some(Ask::MovedAway { partitions, answer }) = one.asks.recv().await else { panic!("another ask") };
    assert_eq!(partitions, [(("t".into(), t.id), entry)]);
    let folder = data.path().join("t-0");
    let deleted = topic("deleted", &[]);
    one.images.send_replace(Arc::new(image(one.port, vec![moved.clone(), new.clone(), deleted.clone()], &[])));
    one.led(&deleted).await;
    let tombstone = [deleted];
    one.images.send_replace(with_tombstones(one.port, vec![moved, new], &tombstone));
    removed(&mut one, &tombstone).await;
    assert!(folder.exists(), "others go meanwhile");
    answer.send(()).unwrap();
    until("its folder is gone", || !folder.exists()).await;
    assert!(one.broker.stop().await);
}

//! An election is acted on at once, whatever the disk does for other partitions.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{OneBroker, batch, image, topic, until};
use ottla_broker::image::{BrokerId, LeaderEpoch, PartitionEpoch, Topic};
use ottla_log::disk::DiskChange;
use ottla_log::disk::simulated::{Below, stand_in_below};

/// A topic whose one partition nobody leads, and the same once this broker is elected.
fn to_be_elected(name: &str, config: &[(&str, &str)]) -> (Topic, Topic) {
    let mut elected = topic(name, config);
    let mut leaderless = elected.clone();
    leaderless.partitions[0].leader = None;
    (elected.partitions[0].leader_epoch, elected.partitions[0].partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    (leaderless, elected)
}

fn show(one: &OneBroker, topics: &[&Topic]) {
    let topics = topics.iter().map(|topic| (*topic).clone()).collect();
    one.images.send_replace(Arc::new(image(one.port, topics, &[])));
}

/// A disk on which some changes hang.
struct Hanging {
    hangs: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
    _disk: Below,
}

impl Hanging {
    /// From now on, below `data`: syncs of files whose paths end with `name`.
    fn begin(data: &Path, name: &'static str) -> Hanging {
        Hanging::on(
            data,
            move |change| matches!(change, DiskChange::Sync(path) if path.to_string_lossy().ends_with(name)),
        )
    }

    fn on(data: &Path, is_it: impl Fn(&DiskChange<'_>) -> bool + Send + Sync + 'static) -> Hanging {
        let (hangs, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (tell, may_end) = (hangs.clone(), released.clone());
        let disk = stand_in_below(data, move |change| {
            let is_it = is_it(&change);
            while is_it && !may_end.load(Ordering::SeqCst) {
                tell.store(true, Ordering::SeqCst);
                std::thread::yield_now();
            }
            Ok(())
        });
        Hanging { hangs, released, _disk: disk }
    }

    async fn hangs(&self) {
        until("a change hangs", || self.hangs.load(Ordering::SeqCst)).await;
    }

    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

/// Threads that hang keep a test that fails from ending.
impl Drop for Hanging {
    fn drop(&mut self) {
        self.release();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_election_waits_for_checkpoints_that_hang() {
    let data = tempfile::tempdir().unwrap();
    let ((first, first_elected), (second, second_elected)) = (to_be_elected("a", &[]), to_be_elected("b", &[]));
    let (busy, new) = (topic("busy", &[]), topic("new", &[]));
    let one = OneBroker::start(data.path(), false, vec![first.clone(), second.clone(), busy.clone()]).await;
    until("all logs are open", || one.broker.replicas().all().len() == 3).await;
    one.led(&busy).await;
    let disk = Hanging::begin(data.path(), "offset-checkpoint.tmp");
    let all = one.broker.replicas().all();
    let partition = all.iter().find(|partition| partition.topic_id == busy.id).unwrap();
    partition.append_own(&batch(&["the checkpoints say so"]), LeaderEpoch(0), 0).unwrap();
    disk.hangs().await;

    show(&one, &[&first_elected, &second, &busy, &new]);
    one.led(&first_elected).await;
    // The log of the new topic is being opened, for which the checkpoints are looked at.
    show(&one, &[&first_elected, &second_elected, &busy, &new]);
    one.led(&second_elected).await;
    disk.release();
    one.led(&new).await;
    assert!(one.broker.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_election_waits_until_the_epoch_of_a_compacted_topic_is_on_the_device() {
    let data = tempfile::tempdir().unwrap();
    let (compacted, compacted_elected) = to_be_elected("compacted", &[("cleanup.policy", "compact")]);
    let (other, other_elected) = to_be_elected("other", &[]);
    let one = OneBroker::start(data.path(), false, vec![compacted.clone(), other.clone()]).await;
    until("all logs are open", || one.broker.replicas().all().len() == 2).await;
    let disk = Hanging::begin(data.path(), "compacted-0/leader-epoch-checkpoint.tmp");
    show(&one, &[&compacted_elected, &other]);
    disk.hangs().await;
    show(&one, &[&compacted_elected, &other_elected]);
    one.led(&other_elected).await;
    // A newer entry comes while the role begins.
    let mut again = compacted_elected;
    (again.partitions[0].leader_epoch, again.partitions[0].partition_epoch) = (LeaderEpoch(2), PartitionEpoch(2));
    show(&one, &[&again, &other_elected]);
    disk.release();
    one.led(&again).await;
    let partition = one.broker.replicas().get(&again, 0).unwrap();
    until("it leads in the newest epoch", || partition.append_own(&batch(&["x"]), LeaderEpoch(2), 0).is_ok()).await;
    assert!(one.broker.stop().await);
}

// One thread, as if every other hung already: it may wait for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_election_waits_for_a_partition_whose_files_hang() {
    let data = tempfile::tempdir().unwrap();
    let (stuck, stuck_elected) = to_be_elected("stuck", &[]);
    let (busy, busy_elected) = to_be_elected("busy", &[]);
    let (other, other_elected) = to_be_elected("other", &[]);
    let (last, last_elected) = to_be_elected("last", &[]);
    let all = vec![stuck.clone(), busy.clone(), other.clone(), last.clone()];
    let one = OneBroker::start(data.path(), false, all).await;
    until("all logs are open", || one.broker.replicas().all().len() == 4).await;
    show(&one, &[&stuck, &busy_elected, &other, &last]);
    one.led(&busy_elected).await;
    let hang =
        |folder: &'static str| Hanging::on(data.path(), move |change| change.path().to_string_lossy().contains(folder));
    let (busy_disk, stuck_disk) = (hang("busy-0/"), hang("stuck-0/"));
    let partition = one.broker.replicas().get(&busy_elected, 0).unwrap();
    let appending = std::thread::spawn(move || partition.append_own(&batch(&["x"]), LeaderEpoch(1), 0));
    busy_disk.hangs().await;
    show(&one, &[&stuck_elected, &busy_elected, &other, &last]);
    stuck_disk.hangs().await;
    show(&one, &[&stuck_elected, &busy_elected, &other_elected, &last]);
    one.led(&other_elected).await;

    // Both go to another broker.
    let elsewhere = |topic: &Topic| {
        let mut moved = topic.clone();
        let entry = &mut moved.partitions[0];
        (entry.replicas, entry.leader, entry.isr) = (vec![BrokerId(9)], Some(BrokerId(9)), Vec::new());
        (entry.leader_epoch, entry.partition_epoch) = (LeaderEpoch(2), PartitionEpoch(2));
        moved
    };
    show(&one, &[&elsewhere(&stuck), &elsewhere(&busy), &other_elected, &last_elected]);
    one.led(&last_elected).await;
    busy_disk.release();
    stuck_disk.release();
    appending.join().unwrap().unwrap();
    assert!(one.broker.stop().await);
}

//! Replicas that are not here any more: a tombstone says so, or another assignment.
//!
//! Their folders go beside everything else, on workers, some at a time: neither the next image nor the removal of other
//! replicas waits for the disk. First the folders of a batch lose their names, with one sync for all of them and one
//! for the checkpoints; then their files go, for as many tries as that takes. A log of the same name is opened once the
//! name is free.
//!
//! Always: absence is never deletion. What no object speaks of stays as it is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join3;
use ottla_log::disk;
use ottla_log::folder::partition_name;
use ottla_wire::TopicIdPartition;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::checkpoints::{Checkpoints, PartitionKey};
use super::opening::{FIRST_RETRY, LONGEST_RETRY};
use super::partition::Partition;
use super::proposal::Proposal;
use super::span::span_of;
use super::{Replicas, folders};
use crate::ask::Ask;
use crate::env::{self, Instant};
use crate::image::{Assignment, ClusterImage};

/// Folders that lose their names with one sync.
const BATCH: usize = 256;
/// What an assignment does not show by then was refused, or lost by an API server that was set back.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Replicas on their way out.
#[derive(Default)]
pub(super) struct Removals {
    state: Mutex<RemovalProgress>,
    /// Wakes the task that asks when files of replicas that were moved away may go.
    moved: Notify,
    /// Wakes the task that removes names.
    queued: Notify,
    /// Wakes the task that removes files.
    renamed: Notify,
    /// Says that names are free, or that files are gone: so look at the image again.
    progress: Notify,
}

#[derive(Default)]
struct RemovalProgress {
    /// Moved away by these assignments, which the copy of the objects on disk may not know yet.
    moved: Vec<(Assignment, Leaving)>,
    waiting: VecDeque<Leaving>,
    /// Their folders have another name; the files are still to go.
    renamed: VecDeque<Leaving>,
    /// All whose removal has not ended.
    leaving: HashSet<TopicIdPartition>,
    /// Folders that may still have the names of these.
    names: HashSet<PartitionKey>,
    /// Nothing is left of them, although a tombstone may still name them, and when the cluster was informed; `None`:
    /// not yet.
    gone: HashMap<TopicIdPartition, Option<Instant>>,
}

/// A replica whose folder goes.
struct Leaving {
    key: TopicIdPartition,
    topic: String,
    how: How,
    /// The last to let go of its files frees their blocks, which takes the disk a while.
    partition: Option<Arc<Partition>>,
}

/// What becomes of the folder.
enum How {
    /// It is removed.
    Remove,
    /// It is kept for a day, unless what was acted on here is newer than this assignment, which gives the partition to
    /// others.
    PutAside(Assignment),
    /// It has this name now, and is removed.
    Unlink(PathBuf),
}

impl Removals {
    /// Whether another replica's folder may still have this name.
    pub(super) fn has_name(&self, topic: &str, number: i32) -> bool {
        self.state.lock().names.contains(&(topic.to_owned(), number))
    }

    /// Whether the cluster is to hear, perhaps again, that nothing is left of some.
    pub(super) fn are_to_be_told(&self) -> bool {
        !self.state.lock().gone.is_empty()
    }

    /// Returns when it is worth looking at the image again.
    pub(super) async fn progress(&self) {
        self.progress.notified().await;
    }
}

impl RemovalProgress {
    /// `moved` by another assignment, or by a tombstone.
    fn add(&mut self, leaving: Leaving, moved: Option<&Assignment>) {
        if self.leaving.insert(leaving.key) {
            self.names.insert(leaving.name());
            match moved {
                Some(assignment) => self.moved.push((assignment.clone(), leaving)),
                None => self.waiting.push_back(leaving),
            }
        }
    }

    fn next_batch(&mut self) -> Vec<Leaving> {
        let most = self.waiting.len().min(BATCH);
        self.waiting.drain(..most).collect()
    }

    /// A batch has lost its names, but for those that `failed`.
    fn take_in(&mut self, renamed: Vec<Leaving>, failed: Vec<Leaving>) {
        for leaving in renamed {
            self.names.remove(&leaving.name());
            match leaving.how {
                How::Unlink(_) => self.renamed.push_back(leaving),
                How::Remove | How::PutAside(_) => self.end(leaving.key),
            }
        }
        self.waiting.extend(failed);
    }

    fn end(&mut self, key: TopicIdPartition) {
        self.leaving.remove(&key);
        self.gone.insert(key, None);
    }
}

impl Leaving {
    fn name(&self) -> PartitionKey {
        (self.topic.clone(), self.key.partition)
    }
}

impl Replicas {
    /// Takes the replicas out of service that a tombstone or another assignment says are gone, queues their folders for
    /// [`Replicas::keep_removing`], and reports those whose files are gone to the cluster. Waits for nothing.
    pub(super) fn retire_gone(&self, image: &ClusterImage) {
        let is_gone = |partition: &&Arc<Partition>| self.is_gone(image, partition.id());
        let gone: Vec<Arc<Partition>> = self.running.read().values().filter(is_gone).cloned().collect();
        self.stop_running(&gone);
        let mut state = self.removals.state.lock();
        for partition in gone {
            let (key, topic) = (partition.id(), partition.topic.to_string());
            let leaving = Leaving { key, topic, how: How::Remove, partition: Some(partition) };
            state.add(leaving, image.partition(key).map(|(_, assignment)| assignment));
        }
        self.queue_what_was_found(image, &mut state);
        // Also what was not running: a tombstone may be older than this process. Not what is being opened: that is
        // next.
        state.gone.retain(|key, _| image.deleted.contains_key(&key.topic_id));
        for topic in image.deleted.values() {
            for assignment in topic.partitions.iter().filter(|a| a.replicas.contains(&self.me.id)) {
                let key = TopicIdPartition::new(topic.id, assignment.partition);
                if let Some(told) = state.gone.get_mut(&key) {
                    self.tell_removed(key, told);
                } else if !self.unopened.lock().opening.contains(&key) {
                    let topic = topic.name.to_string();
                    state.add(Leaving { key, topic, how: How::Remove, partition: None }, None);
                }
            }
        }
        if !state.waiting.is_empty() {
            self.removals.queued.notify_one();
        }
        if !state.moved.is_empty() {
            self.removals.moved.notify_one();
        }
    }

    /// From now on no request finds them, and those that wait for them fail.
    fn stop_running(&self, gone: &[Arc<Partition>]) {
        if gone.is_empty() {
            return;
        }
        let mut running = self.running.write();
        gone.iter().for_each(|partition| _ = running.remove(&partition.id()));
        let mut left: HashMap<&str, usize> = HashMap::new();
        running.values().for_each(|partition| *left.entry(&partition.topic).or_default() += 1);
        for partition in gone {
            let was_last = !left.contains_key(&*partition.topic);
            self.metrics.topics.forget(&partition.topic, partition.number, was_last);
        }
        drop(running);
        for partition in gone {
            if partition.retire_unless_busy().is_err() {
                let partition = partition.clone();
                self.role_workers.waiting.start_job(move || partition.retire());
            }
        }
    }

    /// Whether a tombstone or another assignment says that a replica is not here any more.
    fn is_gone(&self, image: &ClusterImage, key: TopicIdPartition) -> bool {
        let is_elsewhere = |assignment: &Assignment| !assignment.replicas.contains(&self.me.id);
        image.deleted.contains_key(&key.topic_id)
            || image.partition(key).is_some_and(|(_, assignment)| is_elsewhere(assignment))
    }

    /// Folders that nobody opens, of partitions that went while this broker was down or could not open them.
    fn queue_what_was_found(&self, image: &ClusterImage, state: &mut RemovalProgress) {
        let unopened = self.unopened.lock();
        let is_gone =
            |key: &TopicIdPartition, _: &mut String| !unopened.opening.contains(key) && self.is_gone(image, *key);
        for (key, topic) in self.found.lock().extract_if(.., is_gone) {
            let elsewhere = image.partition(key).map(|(_, assignment)| assignment);
            let how = elsewhere.cloned().map_or(How::Remove, How::PutAside);
            state.add(Leaving { key, topic, how, partition: None }, elsewhere);
        }
    }

    /// Reports to the cluster that nothing is left of a replica, once and not with each image: the queue keeps trying.
    fn tell_removed(&self, key: TopicIdPartition, told: &mut Option<Instant>) {
        let now = env::now();
        if told.is_some_and(|told| now < told + TELL_AGAIN) {
            return;
        }
        let TopicIdPartition { topic_id, partition } = key;
        match self.ask.try_send(Ask::Removed { topic_id, partition }) {
            Ok(()) => *told = Some(now),
            Err(_) => tracing::debug!("the queue to the cluster is full: asking again with the next image"),
        }
    }

    /// Removes the folders that are queued, until the broker stops.
    pub async fn keep_removing(self: Arc<Self>) {
        // The files of a large log may take long: names of others are freed meanwhile.
        join3(self.keep_asking(), self.keep_freeing_names(), self.keep_unlinking()).await;
    }

    /// Queues replicas that were moved away once the copy of the objects on disk knows that. A start from an older one,
    /// while the API server is away, would lead with what they hold, and must find it.
    async fn keep_asking(&self) {
        loop {
            self.removals.moved.notified().await;
            loop {
                let moved = std::mem::take(&mut self.removals.state.lock().moved);
                if moved.is_empty() {
                    break;
                }
                let topic = |leaving: &Leaving| (leaving.topic.as_str().into(), leaving.key.topic_id);
                let partitions = moved.iter().map(|(entry, leaving)| (topic(leaving), entry.clone())).collect();
                let (answer, answered) = oneshot::channel();
                if self.ask.send(Ask::MovedAway { partitions, answer }).await.is_ok() && answered.await.is_ok() {
                    self.removals.state.lock().waiting.extend(moved.into_iter().map(|(_, leaving)| leaving));
                    self.removals.queued.notify_one();
                } else {
                    // The broker stops.
                    self.removals.state.lock().moved.extend(moved);
                    env::sleep_until(env::now() + FIRST_RETRY).await;
                }
            }
        }
    }

    async fn keep_freeing_names(&self) {
        loop {
            self.removals.queued.notified().await;
            loop {
                let batch = self.removals.state.lock().next_batch();
                if batch.is_empty() {
                    break;
                }
                let (data, checkpoints) = (self.dir.clone(), self.checkpoints.clone());
                let (renamed, failed) = self.workers.run(move || free_names(&data, batch, &checkpoints)).await;
                let pause = if failed.is_empty() { Duration::ZERO } else { FIRST_RETRY };
                self.removals.state.lock().take_in(renamed, failed);
                self.removals.renamed.notify_one();
                self.removals.progress.notify_one();
                env::sleep_until(env::now() + pause).await;
            }
        }
    }

    async fn keep_unlinking(&self) {
        // The next start would remove them, too.
        let (mut left, mut pause) = (Vec::new(), FIRST_RETRY);
        loop {
            tokio::select! {
                biased;
                () = self.removals.renamed.notified() => {}
                () = env::sleep_until(env::now() + pause), if !left.is_empty() => pause = LONGEST_RETRY.min(2 * pause),
            }
            for folder in std::mem::take(&mut left) {
                left.extend(self.workers.run(move || unlink(folder)).await);
            }
            loop {
                let Some(Leaving { key, how, partition, .. }) = self.removals.state.lock().renamed.pop_front() else {
                    break;
                };
                let job = move || {
                    let left = match how {
                        How::Unlink(folder) => unlink(folder),
                        How::Remove | How::PutAside(_) => None,
                    };
                    drop(partition);
                    left
                };
                // One folder a job: others' flushes come in between.
                left.extend(self.workers.run(job).await);
                self.removals.state.lock().end(key);
            }
            if left.is_empty() {
                pause = FIRST_RETRY;
            }
            self.removals.progress.notify_one();
        }
    }
}

/// Takes the folders' names away, so that a crash from here on leaves no half log; then forgets the checkpoints, which
/// would mislead a log of the same name. All with one sync each. Gives those that have no folder of their name any
/// more, and those that are to be tried again.
fn free_names(data: &Path, batch: Vec<Leaving>, checkpoints: &Mutex<Checkpoints>) -> (Vec<Leaving>, Vec<Leaving>) {
    let (mut renamed, mut failed) = (Vec::new(), Vec::new());
    for mut leaving in batch {
        let _span = span_of(&leaving.topic, leaving.key.partition).entered();
        if let Some(partition) = &leaving.partition {
            // One that was busy is not yet: nobody writes to a folder without its name.
            partition.retire();
        }
        match free_name(data, &leaving) {
            Ok(how) => {
                leaving.how = how.unwrap_or(leaving.how);
                renamed.push(leaving);
            }
            Err(error) => {
                tracing::error!(%error, "failed to move the folder of a removed partition: trying again");
                failed.push(leaving);
            }
        }
    }
    // Those that are still there are another topic's, or newer than the assignment that gives them away.
    let names = renamed.iter().map(Leaving::name);
    let free: Vec<_> = names.filter(|(topic, number)| !data.join(partition_name(topic, *number)).exists()).collect();
    if let Err(error) = disk::sync_dir(data).and_then(|()| checkpoints.lock().forget_all(&free)) {
        tracing::error!(%error, "failed to sync the removal of partitions to the disk: trying again");
        failed.append(&mut renamed);
    }
    (renamed, failed)
}

/// What is still to be done with the folder, where that is something else.
fn free_name(data: &Path, leaving: &Leaving) -> Result<Option<How>, folders::MetadataError> {
    let (topic, TopicIdPartition { topic_id, partition: number }) = (leaving.topic.as_str(), leaving.key);
    match &leaving.how {
        How::Remove => Ok(folders::begin_removal(data, topic, number, topic_id)?.map(How::Unlink)),
        How::PutAside(assignment) => {
            let proposal = Proposal::open(&data.join(partition_name(topic, number)))?;
            if proposal.is_older_than(assignment) && folders::put_aside(data, topic, number, topic_id)? {
                tracing::warn!("quarantined the files of a partition that was moved to other brokers");
            }
            Ok(None)
        }
        How::Unlink(_) => Ok(None),
    }
}

/// Gives the folder if something of it is left.
fn unlink(folder: PathBuf) -> Option<PathBuf> {
    let removed = disk::remove_dir(&folder).inspect_err(|error| {
        tracing::warn!(folder = %folder.display(), %error, "failed to remove all files of a removed partition: trying \
        again");
    });
    removed.is_err().then_some(folder)
}

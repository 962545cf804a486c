//! Replicas that are not here any more: a tombstone says so, or another assignment.
//!
//! Always: absence is never deletion. What no object speaks of stays as it is.

use std::sync::Arc;

use ottla_log::folder::partition_name;
use uuid::Uuid;

use super::partition::Partition;
use super::proposal::Proposal;
use super::{Key, Replicas, assigned, folders};
use crate::ask::Ask;
use crate::image::{Assignment, ClusterImage};

impl Replicas {
    /// Removes the replicas that a tombstone or another assignment says are gone, and tells the cluster when the files are.
    pub(super) async fn remove_gone(&self, image: &ClusterImage) {
        let is_gone = |partition: &&Arc<Partition>| self.is_gone(image, (partition.topic_id, partition.number));
        let gone: Vec<Arc<Partition>> = self.running.read().values().filter(is_gone).cloned().collect();
        for partition in gone {
            let was_last = {
                let mut running = self.running.write();
                running.remove(&(partition.topic_id, partition.number));
                !running.values().any(|other| other.topic == partition.topic)
            };
            partition.retire();
            self.metrics.forget_partition(&partition.topic, partition.number, was_last);
            self.remove_files(&partition.topic, partition.number, partition.topic_id).await;
            // The last to let go of its files frees their blocks, which takes the disk a while.
            self.workers.start_job(move || drop(partition));
        }
        self.clear_what_was_found(image).await;
        // Also what was not running: a tombstone may be older than this process. Not what is being opened: that is next.
        for topic in image.deleted.values() {
            for assignment in topic.partitions.iter().filter(|a| a.replicas.contains(&self.me.id)) {
                if self.unopened.lock().opening.contains(&(topic.id, assignment.partition)) {
                    continue;
                }
                if !self.remove_files(&topic.name, assignment.partition, topic.id).await {
                    continue;
                }
                let removed = Ask::Removed { topic_id: topic.id, partition: assignment.partition };
                if self.ask.try_send(removed).is_err() {
                    tracing::debug!("the queue to the cluster is full: told again with the next image");
                }
            }
        }
    }

    /// Whether a tombstone or another assignment says that a replica is not here any more.
    fn is_gone(&self, image: &ClusterImage, key: Key) -> bool {
        let is_elsewhere = |assignment: &Assignment| !assignment.replicas.contains(&self.me.id);
        image.deleted.contains_key(&key.0)
            || assigned(image, key).is_some_and(|(_, assignment)| is_elsewhere(assignment))
    }

    /// Folders that nobody opens, of partitions that went while this broker was down or could not open them.
    async fn clear_what_was_found(&self, image: &ClusterImage) {
        let gone: Vec<(Key, String)> = {
            let unopened = self.unopened.lock();
            let is_gone = |key: &Key, _: &mut String| !unopened.opening.contains(key) && self.is_gone(image, *key);
            self.found.lock().extract_if(is_gone).collect()
        };
        for ((topic_id, number), topic) in gone {
            match assigned(image, (topic_id, number)) {
                Some((_, assignment)) => {
                    if !self.put_aside(&topic, topic_id, assignment.clone()).await {
                        self.found.lock().insert((topic_id, number), topic);
                    }
                }
                None => _ = self.remove_files(&topic, number, topic_id).await,
            }
        }
    }

    /// Puts the folder of a partition aside that `assignment` gives to others, unless what was acted on here is newer. False when that
    /// is to be tried again.
    async fn put_aside(&self, topic: &str, topic_id: Uuid, assignment: Assignment) -> bool {
        let (data, name, number) = (self.dir.clone(), topic.to_owned(), assignment.partition);
        let put_aside = move || {
            let proposal = Proposal::open(&data.join(partition_name(&name, number)))?;
            Ok(proposal.is_older_than(&assignment) && folders::put_aside(&data, &name, number, topic_id)?)
        };
        let put_aside: Result<bool, folders::MetadataError> = self.workers.run(put_aside).await;
        match put_aside {
            Ok(true) => {
                tracing::warn!(topic, partition = number, "put aside the files of a partition that was moved away");
                self.forget_checkpoint(topic, number);
                true
            }
            Ok(false) => true,
            Err(error) => {
                tracing::error!(topic, partition = number, %error,
                    "failed to put aside the files of a partition that was moved away: tried again with the next image");
                false
            }
        }
    }

    /// True when nothing is left of them.
    async fn remove_files(&self, topic: &str, number: i32, topic_id: Uuid) -> bool {
        let (data, name) = (self.dir.clone(), topic.to_owned());
        let removed = self.workers.run(move || folders::remove(&data, &name, number, topic_id)).await;
        if let Err(error) = removed {
            tracing::error!(topic, partition = number, %error, "failed to remove the files of a deleted partition");
            return false;
        }
        self.forget_checkpoint(topic, number)
    }

    /// A checkpoint of a log that is gone does no harm but to a topic of the same name.
    fn forget_checkpoint(&self, topic: &str, number: i32) -> bool {
        let forgotten = self.checkpoints.lock().forget(topic, number);
        forgotten.inspect_err(|error| tracing::error!(%error, "failed to write the checkpoints")).is_ok()
    }
}

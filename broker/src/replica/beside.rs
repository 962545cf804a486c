//! Beside the looks at the image: logs that are opened, and roles that begin where that waits for the disk. The next
//! election waits for none of it.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ottla_wire::TopicIdPartition;

use super::partition::{Partition, Waits};
use super::{Replicas, surroundings};
use crate::env::Workers;
use crate::image::{Assignment, ClusterImage, Topic};

/// The threads on which roles begin. An election waits neither for recovery and compaction nor for a role that waits
/// for the device.
#[derive(Clone)]
pub struct RoleWorkers {
    /// For those that write small files, and sync none.
    pub writing: Workers,
    /// For those that wait for the device, or for a partition that is busy.
    pub waiting: Workers,
}

/// What runs beside the looks at the image, which wait for none of it.
#[derive(Default)]
pub(super) struct Beside<'a> {
    pub tasks: FuturesUnordered<BoxFuture<'a, Done>>,
    /// Partitions whose roles begin on workers, which hold their locks.
    pub beginning: HashSet<TopicIdPartition>,
}

/// What has ended beside.
pub(super) enum Done {
    /// A log is open, or failed to open.
    Opened(TopicIdPartition, Option<Arc<Partition>>),
    /// A partition has its role, unless the disk has no room.
    Began { key: TopicIdPartition, has_room: bool },
}

impl Replicas {
    /// Gives an open replica its role: where that waits for the disk, on a worker. Then the image is looked at again
    /// when it has ended, and not before.
    pub(super) fn give_role<'a>(
        &'a self,
        image: &ClusterImage,
        topic: &Topic,
        assignment: &Assignment,
        partition: Arc<Partition>,
        beside: &mut Beside<'a>,
    ) {
        let key = TopicIdPartition::new(topic.id, assignment.partition);
        let another_leads = assignment.leader != Some(self.me.id);
        if beside.beginning.contains(&key) {
            if another_leads {
                partition.supersede();
            }
            return;
        }
        let around = surroundings(image, assignment);
        let Err(waits) = partition.assume_at_once(assignment, &topic.settings, &around) else { return };
        if another_leads {
            partition.supersede();
        }
        let workers = match waits {
            Waits::Writes => &self.role_workers.writing,
            Waits::Device => &self.role_workers.waiting,
        };
        let (assignment, settings) = (assignment.clone(), topic.settings.clone());
        let begun = workers.run(move || partition.assume(&assignment, &settings, around));
        beside.beginning.insert(key);
        beside.tasks.push(Box::pin(async move { Done::Began { key, has_room: begun.await } }));
    }

    /// Every replica that runs here, but for those whose roles are beginning: they would have to be waited for.
    pub(super) fn settled(&self, beside: &Beside<'_>) -> Vec<Arc<Partition>> {
        let running = self.running.read();
        let settled = running.iter().filter(|(key, _)| !beside.beginning.contains(*key));
        settled.map(|(_, partition)| partition.clone()).collect()
    }
}

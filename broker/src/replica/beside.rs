//! Beside the looks at the image: logs that are opened, and roles that begin where that waits for the disk. The next
//! election waits for none of it.
//!
//! Thousands of logs open after a start, and each is looked at by itself when it is open: to look at all of them then
//! would take the square of their number.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ottla_wire::TopicIdPartition;

use super::opening::FIRST_RETRY;
use super::partition::upkeep::PartitionStatus;
use super::partition::{Partition, Waits};
use super::{Replicas, surroundings};
use crate::env::{self, Instant, Workers};
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
    /// Partitions that have got their roles since the last look at everything, and take no part yet: see
    /// [`Replicas::take_part`].
    pub gathered: Vec<Arc<Partition>>,
    /// When these are to take part; `None`: there are none.
    pub gathered_at: Option<Instant>,
    /// The gauges' sums over those that take part.
    pub counted: Counted,
}

/// How many replicas are what.
#[derive(Default)]
pub(super) struct Counted {
    leaders: i64,
    under_replicated: i64,
    under_min_isr: i64,
    offline: i64,
}

impl Counted {
    fn add(&mut self, status: PartitionStatus) {
        self.leaders += i64::from(status.leads);
        self.under_replicated += i64::from(status.under_replicated);
        self.under_min_isr += i64::from(status.under_min_isr);
        self.offline += i64::from(status.offline);
    }
}

/// Pause in which partitions gather that take part together: fetchers begin their next fetch with all of them.
const GATHERING: Duration = Duration::from_millis(100);

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

    /// Takes in what has ended. Gives when something is to be tried again: a log that failed to open, or a role for
    /// which the disk had no room; `None`: nothing is.
    pub(super) fn take_in<'a>(&'a self, image: &ClusterImage, done: Done, beside: &mut Beside<'a>) -> Option<Instant> {
        let now = env::now();
        let key = match done {
            Done::Began { key, has_room } => {
                beside.beginning.remove(&key);
                if !has_room {
                    return Some(now + FIRST_RETRY);
                }
                key
            }
            Done::Opened(key, opened) => {
                let retry = self.unopened.lock().end(key, opened.is_some(), now);
                let Some(partition) = opened else { return retry };
                // Before its role begins, so that a task that hears of the role finds the partition here.
                self.running.write().insert(key, partition);
                self.found.lock().remove(&key);
                key
            }
        };
        let running = self.running.read().get(&key).cloned();
        if let (Some(partition), Some((topic, assignment))) = (running, image.replica_of(self.me.id, key)) {
            self.give_role(image, topic, assignment, partition.clone(), beside);
            if !beside.beginning.contains(&key) {
                beside.gathered.push(partition);
                beside.gathered_at.get_or_insert(now + GATHERING);
            }
        }
        None
    }

    /// Has those that have gathered fetched, reported and counted. Gives when something is to be tried again; `None`:
    /// nothing is.
    pub(super) fn take_part(&self, image: &ClusterImage, beside: &mut Beside<'_>) -> Option<Instant> {
        let gathered = std::mem::take(&mut beside.gathered);
        beside.gathered_at = None;
        let mut tried = self.fetchers.add(image, &gathered);
        for partition in &gathered {
            let assignment = image.replica_of(self.me.id, partition.id()).map(|(_, assignment)| assignment);
            let asks_me = |assignment: &&Assignment| assignment.asks_for_report(self.me.id, self.me.incarnation);
            if let Some(assignment) = assignment.filter(asks_me) {
                tried = tried.and(self.report(partition, assignment));
            }
        }
        self.count(&gathered, beside);
        tried.is_err().then(|| env::now() + FIRST_RETRY)
    }

    /// Sets the gauges that follow from roles, with these partitions in addition, but for those that are busy.
    pub(super) fn count(&self, more: &[Arc<Partition>], beside: &mut Beside<'_>) {
        let counted = &mut beside.counted;
        more.iter().filter_map(|partition| partition.status_unless_busy()).for_each(|status| counted.add(status));
        let gauges = &self.metrics.replicas;
        gauges.all.set(self.running.read().len() as i64);
        gauges.leaders.set(counted.leaders);
        gauges.under_replicated.set(counted.under_replicated);
        gauges.under_min_isr.set(counted.under_min_isr);
        gauges.offline.set(counted.offline + self.unopened.lock().count() as i64);
    }

    /// Every replica that runs here, but for those whose roles are beginning: they would have to be waited for.
    pub(super) fn settled(&self, beside: &Beside<'_>) -> Vec<Arc<Partition>> {
        let running = self.running.read();
        let settled = running.iter().filter(|(key, _)| !beside.beginning.contains(*key));
        settled.map(|(_, partition)| partition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::sync::{mpsc, watch};
    use uuid::Uuid;

    use super::*;
    use crate::dialer::Dialer;
    use crate::image::LeaderEpoch;
    use crate::metrics::Metrics;
    use crate::replica::checkpoints::Checkpoints;
    use crate::replica::partition::fixtures::{ME, alone};

    const LOGS: u128 = 64;
    /// When a log opens, when its role has begun, when it takes part, and when all have ended: looks at its role, at
    /// what it follows and at how it stands, and some to spare.
    const LOOKS: usize = 16;

    fn topic(number: u128) -> Topic {
        Topic {
            id: Uuid::from_u128(number),
            name: format!("t{number}").into(),
            config: Default::default(),
            settings: Arc::default(),
            partitions: vec![alone(LeaderEpoch::FIRST.0)],
        }
    }

    /// With every pause for gathering over before the next log is open.
    #[tokio::test(start_paused = true)]
    async fn each_log_that_opens_is_looked_at_a_few_times_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let (ask, _asked) = mpsc::channel(1);
        let (workers, metrics) = (Workers::start(1).unwrap(), Metrics::new());
        let roles = RoleWorkers { writing: workers.clone(), waiting: workers.clone() };
        let checkpoints = Checkpoints::load(dir.path(), false, true).unwrap();
        let (me, threads) = ((ME, Dialer::plain(ME.id)), (workers, roles));
        let (replicas, _joining) = Replicas::new(me, dir.path(), checkpoints, threads, metrics.clone(), ask).unwrap();
        let topics = (1..=LOGS).map(|number| (Uuid::from_u128(number), Arc::new(topic(number)))).collect();
        let (_images, shown) = watch::channel(Arc::new(ClusterImage { topics, ..ClusterImage::default() }));
        let mut roles = replicas.roles();
        let follows = replicas.clone();
        let following = tokio::spawn(async move { follows.follow(shown).await });
        while metrics.replicas.leaders.get() < LOGS as i64 {
            roles.changed().await.unwrap();
        }
        let most = replicas.all().iter().map(|log| log.looks.load(Ordering::Relaxed)).max().unwrap();
        assert!(most <= LOOKS, "a log was looked at {most} times");
        following.abort();
    }
}

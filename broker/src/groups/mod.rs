//! The shell around consumer groups: which are coordinated here, their loading, their clock, the fate of their records.
//!
//! What groups *do* is decided by `ottla-group`, as values. Here is one coordinator per partition of
//! `__consumer_offsets` that this broker leads, for as long as it leads it in the same leader epoch.
//!
//! - [`Groups`]: makes the coordinators follow the replicas' roles, finds that of a group, ticks
//! - `coordinator`: one partition's: a lock, the clients that wait, a task
//! - [`host`]: what is in that lock: the groups beside their log, driven by values
//! - [`load`]: from the log to groups
//! - `deletions`: which topics' offsets go
//! - `append`: from what groups decide to the log, and what becomes of it
//! - `requests`: one function per request
//! - `clock`: the groups' time; `measure`: what Prometheus is told
//!
//! Always: what a group was told is in the log, and committed, or the request is refused.

mod append;
mod clock;
mod coordinator;
mod deletions;
pub mod host;
pub mod load;
mod measure;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::BrokerSettings;
use ottla_group::{Config, DeletedTopic, GroupError, partition_for};
use parking_lot::RwLock;

use self::clock::Clock;
use self::coordinator::Coordinator;
use self::deletions::Deletions;
use crate::env::{self, Workers};
use crate::image::{CONSUMER_OFFSETS, ClusterImage, ImageReceiver};
use crate::metrics::Metrics;
use crate::replica::Replicas;
use crate::replica::partition::Partition;

/// How often offsets are looked through for those past their retention. Kafka's default for
/// `offsets.retention.check.interval.ms`.
const RETENTION_CHECK: Duration = Duration::from_secs(600);

/// The groups that this broker coordinates.
pub struct Groups {
    replicas: Arc<Replicas>,
    workers: Workers,
    images: ImageReceiver,
    clock: Arc<Clock>,
    here: RwLock<Here>,
}

/// What is coordinated here.
#[derive(Default)]
struct Here {
    /// Partitions of `__consumer_offsets` in all; 0 while there is no such topic.
    partitions: i32,
    coordinators: BTreeMap<i32, Arc<Coordinator>>,
}

impl Groups {
    /// No group yet; see [`Groups::run`]. Must be called on the control runtime.
    pub fn new(replicas: Arc<Replicas>, workers: Workers, images: ImageReceiver, metrics: &Metrics) -> Arc<Groups> {
        let groups =
            Arc::new(Groups { replicas, workers, images, clock: Arc::new(Clock::start()), here: RwLock::default() });
        let measured = Arc::downgrade(&groups);
        metrics.before_scrape(move |metrics| {
            if let Some(groups) = measured.upgrade() {
                groups.measure(metrics);
            }
        });
        groups
    }

    /// Follows image and roles, and ticks, until the broker stops.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow(), self.tick());
    }

    /// The coordinator of a group.
    fn coordinator(&self, group: &str) -> Result<Arc<Coordinator>, GroupError> {
        let here = self.here.read();
        if here.partitions == 0 {
            return Err(GroupError::NotCoordinator);
        }
        here.coordinators.get(&partition_for(group, here.partitions)).cloned().ok_or(GroupError::NotCoordinator)
    }

    fn coordinators(&self) -> Vec<Arc<Coordinator>> {
        self.here.read().coordinators.values().cloned().collect()
    }

    async fn follow(&self) {
        let mut roles = self.replicas.roles();
        let mut deletions = Deletions::default();
        loop {
            roles.mark_unchanged();
            let image = self.images.borrow().clone();
            self.reconcile(&deletions.learn(&image), &image);
            // Comes after each image as well, when the replicas have the roles that it gives them.
            if roles.changed().await.is_err() {
                return;
            }
        }
    }

    /// A coordinator for each partition that is led here, in the epoch in which it is; and none else.
    fn reconcile(&self, gone: &[DeletedTopic], image: &ClusterImage) {
        if !gone.is_empty() {
            self.coordinators().iter().for_each(|coordinator| coordinator.forget_topics(gone));
        }
        let led = self.led(image);
        let mut stopped = Vec::new();
        let mut here = self.here.write();
        here.partitions = image.topic(CONSUMER_OFFSETS).map_or(0, |topic| topic.partitions.len() as i32);
        let running = std::mem::take(&mut here.coordinators);
        for (number, coordinator) in running {
            if led.get(&number).is_some_and(|(partition, epoch)| coordinator.is_for(partition, *epoch)) {
                here.coordinators.insert(number, coordinator);
            } else {
                stopped.push(coordinator);
            }
        }
        for (number, (partition, epoch)) in led {
            here.coordinators.entry(number).or_insert_with(|| {
                let timeout = image.settings.offsets_commit_timeout;
                let deleted = deletions::standing(image);
                let coordinator = Coordinator::new(partition, epoch, self.clock.clone(), timeout, deleted);
                let loading = load::load(coordinator.clone(), config(&image.settings), self.workers.clone());
                tokio::spawn(loading);
                coordinator
            });
        }
        drop(here);
        stopped.iter().for_each(|coordinator| coordinator.stop());
    }

    /// The partitions of `__consumer_offsets` that this broker leads, with the leader epoch.
    fn led(&self, image: &ClusterImage) -> BTreeMap<i32, (Arc<Partition>, i32)> {
        let Some(topic) = image.topic(CONSUMER_OFFSETS) else { return BTreeMap::new() };
        let led = topic.partitions.iter().filter_map(|assignment| {
            let partition = self.replicas.get(topic, assignment.partition).ok()?;
            let epoch = partition.leader_epoch()?;
            Some((assignment.partition, (partition, epoch)))
        });
        led.collect()
    }

    /// Acts on every deadline of every group; one task for all.
    async fn tick(&self) {
        let mut next_check = env::now() + RETENTION_CHECK;
        loop {
            if env::now() >= next_check {
                next_check = env::now() + RETENTION_CHECK;
                self.coordinators().iter().for_each(|coordinator| coordinator.expire());
            }
            self.clock
                .sleep(next_check, || self.coordinators().iter().filter_map(|coordinator| coordinator.tick()).min())
                .await;
        }
    }
}

fn config(settings: &BrokerSettings) -> Config {
    Config {
        initial_rebalance_delay: settings.group_initial_rebalance_delay,
        min_session_timeout: settings.group_min_session_timeout,
        max_session_timeout: settings.group_max_session_timeout,
        max_size: settings.group_max_size,
        offset_metadata_max: settings.offset_metadata_max_bytes,
        offsets_retention: settings.offsets_retention,
    }
}

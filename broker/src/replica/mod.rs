//! Assignments in, running partitions out.
//!
//! - [`Replicas`]: compares the image with what runs, and makes it so
//! - [`partition`]: one partition: its log, its role, the order of appends
//! - [`fetching`]: followers as clients of their leaders
//! - [`throttle`]: how fast replicas that are not in sync may be copied
//! - [`proposal`]: the change of the ISR that was asked for last, on disk
//! - `in_sync`: followers that lag behind leave the ISR, those that have caught up join
//! - `zombie`: a broker that is cut off gives way
//! - `not_served`: why a partition can't be used here and now
//! - [`checkpoints`]: what the data directory says of all logs
//! - [`folders`]: whose the partitions' folders are
//! - `removal`: replicas that are not here any more, and their folders, which go beside everything else
//! - `seen`: what the last image shows of replicas
//! - [`opening`]: logs that should be open and are not yet, and how one is opened; `damaged`: those that can't be read
//! - `beside`: what runs while the broker looks at the image
//! - `span`: whose a log line is
//! - `rules`: what a topic's settings mean for logs and batches
//! - [`housekeeping`]: flushes, retention, checkpoints, in the background; `compaction` and `scrubbing` beside it
//!
//! Knows nothing of sockets or Kubernetes.

mod beside;
pub mod checkpoints;
mod compaction;
mod damaged;
pub mod fetching;
pub mod folders;
pub mod housekeeping;
mod in_sync;
mod not_served;
pub mod opening;
pub mod partition;
pub mod proposal;
mod removal;
mod rules;
mod scrubbing;
mod seen;
mod span;
pub mod throttle;
mod zombie;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use ottla_log::Files;
use ottla_log::failure::Failure;
use ottla_wire::TopicIdPartition;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, watch};
use tracing::Instrument;
use uuid::Uuid;

pub use self::beside::RoleWorkers;
use self::beside::{Beside, Counted, Done};
use self::checkpoints::Checkpoints;
use self::fetching::{Doubts, Fetchers};
pub use self::not_served::NotServed;
use self::opening::{FIRST_RETRY, Opener, Unopened};
use self::partition::leadership::Surroundings;
use self::partition::{Busy, Extent, Partition};
use self::removal::Removals;
use self::seen::LastImage;
use self::span::span_of;
use self::throttle::Throttle;
use crate::ask::{Ask, AskSender};
use crate::dialer::Dialer;
use crate::env::{self, Instant, Workers};
use crate::image::Me;
use crate::image::{Assignment, Broker, BrokerId, ClusterImage, ImageReceiver, Topic};
use crate::metrics::Metrics;

/// Sealed segments that stay open, of all logs; common limits allow 20,000 descriptors to a process, and connections
/// need most.
const OPEN_SEGMENTS: usize = 1024;
/// Memory for indexes of sealed segments, of all logs, in bytes.
const INDEX_MEMORY: usize = 16 << 20;
/// Followers that have caught up and are not looked at yet; with more the regular look finds them.
const JOINING: usize = 1024;

/// The replicas of this broker.
pub struct Replicas {
    me: Me,
    dialer: Dialer,
    dir: PathBuf,
    opener: Opener,
    workers: Workers,
    role_workers: RoleWorkers,
    metrics: Arc<Metrics>,
    ask: AskSender,
    checkpoints: Arc<Mutex<Checkpoints>>,
    /// Logs that should be open and are not. With any of them a stop is not clean.
    unopened: Mutex<Unopened>,
    /// Names of the topics whose folders are here and whose logs are not open: not since the start, or torn by a full
    /// disk.
    found: Mutex<BTreeMap<TopicIdPartition, String>>,
    removals: Removals,
    /// In the same order in every process that has done the same: a simulation must play a seed twice in the same way.
    running: RwLock<HashMap<TopicIdPartition, Arc<Partition>, BuildHasherDefault<DefaultHasher>>>,
    fetchers: Fetchers,
    leaders_throttle: Arc<Mutex<Throttle>>,
    /// Says that replicas have come, gone or changed their role.
    roles: watch::Sender<()>,
    /// A full disk has torn a log: so look at the image again.
    torn: Notify,
    failure: Arc<Failure>,
    disk_failed: watch::Receiver<bool>,
}

impl Replicas {
    /// No replica yet; `dir` is the data directory, `checkpoints` are its. Also where followers that have caught up are
    /// named: for [`Replicas::keep_in_sync`].
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn new(
        (me, dialer): (Me, Dialer),
        dir: &Path,
        checkpoints: Checkpoints,
        (workers, role_workers): (Workers, RoleWorkers),
        metrics: Arc<Metrics>,
        ask: AskSender,
    ) -> Result<(Arc<Replicas>, mpsc::Receiver<TopicIdPartition>), checkpoints::CheckpointError> {
        let failure = Failure::of(dir);
        let (fail, disk_failed) = watch::channel(false);
        failure.first(move || _ = fail.send_replace(true));
        let checkpoints = Arc::new(Mutex::new(checkpoints));
        let (joining, joined) = mpsc::channel(JOINING);
        let replicas = Arc::new(Replicas {
            opener: Opener {
                me,
                dir: dir.to_owned(),
                files: Files::new(OPEN_SEGMENTS, INDEX_MEMORY),
                workers: workers.clone(),
                checkpoints: checkpoints.clone(),
                metrics: metrics.clone(),
                ask: ask.clone(),
                joining,
            },
            fetchers: Fetchers::new(me, dialer.clone(), workers.clone(), checkpoints.clone()),
            me,
            dialer,
            dir: dir.to_owned(),
            leaders_throttle: Arc::new(Mutex::new(Throttle::new(env::now()))),
            workers,
            role_workers,
            metrics,
            ask,
            checkpoints,
            unopened: Mutex::default(),
            found: Mutex::new(folders::found(dir)?),
            removals: Removals::default(),
            running: RwLock::default(),
            roles: watch::Sender::new(()),
            torn: Notify::new(),
            failure,
            disk_failed,
        });
        // Beside the start: there may be many.
        let (going, data) = (folders::going(dir)?, dir.to_owned());
        replicas.workers.start_job(move || folders::finish(&data, going));
        Ok((replicas, joined))
    }

    /// The replica of a partition of `topic` that runs here.
    ///
    /// # Errors
    /// That there is no such partition, or that it is not here.
    pub fn get(&self, topic: &Topic, number: i32) -> Result<Arc<Partition>, NotServed> {
        if let Some(partition) = self.running.read().get(&TopicIdPartition::new(topic.id, number)) {
            return Ok(partition.clone());
        }
        let exists = usize::try_from(number).is_ok_and(|number| number < topic.partitions.len());
        Err(if exists { NotServed::NotLeader } else { NotServed::UnknownTopicOrPartition })
    }

    /// Whether a replica that should be here is neither open nor failed to open.
    pub fn is_to_be_opened(&self, topic_id: Uuid, number: i32) -> bool {
        let key = TopicIdPartition::new(topic_id, number);
        !self.running.read().contains_key(&key) && !self.unopened.lock().failed.contains_key(&key)
    }

    /// How fast this broker sends to replicas that are not in sync (`leader.replication.throttled.rate`).
    pub fn leaders_throttle(&self) -> &Arc<Mutex<Throttle>> {
        &self.leaders_throttle
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every replica that runs here.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.running.read().values().cloned().collect()
    }

    /// Whether another broker leads a partition whose role here has yet to follow: for as long as the disk takes.
    pub fn is_late_to_give_way(&self) -> bool {
        self.running.read().values().any(|partition| partition.is_superseded())
    }

    /// Leaders that this broker follows and does not hear.
    pub fn unheard(&self) -> watch::Receiver<BTreeSet<BrokerId>> {
        self.fetchers.unheard()
    }

    /// Leaders that this broker follows and may be about to miss, and since when.
    pub fn doubts(&self) -> watch::Receiver<Doubts> {
        self.fetchers.doubts()
    }

    /// Word that replicas have come, gone or changed their role, and that an image was acted on: so look again.
    pub fn roles(&self) -> watch::Receiver<()> {
        self.roles.subscribe()
    }

    /// Returns when the data directory has failed, and not for want of room: nobody knows what it holds.
    pub async fn disk_failed(&self) {
        // The sender is the failure's: this ends only when it is so.
        let _ = self.disk_failed.clone().wait_for(|failed| *failed).await;
    }

    /// Makes reality follow the image until the broker stops.
    pub async fn follow(&self, mut images: ImageReceiver) {
        let (mut beside, mut seen) = (Beside::default(), LastImage::default());
        loop {
            let mut image = images.borrow_and_update().clone();
            self.has_news(&image, &mut seen);
            let mut again = self.reconcile(&image, &seen, &images, &mut beside);
            loop {
                let now = env::now();
                tokio::select! {
                    biased;
                    changed = images.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        image = images.borrow_and_update().clone();
                        if self.has_news(&image, &mut seen) {
                            break;
                        }
                        seen.count(&self.metrics);
                        self.roles.send_replace(());
                    }
                    () = env::sleep_until(again.unwrap_or(now)), if again.is_some() => break,
                    () = self.removals.progress() => break,
                    () = self.torn.notified() => break,
                    () = env::sleep_until(beside.gathered_at.unwrap_or(now)), if beside.gathered_at.is_some() => {
                        again = sooner(again, self.take_part(&image, &mut beside));
                    }
                    Some(done) = beside.tasks.next() => {
                        let retry = self.take_in(&image, done, &mut beside);
                        // Not only after all have ended: another log may take long to recover.
                        self.roles.send_replace(());
                        let have_all_ended = beside.tasks.is_empty().then(env::now);
                        again = sooner(again, retry.or(have_all_ended));
                    }
                }
            }
        }
    }

    /// Whether an image says anything new of what is here, or is to be acted on because the one before may have been in
    /// vain: what is said to the cluster is said again. Else nothing here would change.
    fn has_news(&self, image: &Arc<ClusterImage>, seen: &mut LastImage) -> bool {
        let found = self.found.lock();
        let is_found = |id: Uuid| {
            let first = found.range(TopicIdPartition::new(id, i32::MIN)..).next();
            first.is_some_and(|(key, _)| key.topic_id == id)
        };
        let is_new = seen.learn(self.me.id, image, is_found);
        drop(found);
        is_new || self.removals.are_to_be_told() || seen.mine_without_leader(image).next().is_some()
    }

    /// Begins to open what the image puts here, gives every open replica its role, retires what has a tombstone or has
    /// been moved away. What the image does not mention is left alone: absence is never deletion. Gives when something
    /// is to be tried again. Waits for nothing: an election is acted on at once, whatever the disk does for other
    /// partitions.
    fn reconcile<'a>(
        &'a self,
        image: &Arc<ClusterImage>,
        seen: &LastImage,
        images: &ImageReceiver,
        beside: &mut Beside<'a>,
    ) -> Option<Instant> {
        let now = env::now();
        self.unopened.lock().retain(|key| image.replica_of(self.me.id, key).is_some());
        self.give_up_torn(beside);
        let mut missing = Vec::new();
        for topic in seen.mine(image) {
            for assignment in topic.partitions.iter().filter(|assignment| assignment.replicas.contains(&self.me.id)) {
                let running = self.running.read().get(&TopicIdPartition::new(topic.id, assignment.partition)).cloned();
                match running {
                    Some(partition) => self.give_role(image, topic, assignment, partition, beside),
                    None => missing.push((topic, assignment.partition)),
                }
            }
        }
        self.retire_gone(image);
        for (topic, number) in missing {
            // A topic that was made again takes the place of the one that is gone, once that is free.
            if !self.removals.has_name(&topic.name, number)
                && self.unopened.lock().begin(TopicIdPartition::new(topic.id, number), now)
            {
                let opening = self.open(images.clone(), topic.clone(), number);
                beside.tasks.push(Box::pin(opening.instrument(span_of(&topic.name, number))));
            }
        }
        let settled = self.settled(beside);
        let fetches = self.fetchers.reconcile(image, &settled, !beside.beginning.is_empty());
        self.roles.send_replace(());
        let reports = self.report_what_is_left(image, seen, beside);
        (beside.gathered, beside.gathered_at, beside.counted) = (Vec::new(), None, Counted::default());
        self.count(&settled, beside);
        seen.count(&self.metrics);
        let next_look = fetches.and(reports).is_err().then(|| now + FIRST_RETRY);
        next_look.into_iter().chain(self.unopened.lock().next_retry()).min()
    }

    /// Takes the logs that a full disk has torn out of service, to be opened again: their recovery is what puts them
    /// right, as it would after a restart.
    fn give_up_torn(&self, beside: &Beside<'_>) {
        if self.failure.is_noted() {
            return;
        }
        for partition in self.settled(beside) {
            let Some(known) = partition.give_up_if_torn() else { continue };
            let key = partition.id();
            self.running.write().remove(&key);
            self.found.lock().insert(key, partition.topic.to_string());
            self.unopened.lock().add_torn(key, known, env::now());
        }
    }

    /// The workers bound how many logs are recovered at a time.
    async fn open(&self, images: ImageReceiver, topic: Arc<Topic>, number: i32) -> Done {
        let key = TopicIdPartition::new(topic.id, number);
        let torn = self.unopened.lock().torn.get(&key).copied();
        Done::Opened(key, self.opener.open(images, topic, number, torn).await)
    }

    /// Says what this broker still has of partitions that nobody leads, where it can't lead itself: it was not in sync,
    /// or its disk is not what it was (COORDINATION §3). Should nobody else come back, the longest log of all that
    /// report leads. An error if a partition is busy that is to be reported: then the image is to be looked at again.
    fn report_what_is_left(&self, image: &ClusterImage, seen: &LastImage, beside: &Beside<'_>) -> Result<(), Busy> {
        let mut reported = Ok(());
        for topic in seen.mine_without_leader(image) {
            let asks_me = |assignment: &&Assignment| assignment.asks_for_report(self.me.id, self.me.incarnation);
            for assignment in topic.partitions.iter().filter(asks_me) {
                let key = TopicIdPartition::new(topic.id, assignment.partition);
                // One whose role is beginning in an older epoch may still have more or less afterwards.
                let is_settled = !beside.beginning.contains(&key);
                let Some(partition) = self.running.read().get(&key).filter(|_| is_settled).cloned() else { continue };
                reported = reported.and(self.report(&partition, assignment));
            }
        }
        reported
    }

    fn report(&self, replica: &Partition, assignment: &Assignment) -> Result<(), Busy> {
        let Extent { last_epoch, log_end, log_start } = replica.extent_unless_busy().ok_or(Busy)?;
        let Assignment { partition, leader_epoch, .. } = *assignment;
        let topic_id = replica.topic_id;
        let report = Ask::Report { topic_id, partition, leader_epoch, last_epoch, log_end, log_start };
        if self.ask.try_send(report).is_err() {
            let _span = replica.span().entered();
            tracing::debug!("the queue to the cluster is full: reporting again with the next image");
        }
        Ok(())
    }

    /// Sets the gauges of every log; those of a busy partition stay as they are.
    pub fn measure(&self, metrics: &Metrics) {
        for partition in self.all() {
            let Some(status) = partition.status_unless_busy() else { continue };
            let number = partition.number.to_string();
            let labels = [partition.topic.as_ref(), number.as_str()];
            metrics.topics.log_size.with_label_values(&labels).set(i64::try_from(status.size).unwrap_or(i64::MAX));
            metrics.topics.log_start.with_label_values(&labels).set(status.log_start);
            metrics.topics.log_end.with_label_values(&labels).set(status.log_end);
        }
    }

    /// Closes every log: flushed, with snapshots, and the checkpoints that let the next start trust them. True when all
    /// went well: the caller may leave the clean-shutdown marker.
    pub async fn close(&self) -> bool {
        self.fetchers.stop();
        let running: Vec<_> = self.running.write().drain().map(|(_, partition)| partition).collect();
        let closing = running.into_iter().map(|partition| {
            let closed = self.workers.run(move || (partition.close(), partition));
            async {
                let (closed, partition) = closed.await;
                if let Err(error) = &closed {
                    partition.span().in_scope(|| tracing::error!(%error, "failed to close a log"));
                }
                closed.map(|positions| ((partition.topic.to_string(), partition.number), positions))
            }
        });
        let closed: Result<Vec<_>, _> = join_all(closing).await.into_iter().collect();
        let Ok(closed) = closed else { return false };
        if self.unopened.lock().count() > 0 {
            return false;
        }
        // Not on this thread: a Lease may be renewed here.
        let checkpoints = self.checkpoints.clone();
        let stored = self.workers.run(move || checkpoints.lock().store(closed)).await;
        stored.inspect_err(|error| tracing::error!(%error, "failed to write the checkpoints")).is_ok()
    }
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

fn surroundings(image: &ClusterImage, assignment: &Assignment) -> Surroundings {
    let is = |wanted: fn(Option<&Broker>) -> bool| {
        assignment.replicas.iter().copied().filter(|id| wanted(image.brokers.get(id))).collect()
    };
    Surroundings {
        dead: is(|broker| broker.is_none_or(|broker| !broker.alive)),
        draining: is(|broker| broker.is_some_and(|broker| broker.draining)),
        max_lag: image.settings.replica_lag_time_max,
    }
}

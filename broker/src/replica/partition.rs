//! A partition: its log, its role, and how far it has got.
//!
//! Owns the order of appends. Knows nothing of sockets or Kubernetes.
//! Always: log_start ≤ last_stable ≤ high_watermark ≤ log_end.
//!
//! - here: appends
//! - `role`: what this broker is to it
//! - [`leadership`]: what a leader knows of its followers: who is in sync, how far records are safe
//! - [`in_sync`]: the same, asked of a partition: followers' fetches in, changes of the ISR out
//! - [`following`]: copying the leader: appends, and cutting where the logs part
//! - [`reading`]: batches, look-ups; [`deleting`]: taking records away at the start
//! - [`transactions`]: markers, verification
//! - [`upkeep`]: flushes, retention, compaction, and its end
//! - `trouble`: a disk that is full or fails

pub mod deleting;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod following;
pub mod in_sync;
pub mod leadership;
pub mod reading;
mod role;
pub mod transactions;
mod trouble;
pub mod upkeep;

use std::cmp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString as Str;
use ottla_batch::{Batch, InvalidBatch};
use ottla_config::{TimestampType, TopicSettings};
use ottla_log::{Admission, Log, ProducerError, VerificationGuard};
use ottla_rules::assignment::Epochs;
use ottla_wire::TopicIdPartition;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::mpsc;
use tracing::Span;
use uuid::Uuid;

use self::leadership::LeaderSnapshot;
use self::role::Role;
pub use self::role::Waits;
use super::not_served::NotServed;
use super::proposal::Proposal;
use super::rules::produce_rules;
use super::span::span_of;
use crate::env::{self, Instant};
use crate::image::{LeaderEpoch, Me};
use crate::metrics::TopicMetrics;
use crate::watermark::Watermark;

/// How long a look at every partition waits for one of them. No more are busy at a time than there are threads that
/// wait for the disk.
const LOOK: Duration = Duration::from_millis(50);

/// Another thread holds the lock of the partition for longer than a look waits: it waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// A replica that runs on this broker.
pub struct Partition {
    /// The topic's name.
    pub topic: Str,
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's number in its topic.
    pub number: i32,
    /// The next offset.
    pub log_end: Arc<Watermark>,
    /// Everything before is on every in-sync replica: safe, and shown to consumers.
    pub high_watermark: Arc<Watermark>,
    /// The last stable offset: of everything before it is decided, and committed, whether it counts.
    pub last_stable: Arc<Watermark>,
    /// Everything before is deleted on every in-sync replica; −1: unknown, and where this broker does not lead.
    pub low_watermark: Arc<Watermark>,
    /// Everything before is on the device.
    pub durable: Arc<Watermark>,
    /// A flush has been asked for and has not begun.
    flush_asked: AtomicBool,
    /// Compaction has failed.
    uncleanable: AtomicBool,
    /// The last look found it busy.
    is_busy: AtomicBool,
    /// Another broker leads, as this one knows, and the role here has yet to follow: nothing is served or acknowledged.
    is_superseded: AtomicBool,
    /// How often somebody has looked without waiting.
    #[cfg(test)]
    pub(crate) looks: std::sync::atomic::AtomicUsize,
    /// A flush has ended, well or not.
    flush_ended: Condvar,
    me: Me,
    metrics: TopicMetrics,
    /// Bytes of records that producers have sent, and that consumers have fetched.
    traffic: [AtomicU64; 2],
    /// Where to say that a follower may join the ISR.
    joining: mpsc::Sender<TopicIdPartition>,
    state: Mutex<PartitionState>,
}

struct PartitionState {
    log: Log,
    settings: Arc<TopicSettings>,
    role: Role,
    /// The newest epochs that were acted on. An older assignment is ignored: it comes from the past.
    acted_on: Epochs,
    proposal: Proposal,
    /// By the topic's `flush.messages` what a follower has before this offset must be on the device before it
    /// acknowledges it.
    flush_due: i64,
    /// When the first record was appended that no flush has begun to bring to the device; `None`: there is none, or it
    /// was there before this process.
    unflushed_since: Option<Instant>,
    /// A flush is to be run that nobody asks for: it could not be run for want of files, or this broker follows now,
    /// and its first fetch acknowledges what it had before.
    flush_put_off: bool,
    /// The checkpoints say that the log begins there, or later than it did: no restart brings back what lies before.
    kept_log_start: i64,
    /// Its disk had no room when it was last written to.
    full: bool,
    /// The replica goes: its folder is not ours any more, or will be closed.
    retired: bool,
}

/// What a partition's folder and the checkpoints hold.
pub struct StoredReplica {
    /// The log, open.
    pub log: Log,
    /// The high watermark when it was closed, or a while before.
    pub high_watermark: i64,
    /// See [`Proposal`].
    pub proposal: Proposal,
}

/// What a replica has, as a recovery election compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The epoch of the last record, which may have been deleted; none: there was no record.
    pub last_epoch: LeaderEpoch,
    /// The next offset.
    pub log_end: i64,
    /// What is before is deleted, and stays so whatever becomes of this process.
    pub log_start: i64,
}

/// Where an append ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: i64,
    /// The offset after the last record's.
    pub end: i64,
    /// The time that the records were given under LogAppendTime, in ms since 1970; `None`: they keep the producer's.
    pub append_time_ms: Option<i64>,
    /// The log's first offset.
    pub log_start: i64,
    /// Under which leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The topic's `flush.messages` is reached: the acknowledgement waits until this is on the device.
    pub must_flush: bool,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Not here, or not now.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The records break a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The batch does not follow its producer's last.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The same, shortly after this broker began to lead: the batches before it may have gone to the former leader.
    #[error("the batches before it may have been sent to the former leader")]
    GapAfterElection,
    /// No segment could hold the batch.
    #[error("the batch has {size} bytes, segment.bytes is {limit}")]
    LargerThanSegment {
        /// Bytes of the batch.
        size: usize,
        /// Bytes that a segment may have.
        limit: u32,
    },
    /// Fewer in-sync replicas than `min.insync.replicas`.
    #[error("fewer in-sync replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// The disk is full or failed.
    #[error(transparent)]
    Log(#[from] ottla_log::LogAppendError),
}

/// Why an appended batch is not acknowledged. It may be committed yet.
#[derive(Debug, thiserror::Error)]
pub enum NotAcknowledged {
    /// This broker has not led since the append: nobody here knows what becomes of it.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// Fewer in-sync replicas than `min.insync.replicas` at the end of the request's time-out.
    #[error("fewer in-sync replicas than min.insync.replicas after the append")]
    NotEnoughReplicas,
    /// Not committed, or not flushed, within the request's time-out.
    #[error("not committed within the time-out")]
    TimedOut,
}

impl Partition {
    /// How other rooms name it.
    pub fn id(&self) -> TopicIdPartition {
        TopicIdPartition::new(self.topic_id, self.number)
    }

    /// Puts an open log under this broker's care; it has no role until [`Partition::assume`].
    pub fn new(
        topic: &crate::image::Topic,
        number: i32,
        me: Me,
        found: StoredReplica,
        metrics: TopicMetrics,
        joining: mpsc::Sender<TopicIdPartition>,
    ) -> Partition {
        let StoredReplica { mut log, high_watermark, proposal } = found;
        let high_watermark = high_watermark.clamp(log.log_start(), log.log_end());
        log.set_high_watermark(high_watermark);
        let kept_log_start = log.log_start();
        Partition {
            topic: topic.name.clone(),
            topic_id: topic.id,
            number,
            log_end: Watermark::new(log.log_end()),
            high_watermark: Watermark::new(high_watermark),
            last_stable: Watermark::new(log.last_stable()),
            low_watermark: Watermark::new(-1),
            durable: Watermark::new(log.recovery_point()),
            flush_asked: AtomicBool::new(false),
            uncleanable: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            is_superseded: AtomicBool::new(false),
            #[cfg(test)]
            looks: Default::default(),
            flush_ended: Condvar::new(),
            me,
            metrics,
            traffic: Default::default(),
            joining,
            state: Mutex::new(PartitionState {
                log,
                settings: topic.settings.clone(),
                role: Role::Bystander,
                acted_on: proposal.acted_on(),
                proposal,
                flush_due: 0,
                unflushed_since: None,
                flush_put_off: false,
                kept_log_start,
                full: false,
                retired: false,
            }),
        }
    }

    /// Appends what a client sent: one batch; if it is transactional, with the guard of its verification, or without
    /// one where there was nothing to ask. The bytes are checked outside of the partition's lock.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_from_client(
        &self,
        records: &Bytes,
        acks_all: bool,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, AppendError> {
        let settings = self.leading(LeaderEpoch::NONE)?.settings.clone();
        let now_ms = env::wall_clock_ms();
        let batch = ottla_batch::validate(records, &produce_rules(&settings), now_ms)?;
        self.append_valid(&batch, acks_all, guard, now_ms)
    }

    /// Appends a client's batch that is valid, and verified if it needs to be.
    fn append_valid(
        &self,
        batch: &Batch,
        acks_all: bool,
        guard: Option<VerificationGuard>,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let bytes = batch.bytes().len() as u64;
        let records = batch.header().records_count;
        let appended = self.append(self.leading(LeaderEpoch::NONE)?, batch, acks_all, guard, now_ms)?;
        self.metrics.bytes_in.inc_by(bytes);
        self.traffic[0].fetch_add(bytes, Ordering::Relaxed);
        self.metrics.messages_in.inc_by(u64::try_from(records).unwrap_or(0));
        Ok(appended)
    }

    /// Appends a batch of a coordinator, as with acks=all, while this broker leads without a break since the epoch in
    /// which the coordinator read the log: else others may have written what it does not know.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_own(&self, batch: &Batch, since_epoch: LeaderEpoch, now_ms: i64) -> Result<Appended, AppendError> {
        self.append_own_verified(batch, since_epoch, None, now_ms)
    }

    /// The same for a batch that is part of a transaction, with the guard of its verification; see
    /// [`Partition::begin_verification`].
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_own_verified(
        &self,
        batch: &Batch,
        since_epoch: LeaderEpoch,
        guard: Option<VerificationGuard>,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let state = self.leading_since(since_epoch)?;
        let (size, limit) = (batch.bytes().len(), state.settings.max_message_bytes as usize);
        if size > limit {
            return Err(InvalidBatch::TooLarge { size, limit }.into());
        }
        self.append(state, batch, true, guard, now_ms)
    }

    /// Appends a batch under the partition's lock: sequence, offset and epoch are given here and nowhere else.
    fn append(
        &self,
        mut state: MutexGuard<'_, PartitionState>,
        batch: &Batch,
        acks_all: bool,
        guard: Option<VerificationGuard>,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let Role::Leader(leadership) = &state.role else { return Err(NotServed::NotLeader.into()) };
        let leader_epoch = leadership.epoch();
        let append_time_ms = (state.settings.message_timestamp_type == TimestampType::LogAppendTime).then_some(now_ms);
        if acks_all && !leadership.has_enough_in_sync(&self.leader_snapshot(&state)) {
            return Err(AppendError::NotEnoughReplicas);
        }
        let (size, limit) = (batch.bytes().len(), state.settings.segment_bytes);
        if size as u64 > u64::from(limit) {
            return Err(AppendError::LargerThanSegment { size, limit });
        }
        let log_start = state.log.log_start();
        let admission = match state.log.producers().check(batch.header(), guard) {
            // After OUT_OF_ORDER_SEQUENCE_NUMBER librdkafka begins a new producer epoch and writes again what was not
            // acknowledged; after the error here every client sends both again, in order.
            Err(error) if error.is_gap() && leadership.took_over_lately(env::now()) => {
                return Err(AppendError::GapAfterElection);
            }
            admission => admission?,
        };
        if let Admission::Duplicate(first) = admission {
            let (base_offset, end) = (first.first_offset(), first.last_offset + 1);
            let append_time_ms = append_time_ms.map(|_| first.timestamp);
            let must_flush = state.settings.flush_messages.is_some();
            return Ok(Appended { base_offset, end, append_time_ms, log_start, leader_epoch, must_flush });
        }
        let base_offset = state.log.log_end();
        let stamped = batch.stamp(base_offset, leader_epoch.0, append_time_ms);
        if let Err(error) = state.log.append(&[stamped], now_ms) {
            self.note_append_error(&mut state, &error);
            return Err(error.into());
        }
        self.note_room(&mut state);
        state.unflushed_since.get_or_insert_with(env::now);
        let end = state.log.log_end();
        self.log_end.advance(end);
        self.advance_high_watermark(&mut state);
        let must_flush = self.must_flush(&state);
        Ok(Appended { base_offset, end, append_time_ms, log_start, leader_epoch, must_flush })
    }

    /// Whether nothing of what `acks` asks for is missing any more.
    pub fn is_acknowledged(&self, appended: &Appended, acks_all: bool) -> bool {
        // An append may have waited for the disk for minutes, and another broker leads meanwhile.
        let is_kept = if acks_all { self.high_watermark.get() >= appended.end } else { !self.is_superseded() };
        is_kept && (!appended.must_flush || self.durable.get() >= appended.end)
    }

    /// Waits until an append may be acknowledged, at most until `deadline`.
    ///
    /// # Errors
    /// See [`NotAcknowledged`].
    pub async fn acknowledged(
        &self,
        appended: &Appended,
        acks_all: bool,
        deadline: Instant,
    ) -> Result<(), NotAcknowledged> {
        loop {
            let committed = self.high_watermark.reached(if acks_all { appended.end } else { i64::MIN });
            let flushed = self.durable.reached(if appended.must_flush { appended.end } else { i64::MIN });
            drop(self.leading_since(appended.leader_epoch)?);
            if self.is_acknowledged(appended, acks_all) {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = futures::future::join(committed, flushed) => {}
                () = env::sleep_until(deadline) => return Err(self.not_in_time(appended)),
            }
        }
    }

    fn not_in_time(&self, appended: &Appended) -> NotAcknowledged {
        let enough = self.leading_since(appended.leader_epoch).map(|state| match &state.role {
            Role::Leader(leadership) => leadership.has_enough_in_sync(&self.leader_snapshot(&state)),
            Role::Bystander | Role::Follower(_) | Role::Offline => true,
        });
        match enough {
            Ok(true) => NotAcknowledged::TimedOut,
            Ok(false) => NotAcknowledged::NotEnoughReplicas,
            Err(error) => error.into(),
        }
    }

    /// [`Partition::acknowledged`] by all in-sync replicas.
    ///
    /// # Errors
    /// As there.
    pub async fn committed(&self, appended: &Appended, deadline: Instant) -> Result<(), NotAcknowledged> {
        self.acknowledged(appended, true, deadline).await
    }

    /// Whether every in-sync replica has an append.
    ///
    /// # Errors
    /// That this broker has not led without a break since the epoch of the append.
    pub fn is_committed(&self, appended: &Appended) -> Result<bool, NotServed> {
        drop(self.leading_since(appended.leader_epoch)?);
        Ok(self.is_acknowledged(appended, true))
    }

    /// The epoch in which this broker leads the partition; `None` while it does not, gives way, or knows that another
    /// broker leads.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        // Before the lock, too, which a thread may hold that waits for the disk.
        if self.is_superseded() { None } else { self.leader_epoch_in(&self.state.lock()) }
    }

    /// The same for a look at every partition; an error while it is busy.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn leader_epoch_unless_busy(&self) -> Result<Option<LeaderEpoch>, Busy> {
        self.unless_busy().ok_or(Busy).map(|state| self.leader_epoch_in(&state))
    }

    fn leader_epoch_in(&self, state: &PartitionState) -> Option<LeaderEpoch> {
        state.role.leader_epoch().filter(|_| !self.is_superseded())
    }

    /// Whether this broker has led the partition without a break since this epoch, and does not give way: nobody else
    /// has written to the log, and nothing of it was cut off.
    pub fn leads_since(&self, leader_epoch: LeaderEpoch) -> bool {
        self.leading_since(leader_epoch).is_ok()
    }

    /// The partition's lock, if this broker leads it, in the epoch that the client believes (none: it does not say).
    fn leading(&self, believed_epoch: LeaderEpoch) -> Result<MutexGuard<'_, PartitionState>, NotServed> {
        let state = self.followed(believed_epoch)?;
        match &state.role {
            Role::Leader(leadership) if leadership.gives_way() => Err(NotServed::NotLeader),
            Role::Leader(_) | Role::Bystander | Role::Follower(_) | Role::Offline => Ok(state),
        }
    }

    /// The partition's lock, for the looks of control threads at every partition: `None` if another thread holds it
    /// for longer than [`LOOK`], because that thread waits for the disk. Leases are renewed on control threads. Only
    /// the first look waits for a partition that stays busy: with many cores many are busy, and looks are frequent.
    fn unless_busy(&self) -> Option<MutexGuard<'_, PartitionState>> {
        #[cfg(test)]
        self.looks.fetch_add(1, Ordering::Relaxed);
        let wait = if self.is_busy.load(Ordering::Relaxed) { Duration::ZERO } else { LOOK };
        let state = self.state.try_lock_for(wait);
        self.is_busy.store(state.is_none(), Ordering::Relaxed);
        state
    }

    /// The same for a follower, to which this broker does not give way: that it comes is what ends that.
    fn followed(&self, believed_epoch: LeaderEpoch) -> Result<MutexGuard<'_, PartitionState>, NotServed> {
        // Also before the lock, which may be held by a thread that waits for the disk.
        if self.is_superseded() {
            return Err(NotServed::NotLeader);
        }
        let state = self.state.lock();
        let epoch = match &state.role {
            Role::Leader(_) if self.is_superseded() => return Err(NotServed::NotLeader),
            Role::Leader(leadership) => leadership.epoch(),
            Role::Offline => return Err(NotServed::Storage),
            Role::Bystander | Role::Follower(_) => return Err(NotServed::NotLeader),
        };
        check_epoch(believed_epoch, epoch)?;
        Ok(state)
    }

    /// The partition's lock, if this broker has led it without a break since an epoch, an append's for instance. A
    /// producer names no epoch: to the producer, a broker that was not the leader in between is not the leader any
    /// more, even if it leads again. (Producers do not know FENCED_LEADER_EPOCH: they would stop instead of retrying.)
    fn leading_since(&self, leader_epoch: LeaderEpoch) -> Result<MutexGuard<'_, PartitionState>, NotServed> {
        let state = self.leading(LeaderEpoch::NONE)?;
        match &state.role {
            Role::Leader(leadership) if leadership.has_led_since(leader_epoch) => Ok(state),
            Role::Leader(_) | Role::Bystander | Role::Follower(_) | Role::Offline => Err(NotServed::NotLeader),
        }
    }

    fn advance_high_watermark(&self, state: &mut PartitionState) {
        let Role::Leader(leadership) = &state.role else { return };
        let (current, log_end) = (self.high_watermark.get(), state.log.log_end());
        let next = leadership.high_watermark(current, log_end, state.settings.min_insync_replicas);
        self.high_watermark.advance(next);
        self.advance_last_stable(state);
    }

    /// After anything that it rests on has changed: the high watermark, the log's start.
    fn advance_last_stable(&self, state: &mut PartitionState) {
        state.log.set_high_watermark(self.high_watermark.get());
        self.last_stable.advance(state.log.last_stable());
    }

    fn leader_snapshot(&self, state: &PartitionState) -> LeaderSnapshot {
        LeaderSnapshot {
            now: env::now(),
            log_end: state.log.log_end(),
            high_watermark: self.high_watermark.get(),
            log_start: state.deleted_to(),
            min_in_sync: state.settings.min_insync_replicas,
        }
    }

    /// For log lines about the partition: see [`span_of`].
    pub fn span(&self) -> Span {
        span_of(&self.topic, self.number)
    }

    /// Wakes everyone who waits for this partition, to look again.
    fn disturb(&self) {
        self.log_end.disturb();
        self.high_watermark.disturb();
        self.last_stable.disturb();
        self.low_watermark.disturb();
        self.durable.disturb();
    }
}

impl PartitionState {
    fn first_dirty(&self) -> Option<i64> {
        self.settings.cleanup_policy.compact.then(|| self.log.first_dirty())
    }

    /// What is before is deleted, and stays so whatever becomes of this process.
    fn deleted_to(&self) -> i64 {
        self.kept_log_start.min(self.log.log_start())
    }

    /// The epoch of the last record, which may have been deleted (none: there was no record), and the next offset.
    fn last_epoch_and_end(&self) -> (LeaderEpoch, i64) {
        let log_end = self.log.log_end();
        (self.epoch_at(log_end - 1), log_end)
    }

    /// The leader epoch of an offset, or none.
    fn epoch_at(&self, offset: i64) -> LeaderEpoch {
        self.log.epochs().epoch_at(offset).map_or(LeaderEpoch::NONE, LeaderEpoch)
    }

    /// The largest leader epoch in the log that is not above `epoch`, and the offset at which it ended. `None` if
    /// `epoch` is above all that this log knows.
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, i64)> {
        let (floor, end) = self.log.epochs().end_offset_for(epoch.0, self.log.log_end())?;
        Some((LeaderEpoch(floor), end))
    }
}

/// Whether the epoch that a client believes (none: it does not say) is the one that it is.
fn check_epoch(believed: LeaderEpoch, epoch: LeaderEpoch) -> Result<(), NotServed> {
    match believed.cmp(&epoch) {
        _ if believed.is_none() => Ok(()),
        cmp::Ordering::Less => Err(NotServed::FencedLeaderEpoch),
        cmp::Ordering::Greater => Err(NotServed::UnknownLeaderEpoch),
        cmp::Ordering::Equal => Ok(()),
    }
}

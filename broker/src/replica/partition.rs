//! A partition: its log, its role, and how far it has got.
//!
//! Owns the order of appends. Knows nothing of sockets or Kubernetes.
//! Always: log_start ≤ high_watermark ≤ log_end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString as Str;
use ottla_batch::{Batch, InvalidBatch};
use ottla_config::{TimestampType, TopicSettings};
use ottla_log::compaction::{Cleaned, CompactionError};
use ottla_log::retention::Retired;
use ottla_log::{Admission, Bounds, Compaction, DiskResult, FoundRecord, Log, LogError, LogSlice, ProducerError};
use ottla_wire::{Chunk, FileSlice};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::NotServed;
use super::checkpoints::Positions;
use super::high_watermark::{Position, high_watermark};
use crate::env::{self, Instant};
use crate::image::{Assignment, BrokerId, IsrMember, Me};
use crate::metrics::TopicMetrics;
use crate::watermark::Watermark;

/// Reads up to this size are copied to memory at once; larger ones are sent from the file.
const COPIED: usize = 64 << 10;

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
    /// Everything before is on the device.
    pub durable: Arc<Watermark>,
    /// A flush has been asked for and has not begun.
    flush_asked: AtomicBool,
    /// Compaction has failed.
    uncleanable: AtomicBool,
    me: Me,
    metrics: TopicMetrics,
    state: Mutex<State>,
}

struct State {
    log: Log,
    settings: Arc<TopicSettings>,
    role: Role,
    /// The newest (leader epoch, partition epoch) that was acted on. An older assignment is ignored: it comes from the past.
    acted_on: (i32, i32),
    /// The replica goes: its folder is not ours any more, or will be closed.
    retired: bool,
}

/// What this broker is to a partition.
#[derive(Debug)]
enum Role {
    /// Nothing yet, or nothing any more: nobody leads, or the entry that names us is void.
    Bystander,
    /// Appends, and tells consumers.
    Leader(Leadership),
    /// Copies the leader.
    Follower,
    /// Its files can't be trusted or its disk failed: served again after a restart.
    Offline,
}

#[derive(Debug)]
struct Leadership {
    epoch: i32,
    isr: Vec<IsrMember>,
    replicas: usize,
    /// Followers' positions in this leader epoch.
    positions: BTreeMap<BrokerId, Position>,
}

/// Where an append ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: i64,
    /// The offset after the last record's.
    pub end: i64,
    /// The time that the records were given, if the topic says LogAppendTime. Milliseconds since 1970.
    pub append_time_ms: Option<i64>,
    /// The log's first offset.
    pub log_start: i64,
    /// Under which leader epoch.
    pub leader_epoch: i32,
    /// The topic's `flush.messages` is reached: the acknowledgement waits until this is on the device.
    pub must_flush: bool,
}

/// Why records were not appended, or not committed.
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
    /// Fewer in-sync replicas than `min.insync.replicas`: nothing was appended.
    #[error("fewer in-sync replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// Appended, but not committed within the request's time-out.
    #[error("not committed within the time-out")]
    TimedOut,
    /// acks is not −1, 0 or 1.
    #[error("acks must be -1, 0 or 1")]
    InvalidAcks,
    /// Clients don't write to internal topics.
    #[error("clients can not write to an internal topic")]
    InternalTopic,
    /// A transactional batch: there is no transaction coordinator yet.
    #[error("transactions are not supported")]
    Transactional,
    /// The disk is full or failed.
    #[error(transparent)]
    Log(#[from] ottla_log::AppendError),
}

impl AppendError {
    /// Whether the client should be told who leads (KIP-951).
    pub fn asks_for_leader(&self) -> bool {
        matches!(self, AppendError::NotServed(NotServed::NotLeader | NotServed::FencedLeaderEpoch))
    }
}

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything committed.
    HighWatermark,
    /// Everything before the first open transaction.
    LastStable,
}

/// An offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first that can be read.
    Earliest,
    /// The end of what the reader may see.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record with this timestamp or a later one.
    Timestamp(i64),
    /// What this log never has, such as tiered records: answered with −1.
    Nothing,
}

/// What metrics and DescribeLogDirs say of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// This broker leads it.
    pub leads: bool,
    /// Its disk or its files failed.
    pub offline: bool,
    /// Led here, with fewer in-sync replicas than replicas.
    pub under_replicated: bool,
    /// Led here, with fewer in-sync replicas than `min.insync.replicas`.
    pub under_min_isr: bool,
    /// Bytes on disk.
    pub size: u64,
    /// First offset.
    pub log_start: i64,
    /// Next offset.
    pub log_end: i64,
}

/// Where a read begins, and what its reader believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The first offset wanted.
    pub offset: i64,
    /// The leader epoch that the reader knows; −1: it does not say.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the reader has; −1: it does not say.
    pub last_fetched_epoch: i32,
}

/// What a read found.
#[derive(Debug)]
pub struct Read {
    /// Whole batches, the first of which holds the offset.
    pub chunk: Option<Chunk>,
    /// See [`Partition::high_watermark`].
    pub high_watermark: i64,
    /// Everything before is decided.
    pub last_stable: i64,
    /// The log's first offset.
    pub log_start: i64,
    /// The reader's log parts from ours: the epoch and its end that it must go back to. No records then.
    pub diverging: Option<(i32, i64)>,
}

impl Read {
    /// Bytes of records.
    pub fn len(&self) -> usize {
        self.chunk.as_ref().map_or(0, Chunk::len)
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_none()
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not here, or not now.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The offset is not in the log.
    #[error("the offset is outside of {log_start}..={high_watermark}")]
    OutOfRange {
        /// The log's first offset.
        log_start: i64,
        /// See [`Partition::high_watermark`].
        high_watermark: i64,
    },
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    /// Whether the client should be told who leads (KIP-951).
    pub fn asks_for_leader(&self) -> bool {
        matches!(self, ReadError::NotServed(NotServed::NotLeader | NotServed::FencedLeaderEpoch))
    }
}

impl From<ottla_log::ReadError> for ReadError {
    fn from(error: ottla_log::ReadError) -> ReadError {
        match error {
            ottla_log::ReadError::OutOfRange(range) => {
                ReadError::OutOfRange { log_start: range.log_start, high_watermark: range.log_end }
            }
            ottla_log::ReadError::Log(error) => ReadError::Log(error),
        }
    }
}

impl Partition {
    /// Puts an open log under this broker's care; it has no role until [`Partition::assume`].
    pub fn new(
        topic: &crate::image::Topic,
        number: i32,
        me: Me,
        log: Log,
        high_watermark: i64,
        metrics: TopicMetrics,
    ) -> Partition {
        let high_watermark = high_watermark.clamp(log.log_start(), log.log_end());
        Partition {
            topic: topic.name.clone(),
            topic_id: topic.id,
            number,
            log_end: Watermark::new(log.log_end()),
            high_watermark: Watermark::new(high_watermark),
            durable: Watermark::new(log.recovery_point()),
            flush_asked: AtomicBool::new(false),
            uncleanable: AtomicBool::new(false),
            me,
            metrics,
            state: Mutex::new(State {
                log,
                settings: topic.settings.clone(),
                role: Role::Bystander,
                acted_on: (-1, -1),
                retired: false,
            }),
        }
    }

    /// Takes the role that the assignment gives. May be called with the same assignment again; an older one is ignored.
    pub fn assume(&self, assignment: &Assignment, settings: &Arc<TopicSettings>) {
        let mut state = self.state.lock();
        if !Arc::ptr_eq(&state.settings, settings) {
            state.log.set_config(super::log_config(settings));
            state.settings = settings.clone();
        }
        let seen = (assignment.leader_epoch, assignment.partition_epoch);
        if seen <= state.acted_on || matches!(state.role, Role::Offline) {
            return;
        }
        state.acted_on = seen;
        // Only an entry that names what our disk holds now makes us leader (COORDINATION §2.5).
        let myself = IsrMember { broker: self.me.id, incarnation: self.me.incarnation };
        let leads = assignment.leader == Some(self.me.id) && assignment.isr.contains(&myself);
        match &mut state.role {
            Role::Leader(leadership) if leads && leadership.epoch == assignment.leader_epoch => {
                leadership.isr.clone_from(&assignment.isr);
                leadership.replicas = assignment.replicas.len();
                self.advance_high_watermark(&state);
                return;
            }
            _ => {}
        }
        state.role = if leads {
            // The epoch is written before the first append under it: a follower that asks in between must learn that the old
            // epoch has ended, or it keeps records that we are about to overwrite (KIP-101).
            if let Err(error) = state.log.start_epoch(assignment.leader_epoch) {
                self.take_offline(&mut state, &error);
                return;
            }
            Role::Leader(Leadership {
                epoch: assignment.leader_epoch,
                isr: assignment.isr.clone(),
                replicas: assignment.replicas.len(),
                positions: BTreeMap::new(),
            })
        } else if assignment.leader.is_some_and(|leader| leader != self.me.id) {
            Role::Follower
        } else {
            Role::Bystander
        };
        self.advance_high_watermark(&state);
        drop(state);
        self.disturb();
    }

    /// Appends what a client sent: one batch. The bytes are checked outside of the partition's lock.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_from_client(&self, records: &Bytes, acks_all: bool) -> Result<Appended, AppendError> {
        let settings = self.leading(-1)?.settings.clone();
        let now_ms = env::wall_clock_ms();
        let batch = ottla_batch::validate(records, &super::produce_rules(&settings), now_ms)?;
        if batch.header().is_transactional() {
            return Err(AppendError::Transactional);
        }
        let bytes = batch.bytes().len() as u64;
        let records = batch.header().records_count;
        let appended = self.append(self.leading(-1)?, &batch, acks_all, now_ms)?;
        self.metrics.bytes_in.inc_by(bytes);
        self.metrics.messages_in.inc_by(u64::try_from(records).unwrap_or(0));
        Ok(appended)
    }

    /// Appends a batch of a coordinator, as with acks=all, in the epoch in which it has read the log: in a later one others may
    /// have written what it does not know.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append_own(&self, batch: &Batch, leader_epoch: i32, now_ms: i64) -> Result<Appended, AppendError> {
        let state = self.leading(leader_epoch)?;
        let (size, limit) = (batch.bytes().len(), state.settings.max_message_bytes as usize);
        if size > limit {
            return Err(InvalidBatch::TooLarge { size, limit }.into());
        }
        self.append(state, batch, true, now_ms)
    }

    /// Appends a batch under the partition's lock: sequence, offset and epoch are given here and nowhere else.
    fn append(
        &self,
        mut state: MutexGuard<'_, State>,
        batch: &Batch,
        acks_all: bool,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let Role::Leader(leadership) = &state.role else { return Err(NotServed::NotLeader.into()) };
        let leader_epoch = leadership.epoch;
        let append_time_ms = (state.settings.message_timestamp_type == TimestampType::LogAppendTime).then_some(now_ms);
        if acks_all && leadership.isr.len() < leadership.min_in_sync(&state.settings) {
            return Err(AppendError::NotEnoughReplicas);
        }
        let log_start = state.log.log_start();
        if let Admission::Duplicate(first) = state.log.producers().check(batch.header())? {
            let (base_offset, end) = (first.first_offset(), first.last_offset + 1);
            let append_time_ms = append_time_ms.map(|_| first.timestamp);
            let must_flush = state.settings.flush_messages.is_some();
            return Ok(Appended { base_offset, end, append_time_ms, log_start, leader_epoch, must_flush });
        }
        let base_offset = state.log.log_end();
        let stamped = batch.stamp(base_offset, leader_epoch, append_time_ms);
        if let Err(error) = state.log.append(&[stamped], now_ms) {
            if !matches!(error, ottla_log::AppendError::NoSpace(_)) {
                self.take_offline(&mut state, &error);
            }
            return Err(error.into());
        }
        let end = state.log.log_end();
        self.log_end.advance(end);
        self.advance_high_watermark(&state);
        let unflushed = end - self.durable.get();
        let must_flush = state.settings.flush_messages.is_some_and(|most| unflushed.unsigned_abs() >= most);
        Ok(Appended { base_offset, end, append_time_ms, log_start, leader_epoch, must_flush })
    }

    /// Whether nothing of what `acks` asks for is missing any more.
    pub fn is_acknowledged(&self, appended: &Appended, acks_all: bool) -> bool {
        (!acks_all || self.high_watermark.get() >= appended.end)
            && (!appended.must_flush || self.durable.get() >= appended.end)
    }

    /// Waits until an append may be acknowledged, at most until `deadline`.
    ///
    /// # Errors
    /// `TimedOut`, or that this broker no longer leads in the epoch of the append: then nobody here knows what becomes of it.
    pub async fn acknowledged(
        &self,
        appended: &Appended,
        acks_all: bool,
        deadline: Instant,
    ) -> Result<(), AppendError> {
        loop {
            let committed = self.high_watermark.reached(if acks_all { appended.end } else { i64::MIN });
            let flushed = self.durable.reached(if appended.must_flush { appended.end } else { i64::MIN });
            drop(self.leading(appended.leader_epoch)?);
            if self.is_acknowledged(appended, acks_all) {
                return Ok(());
            }
            tokio::select! {
                _ = futures::future::join(committed, flushed) => {}
                () = env::sleep_until(deadline) => return Err(AppendError::TimedOut),
            }
        }
    }

    /// [`Partition::acknowledged`] by all in-sync replicas.
    ///
    /// # Errors
    /// As there.
    pub async fn committed(&self, appended: &Appended, deadline: Instant) -> Result<(), AppendError> {
        self.acknowledged(appended, true, deadline).await
    }

    /// Whether every in-sync replica has an append.
    ///
    /// # Errors
    /// That this broker no longer leads in the epoch of the append.
    pub fn is_committed(&self, appended: &Appended) -> Result<bool, NotServed> {
        drop(self.leading(appended.leader_epoch)?);
        Ok(self.is_acknowledged(appended, true))
    }

    /// The epoch in which this broker leads the partition; none while it does not.
    pub fn leader_epoch(&self) -> Option<i32> {
        match &self.state.lock().role {
            Role::Leader(leadership) => Some(leadership.epoch),
            Role::Bystander | Role::Follower | Role::Offline => None,
        }
    }

    /// Everything in the log, as if it had just been appended in one piece: for a coordinator to wait for and to read.
    ///
    /// # Errors
    /// When this broker does not lead the partition in this epoch.
    pub fn whole_log(&self, leader_epoch: i32) -> Result<Appended, NotServed> {
        let state = self.leading(leader_epoch)?;
        let (log_start, end) = (state.log.log_start(), state.log.log_end());
        let base_offset = log_start;
        Ok(Appended { base_offset, end, append_time_ms: None, log_start, leader_epoch, must_flush: false })
    }

    /// Reads whole batches into memory, from the one that holds the offset, at least one: for a coordinator, off the network
    /// threads. Empty at the end of what is committed.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn scan(&self, offset: i64, leader_epoch: i32, max_bytes: usize) -> Result<Bytes, ReadError> {
        drop(self.leading(leader_epoch)?);
        let bounds = Bounds { from: offset, up_to: self.high_watermark.get(), max_bytes, at_least_one: true };
        match self.locate(bounds)? {
            Some(slice) => Ok(slice.read().map_err(LogError::from)?.into()),
            None => Ok(Bytes::new()),
        }
    }

    /// Reads whole batches from the one that holds the offset, at most `max_bytes` unless `at_least_one` batch is larger.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, from: &ReadFrom, max_bytes: usize, at_least_one: bool, bound: Bound) -> Result<Read, ReadError> {
        let state = self.leading(from.current_leader_epoch)?;
        let (log_start, log_end) = (state.log.log_start(), state.log.log_end());
        let high_watermark = self.high_watermark.get();
        // Nothing is undecided while there are no transactions.
        let last_stable = high_watermark;
        let mut read = Read { chunk: None, high_watermark, last_stable, log_start, diverging: None };
        if from.last_fetched_epoch >= 0 {
            let known = state.log.epochs().end_offset_for(from.last_fetched_epoch, log_end);
            let (epoch, end) = known.ok_or(ReadError::OutOfRange { log_start, high_watermark })?;
            if epoch < from.last_fetched_epoch || end < from.offset {
                read.diverging = Some((epoch, end));
                return Ok(read);
            }
        }
        if from.offset < log_start || from.offset > log_end {
            return Err(ReadError::OutOfRange { log_start, high_watermark });
        }
        let up_to = match bound {
            Bound::HighWatermark => high_watermark,
            Bound::LastStable => last_stable,
        };
        drop(state);
        let Some(slice) = self.locate(Bounds { from: from.offset, up_to, max_bytes, at_least_one })? else {
            return Ok(read);
        };
        let len = slice.len;
        read.chunk = Some(if len <= COPIED {
            Chunk::Bytes(slice.read().map_err(LogError::from)?.into())
        } else {
            Chunk::File(FileSlice { file: slice.file, position: slice.position, len })
        });
        self.metrics.bytes_out.inc_by(len as u64);
        Ok(read)
    }

    /// Where `epoch` ended: the largest epoch not above it, and the offset after its last record. None when there is none.
    ///
    /// # Errors
    /// When this broker does not lead the partition in the epoch that the reader believes.
    pub fn end_of_epoch(&self, epoch: i32, believed_epoch: i32) -> Result<Option<(i32, i64)>, NotServed> {
        let state = self.leading(believed_epoch)?;
        Ok(state.log.epochs().end_offset_for(epoch, state.log.log_end()))
    }

    /// Looks an offset up; a record is searched for outside of the lock, where the disk may keep us waiting.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn find(&self, wanted: Wanted, bound: Bound, believed_epoch: i32) -> Result<Option<FoundRecord>, ReadError> {
        let state = self.leading(believed_epoch)?;
        let up_to = match bound {
            Bound::HighWatermark | Bound::LastStable => self.high_watermark.get(),
        };
        let end = |offset| FoundRecord { offset, timestamp: -1, leader_epoch: state.epoch_at(offset) };
        let search = match wanted {
            Wanted::Nothing => return Ok(Some(FoundRecord { offset: -1, timestamp: -1, leader_epoch: -1 })),
            Wanted::Latest => return Ok(Some(end(up_to))),
            Wanted::Earliest => return Ok(Some(end(state.log.log_start()))),
            Wanted::MaxTimestamp => state.log.search(ottla_log::Wanted::Latest),
            Wanted::Timestamp(timestamp) => state.log.search(ottla_log::Wanted::FirstAt(timestamp)),
        };
        drop(state);
        Ok(search.run()?.filter(|record| record.offset < up_to))
    }

    /// Whether DeleteRecords is for this topic: not where compaction alone cleans up.
    pub fn allows_delete_records(&self) -> bool {
        self.state.lock().settings.cleanup_policy.delete
    }

    /// Makes everything before `offset` unreadable (−1: everything committed), and returns the new log start.
    ///
    /// # Errors
    /// `OutOfRange` above the high watermark.
    pub fn delete_records(&self, offset: i64) -> Result<i64, ReadError> {
        let mut state = self.leading(-1)?;
        let (high_watermark, log_start) = (self.high_watermark.get(), state.log.log_start());
        let offset = if offset == -1 { high_watermark } else { offset };
        if !(0..=high_watermark).contains(&offset) {
            return Err(ReadError::OutOfRange { log_start, high_watermark });
        }
        state.log.advance_log_start(offset).map_err(LogError::from)?;
        Ok(state.log.log_start())
    }

    /// Finds the batches: the segment under the lock, the place in it outside, where the disk may keep us waiting.
    fn locate(&self, mut bounds: Bounds) -> Result<Option<LogSlice>, ReadError> {
        loop {
            let window = self.state.lock().log.window(bounds);
            let Some(window) = window? else { return Ok(None) };
            let found = window.locate()?;
            if found.is_some() || window.end_offset() >= bounds.up_to || !bounds.at_least_one {
                return Ok(found);
            }
            // Compaction has left nothing of what is wanted in that segment.
            bounds.from = window.end_offset();
        }
    }

    /// The partition's lock, if this broker leads it, and in the epoch that the client believes (−1: it does not say).
    fn leading(&self, believed_epoch: i32) -> Result<MutexGuard<'_, State>, NotServed> {
        let state = self.state.lock();
        let Role::Leader(Leadership { epoch, .. }) = state.role else {
            return Err(if matches!(state.role, Role::Offline) { NotServed::Storage } else { NotServed::NotLeader });
        };
        match believed_epoch {
            -1 => Ok(state),
            older if older < epoch => Err(NotServed::FencedLeaderEpoch),
            newer if newer > epoch => Err(NotServed::UnknownLeaderEpoch),
            _ => Ok(state),
        }
    }

    fn advance_high_watermark(&self, state: &State) {
        let Role::Leader(leadership) = &state.role else { return };
        let min_in_sync = leadership.min_in_sync(&state.settings);
        let (current, log_end) = (self.high_watermark.get(), state.log.log_end());
        let Leadership { isr, positions, .. } = leadership;
        self.high_watermark.advance(high_watermark(current, log_end, self.me.id, isr, positions, min_in_sync));
    }

    fn take_offline(&self, state: &mut State, error: &dyn std::error::Error) {
        tracing::error!(topic = %self.topic, partition = self.number, %error, "partition taken offline: its disk failed");
        state.role = Role::Offline;
        self.disturb();
    }

    /// Wakes everyone who waits for this partition, to look again.
    fn disturb(&self) {
        self.log_end.disturb();
        self.high_watermark.disturb();
        self.durable.disturb();
    }
}

impl Partition {
    /// Whether unflushed data is older than `age` or more than `bytes`, or than the topic allows.
    pub fn flush_is_due(&self, now_ms: i64, age: Duration, bytes: u64) -> bool {
        let state = self.state.lock();
        let unflushed = state.log.unflushed();
        let age = state.settings.flush_interval.map_or(age, |own| own.min(age));
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        unflushed.bytes >= bytes || unflushed.since_ms.is_some_and(|since| now_ms - since >= age_ms)
    }

    /// True for the first who asks since the last flush began: that one has it run.
    pub fn ask_to_flush(&self) -> bool {
        !self.flush_asked.swap(true, Ordering::SeqCst)
    }

    /// Brings everything appended so far to the device; waits for it outside of the lock. After an error the partition is
    /// offline: what is on the device is unknown, and a second fsync would not tell.
    pub fn flush(&self) {
        self.flush_asked.store(false, Ordering::SeqCst);
        let begun = self.state.lock().log.start_flush();
        let flushed = begun.and_then(|flush| {
            let Some(flush) = flush else { return Ok(()) };
            flush.run()?;
            let mut state = self.state.lock();
            state.log.flushed(&flush);
            self.durable.advance(state.log.recovery_point());
            Ok(())
        });
        if let Err(error) = flushed {
            let mut state = self.state.lock();
            state.log.fail();
            self.take_offline(&mut state, &error);
        }
    }

    /// Takes the segments out of the log that retention no longer wants.
    pub fn apply_retention(&self, now_ms: i64) -> Option<Retired> {
        let high_watermark = self.high_watermark.get();
        match self.state.lock().log.apply_retention(high_watermark, now_ms) {
            Ok(retired) => (retired.segments > 0).then_some(retired),
            Err(error) => {
                tracing::error!(topic = %self.topic, partition = self.number, %error, "failed to apply retention");
                None
            }
        }
    }

    /// What might be compacted: see [`Log::start_compaction`].
    pub fn start_compaction(&self) -> Option<Compaction> {
        // The last stable offset is the same while there are no transactions.
        let up_to = self.high_watermark.get();
        let state = self.state.lock();
        let fit = !state.retired && !matches!(state.role, Role::Offline) && !self.uncleanable.load(Ordering::Relaxed);
        fit.then(|| state.log.start_compaction(up_to)).flatten()
    }

    /// Puts a compacted segment in place of the old ones; none when that is not possible any more.
    ///
    /// # Errors
    /// When the disk refuses half-way: the partition is offline then.
    pub fn swap_in(&self, cleaned: &Cleaned) -> DiskResult<Option<Retired>> {
        let mut state = self.state.lock();
        if state.retired {
            return Ok(None);
        }
        let swapped = state.log.swap_in(cleaned);
        swapped.inspect_err(|error| self.take_offline(&mut state, error))
    }

    /// A compaction has failed: it is not tried again, unless there was only no space.
    pub fn compaction_failed(&self, error: &CompactionError) {
        self.uncleanable.store(!error.is_no_space(), Ordering::Relaxed);
        tracing::error!(topic = %self.topic, partition = self.number, %error, "failed to compact a log");
    }

    /// `file.delete.delay.ms` of the topic.
    pub fn file_delete_delay(&self) -> Duration {
        self.state.lock().settings.file_delete_delay
    }

    /// For the checkpoints.
    pub fn positions(&self) -> Positions {
        let state = self.state.lock();
        Positions {
            recovery_point: state.log.recovery_point(),
            log_start: state.log.log_start(),
            high_watermark: self.high_watermark.get(),
            first_dirty: state.first_dirty(),
        }
    }

    /// What metrics and DescribeLogDirs say of it.
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        let leadership = match &state.role {
            Role::Leader(leadership) => Some(leadership),
            Role::Bystander | Role::Follower | Role::Offline => None,
        };
        Standing {
            leads: leadership.is_some(),
            offline: matches!(state.role, Role::Offline),
            under_replicated: leadership.is_some_and(|l| l.isr.len() < l.replicas),
            under_min_isr: leadership.is_some_and(|l| l.isr.len() < l.min_in_sync(&state.settings)),
            size: state.log.size(),
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
        }
    }

    /// The epoch of the last record (−1: there is none), and the next offset: how much this replica has.
    pub fn last_epoch_and_end(&self) -> (i32, i64) {
        let state = self.state.lock();
        let log_end = state.log.log_end();
        let last = log_end.checked_sub(1).filter(|last| *last >= state.log.log_start());
        (last.map_or(-1, |last| state.epoch_at(last)), log_end)
    }

    /// The replica goes: whoever waits for it learns that it is not here any more.
    pub fn retire(&self) {
        let mut state = self.state.lock();
        state.role = Role::Bystander;
        state.retired = true;
        drop(state);
        self.disturb();
    }

    /// Closes the log: flushed, and fit to be opened without recovery. Nothing is served after.
    ///
    /// # Errors
    /// When the disk refuses: the next start recovers.
    pub fn close(&self) -> DiskResult<Positions> {
        self.retire();
        let mut state = self.state.lock();
        let high_watermark = self.high_watermark.get();
        let (log_start, first_dirty) = (state.log.log_start(), state.first_dirty());
        let recovery_point = state.log.close()?;
        Ok(Positions { recovery_point, log_start, high_watermark, first_dirty })
    }
}

impl State {
    fn first_dirty(&self) -> Option<i64> {
        self.settings.cleanup_policy.compact.then(|| self.log.first_dirty())
    }

    /// The leader epoch of an offset; −1 if there is none.
    fn epoch_at(&self, offset: i64) -> i32 {
        self.log.epochs().epoch_at(offset).unwrap_or(-1)
    }
}

impl Leadership {
    /// A topic with fewer replicas than `min.insync.replicas` needs all that it has (KIP-966).
    fn min_in_sync(&self, settings: &TopicSettings) -> usize {
        settings.min_insync_replicas.min(self.replicas)
    }
}

//! Reading a partition: batches, offsets by timestamp, ends of epochs; and taking records away at its start.
//!
//! What may wait for the disk happens outside of the partition's lock.

use bytes::Bytes;
use ottla_log::{Bounds, FoundRecord, LogError, LogSlice, Search};
use ottla_wire::{Chunk, FileSlice};

use parking_lot::MutexGuard;

use super::role::Role;
use super::{Appended, Partition, State, check_epoch};
use crate::image::{BrokerId, Incarnation};
use crate::replica::NotServed;

/// Reads up to this size are copied to memory at once; larger ones are sent from the file.
const COPIED: usize = 64 << 10;

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything committed.
    HighWatermark,
    /// Everything before the first open transaction.
    LastStable,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A consumer, up to what it may see.
    Consumer(Bound),
    /// A consumer that also asks followers (KIP-392).
    Roaming(Bound),
    /// A follower, whose disk holds what `incarnation` names. It sees everything, and what it asks for acknowledges what comes
    /// before.
    Follower {
        /// Its broker.
        broker: BrokerId,
        /// See [`Incarnation`].
        incarnation: Incarnation,
    },
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
    /// The log's end; more than the reader may see.
    pub log_end: i64,
    /// An in-sync replica near the consumer, which should be asked instead (KIP-392). No records then.
    pub preferred: Option<BrokerId>,
    /// The reader's log parts from ours: the epoch and its end that it must go back to. No records then.
    pub diverging: Option<(i32, i64)>,
}

impl Read {
    /// Bytes of records.
    pub fn len(&self) -> usize {
        self.chunk.as_ref().map_or(0, Chunk::len)
    }

    /// Bytes of them in memory.
    pub fn copied(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| if let Chunk::Bytes(bytes) = chunk { bytes.len() } else { 0 })
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
    /// A new leader does not know yet how much is committed.
    #[error("the end of what is committed is not known yet")]
    NotAvailable,
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    /// Where the log begins, if that is what a reader was told it is out of.
    pub fn log_start(&self) -> Option<i64> {
        match self {
            ReadError::OutOfRange { log_start, .. } => Some(*log_start),
            ReadError::NotServed(_) | ReadError::NotAvailable | ReadError::Log(_) => None,
        }
    }

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

/// An offset that was looked up.
#[derive(Debug)]
pub enum Found {
    /// There it is.
    At(FoundRecord),
    /// It is that of a record, which must be searched for.
    Somewhere(RecordSearch),
}

/// A search through the log as it was when somebody asked.
#[derive(Debug)]
pub struct RecordSearch {
    search: Search,
    up_to: i64,
    unsettled: bool,
}

impl RecordSearch {
    /// Searches. Reads from the disk and decompresses: for a worker.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn run(&self) -> Result<Option<FoundRecord>, ReadError> {
        match self.search.run()?.filter(|record| record.offset < self.up_to) {
            None if self.unsettled => Err(ReadError::NotAvailable),
            found => Ok(found),
        }
    }
}

impl Partition {
    /// Reads whole batches from the one that holds the offset, at most `max_bytes` unless `at_least_one` batch is larger. Copies at
    /// most `may_copy` bytes to memory.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(
        &self,
        from: &ReadFrom,
        max_bytes: usize,
        at_least_one: bool,
        may_copy: usize,
        reader: Reader,
    ) -> Result<Read, ReadError> {
        let mut state = self.readable(from.current_leader_epoch, reader)?;
        if let (Role::Leader(leadership), Reader::Follower { broker, .. }) = (&state.role, reader)
            && !leadership.is_follower(broker)
        {
            // It knows an assignment that has not come here yet, or the other way round.
            return Err(NotServed::UnknownLeaderEpoch.into());
        }
        let (log_start, log_end) = (state.log.log_start(), state.log.log_end());
        let high_watermark = self.high_watermark.get();
        // Nothing is undecided while there are no transactions.
        let last_stable = high_watermark;
        let mut read =
            Read { chunk: None, high_watermark, last_stable, log_start, log_end, preferred: None, diverging: None };
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
        let up_to = match reader {
            Reader::Consumer(Bound::HighWatermark) | Reader::Roaming(Bound::HighWatermark) => high_watermark,
            Reader::Consumer(Bound::LastStable) | Reader::Roaming(Bound::LastStable) => last_stable,
            Reader::Follower { broker, incarnation } => {
                self.note_fetch(&mut state, broker, incarnation, from.offset);
                read.high_watermark = self.high_watermark.get();
                log_end
            }
        };
        drop(state);
        let Some(slice) = self.locate(Bounds { from: from.offset, up_to, max_bytes, at_least_one })? else {
            return Ok(read);
        };
        let len = slice.len;
        read.chunk = Some(if len <= COPIED.min(may_copy) {
            Chunk::Bytes(slice.read().map_err(LogError::from)?.into())
        } else {
            Chunk::File(FileSlice { file: slice.file, position: slice.position, len })
        });
        Ok(read)
    }

    /// Counts what was read and is sent: a fetch that waits reads more than once, and sends the last.
    pub fn count_sent(&self, read: &Read, reader: Reader) {
        let bytes = match reader {
            Reader::Consumer(_) | Reader::Roaming(_) => &self.metrics.bytes_out,
            Reader::Follower { .. } => &self.metrics.replication_out,
        };
        bytes.inc_by(read.len() as u64);
    }

    /// The partition's lock, if this broker may answer `reader`: as the leader, or as a follower that a consumer came to.
    fn readable(&self, believed_epoch: i32, reader: Reader) -> Result<MutexGuard<'_, State>, NotServed> {
        if let Reader::Roaming(_) = reader {
            let state = self.state.lock();
            if let Role::Follower(following) = &state.role {
                check_epoch(believed_epoch, following.leader_epoch)?;
                return Ok(state);
            }
        }
        match reader {
            Reader::Follower { .. } => self.followed(believed_epoch),
            Reader::Consumer(_) | Reader::Roaming(_) => self.leading(believed_epoch),
        }
    }

    /// The in-sync follower among `near` that has got furthest, if it has what comes at `offset`: for a leader to name.
    pub fn nearest(&self, offset: i64, near: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        match &self.state.lock().role {
            Role::Leader(leadership) => leadership.furthest_in_sync(offset, near),
            Role::Bystander | Role::Follower(_) | Role::Offline => None,
        }
    }

    /// Where `epoch` ended: the largest epoch not above it, and the offset after its last record. None when there is none.
    ///
    /// # Errors
    /// When this broker does not lead the partition in the epoch that the reader believes.
    pub fn end_of_epoch(&self, epoch: i32, believed_epoch: i32) -> Result<Option<(i32, i64)>, NotServed> {
        let state = self.leading(believed_epoch)?;
        Ok((epoch >= 0).then(|| state.log.epochs().end_offset_for(epoch, state.log.log_end())).flatten())
    }

    /// Looks an offset up, as far as that needs no disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn find(&self, wanted: Wanted, bound: Bound, believed_epoch: i32) -> Result<Found, ReadError> {
        let state = self.leading(believed_epoch)?;
        let up_to = match bound {
            Bound::HighWatermark | Bound::LastStable => self.high_watermark.get(),
        };
        // A new leader does not know yet how much is committed (KIP-207).
        let unsettled = matches!(&state.role, Role::Leader(leadership) if up_to < leadership.epoch_start());
        let end = |offset| FoundRecord { offset, timestamp: -1, leader_epoch: state.epoch_at(offset) };
        let search = match wanted {
            Wanted::Nothing => return Ok(Found::At(FoundRecord { offset: -1, timestamp: -1, leader_epoch: -1 })),
            Wanted::Latest if unsettled => return Err(ReadError::NotAvailable),
            Wanted::Latest => return Ok(Found::At(end(up_to))),
            Wanted::Earliest => return Ok(Found::At(end(state.log.log_start()))),
            Wanted::MaxTimestamp => state.log.search(ottla_log::Wanted::Latest),
            Wanted::Timestamp(timestamp) => state.log.search(ottla_log::Wanted::FirstAt(timestamp)),
        };
        Ok(Found::Somewhere(RecordSearch { search, up_to, unsettled }))
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
}

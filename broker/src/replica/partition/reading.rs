//! Reading a partition: batches, offsets by timestamp, ends of epochs.
//!
//! What may wait for the disk happens outside of the partition's lock. Always: the batches of an answer are those that
//! the log held when the reader's leader epoch was checked (KAFKA-18723).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_log::{AbortedTransaction, FoundRecord, LogError, LogSlice, ReadBounds, Search, Window};
use ottla_wire::{Chunk, FileSlice, SentFile};
use parking_lot::MutexGuard;

use super::role::Role;
use super::{Appended, Partition, PartitionState, check_epoch};
use crate::image::{BrokerId, Incarnation, IsrMember, LeaderEpoch};
use crate::replica::not_served::NotServed;
use crate::watermark::Watermark;

/// What a client is sent of a partition is copied to memory up to this size, in bytes, and else sent from the file.
pub const COPIED: usize = 64 << 10;

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything committed.
    HighWatermark,
    /// Everything decided (isolation level read_committed).
    LastStable,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A consumer, up to what it may see.
    Consumer(Bound),
    /// A consumer that also asks followers (KIP-392).
    Roaming(Bound),
    /// A follower, whose disk holds what `incarnation` names. It sees everything, and what it asks for acknowledges
    /// what comes before.
    Follower {
        /// Its broker.
        broker: BrokerId,
        /// See [`Incarnation`].
        incarnation: Incarnation,
        /// Its request was read for before, and has waited.
        again: bool,
    },
}

/// An offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
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
    /// The leader epoch that the reader knows; none: it does not say.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the reader has; none: it does not say.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log begins; −1: it does not say.
    pub log_start: i64,
}

/// What a read found.
#[derive(Debug)]
pub struct Read {
    /// Whole batches, the first of which holds the offset; `None`: there is nothing to read.
    pub chunk: Option<Chunk>,
    /// See [`Partition::high_watermark`].
    pub high_watermark: i64,
    /// See [`Partition::last_stable`].
    pub last_stable: i64,
    /// The aborted transactions among what was read, by their first offset: for readers up to the last stable offset.
    pub aborted: Vec<AbortedTransaction>,
    /// The log's first offset.
    pub log_start: i64,
    /// The log's end; more than the reader may see.
    pub log_end: i64,
    /// What the reader may see beyond the chunk.
    pub rest: Rest,
    /// The reader's log parts from ours: the epoch and its end that it must go back to, without records. `None`: it
    /// does not part.
    pub diverging: Option<(LeaderEpoch, i64)>,
}

/// What there is beyond what was read, up to where the reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// Batches that did not fit.
    InSegment,
    /// The segment that was read is not the last.
    InLaterSegments,
}

impl Reader {
    /// Up to where a consumer may see; `None` for a follower, which sees everything.
    pub fn bound(self) -> Option<Bound> {
        match self {
            Reader::Consumer(bound) | Reader::Roaming(bound) => Some(bound),
            Reader::Follower { .. } => None,
        }
    }

    /// The same for a request that is read for again.
    #[must_use]
    pub fn again(self) -> Reader {
        match self {
            Reader::Follower { broker, incarnation, .. } => Reader::Follower { broker, incarnation, again: true },
            Reader::Consumer(_) | Reader::Roaming(_) => self,
        }
    }
}

impl Read {
    /// Where that reader's bound was.
    pub fn bound(&self, bound: Bound) -> i64 {
        match bound {
            Bound::HighWatermark => self.high_watermark,
            Bound::LastStable => self.last_stable,
        }
    }

    /// Bytes of records.
    pub fn len(&self) -> usize {
        self.chunk.as_ref().map_or(0, Chunk::len)
    }

    /// Bytes of them in memory.
    pub fn copied(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| if let Chunk::Bytes(bytes) = chunk { bytes.len() } else { 0 })
    }

    /// The records, if they were copied to memory.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self.chunk? {
            Chunk::Bytes(bytes) => Some(bytes),
            Chunk::File(_) => None,
        }
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
    /// A new leader does not know yet how much is committed; or the offset is beyond the log, and another broker may
    /// lead, which has it.
    #[error("it is not known yet whether the log has the offset")]
    NotAvailable,
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReadError {
    /// Where the log begins, if a reader asked for an offset outside of the log.
    pub fn log_start(&self) -> Option<i64> {
        match self {
            ReadError::OutOfRange { log_start, .. } => Some(*log_start),
            ReadError::NotServed(_) | ReadError::NotAvailable | ReadError::Log(_) => None,
        }
    }

    /// Whether the answer should name the leader (KIP-951).
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
pub enum FoundOffset {
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
    /// Searches. Reads from the disk and decompresses: for a worker. `None`: no such record can be read.
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
    /// Reads whole batches from the one that holds the offset, at most `max_bytes` unless `at_least_one` batch is
    /// larger. What has at most `may_copy` bytes is copied to memory; for answers that is [`COPIED`] at most.
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
        let (high_watermark, last_stable) = (self.high_watermark.get(), self.last_stable.get());
        let mut read = Read {
            chunk: None,
            high_watermark,
            last_stable,
            aborted: vec![],
            log_start,
            log_end,
            rest: Rest::Nothing,
            diverging: None,
        };
        if !from.last_fetched_epoch.is_none() {
            let known = state.end_of_epoch(from.last_fetched_epoch);
            let (epoch, end) = known.ok_or(ReadError::OutOfRange { log_start, high_watermark })?;
            if epoch < from.last_fetched_epoch || end < from.offset {
                read.diverging = Some((epoch, end));
                return Ok(read);
            }
        }
        if from.offset < log_start || from.offset > log_end {
            let is_known = match &mut state.role {
                _ if from.offset < log_start || reader.bound().is_none() => true,
                Role::Leader(leadership) => leadership.is_beyond_every_log(from.offset),
                Role::Bystander | Role::Follower(_) | Role::Offline => false,
            };
            let out_of_range = ReadError::OutOfRange { log_start, high_watermark };
            return Err(if is_known { out_of_range } else { ReadError::NotAvailable });
        }
        let mut aborted = None;
        let up_to = match reader {
            Reader::Consumer(Bound::HighWatermark) | Reader::Roaming(Bound::HighWatermark) => high_watermark,
            Reader::Consumer(Bound::LastStable) | Reader::Roaming(Bound::LastStable) => {
                aborted = Some(state.log.aborted_from(from.offset));
                last_stable
            }
            Reader::Follower { broker, incarnation, again } => {
                self.note_fetch(&mut state, IsrMember { broker, incarnation }, from, again);
                (read.high_watermark, read.last_stable) = (self.high_watermark.get(), self.last_stable.get());
                log_end
            }
        };
        let Some(slice) = self.locate(state, ReadBounds { from: from.offset, up_to, max_bytes, at_least_one })? else {
            read.rest = if from.offset < up_to { Rest::InSegment } else { Rest::Nothing };
            return Ok(read);
        };
        read.rest = match slice.next_offset {
            _ if slice.segment_end < up_to => Rest::InLaterSegments,
            next if next < up_to => Rest::InSegment,
            _ => Rest::Nothing,
        };
        if let Some(aborted) = aborted {
            // Of the range that is given, not of the one asked for (KAFKA-5376).
            read.aborted = aborted.run(from.offset, slice.next_offset)?;
        }
        let (position, len) = (slice.position, slice.len);
        read.chunk = Some(if len <= may_copy {
            Chunk::Bytes(copy(&slice)?)
        } else {
            Chunk::File(FileSlice { file: Arc::new(Sent(slice)), position, len })
        });
        Ok(read)
    }

    /// Counts what was read and is sent: a fetch that waits reads more than once, and sends the last.
    pub fn count_sent(&self, read: &Read, reader: Reader) {
        match reader {
            Reader::Consumer(_) | Reader::Roaming(_) => self.count_bytes_sent(read.len()),
            Reader::Follower { .. } => self.metrics.replication_out.inc_by(read.len() as u64),
        }
    }

    /// Counts records that a member of a share group is sent, in bytes.
    pub fn count_bytes_sent(&self, bytes: usize) {
        self.metrics.bytes_out.inc_by(bytes as u64);
        self.traffic[1].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes of records that producers have sent, and that consumers have fetched, since the replica was opened.
    pub fn traffic(&self) -> [u64; 2] {
        self.traffic.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// The partition's lock, if this broker may answer `reader`: as the leader, or as a follower that a consumer came
    /// to.
    fn readable(
        &self,
        believed_epoch: LeaderEpoch,
        reader: Reader,
    ) -> Result<MutexGuard<'_, PartitionState>, NotServed> {
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

    /// Where `epoch` ended: the largest epoch not above it, and the offset after its last record. None when there is
    /// none.
    ///
    /// # Errors
    /// When this broker does not lead the partition in the epoch that the reader believes.
    pub fn end_of_epoch(
        &self,
        epoch: LeaderEpoch,
        believed_epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, i64)>, NotServed> {
        let state = self.leading(believed_epoch)?;
        Ok(if epoch.is_none() { None } else { state.end_of_epoch(epoch) })
    }

    /// Looks an offset up, as far as that needs no disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn find(
        &self,
        wanted: OffsetSpec,
        bound: Bound,
        believed_epoch: LeaderEpoch,
    ) -> Result<FoundOffset, ReadError> {
        let state = self.leading(believed_epoch)?;
        let up_to = self.bound(bound).get();
        let high_watermark = self.high_watermark.get();
        // A new leader does not know yet how much is committed (KIP-207).
        let unsettled = matches!(&state.role, Role::Leader(leadership) if high_watermark < leadership.epoch_start());
        let end = |offset| FoundRecord { offset, timestamp: -1, leader_epoch: state.epoch_at(offset).0 };
        let search = match wanted {
            OffsetSpec::Nothing => {
                return Ok(FoundOffset::At(FoundRecord { offset: -1, timestamp: -1, leader_epoch: -1 }));
            }
            OffsetSpec::Latest if unsettled => return Err(ReadError::NotAvailable),
            OffsetSpec::Latest => return Ok(FoundOffset::At(end(up_to))),
            OffsetSpec::Earliest => return Ok(FoundOffset::At(end(state.log.log_start()))),
            OffsetSpec::MaxTimestamp => state.log.search(ottla_log::SearchTarget::Latest),
            OffsetSpec::Timestamp(timestamp) => state.log.search(ottla_log::SearchTarget::FirstAt(timestamp)),
        };
        Ok(FoundOffset::Somewhere(RecordSearch { search, up_to, unsettled }))
    }

    /// What a reader with this bound waits for.
    pub fn bound(&self, bound: Bound) -> &Arc<Watermark> {
        match bound {
            Bound::HighWatermark => &self.high_watermark,
            Bound::LastStable => &self.last_stable,
        }
    }

    /// Finds the batches: the segment under the lock under which the reader's leader epoch was checked, the place in it
    /// outside, where the disk may keep us waiting. A log that is cut meanwhile follows another leader.
    fn locate(
        &self,
        state: MutexGuard<'_, PartitionState>,
        mut bounds: ReadBounds,
    ) -> Result<Option<LogSlice>, ReadError> {
        let mut window = state.log.window(bounds)?;
        drop(state);
        while let Some(looked_at) = window {
            let found = match looked_at.locate() {
                Err(_) if looked_at.era().has_ended() => return Err(NotServed::NotLeader.into()),
                found => found?,
            };
            if found.is_some() || looked_at.end_offset() >= bounds.up_to || !bounds.at_least_one {
                return Ok(found);
            }
            // Compaction has left nothing of what is wanted in that segment.
            bounds.from = looked_at.end_offset();
            window = self.go_on(&looked_at, bounds)?;
        }
        Ok(None)
    }

    /// The window that follows one that held nothing.
    fn go_on(&self, before: &Window, bounds: ReadBounds) -> Result<Option<Window>, ReadError> {
        let next = self.state.lock().log.window(bounds);
        if before.era().has_ended() { Err(NotServed::NotLeader.into()) } else { Ok(next?) }
    }

    /// Reads whole batches into memory, from the one that holds the offset, at least one: for a coordinator, off the
    /// network threads. Empty at `up_to`, which may be beyond what is committed.
    ///
    /// # Errors
    /// See [`ReadError`]; also when this broker has not led without a break since the epoch.
    pub fn scan(
        &self,
        offset: i64,
        up_to: i64,
        since_epoch: LeaderEpoch,
        max_bytes: usize,
    ) -> Result<Bytes, ReadError> {
        let state = self.leading_since(since_epoch)?;
        let bounds = ReadBounds { from: offset, up_to, max_bytes, at_least_one: true };
        self.locate(state, bounds)?.map_or(Ok(Bytes::new()), |slice| copy(&slice))
    }

    /// Everything in the log, as if it had just been appended in one piece: for a coordinator to wait for and to read.
    ///
    /// # Errors
    /// When this broker has not led the partition without a break since this epoch.
    pub fn whole_log(&self, leader_epoch: LeaderEpoch) -> Result<Appended, NotServed> {
        let state = self.leading_since(leader_epoch)?;
        let (log_start, end) = (state.log.log_start(), state.log.log_end());
        let base_offset = log_start;
        Ok(Appended { base_offset, end, append_time_ms: None, log_start, leader_epoch, must_flush: false })
    }
}

/// Batches on their way to a socket.
struct Sent(LogSlice);

impl AsFd for Sent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

impl SentFile for Sent {
    fn is_intact(&self) -> bool {
        self.0.is_intact()
    }
}

/// Reads batches that are there still when they have been read.
fn copy(slice: &LogSlice) -> Result<Bytes, ReadError> {
    let bytes = slice.read();
    if slice.is_intact() { Ok(bytes.map_err(LogError::from)?.into()) } else { Err(NotServed::NotLeader.into()) }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Fixture, batch, member};
    use super::super::following::Copied;
    use super::*;

    /// From this offset on.
    fn from(offset: i64) -> ReadFrom {
        ReadFrom { offset, current_leader_epoch: LeaderEpoch(5), last_fetched_epoch: LeaderEpoch::NONE, log_start: -1 }
    }

    fn follower(of: i32, again: bool) -> Reader {
        let IsrMember { broker, incarnation } = member(of);
        Reader::Follower { broker, incarnation, again }
    }

    #[test]
    fn an_offset_beyond_the_log_is_out_of_range_once_every_follower_has_answered_for_that() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 5);
        let partition = &fixture.partition;
        let asks = |offset| partition.read(&from(offset), 1, true, 0, Reader::Consumer(Bound::HighWatermark));
        let fetches = |of, again| drop(partition.read(&from(0), 1, true, 0, follower(of, again)).unwrap());
        assert!(matches!(asks(7), Err(ReadError::NotAvailable)));
        for id in [1, 2] {
            // The first may have been on its way for long; what waits is one request, however often it is read for.
            fetches(id, false);
            (0..3).for_each(|_| fetches(id, true));
            assert!(matches!(asks(7), Err(ReadError::NotAvailable)));
        }
        fetches(1, false);
        assert!(matches!(asks(7), Err(ReadError::NotAvailable)), "the other one could lead");
        fetches(2, false);
        assert!(matches!(asks(7), Err(ReadError::OutOfRange { .. })));
        // Nobody has said anything since the next client asked.
        assert!(matches!(asks(7), Err(ReadError::NotAvailable)));
        assert!(matches!(asks(-1), Err(ReadError::OutOfRange { .. })), "nobody's log begins so early");
    }

    #[test]
    fn what_was_cut_since_it_was_read_is_not_sent() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 5);
        let partition = &fixture.partition;
        for byte in [b'a', b'b'] {
            partition.append_own(&batch(byte, 100 << 10), LeaderEpoch(5), 0).unwrap();
        }
        let read = |offset, max_bytes| match partition
            .read(&from(offset), max_bytes, true, 0, follower(1, false))
            .unwrap()
            .chunk
        {
            Some(Chunk::File(slice)) => slice,
            other => panic!("{other:?}"),
        };
        let (first, second, both) = (read(0, 1), read(1, 1), read(0, 1 << 20));
        assert!([&first, &second, &both].iter().all(|slice| slice.file.is_intact()));

        fixture.elect(1, 6);
        let asked = partition.next_fetch(LeaderEpoch(6)).unwrap();
        partition.cut_to_end_of(&asked, LeaderEpoch(5), 1).unwrap();
        let asked = partition.next_fetch(LeaderEpoch(6)).unwrap();
        let new = batch(b'n', 100 << 10).stamp(1, 6, None);
        let records = new.slices().map(|slice| slice.to_vec()).concat().into();
        partition.append_from_leader(&asked, &Copied { records, high_watermark: 0, log_start: 0 }).unwrap();
        assert_eq!(partition.log_end.get(), 2);
        assert!(first.file.is_intact());
        assert!(!second.file.is_intact() && !both.file.is_intact());
        let mut bytes = [0; 100 << 10];
        let found = rustix::io::pread(&second.file, &mut bytes, second.position).unwrap_or(0);
        assert!(!bytes[..found].contains(&b'n'), "what is on its way never becomes something else");
    }
}

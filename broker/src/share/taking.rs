//! Reads records for a member, and acquires them.
//!
//! One fetch at a time has the turn of a share partition. It takes the turn on its reactor, and reads on a worker,
//! because records may be on the disk alone. Always: a fetch that was refused because another one had the turn looks
//! again when the turn ends, if it may find what that other one did not.

use std::mem::take;
use std::sync::Arc;

use bytes::Bytes;
use ottla_share::{Acquire, AcquireMode, Acquired, MemberId};

use super::ShareError;
use super::batches::Headers;
use super::loading::read_error;
use super::shared::{LedSharePartition, SharePartitionState};
use crate::image::LeaderEpoch;
use crate::replica::NotServed;
use crate::replica::partition::reading::{Bound, OffsetSpec, Read, ReadError, ReadFrom, Reader};
use crate::watermark::Reached;

/// The most bytes that are read from one partition for one answer: they are all in memory.
const MAX_PARTITION_BYTES: usize = 1 << 20;

/// How often one turn reads on if nothing of what it has read is for its member.
const MOST_READS: usize = 16;

/// What a member wants of a share partition.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// The member.
    pub member: &'a MemberId,
    /// How records are chosen.
    pub mode: AcquireMode,
    /// After how many records a new batch in flight begins.
    pub batch_size: i32,
    /// The most records.
    pub max_records: i32,
    /// The most bytes.
    pub max_bytes: usize,
    /// Whether the first batch may be larger.
    pub at_least_one: bool,
}

/// What a turn has found.
pub enum TakeOutcome {
    /// Records.
    Taken(Taken),
    /// Nothing for this member now.
    Nothing,
    /// Only records that nobody gets, such as aborted ones, and there are more: to be looked at in another turn.
    Unfinished,
}

/// What a member has got. It is released when it is dropped before it was answered: the fetch has ended meanwhile, with
/// its connection or its session.
pub struct Taken {
    records: Bytes,
    acquired: Vec<Acquired>,
    member: MemberId,
    shared: Arc<LedSharePartition>,
}

impl Taken {
    /// Bytes of records.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The number of records that are the member's now.
    pub fn count(&self) -> i64 {
        self.acquired.iter().map(|run| run.last - run.first + 1).sum()
    }

    /// For the answer: whole batches, which may have records of others, too; and the records that are the member's now,
    /// at least one.
    pub fn into_answer(mut self) -> (Bytes, Vec<Acquired>) {
        (take(&mut self.records), take(&mut self.acquired))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.acquired.is_empty() {
            self.shared.give_back(&self.member, &self.acquired);
        }
    }
}

/// The turn of one fetch to read and acquire records: a thousand members that wait for one record would read it a
/// thousand times. The turn ends when it is dropped.
pub struct FetchTurn {
    shared: Arc<LedSharePartition>,
    /// From where to read.
    from: i64,
    /// When it began: see [`Watermark::disturbances`](crate::watermark::Watermark::disturbances).
    disturbances: u64,
    /// Whether a fetch that was refused meanwhile may find something.
    others_may_find: bool,
}

impl LedSharePartition {
    /// Up to where a member of the group may see.
    fn bound(&self) -> Bound {
        if self.sharing().read_committed { Bound::LastStable } else { Bound::HighWatermark }
    }

    /// What a fetch waits for that finds too little now: more records, and records that become available. To be called
    /// before it looks.
    pub fn waits(&self) -> [Reached; 2] {
        let mark = self.partition.bound(self.bound());
        [mark.reached_since(mark.disturbances(), mark.get() + 1), self.changed()]
    }

    /// How many bytes there are for the next fetch, at most so many; nothing is acquired. May wait for the disk.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn readable(&self, max_bytes: usize) -> Result<usize, ShareError> {
        let Some(offset) = self.next_offset()? else { return Ok(0) };
        match self.read_from(offset, max_bytes, true, 0) {
            Ok(read) => Ok(read.len()),
            // The log's start has moved, or nothing is known yet: to take finds out.
            Err(ReadError::OutOfRange { .. } | ReadError::NotAvailable) => Ok(0),
            Err(error) => Err(read_error(error)),
        }
    }

    /// The turn to take records, if there are some to look at; `None` also while another fetch has it. Waits for no
    /// disk.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn begin_turn(self: &Arc<Self>) -> Result<Option<FetchTurn>, ShareError> {
        let (config, bound) = (self.config(), self.bound());
        let mut state = self.state.lock();
        let active = match &mut *state {
            SharePartitionState::Active(active) if active.machine.can_acquire(&config) => active,
            SharePartitionState::Active(_) | SharePartitionState::Loading { .. } => return Ok(None),
            SharePartitionState::Over(why) => return Err(*why),
        };
        let from = active.machine.next_fetch_offset();
        if from >= self.partition.bound(bound).get() {
            drop(state);
            // A member should hear that this broker leads no more, or that the disk has failed.
            return self
                .partition
                .find(OffsetSpec::Earliest, bound, LeaderEpoch::NONE)
                .map(|_| None)
                .map_err(read_error);
        }
        if active.is_taken {
            active.was_refused = true;
            return Ok(None);
        }
        active.is_taken = true;
        let disturbances = self.changed.disturbances();
        Ok(Some(FetchTurn { shared: self.clone(), from, disturbances, others_may_find: true }))
    }

    fn end_turn(&self, turn: &FetchTurn) {
        let (config, end) = (self.config(), self.partition.bound(self.bound()).get());
        let mut state = self.state.lock();
        let SharePartitionState::Active(active) = &mut *state else { return };
        active.is_taken = false;
        let (was_refused, machine) = (take(&mut active.was_refused), &active.machine);
        let has_some = machine.can_acquire(&config) && machine.next_fetch_offset() < end;
        let may_find = turn.others_may_find || self.changed.disturbances() != turn.disturbances;
        if was_refused && has_some && may_find {
            // Under the lock: the next turn begins after it, and does not take it for news.
            self.changed.disturb();
        }
    }

    fn take_from(self: &Arc<Self>, want: &Want<'_>, from: i64) -> Result<Option<Taken>, ShareError> {
        match self.read_from(from, want.max_bytes.min(MAX_PARTITION_BYTES), want.at_least_one, usize::MAX) {
            Ok(read) => self.acquire(want, from, read),
            Err(ReadError::OutOfRange { log_start, .. }) if log_start > from => {
                self.move_log_start(log_start);
                Ok(None)
            }
            // What a new leader does not know yet, it will know soon.
            Err(ReadError::OutOfRange { .. } | ReadError::NotAvailable) => Ok(None),
            Err(error) => Err(read_error(error)),
        }
    }

    fn read_from(&self, offset: i64, max_bytes: usize, at_least_one: bool, copied: usize) -> Result<Read, ReadError> {
        let from = ReadFrom {
            offset,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start: -1,
        };
        self.partition.read(&from, max_bytes, at_least_one, copied, Reader::Consumer(self.bound()))
    }

    fn acquire(self: &Arc<Self>, want: &Want<'_>, fetch_offset: i64, read: Read) -> Result<Option<Taken>, ShareError> {
        if read.is_empty() {
            return Ok(None);
        }
        let aborted = read.aborted.clone();
        let Some(records) = read.into_bytes() else { return Ok(None) };
        let headers = Headers::of(&records);
        let batches = headers.marked(&aborted);
        let config = self.config();
        let mut state = self.state.lock();
        let SharePartitionState::Active(active) = &mut *state else { return Ok(None) };
        if !self.partition.leads_since(self.since_epoch) {
            return Err(NotServed::NotLeader.into());
        }
        let request = Acquire {
            member: want.member,
            mode: want.mode,
            batch_size: want.batch_size,
            max_records: want.max_records,
            fetch_offset,
            read: &batches,
        };
        let acquired = active.machine.acquire(&config, self.clock.now().monotonic, &request);
        self.follow_up(&state);
        drop(state);
        if acquired.is_empty() {
            return Ok(None);
        }
        let records = headers.covering(&records, &acquired);
        self.partition.count_bytes_sent(records.len());
        Ok(Some(Taken { records, acquired, member: want.member.clone(), shared: self.clone() }))
    }

    /// From where to read; `None` while there is nothing to acquire.
    fn next_offset(&self) -> Result<Option<i64>, ShareError> {
        match &*self.state.lock() {
            SharePartitionState::Active(active) => {
                Ok(active.machine.can_acquire(&self.config()).then(|| active.machine.next_fetch_offset()))
            }
            SharePartitionState::Loading { .. } => Ok(None),
            SharePartitionState::Over(why) => Err(*why),
        }
    }

    fn move_log_start(&self, log_start: i64) {
        if let SharePartitionState::Active(active) = &mut *self.state.lock() {
            active.machine.move_log_start(log_start);
        }
    }
}

impl FetchTurn {
    /// Reads records and acquires them. May wait for the disk: for a worker.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn take(mut self, want: &Want<'_>) -> Result<TakeOutcome, ShareError> {
        let begin = self.from;
        for _ in 0..MOST_READS {
            if let Some(taken) = self.shared.take_from(want, self.from)? {
                return Ok(TakeOutcome::Taken(taken));
            }
            match self.shared.next_offset()? {
                // Nothing of what was read is to be acquired any more: it was aborted, or the log's start has moved.
                Some(next) if next > self.from => self.from = next,
                Some(_) | None => {
                    // Without a batch that fits into the rest of an answer, others have more room.
                    self.others_may_find = self.from > begin || !want.at_least_one;
                    return Ok(TakeOutcome::Nothing);
                }
            }
        }
        Ok(TakeOutcome::Unfinished)
    }
}

impl Drop for FetchTurn {
    fn drop(&mut self) {
        self.shared.end_turn(self);
    }
}

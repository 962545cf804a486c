//! Reads records for a member, and acquires them.

use std::sync::Arc;

use bytes::Bytes;
use ottla_share::{Acquire, AcquireMode, Acquired, MemberId};

use super::ShareError;
use super::batches::Headers;
use super::loading::read_error;
use super::shared::{Shared, State};
use crate::replica::NotServed;
use crate::replica::partition::reading::{Bound, Read, ReadError, ReadFrom, Reader};
use crate::watermark::Reached;

/// The most bytes that are read from one partition for one answer: they are all in memory.
const MAX_PARTITION_BYTES: usize = 1 << 20;

/// How often one fetch reads on if nothing of what it has read is for it.
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

/// What a member has got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Whole batches, which may have records of others, too.
    pub records: Bytes,
    /// The records that are the member's now. Not empty.
    pub acquired: Vec<Acquired>,
}

impl Shared {
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

    /// How many bytes there are for the next fetch, at most so many; nothing is acquired.
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

    /// Reads records and acquires them; `None` if there are none now, or another fetch is at it. Reads from the disk if
    /// they are not in memory.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub fn take(self: &Arc<Self>, want: &Want<'_>) -> Result<Option<Taken>, ShareError> {
        let Some(mut from) = self.begin_to_take()? else { return Ok(None) };
        let mut taken = Ok(None);
        for _ in 0..MOST_READS {
            taken = self.take_from(want, from);
            match (&taken, self.next_offset()?) {
                // Nothing of what was read is to be acquired any more: it was aborted, or the log's start has moved.
                (Ok(None), Some(next)) if next > from => from = next,
                _ => break,
            }
        }
        self.end_to_take(matches!(taken, Ok(Some(_))));
        taken
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

    /// From where to read, if nobody else does: a thousand members that wait for one record would read it a thousand
    /// times.
    fn begin_to_take(&self) -> Result<Option<i64>, ShareError> {
        let offset = self.next_offset()?;
        match &mut *self.state.lock() {
            State::Active(active) if offset.is_some() && !active.is_taken => {
                active.is_taken = true;
                Ok(offset)
            }
            State::Active(_) | State::Loading { .. } => Ok(None),
            State::Over(why) => Err(*why),
        }
    }

    /// Others may read now: who has waited for that looks again if there is more. Where this fetch has found nothing,
    /// they would not either.
    fn end_to_take(&self, has_some: bool) {
        if let State::Active(active) = &mut *self.state.lock() {
            active.is_taken = false;
        }
        let end = self.partition.bound(self.bound()).get();
        if has_some && self.next_offset().is_ok_and(|next| next.is_some_and(|next| next < end)) {
            self.changed.disturb();
        }
    }

    fn read_from(&self, offset: i64, max_bytes: usize, at_least_one: bool, copied: usize) -> Result<Read, ReadError> {
        let from = ReadFrom { offset, current_leader_epoch: -1, last_fetched_epoch: -1, log_start: -1 };
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
        let State::Active(active) = &mut *state else { return Ok(None) };
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
        Ok(Some(Taken { records, acquired }))
    }

    /// From where to read; `None` while there is nothing to acquire.
    fn next_offset(&self) -> Result<Option<i64>, ShareError> {
        match &*self.state.lock() {
            State::Active(active) => {
                Ok(active.machine.can_acquire(&self.config()).then(|| active.machine.next_fetch_offset()))
            }
            State::Loading { .. } => Ok(None),
            State::Over(why) => Err(*why),
        }
    }

    fn move_log_start(&self, log_start: i64) {
        if let State::Active(active) = &mut *self.state.lock() {
            active.machine.move_log_start(log_start);
        }
    }
}

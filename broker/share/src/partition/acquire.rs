//! A member's fetch: it acquires what was read, as far as nobody has it.

use std::time::Duration;

use super::batch::{Batch, Lock, Slot, SlotState};
use super::room::{LogBatch, Piece, end_of_batch};
use super::share_partition::SharePartition;
use super::throttle::{BatchLimits, choose, is_throttled};
use crate::config::Config;
use crate::ids::{MemberId, Offset};

/// Which records a fetch takes (`ShareAcquireMode`, KIP-1206).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcquireMode {
    /// 0: whole batches. The number of records is a wish; the last batch may go beyond it.
    BatchOptimized,
    /// 1: never more records than asked for.
    RecordLimit,
}

/// What a fetch wants of one share partition, and what the host has read for it.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// The member.
    pub member: &'a MemberId,
    /// The request's mode.
    pub mode: AcquireMode,
    /// The request's batch size: records after which a new batch in flight begins, where the log has one; only in the
    /// mode `batch_optimized`.
    pub batch_size: i32,
    /// Most records, of those that the request may still get.
    pub max_records: i32,
    /// The offset from which was read: [`SharePartition::next_fetch_offset`].
    pub fetch_offset: Offset,
    /// The batches that were read, in order. The first may begin before the fetch offset.
    pub read: &'a [LogBatch],
}

/// Records next to each other that the member has now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquired {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// How often each was delivered, this time included.
    pub delivery_count: i16,
}

/// One fetch under way.
struct Acquisition<'a> {
    request: &'a Acquire<'a>,
    lock: Lock,
    /// Records that it may still get; below 0 if a batch went beyond it.
    left: i64,
    acquired: Vec<Acquired>,
}

impl Acquisition<'_> {
    /// The slot of records that are acquired for the n-th time.
    fn slot(&self, delivery_count: i16) -> Slot {
        Slot { state: SlotState::Acquired(self.lock.clone()), delivery_count }
    }

    fn take(&mut self, first: Offset, last: Offset, delivery_count: i16) {
        self.left -= last - first + 1;
        self.acquired.push(Acquired { first, last, delivery_count });
    }

    fn is_limited(&self) -> bool {
        self.request.mode == AcquireMode::RecordLimit
    }
}

impl SharePartition {
    /// Acquires records for a member until the lock's duration has passed, and returns them in order. Nothing is
    /// persisted. The host sends the member all batches that have one of them; those between them that nobody has are
    /// not the member's business.
    pub fn acquire(&mut self, config: &Config, now: Duration, request: &Acquire<'_>) -> Vec<Acquired> {
        let (Some(room), Some(base)) = (self.room(config, request), request.read.first().map(|batch| batch.first))
        else {
            return Vec::new();
        };
        self.archive_missing(request.fetch_offset.max(self.start), base);
        let base = base.max(self.start);
        self.archive_exhausted(config, base, room.last);
        let lock = Lock { member: request.member.clone(), until: now + config.record_lock_duration, pending: None };
        let mut acquisition = Acquisition { request, lock, left: room.records, acquired: Vec::new() };
        for piece in self.pieces(base, room.last) {
            if acquisition.left <= 0 {
                break;
            }
            match piece {
                Piece::New(first, last) => self.acquire_new(&mut acquisition, first, last),
                Piece::Known(batch) => {
                    let throttled = self.acquire_known(config, &mut acquisition, batch, base, room.last);
                    if throttled {
                        break;
                    }
                }
            }
        }
        let acquired = self.archive_aborted(acquisition.acquired, request.read);
        self.advance();
        acquired
    }

    /// Acquires of a batch in flight. Returns whether its records are throttled: then nothing else comes with them.
    fn acquire_known(
        &mut self,
        config: &Config,
        acquisition: &mut Acquisition<'_>,
        batch: Offset,
        first: Offset,
        last: Offset,
    ) -> bool {
        let Some(batch) = self.batches.get_mut(&batch) else { return false };
        let throttled = batch.between(first, last).any(|run| is_throttled(config, &run));
        if throttled && !acquisition.acquired.is_empty() {
            return true;
        }
        let most = acquisition.is_limited().then_some(acquisition.left);
        let limits = BatchLimits { most, batch_records: batch.records() };
        let chosen = choose(config, limits, batch.between(first, last));
        for (first, last) in &chosen {
            batch.change(*first, *last, |slot| {
                *slot = acquisition.slot(slot.delivery_count.saturating_add(1));
                acquisition.take(*first, *last, slot.delivery_count);
            });
        }
        throttled && !chosen.is_empty()
    }

    /// Acquires records that nobody had before, to the end of one of the log's batches. What is beyond the limit of a
    /// mode that has one is in flight from now on, and available.
    fn acquire_new(&mut self, acquisition: &mut Acquisition<'_>, first: Offset, last: Offset) {
        let last = if acquisition.left < last - first + 1 {
            last.min(end_of_batch(acquisition.request.read, first + acquisition.left - 1))
        } else {
            last
        };
        self.forget_unread(first, last);
        self.end = self.end.max(last + 1);
        if acquisition.is_limited() {
            let taken = last.min(first + acquisition.left - 1);
            let mut batch = Batch::new(first, last, Slot { state: SlotState::Available, delivery_count: 0 });
            batch.change(first, taken, |slot| *slot = acquisition.slot(1));
            self.batches.insert(first, batch);
            acquisition.take(first, taken, 1);
            return;
        }
        for (first, last) in cut(first, last, acquisition.request) {
            self.batches.insert(first, Batch::new(first, last, acquisition.slot(1)));
            acquisition.take(first, last, 1);
        }
    }

    /// Archives what was delivered as often as the limit allows, which happens if the limit was lowered.
    fn archive_exhausted(&mut self, config: &Config, first: Offset, last: Offset) {
        self.change(first, last, |slot| {
            if slot.is_available() && slot.delivery_count >= config.delivery_count_limit {
                slot.state = SlotState::Archived;
            }
        });
    }

    /// Archives what was acquired of aborted transactions, and returns the rest.
    fn archive_aborted(&mut self, acquired: Vec<Acquired>, read: &[LogBatch]) -> Vec<Acquired> {
        let mut rest = Vec::new();
        for acquired in acquired {
            let mut from = acquired.first;
            for batch in read.iter().filter(|batch| batch.aborted) {
                let (first, last) = (batch.first.max(from), batch.last.min(acquired.last));
                if first > last {
                    continue;
                }
                self.change(first, last, |slot| slot.state = SlotState::Archived);
                if from < first {
                    rest.push(Acquired { first: from, last: first - 1, ..acquired });
                }
                from = last + 1;
            }
            if from <= acquired.last {
                rest.push(Acquired { first: from, ..acquired });
            }
        }
        rest
    }
}

/// Batches in flight, first to last, that begin where the log's batches do, as soon as one has the request's size.
fn cut(first: Offset, last: Offset, request: &Acquire<'_>) -> Vec<(Offset, Offset)> {
    let size = i64::from(request.batch_size);
    let mut batches = Vec::new();
    let mut from = first;
    if last - first >= size {
        for batch in request.read.iter().filter(|batch| batch.first <= last) {
            if batch.first - from >= size.max(1) {
                batches.push((from, batch.first - 1));
                from = batch.first;
            }
        }
    }
    batches.push((from, last));
    batches
}

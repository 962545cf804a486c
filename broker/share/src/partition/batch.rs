//! A batch of records in flight: as one, or split into runs of records that are alike.
//!
//! A batch is what was acquired at once, and stays a unit where Kafka's is one: it is acquired whole in the mode
//! `batch_optimized`, and its size says how it is throttled. Inside, a run is split where records become different, and
//! joined where they are alike again. (Kafka splits a batch into single offsets; the answers are the same.)
//!
//! Always: the runs cover the batch in order, without holes; neighbours differ.

use std::time::Duration;

use crate::ids::{MemberId, Offset};
use crate::state::DeliveryState;

/// What a record is to the share partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SlotState {
    Available,
    Acquired(Lock),
    Acknowledged,
    Archived,
}

/// A member's hold on records, until it acknowledges them, its session ends or time runs out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lock {
    pub(super) member: MemberId,
    /// The lock is over from then on, unless a change is being persisted.
    pub(super) until: Duration,
    /// What the records become once the persister has it; `None`: no change is being persisted.
    pub(super) pending: Option<Pending>,
}

/// A change that waits for the persister.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    /// The number of the write that has it.
    pub(super) write: u64,
    pub(super) state: DeliveryState,
}

/// A record's state, and how often it was delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    pub(super) delivery_count: i16,
}

impl Slot {
    pub(super) fn is_available(&self) -> bool {
        matches!(self.state, SlotState::Available)
    }

    /// Whether the start may pass it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.state, SlotState::Acknowledged | SlotState::Archived)
    }

    /// The lock, if no change of it is being persisted.
    pub(super) fn settled_lock(&self) -> Option<&Lock> {
        match &self.state {
            SlotState::Acquired(lock) if lock.pending.is_none() => Some(lock),
            SlotState::Acquired(_) | SlotState::Available | SlotState::Acknowledged | SlotState::Archived => None,
        }
    }

    /// Whether it counts as delivered for good in what is persisted now.
    pub(super) fn is_delivery_complete(&self) -> bool {
        match &self.state {
            SlotState::Acquired(lock) => lock.pending.is_some_and(|pending| pending.state.is_final()),
            SlotState::Available => false,
            SlotState::Acknowledged | SlotState::Archived => true,
        }
    }
}

impl From<DeliveryState> for SlotState {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Available => SlotState::Available,
            DeliveryState::Acknowledged => SlotState::Acknowledged,
            DeliveryState::Archived => SlotState::Archived,
        }
    }
}

/// Records next to each other that are alike.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) slot: Slot,
}

impl Run {
    pub(super) fn records(&self) -> i64 {
        self.last - self.first + 1
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Records that it had at first: those that the start has passed count, too.
    records: i64,
    /// Never empty, but for the moment in which the last run is taken off.
    runs: Vec<Run>,
}

impl Batch {
    pub(super) fn new(first: Offset, last: Offset, slot: Slot) -> Self {
        Batch { records: last - first + 1, runs: vec![Run { first, last, slot }] }
    }

    pub(super) fn records(&self) -> i64 {
        self.records
    }

    /// The last offset; one before the first of all if nothing is left.
    pub(super) fn last(&self) -> Offset {
        self.runs.last().map_or(-1, |run| run.last)
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The parts of its runs between two offsets.
    pub(super) fn between(&self, first: Offset, last: Offset) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().filter(move |run| run.first <= last && run.last >= first).map(move |run| Run {
            first: run.first.max(first),
            last: run.last.min(last),
            slot: run.slot.clone(),
        })
    }

    /// Changes records between two offsets, a run at a time.
    pub(super) fn change(&mut self, first: Offset, last: Offset, mut change: impl FnMut(&mut Slot)) {
        self.split(first);
        if last < self.last() {
            self.split(last + 1);
        }
        let from = self.runs.partition_point(|run| run.first < first);
        let to = self.runs.partition_point(|run| run.last <= last);
        for run in self.runs.iter_mut().take(to).skip(from) {
            change(&mut run.slot);
        }
        self.join(from, to);
    }

    /// Forgets records before an offset. Returns whether any are left.
    pub(super) fn forget_before(&mut self, offset: Offset) -> bool {
        self.runs.retain(|run| run.last >= offset);
        if let Some(run) = self.runs.first_mut() {
            run.first = run.first.max(offset);
        }
        !self.runs.is_empty()
    }

    /// Lets a run start at this offset, if the batch has it.
    fn split(&mut self, offset: Offset) {
        let index = self.runs.partition_point(|run| run.last < offset);
        if let Some(run) = self.runs.get_mut(index).filter(|run| run.first < offset) {
            let rest = Run { first: offset, ..run.clone() };
            run.last = offset - 1;
            self.runs.insert(index + 1, rest);
        }
    }

    /// Joins runs that have become alike, from this one to that one, excluded, and with their neighbours.
    fn join(&mut self, from: usize, to: usize) {
        let range = from.saturating_sub(1)..(to + 1).min(self.runs.len());
        let alike = |pair: &[Run]| matches!(pair, [before, run] if before.slot == run.slot);
        if range.is_empty() || !self.runs[range.clone()].windows(2).any(alike) {
            return;
        }
        let mut joined: Vec<Run> = self.runs.drain(range.clone()).collect();
        joined.dedup_by(|run, before| {
            let alike = run.slot == before.slot;
            if alike {
                before.last = run.last;
            }
            alike
        });
        self.runs.splice(range.start..range.start, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(delivery_count: i16) -> Slot {
        Slot { state: SlotState::Available, delivery_count }
    }

    fn shown(batch: &Batch) -> Vec<(Offset, Offset, i16)> {
        batch.runs.iter().map(|run| (run.first, run.last, run.slot.delivery_count)).collect()
    }

    #[test]
    fn runs_split_where_records_differ_and_join_where_they_are_alike() {
        let mut batch = Batch::new(10, 19, available(0));
        batch.change(12, 14, |slot| slot.delivery_count = 1);
        assert_eq!(shown(&batch), [(10, 11, 0), (12, 14, 1), (15, 19, 0)]);
        batch.change(14, 30, |slot| slot.delivery_count = 2);
        assert_eq!(shown(&batch), [(10, 11, 0), (12, 13, 1), (14, 19, 2)]);
        batch.change(0, 13, |slot| slot.delivery_count = 2);
        assert_eq!(shown(&batch), [(10, 19, 2)]);
        batch.change(30, 40, |slot| slot.delivery_count = 3);
        assert_eq!(shown(&batch), [(10, 19, 2)]);
    }

    #[test]
    fn what_the_start_has_passed_still_counts_as_its_size() {
        let mut batch = Batch::new(10, 19, available(0));
        batch.change(15, 15, |slot| slot.delivery_count = 1);
        assert!(batch.forget_before(15));
        assert_eq!(shown(&batch), [(15, 15, 1), (16, 19, 0)]);
        assert!(batch.forget_before(17));
        assert_eq!((shown(&batch), batch.last(), batch.records()), (vec![(17, 19, 0)], 19, 10));
        assert!(!batch.forget_before(20));
    }
}

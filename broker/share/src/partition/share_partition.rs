//! What a leader knows of one group's progress in one partition.
//!
//! Always: from `start` to `end` every record is in a batch, or in `unread`, or does not exist; the first record of
//! either is at `start`; without any, `start` is `end`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Batch, SlotState};
use crate::config::Config;
use crate::ids::{MemberId, Offset};
use crate::state::{DeliveryState, StateBatch};

/// One group's progress in one partition, as its leader has it. See the crate's documentation for who calls what when.
#[derive(Clone, Debug)]
pub struct SharePartition {
    pub(super) state_epoch: i32,
    pub(super) start: Offset,
    /// Where reading continues: after the last record in flight.
    pub(super) end: Offset,
    /// By their first offset.
    pub(super) batches: BTreeMap<Offset, Batch>,
    /// Holes in what the persister has read, first to last: records that a former leader acquired for a member which
    /// never answered. They are read again.
    pub(super) unread: BTreeMap<Offset, Offset>,
    /// The number of the last write.
    writes: u64,
}

/// What has to be persisted. The host sends it to the share coordinator as WriteShareGroupState, adds its leader epoch,
/// and hands it back with the answer: [`SharePartition::settle`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateWrite {
    pub(super) number: u64,
    /// As it was read.
    pub state_epoch: i32,
    /// The share partition's start.
    pub start: Offset,
    /// Records from the start on that are acknowledged or archived, these included: what the lag does not count
    /// (KIP-1226).
    pub delivery_complete_count: i32,
    /// What records have become, in order.
    pub batches: Vec<StateBatch>,
}

/// Records in flight that are alike, for those who look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// The state in which they are, whatever change of it is being persisted.
    pub state: RecordState,
    /// How often each was delivered.
    pub delivery_count: i16,
}

/// The states of KIP-932.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordState {
    /// To be delivered, perhaps again.
    Available,
    /// A member has it.
    Acquired {
        /// That member.
        member: MemberId,
        /// What it becomes, if the change is being persisted.
        becomes: Option<DeliveryState>,
    },
    /// Processed.
    Acknowledged,
    /// Not to be delivered any more.
    Archived,
}

impl SharePartition {
    pub(super) fn new(state_epoch: i32, start: Offset) -> Self {
        SharePartition { state_epoch, start, end: start, batches: BTreeMap::new(), unread: BTreeMap::new(), writes: 0 }
    }

    /// The start (KIP-932: SPSO): everything before it is done with.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The end (KIP-932: SPEO, and one more): nothing from there on was ever acquired.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The offset from which the host reads for the next fetch: of the first record that may be acquired, else the end.
    pub fn next_fetch_offset(&self) -> Offset {
        let available = self.runs().find(|run| run.slot.is_available()).map(|run| run.first);
        let unread = self.unread.keys().next().copied();
        available.into_iter().chain(unread).min().unwrap_or(self.end)
    }

    /// Whether a fetch may acquire anything. If not, it waits until a member acknowledges, leaves or takes too long.
    pub fn can_acquire(&self, config: &Config) -> bool {
        self.next_fetch_offset() < self.end || self.records_in_flight() < i64::from(config.partition_max_record_locks)
    }

    /// The moment, if any, at which a member has held a record for too long: then [`SharePartition::expire`] is due.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.runs().filter_map(|run| run.slot.settled_lock()).map(|lock| lock.until).min()
    }

    /// What is known of each record from the start to the end, in order. Those that it leaves out do not exist, or a
    /// former leader had them in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = InFlight> + '_ {
        self.runs().map(|run| InFlight {
            first: run.first,
            last: run.last,
            state: match &run.slot.state {
                SlotState::Available => RecordState::Available,
                SlotState::Acquired(lock) => RecordState::Acquired {
                    member: lock.member.clone(),
                    becomes: lock.pending.map(|pending| pending.state),
                },
                SlotState::Acknowledged => RecordState::Acknowledged,
                SlotState::Archived => RecordState::Archived,
            },
            delivery_count: run.slot.delivery_count,
        })
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &super::batch::Run> {
        self.batches.values().flat_map(|batch| batch.runs())
    }

    pub(super) fn records_in_flight(&self) -> i64 {
        self.end - self.start
    }

    /// Changes records between two offsets, wherever they are in flight.
    pub(super) fn change(&mut self, first: Offset, last: Offset, mut change: impl FnMut(&mut super::batch::Slot)) {
        let from = self.batch_before(first).unwrap_or(first);
        // From a batch that holds `first`, or begins before it, to one that begins at `last`.
        for (_, batch) in self.batches.range_mut(from..=last.max(from)) {
            batch.change(first, last, &mut change);
        }
    }

    /// Where the batch begins that begins at this offset or before it.
    pub(super) fn batch_before(&self, offset: Offset) -> Option<Offset> {
        self.batches.range(..=offset).next_back().map(|(first, _)| *first)
    }

    /// The number of the next write.
    pub(super) fn number_write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// A write of these states.
    pub(super) fn write(&self, number: u64, batches: Vec<StateBatch>) -> StateWrite {
        let complete: i64 = self.runs().filter(|run| run.slot.is_delivery_complete()).map(|run| run.records()).sum();
        StateWrite {
            number,
            state_epoch: self.state_epoch,
            start: self.start,
            delivery_complete_count: i32::try_from(complete).unwrap_or(i32::MAX),
            batches,
        }
    }

    /// Lets the start pass everything that is done with.
    pub(super) fn advance(&mut self) {
        while let Some(entry) = self.batches.first_entry() {
            if self.unread.keys().next().is_some_and(|unread| unread < entry.key()) {
                break;
            }
            let first = *entry.key();
            match entry.get().runs().iter().find(|run| !run.slot.is_final()).map(|run| run.first) {
                Some(offset) if offset == first => break,
                Some(offset) => self.forget_before(offset),
                None => {
                    entry.remove();
                }
            }
        }
        self.start = self.first_in_flight().unwrap_or(self.end);
    }

    /// Forgets what is known of records before an offset. The caller sets the start.
    pub(super) fn forget_before(&mut self, offset: Offset) {
        let after = self.batches.split_off(&offset);
        let before = std::mem::replace(&mut self.batches, after);
        if let Some(mut batch) = before.into_values().next_back()
            && batch.forget_before(offset)
        {
            self.batches.insert(offset, batch);
        }
        self.forget_unread(Offset::MIN, offset - 1);
    }

    /// These are no longer unread.
    pub(super) fn forget_unread(&mut self, first: Offset, last: Offset) {
        let touched: Vec<(Offset, Offset)> =
            self.unread.range(..=last).filter(|(_, end)| **end >= first).map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touched {
            self.unread.remove(&start);
            if start < first {
                self.unread.insert(start, first - 1);
            }
            if end > last {
                self.unread.insert(last + 1, end);
            }
        }
    }

    fn first_in_flight(&self) -> Option<Offset> {
        self.batches.keys().next().into_iter().chain(self.unread.keys().next()).min().copied()
    }
}

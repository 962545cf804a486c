//! Which transactions of a partition are undecided for its readers: those without a marker, and those whose marker is
//! not committed yet.
//!
//! Values only. Kafka's `ProducerStateManager`: `ongoingTxns` and `unreplicatedTxns`.

use std::collections::BTreeMap;

use ottla_batch::ControlRecordType;

/// A transaction that its marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose it was.
    pub producer_id: i64,
    /// Of its first record.
    pub first_offset: i64,
    /// Of its marker.
    pub last_offset: i64,
    /// `None` where compaction has removed the marker's record, and before that all records of the transaction.
    pub outcome: Option<ControlRecordType>,
    /// The last stable offset behind the marker, once that is committed: the first offset of the first transaction that
    /// is open then, else the offset after the marker.
    pub last_stable: i64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undecided {
    /// The producer of each transaction without a marker, by the first offset.
    open: BTreeMap<i64, i64>,
    /// The marker's offset of each transaction whose marker may not be committed, by the first offset.
    unreplicated: BTreeMap<i64, i64>,
}

impl Undecided {
    pub(crate) fn begin(&mut self, first_offset: i64, producer_id: i64) {
        self.open.insert(first_offset, producer_id);
    }

    /// The transaction that began at `first_offset` has ended with the marker at `last_offset`.
    pub(crate) fn end(&mut self, first_offset: i64, last_offset: i64) {
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, last_offset);
    }

    /// Where the first transaction without a marker begins; none when each has one.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// Where the first undecided transaction begins: Kafka's `firstUnstableOffset`; none when all are decided.
    pub(crate) fn first(&self) -> Option<i64> {
        self.first_open().into_iter().chain(self.unreplicated.keys().next().copied()).min()
    }

    /// Everything before `high_watermark` is committed.
    pub(crate) fn committed(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_undecided_until_its_marker_is_committed() {
        let mut undecided = Undecided::default();
        assert_eq!(undecided.first(), None);
        undecided.begin(10, 1);
        undecided.begin(12, 2);
        undecided.begin(15, 3);
        undecided.end(10, 20);
        assert_eq!((undecided.first_open(), undecided.first()), (Some(12), Some(10)));
        undecided.committed(20);
        assert_eq!(undecided.first(), Some(10), "the marker is at the high watermark");
        undecided.committed(21);
        assert_eq!(undecided.first(), Some(12));
        undecided.end(12, 21);
        undecided.end(15, 22);
        assert_eq!((undecided.first_open(), undecided.first()), (None, Some(12)));
        undecided.committed(22);
        assert_eq!(undecided.first(), Some(15));
        undecided.committed(23);
        assert_eq!(undecided, Undecided::default());
    }
}

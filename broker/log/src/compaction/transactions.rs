//! What compaction knows of transactions while it goes through a log: which batches belong to aborted ones, and which
//! markers still have records of their transaction before them (Kafka's `CleanedTransactionMetadata`).
//!
//! Values only. Always: nothing of an open transaction is compacted, for the log is compacted below the last stable
//! offset only.

use std::collections::{HashMap, HashSet};

use ottla_batch::BatchHeader;

use crate::transactions::AbortedTransaction;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By producer, in the order of their markers.
    aborted: HashMap<i64, Vec<AbortedTransaction>>,
    /// Producers of which a batch in a transaction was seen, and the marker was not.
    with_batches: HashSet<i64>,
}

impl Transactions {
    /// `aborted` are those with batches in the segments that are compacted.
    pub(super) fn new(aborted: Vec<AbortedTransaction>) -> Transactions {
        let mut by_producer: HashMap<i64, Vec<AbortedTransaction>> = HashMap::new();
        for transaction in aborted {
            by_producer.entry(transaction.producer_id).or_default().push(transaction);
        }
        by_producer.values_mut().for_each(|of_one| of_one.sort_by_key(|transaction| transaction.last_offset));
        Transactions { aborted: by_producer, with_batches: HashSet::new() }
    }

    /// Whether the records of a batch don't count.
    pub(super) fn is_aborted(&self, batch: &BatchHeader) -> bool {
        let ended_by = if batch.is_control() { None } else { self.next_aborted(batch) };
        batch.is_transactional() && ended_by.is_some_and(|transaction| transaction.first_offset <= batch.base_offset)
    }

    /// Move past a batch of data.
    pub(super) fn pass(&mut self, batch: &BatchHeader) {
        if batch.is_transactional() {
            self.with_batches.insert(batch.producer_id);
        }
    }

    /// Move past a marker. True when a batch of its transaction was seen: then the marker stays, for readers that still
    /// find the batch.
    pub(super) fn end(&mut self, marker: &BatchHeader) -> bool {
        self.with_batches.remove(&marker.producer_id)
    }

    /// The aborted transaction that this marker has ended; `None` for a commit, and for one without records.
    pub(super) fn aborted_by(&self, marker: &BatchHeader) -> Option<AbortedTransaction> {
        self.next_aborted(marker).filter(|transaction| transaction.last_offset == marker.last_offset()).copied()
    }

    /// The first of the producer's aborted transactions that does not end before this batch.
    fn next_aborted(&self, batch: &BatchHeader) -> Option<&AbortedTransaction> {
        let of_producer = self.aborted.get(&batch.producer_id)?;
        of_producer.get(of_producer.partition_point(|transaction| transaction.last_offset < batch.last_offset()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producers::tests::{batch, marker_at, transactional};

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable: first_offset }
    }

    #[test]
    fn a_batch_is_aborted_if_it_lies_in_an_aborted_transaction_of_its_producer() {
        let transactions = Transactions::new(vec![aborted(7, 30, 40), aborted(8, 0, 100), aborted(7, 10, 20)]);
        for (name, batch, expected) in [
            ("before", transactional(batch(0, 0, 5, 5)), false),
            ("its first", transactional(batch(0, 0, 5, 10)), true),
            ("its last", transactional(batch(0, 0, 5, 15)), true),
            ("of the committed one between", transactional(batch(0, 0, 5, 21)), false),
            ("of the next", transactional(batch(0, 0, 5, 30)), true),
            ("behind both", transactional(batch(0, 0, 5, 41)), false),
            ("not transactional", batch(0, 0, 5, 10), false),
            ("the marker", marker_at(0, 20), false),
            ("another producer's", BatchHeader { producer_id: 9, ..transactional(batch(0, 0, 5, 10)) }, false),
        ] {
            assert_eq!(transactions.is_aborted(&batch), expected, "{name}");
        }
        assert_eq!(transactions.aborted_by(&marker_at(0, 20)), Some(aborted(7, 10, 20)));
        assert_eq!(transactions.aborted_by(&marker_at(0, 25)), None, "a commit");
    }

    #[test]
    fn a_marker_stays_while_there_are_batches_before_it() {
        let mut transactions = Transactions::default();
        transactions.pass(&batch(0, 0, 1, 9));
        assert!(!transactions.end(&marker_at(0, 10)), "that was not transactional");
        transactions.pass(&transactional(batch(0, 1, 1, 11)));
        transactions.pass(&BatchHeader { producer_id: 8, ..transactional(batch(0, 0, 1, 12)) });
        assert!(transactions.end(&marker_at(0, 13)));
        assert!(!transactions.end(&marker_at(0, 14)));
    }
}

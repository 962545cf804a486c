//! Which of the batches that were read belong to aborted transactions (`fetchAbortedTransactionRecordBatches`).

use std::collections::BTreeSet;

use crate::ids::Offset;
use crate::partition::LogBatch;

/// A record batch's header, as far as it says whose the batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The base offset.
    pub first: Offset,
    /// The last offset.
    pub last: Offset,
    /// The producer's id; −1: none.
    pub producer_id: i64,
    /// What the batch is.
    pub kind: BatchKind,
}

/// What a record batch is to a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchKind {
    /// Data outside of transactions, or a control batch that ends no aborted transaction.
    Other,
    /// Data of a transaction.
    Transactional,
    /// The marker of an abort.
    AbortMarker,
}

/// An aborted transaction, as the log's index has it for what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset.
    pub first: Offset,
}

/// The batches, with those marked that only uncommitted readers may have. Of `read_uncommitted` groups the host passes
/// no transactions.
pub fn aborted_batches(read: &[BatchHeader], aborted: &[AbortedTransaction]) -> Vec<LogBatch> {
    let mut aborted = aborted.to_vec();
    aborted.sort_by_key(|transaction| transaction.first);
    let mut starting = aborted.into_iter().peekable();
    let mut open = BTreeSet::new();
    let mut batches = Vec::with_capacity(read.len());
    for batch in read {
        while let Some(transaction) = starting.next_if(|transaction| transaction.first <= batch.last) {
            open.insert(transaction.producer_id);
        }
        let aborted = match batch.kind {
            BatchKind::Other => false,
            BatchKind::Transactional => open.contains(&batch.producer_id),
            BatchKind::AbortMarker => {
                open.remove(&batch.producer_id);
                false
            }
        };
        batches.push(LogBatch { first: batch.first, last: batch.last, aborted });
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producers_batches_are_aborted_from_the_transactions_start_to_its_marker() {
        let header = |first, producer_id, kind| BatchHeader { first, last: first + 9, producer_id, kind };
        let read = [
            header(0, 7, BatchKind::Transactional),
            header(10, -1, BatchKind::Other),
            header(20, 8, BatchKind::Transactional),
            header(30, 7, BatchKind::AbortMarker),
            header(40, 7, BatchKind::Transactional),
            header(50, 8, BatchKind::Transactional),
            header(60, 7, BatchKind::Transactional),
        ];
        let transaction = |producer_id, first| AbortedTransaction { producer_id, first };
        let aborted = |transactions: &[AbortedTransaction]| -> Vec<Offset> {
            let batches = aborted_batches(&read, transactions);
            batches.iter().filter(|batch| batch.aborted).map(|batch| batch.first).collect()
        };
        assert_eq!(aborted(&[]), []);
        assert_eq!(aborted(&[transaction(7, 0)]), [0]);
        assert_eq!(aborted(&[transaction(8, 25)]), [20, 50]);
        assert_eq!(aborted(&[transaction(7, 60), transaction(7, 0)]), [0, 60]);
    }
}

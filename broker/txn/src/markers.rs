//! From the decision to the end: markers to every partition of a transaction, then the record that it is complete.
//!
//! A transaction that is decided ends, whatever fails: markers are repeated, also by the next coordinator, until every
//! partition has one. A partition may get a marker twice; its leader knows repetitions by epoch.

use std::collections::BTreeMap;

use crate::effects::{Effects, Marker, SendId, WriteMarkers};
use crate::ids::{Now, TopicPartition, TransactionalId};
use crate::shard::{Shard, TransactionChange};
use crate::transaction::{Transaction, TransactionResult, TransactionState};

/// What came of a marker in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerResult {
    /// It is written, and committed.
    Written,
    /// It may be written the next time: no leader is known or reached, too few replicas, a time-out, a disk. Also every
    /// error that has no other value here.
    Retriable,
    /// The topic was deleted, or holds batches of a format without transactions: there is nothing to end.
    Deleted,
    /// INVALID_PRODUCER_EPOCH (47): the partition has seen a newer epoch of the producer. The transaction can't be open
    /// there, so it counts as ended; but this must not happen, and the host should raise an alarm. Kafka forgets the
    /// whole transaction then, until its coordinator moves.
    ProducerFenced,
    /// TRANSACTION_COORDINATOR_FENCED (52): a newer coordinator lives, and brings the transaction to its end. This one
    /// writes no more markers for it.
    CoordinatorFenced,
}

/// The transactions whose markers are on their way.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Sending {
    next: u64,
    by_send: BTreeMap<SendId, TransactionalId>,
}

impl Sending {
    fn begin(&mut self, id: &TransactionalId) -> SendId {
        let send = SendId(self.next);
        self.next += 1;
        self.by_send.insert(send, id.clone());
        send
    }
}

impl Shard {
    /// What came of markers, partition by partition: not necessarily all of a [`WriteMarkers`], in any order, more than
    /// once. Those to be repeated are among the effects: after a pause, and to the leader of that time.
    pub fn sent(&mut self, send: SendId, results: &[(TopicPartition, MarkerResult)], now: Now) -> Effects {
        let mut effects = Effects::default();
        let Some(id) = self.sending.by_send.get(&send).cloned() else { return effects };
        let Some(transaction) = self.transactions.get_mut(&id) else { return effects };
        let mut again = Vec::new();
        for (partition, result) in results {
            match result {
                MarkerResult::Written | MarkerResult::Deleted | MarkerResult::ProducerFenced => {
                    transaction.partitions.remove(partition);
                }
                MarkerResult::Retriable => again.push(partition.clone()),
                MarkerResult::CoordinatorFenced => {
                    self.sending.by_send.remove(&send);
                    return effects;
                }
            }
        }
        again.retain(|partition| transaction.partitions.contains(partition));
        if transaction.partitions.is_empty() {
            self.sending.by_send.remove(&send);
            self.complete(&id, now, &mut effects);
        } else if let (TransactionState::Prepare(outcome), false) = (transaction.state, again.is_empty()) {
            let marker = marker(transaction, outcome, self.coordinator_epoch);
            effects.sends.push(WriteMarkers { id: send, marker, partitions: again });
        }
        effects
    }

    /// If the outcome of the id's transaction has just been committed, or was read from the log: sends its markers.
    pub(crate) fn end_if_prepared(&mut self, id: &TransactionalId, now: Now, effects: &mut Effects) {
        let Some(transaction) = self.transactions.get(id) else { return };
        let TransactionState::Prepare(outcome) = transaction.state else { return };
        if transaction.partitions.is_empty() {
            return self.complete(id, now, effects);
        }
        let marker = marker(transaction, outcome, self.coordinator_epoch);
        let partitions = transaction.partitions.iter().cloned().collect();
        effects.sends.push(WriteMarkers { id: self.sending.begin(id), marker, partitions });
    }

    /// Writes down that the transaction is complete, if it lacks nothing but that.
    pub(crate) fn complete(&mut self, id: &TransactionalId, now: Now, effects: &mut Effects) {
        let Some(transaction) = self.transactions.get(id) else { return };
        let TransactionState::Prepare(outcome) = transaction.state else { return };
        if transaction.partitions.is_empty() && !self.is_pending(id) {
            let completed = transaction.completed(outcome, now.wall_ms);
            self.write(vec![(id.clone(), TransactionChange::To(Box::new(completed)))], Vec::new(), effects);
        }
    }
}

fn marker(transaction: &Transaction, outcome: TransactionResult, coordinator_epoch: i32) -> Marker {
    Marker {
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        coordinator_epoch,
        outcome,
        transaction_version: transaction.client_version,
    }
}

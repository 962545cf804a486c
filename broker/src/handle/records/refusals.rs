//! Batches that a client had sent behind a batch which was refused with a retriable error: they are refused with the
//! same error.
//!
//! A client has up to five batches of a partition in flight. If the first arrives before its broker leads, or while too
//! few replicas are in sync, and the second just after, the second would leave a gap. After
//! OUT_OF_ORDER_SEQUENCE_NUMBER, librdkafka begins a new producer epoch and sends again under it all batches that were
//! not acknowledged yet, of all partitions: batches that had been written are then written twice. And a leader that
//! does not know the producer would take the second before the first. After the same error as for the first, every
//! client sends both again, in order.
//!
//! This is the state of one connection, because the later batches came over the same one. Always: no more batches are
//! refused than can have been in flight, so that a client that has dropped a batch learns of the gap.

use std::collections::HashMap;

use ottla_batch::BatchHeader;
use ottla_batch::header::sequence_follows;
use ottla_wire::{ErrorCode, Str};
use uuid::Uuid;

/// How many batches may be in flight behind a refused one: clients keep at most five.
const BEHIND: u8 = 4;
/// The number of partitions whose refusals are remembered. With more at a time, a gap gets the error of a gap.
const MOST: usize = 4096;

/// The refusals that a connection's client may not have heard of yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    by_partition: HashMap<Named, RefusedBatch>,
}

/// A partition, as requests name it: topic by name or by id, and number.
pub(crate) type Named = (Str, Uuid, i32);

#[derive(Debug)]
struct RefusedBatch {
    producer: (i64, i16),
    first_sequence: i32,
    code: ErrorCode,
    /// How many may still follow.
    behind: u8,
}

impl Refusals {
    /// Whether there are none: then nothing has to be asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// The error that a batch must get because one before it did; none: it is to be looked at. Forgets a refusal whose
    /// batch has come again.
    pub(crate) fn of_one_before(&mut self, partition: &Named, batch: &BatchHeader) -> Option<ErrorCode> {
        let refused = self.by_partition.get_mut(partition)?;
        if refused.precedes(batch) {
            refused.behind -= 1;
            return Some(refused.code);
        }
        self.by_partition.remove(partition);
        None
    }

    /// Whether [`Refusals::of_one_before`] would give an error: the batch need not be verified.
    pub(crate) fn precede(&self, partition: &Named, batch: &BatchHeader) -> bool {
        self.by_partition.get(partition).is_some_and(|refused| refused.precedes(batch))
    }

    /// A batch was refused, and not because of one before it.
    pub(crate) fn note(&mut self, partition: Named, batch: &BatchHeader, code: ErrorCode) {
        let is_numbered = batch.has_producer_id() && batch.base_sequence >= 0;
        if is_passing(code) && is_numbered && self.by_partition.len() < MOST {
            let producer = (batch.producer_id, batch.producer_epoch);
            let refused = RefusedBatch { producer, first_sequence: batch.base_sequence, code, behind: BEHIND };
            self.by_partition.insert(partition, refused);
        }
    }
}

impl RefusedBatch {
    /// Whether the batch may have been sent before its client heard of this.
    fn precedes(&self, batch: &BatchHeader) -> bool {
        let is_same_producer = self.producer == (batch.producer_id, batch.producer_epoch);
        is_same_producer && sequence_follows(self.first_sequence, batch.base_sequence) && self.behind > 0
    }
}

/// Whether the client sends a batch again that was refused so, and it was not appended.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::CONCURRENT_TRANSACTIONS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    const NOT_SETTLED: ErrorCode = ErrorCode::CONCURRENT_TRANSACTIONS;

    fn partition() -> Named {
        ("t".into(), Uuid::nil(), 0)
    }

    fn batch(epoch: i16, base_sequence: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            length: 100,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 9,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            records_count: 10,
        }
    }

    fn after(refused: &BatchHeader, code: ErrorCode) -> Refusals {
        let mut refusals = Refusals::default();
        refusals.note(partition(), refused, code);
        refusals
    }

    #[test]
    fn what_follows_a_refused_batch_is_refused_alike() {
        let none = BatchHeader { producer_id: -1, producer_epoch: -1, ..batch(0, -1) };
        let other = BatchHeader { producer_id: 8, ..batch(0, 30) };
        for (name, refused, code, next, expected) in [
            ("the next", batch(0, 20), NOT_LEADER, batch(0, 30), Some(NOT_LEADER)),
            ("a later one", batch(0, 20), NOT_LEADER, batch(0, 60), Some(NOT_LEADER)),
            ("over the wrap", batch(0, i32::MAX - 4), NOT_LEADER, batch(0, 5), Some(NOT_LEADER)),
            ("itself", batch(0, 20), NOT_LEADER, batch(0, 20), None),
            ("one before it", batch(0, 20), NOT_LEADER, batch(0, 10), None),
            ("another epoch's", batch(0, 20), NOT_LEADER, batch(1, 30), None),
            ("another producer's", batch(0, 20), NOT_LEADER, other, None),
            ("without a producer id", none, NOT_LEADER, none, None),
            ("with a number that is none", batch(0, i32::MIN), NOT_LEADER, batch(0, 30), None),
            ("not verified", batch(0, 20), NOT_SETTLED, batch(0, 30), Some(NOT_SETTLED)),
            ("for good", batch(0, 20), ErrorCode::MESSAGE_TOO_LARGE, batch(0, 30), None),
            ("perhaps appended", batch(0, 20), ErrorCode::REQUEST_TIMED_OUT, batch(0, 30), None),
        ] {
            assert_eq!(after(&refused, code).precede(&partition(), &next), expected.is_some(), "{name}");
            assert_eq!(after(&refused, code).of_one_before(&partition(), &next), expected, "{name}");
        }
        let elsewhere = ("t".into(), Uuid::nil(), 1);
        assert_eq!(after(&batch(0, 20), NOT_LEADER).of_one_before(&elsewhere, &batch(0, 30)), None);
    }

    #[test]
    fn a_client_that_gave_a_batch_up_learns_of_the_gap() {
        let mut refusals = after(&batch(0, 0), NOT_LEADER);
        let answers = [10, 20, 30, 40, 50].map(|sequence| refusals.of_one_before(&partition(), &batch(0, sequence)));
        assert_eq!(answers, [Some(NOT_LEADER), Some(NOT_LEADER), Some(NOT_LEADER), Some(NOT_LEADER), None]);
        assert!(refusals.is_empty());
    }
}

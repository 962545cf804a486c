//! What a partition remembers of idempotent producers: enough to take each batch once and in order.
//!
//! [`Producers::check`] decides, [`Producers::note`] records what was appended; both are functions of values. A log
//! fills this from its newest snapshot and the batches after it ([`crate::snapshot`], [`crate::recovery`]).
//! Always: a producer's cached batches ascend, all of its current epoch.

use std::collections::{HashMap, VecDeque};

use ottla_batch::BatchHeader;
use ottla_batch::header::{add_sequence, sequence_follows};

/// Batches remembered per producer, the most that a client may have in flight: Kafka's number, clients rely on it.
const CACHED_BATCHES: usize = 5;

/// Stands for "none" in sequences and offsets.
pub(crate) const NONE: i32 = -1;

/// One of the latest batches of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    /// Sequence number of the last record.
    pub last_sequence: i32,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Records but one.
    pub offset_delta: i32,
    /// The batch's largest timestamp.
    pub timestamp: i64,
}

impl ProducedBatch {
    /// Sequence number of the first record.
    pub fn first_sequence(&self) -> i32 {
        add_sequence(self.last_sequence, -self.offset_delta)
    }

    /// Offset of the first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its current epoch.
    pub epoch: i16,
    /// Its latest batches under that epoch, oldest first; empty after a marker alone.
    pub batches: VecDeque<ProducedBatch>,
    /// When it wrote last: by the clock, or by its records if they are ahead of it. Kafka takes the records' word alone
    /// and so forgets at once a producer of old events, whose retries it then takes twice.
    pub last_timestamp: i64,
    /// Epoch of the transaction coordinator that wrote its last marker, or −1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<i64>,
}

impl Producer {
    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NONE, |batch| batch.last_sequence)
    }
}

/// What to do with a producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: append it.
    Append,
    /// It was appended before: answer with the offsets and the timestamp it got then.
    Duplicate(ProducedBatch),
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// The sequence leaves a gap, or goes back further than is remembered.
    #[error("producer {producer_id}: sequence {found} where {expected} comes next")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// What its batch must begin with.
        expected: i32,
        /// What it begins with.
        found: i32,
    },
    /// A newer instance of the producer has written already.
    #[error("producer {producer_id}: epoch {found} is older than {current}")]
    StaleEpoch {
        /// The producer.
        producer_id: i64,
        /// The newest epoch seen.
        current: i16,
        /// The batch's.
        found: i16,
    },
}

impl ProducerError {
    /// Whether batches before this one are missing.
    pub fn is_gap(&self) -> bool {
        match self {
            ProducerError::OutOfOrderSequence { expected, found, .. } => sequence_follows(*expected, *found),
            ProducerError::StaleEpoch { .. } => false,
        }
    }
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// May a client's batch be appended? Batches without a producer id always may; so may those of a producer that is
    /// unknown, for its state may have expired or gone with deleted segments.
    pub fn check(&self, batch: &BatchHeader) -> Result<Admission, ProducerError> {
        if !batch.has_producer_id() {
            return Ok(Admission::Append);
        }
        match self.by_id.get(&batch.producer_id) {
            None => Ok(Admission::Append),
            Some(producer) => admit(producer, batch),
        }
    }

    /// Record an appended batch. What is in the log is not judged again: followers and recovery come here directly.
    pub(crate) fn note(&mut self, batch: &BatchHeader, now_ms: i64) {
        if !batch.has_producer_id() {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::with_capacity(CACHED_BATCHES),
            last_timestamp: batch.max_timestamp,
            coordinator_epoch: NONE,
            transaction_start: None,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = batch.max_timestamp.max(now_ms);
        if batch.is_control() {
            producer.transaction_start = None;
            return;
        }
        if batch.is_transactional() {
            producer.transaction_start.get_or_insert(batch.base_offset);
        }
        if producer.batches.len() == CACHED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(ProducedBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Take the batches of all producers away, for those in the log to be noted from an earlier place.
    pub(crate) fn forget_batches(&mut self) -> HashMap<i64, VecDeque<ProducedBatch>> {
        self.by_id.iter_mut().map(|(id, producer)| (*id, std::mem::take(&mut producer.batches))).collect()
    }

    /// Give them back to the producers of which nothing was noted meanwhile.
    pub(crate) fn remember_batches(&mut self, batches: HashMap<i64, VecDeque<ProducedBatch>>) {
        for (id, batches) in batches {
            if let Some(producer) = self.by_id.get_mut(&id).filter(|producer| producer.batches.is_empty()) {
                producer.batches = batches;
            }
        }
    }

    /// Forget producers that have written nothing for `expiration_ms` and have no open transaction.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer.transaction_start.is_some() || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
    }

    /// What is known of one producer.
    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.by_id.get(&producer_id)
    }

    /// All producers by id, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    pub(crate) fn insert(&mut self, producer_id: i64, producer: Producer) {
        self.by_id.insert(producer_id, producer);
    }
}

fn admit(producer: &Producer, batch: &BatchHeader) -> Result<Admission, ProducerError> {
    let producer_id = batch.producer_id;
    if batch.producer_epoch < producer.epoch {
        return Err(ProducerError::StaleEpoch { producer_id, current: producer.epoch, found: batch.producer_epoch });
    }
    if batch.is_control() {
        return Ok(Admission::Append);
    }
    let found = batch.base_sequence;
    let expected = if batch.producer_epoch > producer.epoch {
        0
    } else {
        let same = |b: &&ProducedBatch| b.first_sequence() == found && b.last_sequence == batch.last_sequence();
        if let Some(duplicate) = producer.batches.iter().find(same) {
            return Ok(Admission::Duplicate(*duplicate));
        }
        add_sequence(producer.last_sequence(), 1)
    };
    if found != expected {
        return Err(ProducerError::OutOfOrderSequence { producer_id, expected, found });
    }
    Ok(Admission::Append)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A batch of producer 7.
    pub(crate) fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            length: 100,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 1_000,
            max_timestamp: 1_000 + base_offset,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            records_count: count,
        }
    }

    fn after(batches: &[BatchHeader]) -> Producers {
        let mut producers = Producers::default();
        batches.iter().for_each(|batch| producers.note(batch, 0));
        producers
    }

    fn out_of_order(expected: i32, found: i32) -> Result<Admission, ProducerError> {
        Err(ProducerError::OutOfOrderSequence { producer_id: 7, expected, found })
    }

    #[test]
    fn each_batch_is_taken_once_and_in_order() {
        const MAX: i32 = i32::MAX;
        let ten_each: Vec<BatchHeader> = (0..6).map(|i| batch(3, i * 10, 10, 100 + i64::from(i) * 10)).collect();
        let known = after(&ten_each);
        let duplicate = |base_sequence: i32, last_offset| {
            Ok(Admission::Duplicate(ProducedBatch {
                last_sequence: base_sequence + 9,
                last_offset,
                offset_delta: 9,
                timestamp: 1_000 + last_offset - 9,
            }))
        };
        let wrapped = after(&[batch(0, MAX - 1, 2, 50)]);
        let over_the_wrap = after(&[batch(0, MAX - 1, 4, 50)]);
        let marker_only = after(&[BatchHeader { attributes: 0x30, base_sequence: -1, ..batch(3, 0, 1, 9) }]);
        let nobody = Producers::default();
        let append = Ok(Admission::Append);
        for (name, producers, batch, expected) in [
            ("unknown producer, any sequence", &nobody, batch(3, 77, 1, 0), append),
            ("next", &known, batch(3, 60, 5, 0), append),
            ("the last again", &known, batch(3, 50, 10, 0), duplicate(50, 159)),
            ("the fifth last again", &known, batch(3, 10, 10, 0), duplicate(10, 119)),
            ("the sixth last again", &known, batch(3, 0, 10, 0), out_of_order(60, 0)),
            ("a known start with another length", &known, batch(3, 50, 9, 0), out_of_order(60, 50)),
            ("a gap", &known, batch(3, 61, 1, 0), out_of_order(60, 61)),
            ("a new epoch from 0", &known, batch(4, 0, 1, 0), append),
            ("a new epoch from elsewhere", &known, batch(4, 60, 1, 0), out_of_order(0, 60)),
            (
                "an old epoch",
                &known,
                batch(2, 60, 1, 0),
                Err(ProducerError::StaleEpoch { producer_id: 7, current: 3, found: 2 }),
            ),
            ("after the largest sequence comes 0", &wrapped, batch(0, 0, 1, 0), append),
            ("after the largest sequence comes not 1", &wrapped, batch(0, 1, 1, 0), out_of_order(0, 1)),
            ("within a batch too", &over_the_wrap, batch(0, 2, 1, 0), append),
            ("after a marker alone comes 0", &marker_only, batch(3, 0, 1, 0), append),
            ("after a marker alone comes not 5", &marker_only, batch(3, 5, 1, 0), out_of_order(0, 5)),
            ("without a producer id", &known, BatchHeader { producer_id: -1, ..batch(-1, -1, 1, 0) }, append),
        ] {
            assert_eq!(producers.check(&batch), expected, "{name}");
        }
    }

    #[test]
    fn a_gap_is_ahead_of_what_is_expected() {
        const MAX: i32 = i32::MAX;
        for (expected, found, is_gap) in [(60, 61, true), (60, 0, false), (MAX, 0, true), (0, MAX, false)] {
            assert_eq!(out_of_order(expected, found).unwrap_err().is_gap(), is_gap, "{expected} {found}");
        }
    }

    #[test]
    fn a_duplicate_over_the_wrap_gives_its_first_offset() {
        let producers = after(&[batch(0, i32::MAX - 1, 4, 50)]);
        let Ok(Admission::Duplicate(original)) = producers.check(&batch(0, i32::MAX - 1, 4, 99)) else {
            panic!("not taken for a duplicate");
        };
        assert_eq!((original.first_offset(), original.last_offset), (50, 53));
    }

    #[test]
    fn a_new_epoch_forgets_the_batches_of_the_old() {
        let producers = after(&[batch(0, 0, 10, 0), batch(1, 0, 1, 10)]);
        assert_eq!(producers.get(7).unwrap().batches.len(), 1);
    }

    #[test]
    fn only_idle_producers_without_a_transaction_expire() {
        let idle = batch(0, 0, 1, 0);
        let in_transaction = BatchHeader { producer_id: 8, attributes: 0x10, ..idle };
        let busy = BatchHeader { producer_id: 9, max_timestamp: 1_001, ..idle };
        let of_old_events = BatchHeader { producer_id: 10, max_timestamp: 5, ..idle };
        let mut producers = after(&[idle, in_transaction, busy]);
        producers.note(&of_old_events, 1_001);
        producers.expire(2_000, 1_000);
        let mut left: Vec<i64> = producers.iter().map(|(id, _)| id).collect();
        left.sort();
        assert_eq!(left, [8, 9, 10]);
    }
}

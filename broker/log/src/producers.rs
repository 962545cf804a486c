//! What a partition remembers of idempotent producers: enough to take each batch once and in order.
//!
//! [`Producers::check`] and [`Producers::check_marker`] decide, [`Producers::note`] records what was appended; all are
//! functions of values. A log fills this from a snapshot and the batches after it ([`crate::snapshot`],
//! [`crate::recovery`]). Always: a producer's cached batches ascend, all of its current epoch; it has at most one open
//! transaction, and `undecided` knows it. Nothing of `verifications` outlives the process.

use std::collections::{HashMap, VecDeque};

use ottla_batch::header::{NO_SEQUENCE, add_sequence, sequence_follows};
use ottla_batch::{BatchHeader, Marker};

use crate::transactions::undecided::{Ended, Undecided};
use crate::transactions::verification::{Verification, VerificationGuard, Verifications};

/// Batches remembered per producer, the most that a client may have in flight: Kafka's number, clients rely on it.
const CACHED_BATCHES: usize = 5;

/// Stands for "none" in sequences and offsets.
pub(crate) const NONE: i32 = -1;

/// With this `transaction.version` each transaction of a producer has an epoch of its own (KIP-890).
const EPOCH_PER_TRANSACTION: i8 = 2;

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
    /// First offset of its open transaction; `None`: it has none open.
    pub transaction_start: Option<i64>,
}

impl Producer {
    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NONE, |batch| batch.last_sequence)
    }

    /// Whether it has a transaction open under this epoch.
    fn has_open(&self, epoch: i16) -> bool {
        self.transaction_start.is_some() && self.epoch == epoch
    }

    /// The batch that this one repeats, if it does.
    fn duplicate(&self, batch: &BatchHeader) -> Option<ProducedBatch> {
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let is_same = |known: &&ProducedBatch| known.first_sequence() == first && known.last_sequence == last;
        let is_current = self.epoch == batch.producer_epoch && first != NO_SEQUENCE;
        self.batches.iter().filter(|_| is_current).find(is_same).copied()
    }

    fn remember(&mut self, batch: &BatchHeader) {
        if self.batches.len() == CACHED_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(ProducedBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
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
    /// A marker of a transaction coordinator that another one has replaced.
    #[error("producer {producer_id}: coordinator epoch {found} is older than {current}")]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// The newest coordinator epoch seen.
        current: i32,
        /// The marker's.
        found: i32,
    },
    /// A batch outside of the transaction that its producer has open here.
    #[error("producer {producer_id}: a batch that is not transactional in an open transaction")]
    NotTransactional {
        /// The producer.
        producer_id: i64,
    },
    /// The first batch of a transaction here, without the guard of a verification that is still good.
    #[error("producer {producer_id}: the transaction was not verified")]
    NotVerified {
        /// The producer.
        producer_id: i64,
    },
}

impl ProducerError {
    /// Whether batches before this one are missing.
    pub fn is_gap(&self) -> bool {
        match self {
            ProducerError::OutOfOrderSequence { expected, found, .. } => sequence_follows(*expected, *found),
            ProducerError::StaleEpoch { .. }
            | ProducerError::CoordinatorFenced { .. }
            | ProducerError::NotTransactional { .. }
            | ProducerError::NotVerified { .. } => false,
        }
    }
}

/// The batches that were taken away from producers, each with its producer's epoch.
pub(crate) type Forgotten = HashMap<i64, (i16, VecDeque<ProducedBatch>)>;

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
    undecided: Undecided,
    verifications: Verifications,
}

impl Producers {
    /// May a client's batch be appended? Batches without a producer id always may; so may those of a producer that is
    /// unknown, for its state may have expired or gone with deleted segments. A batch that opens a transaction needs
    /// the `guard` of its verification. Markers have a check of their own ([`Producers::check_marker`]).
    ///
    /// # Errors
    /// See [`ProducerError`]; in the order of Kafka's `UnifiedLog` and `ProducerAppendInfo`.
    pub fn check(&self, batch: &BatchHeader, guard: Option<VerificationGuard>) -> Result<Admission, ProducerError> {
        if !batch.has_producer_id() || batch.is_control() {
            return Ok(Admission::Append);
        }
        let producer = self.by_id.get(&batch.producer_id);
        if let Some(producer) = producer {
            check_epoch(producer, batch.producer_id, batch.producer_epoch)?;
            if let Some(duplicate) = producer.duplicate(batch) {
                return Ok(Admission::Duplicate(duplicate));
            }
        }
        self.check_verified(producer, batch, guard)?;
        // A coordinator's own batches have no sequence.
        if batch.base_sequence != NO_SEQUENCE {
            self.check_sequence(producer, batch)?;
        }
        if producer.is_some_and(|producer| producer.transaction_start.is_some()) && !batch.is_transactional() {
            return Err(ProducerError::NotTransactional { producer_id: batch.producer_id });
        }
        Ok(Admission::Append)
    }

    fn check_verified(
        &self,
        producer: Option<&Producer>,
        batch: &BatchHeader,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ProducerError> {
        let goes_on = producer.is_some_and(|producer| producer.has_open(batch.producer_epoch));
        if !batch.is_transactional() || goes_on || self.verifications.is_passed(batch.producer_id, guard) {
            Ok(())
        } else {
            Err(ProducerError::NotVerified { producer_id: batch.producer_id })
        }
    }

    fn check_sequence(&self, producer: Option<&Producer>, batch: &BatchHeader) -> Result<(), ProducerError> {
        let (producer_id, found) = (batch.producer_id, batch.base_sequence);
        let out_of_order = |expected| Err(ProducerError::OutOfOrderSequence { producer_id, expected, found });
        if let Some(verification) = self.verifications.get(producer_id) {
            let is_new = producer.is_none_or(|producer| producer.batches.is_empty());
            if verification.supports_epoch_bump && is_new && found != 0 {
                return out_of_order(0);
            }
            if found > verification.lowest_sequence {
                return out_of_order(verification.lowest_sequence);
            }
        }
        let Some(producer) = producer else { return Ok(()) };
        let is_new_epoch = batch.producer_epoch > producer.epoch;
        let expected = if is_new_epoch { 0 } else { add_sequence(producer.last_sequence(), 1) };
        if found == expected { Ok(()) } else { out_of_order(expected) }
    }

    /// A producer's batch is about to be verified: gives the guard that it must come back with. `None` when there is
    /// nothing to ask: its transaction is open here, so the coordinator knows of it. `supports_epoch_bump`: the request
    /// is of a version that gives each transaction its own epoch (KIP-890).
    ///
    /// # Errors
    /// `StaleEpoch`.
    pub fn begin_verification(
        &mut self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> Result<Option<VerificationGuard>, ProducerError> {
        let &BatchHeader { producer_id, producer_epoch, base_sequence, .. } = batch;
        if let Some(producer) = self.by_id.get(&producer_id) {
            check_epoch(producer, producer_id, producer_epoch)?;
            if producer.has_open(producer_epoch) {
                return Ok(None);
            }
        }
        let verifications = &mut self.verifications;
        Ok(Some(verifications.begin(producer_id, producer_epoch, base_sequence, supports_epoch_bump, now_ms)))
    }

    /// Continue the verifications of the producers that these replace: the log was cut, not the transactions.
    pub(crate) fn verify_as(&mut self, replaced: Producers) {
        self.verifications = replaced.verifications;
    }

    /// May a leader append this marker? `transaction_version` is that of the coordinator which sends it, 0 if it did
    /// not say. From version 2 on a marker has an epoch above that of its transaction; one with the same epoch is the
    /// repeat of a marker that is here already (KAFKA-19999), or ends a transaction at the last epoch that there is.
    ///
    /// # Errors
    /// `CoordinatorFenced`, which Kafka checks last, and `StaleEpoch`: a coordinator that is out of date must learn
    /// that first, for what it knows of epochs is out of date, too.
    pub fn check_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        marker: Marker,
        transaction_version: i8,
    ) -> Result<(), ProducerError> {
        let Some(producer) = self.by_id.get(&producer_id) else { return Ok(()) };
        if marker.coordinator_epoch < producer.coordinator_epoch {
            let (current, found) = (producer.coordinator_epoch, marker.coordinator_epoch);
            return Err(ProducerError::CoordinatorFenced { producer_id, current, found });
        }
        let may_have_same_epoch = transaction_version < EPOCH_PER_TRANSACTION
            || producer.transaction_start.is_none()
            || producer_epoch == i16::MAX;
        let is_good = producer_epoch > producer.epoch || (producer_epoch == producer.epoch && may_have_same_epoch);
        if is_good {
            Ok(())
        } else {
            Err(ProducerError::StaleEpoch { producer_id, current: producer.epoch, found: producer_epoch })
        }
    }

    /// Record an appended batch, with the marker that it holds. What is in the log is not judged again: followers and
    /// recovery come here directly. Gives the transaction that the batch has ended; none when it has ended none.
    pub fn note(&mut self, batch: &BatchHeader, marker: Option<Marker>, now_ms: i64) -> Option<Ended> {
        if !batch.has_producer_id() {
            return None;
        }
        if batch.is_transactional() {
            self.verifications.note(batch);
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
            if let Some(marker) = marker {
                producer.coordinator_epoch = marker.coordinator_epoch;
            }
            let first_offset = producer.transaction_start.take()?;
            let (producer_id, last_offset) = (batch.producer_id, batch.last_offset());
            self.undecided.end(first_offset, last_offset);
            let last_stable = self.undecided.first_open().unwrap_or(last_offset + 1);
            let outcome = marker.map(|marker| marker.outcome);
            return Some(Ended { producer_id, first_offset, last_offset, outcome, last_stable });
        }
        if batch.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(batch.base_offset);
            self.undecided.begin(batch.base_offset, batch.producer_id);
        }
        producer.remember(batch);
        None
    }

    /// Record a batch that a snapshot covers: of it nothing is missing there but the batch itself.
    pub(crate) fn recall(&mut self, batch: &BatchHeader, now_ms: i64) {
        let producer = self.by_id.get_mut(&batch.producer_id);
        if let Some(producer) = producer.filter(|producer| producer.epoch == batch.producer_epoch) {
            producer.last_timestamp = producer.last_timestamp.max(batch.max_timestamp).max(now_ms);
            if !batch.is_control() {
                producer.remember(batch);
            }
        }
    }

    /// Where the first transaction begins that is open, or whose marker is not committed. `None` when there is none.
    pub fn first_undecided(&self) -> Option<i64> {
        self.undecided.first()
    }

    /// Everything before `high_watermark` is committed.
    pub fn committed(&mut self, high_watermark: i64) {
        self.undecided.committed(high_watermark);
    }

    /// Take the batches of all producers away, for those in the log to be noted from an earlier place.
    pub(crate) fn forget_batches(&mut self) -> Forgotten {
        let forgotten = |producer: &mut Producer| (producer.epoch, std::mem::take(&mut producer.batches));
        self.by_id.iter_mut().map(|(id, producer)| (*id, forgotten(producer))).collect()
    }

    /// Give them back to the producers of which no batch was noted meanwhile, and that have the same epoch: a marker
    /// may have begun a new one, whose first batch must not be taken for one of these.
    pub(crate) fn remember_batches(&mut self, forgotten: Forgotten) {
        for (id, (epoch, batches)) in forgotten {
            let is_as_before = |producer: &&mut Producer| producer.batches.is_empty() && producer.epoch == epoch;
            if let Some(producer) = self.by_id.get_mut(&id).filter(is_as_before) {
                producer.batches = batches;
            }
        }
    }

    /// Forget producers that have written nothing for `expiration_ms` and have no open transaction, and verifications
    /// of that age.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer.transaction_start.is_some() || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
        self.verifications.expire(now_ms, expiration_ms);
    }

    /// What is known of one producer.
    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.by_id.get(&producer_id)
    }

    /// The verifications under way, by producer, in no order.
    pub fn verifications(&self) -> impl Iterator<Item = (i64, &Verification)> {
        self.verifications.iter()
    }

    /// All producers by id, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    pub(crate) fn insert(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.transaction_start {
            self.undecided.begin(first_offset, producer_id);
        }
        self.by_id.insert(producer_id, producer);
    }
}

fn check_epoch(producer: &Producer, producer_id: i64, found: i16) -> Result<(), ProducerError> {
    let current = producer.epoch;
    if found < current { Err(ProducerError::StaleEpoch { producer_id, current, found }) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use ottla_batch::ControlRecordType;

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
        batches.iter().for_each(|batch| _ = producers.note(batch, None, 0));
        producers
    }

    pub(crate) fn transactional(batch: BatchHeader) -> BatchHeader {
        BatchHeader { attributes: 0x10, ..batch }
    }

    /// The batch of a marker of producer 7.
    pub(crate) fn marker_at(epoch: i16, offset: i64) -> BatchHeader {
        BatchHeader { attributes: 0x30, ..batch(epoch, NO_SEQUENCE, 1, offset) }
    }

    pub(crate) const ABORT: Marker = Marker { outcome: ControlRecordType::Abort, coordinator_epoch: 5 };

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
            assert_eq!(producers.check(&batch, None), expected, "{name}");
        }
    }

    /// Recovery reads a log from before its snapshot on.
    #[test]
    fn batches_before_a_marker_of_a_new_epoch_are_not_those_of_that_epoch() {
        for (name, epoch_of_marker, is_known) in [("the same epoch", 3, true), ("a new epoch", 4, false)] {
            let mut producers = after(&[transactional(batch(3, 0, 1, 40))]);
            let forgotten = producers.forget_batches();
            producers.note(&marker_at(epoch_of_marker, 41), Some(ABORT), 0);
            producers.remember_batches(forgotten);
            let again = producers.check(&batch(epoch_of_marker, 0, 1, 0), None);
            assert_eq!(matches!(again, Ok(Admission::Duplicate(_))), is_known, "{name}: {again:?}");
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
        let Ok(Admission::Duplicate(original)) = producers.check(&batch(0, i32::MAX - 1, 4, 99), None) else {
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
        producers.note(&of_old_events, None, 1_001);
        producers.expire(2_000, 1_000);
        let mut left: Vec<i64> = producers.iter().map(|(id, _)| id).collect();
        left.sort();
        assert_eq!(left, [8, 9, 10]);
    }

    #[test]
    fn a_marker_needs_a_coordinator_and_an_epoch_that_are_not_out_of_date() {
        let fenced = |found| Err(ProducerError::CoordinatorFenced { producer_id: 7, current: 5, found });
        let stale = |current, found| Err(ProducerError::StaleEpoch { producer_id: 7, current, found });
        let open = |epoch| {
            let mut producers = after(&[transactional(batch(epoch, 0, 1, 10))]);
            producers.note(&marker_at(epoch, 11), Some(ABORT), 0);
            producers.note(&transactional(batch(epoch, 1, 1, 12)), None, 0);
            producers
        };
        let mut ended = open(3);
        ended.note(&marker_at(4, 13), Some(ABORT), 0);
        let (v1, v2) = (1, 2);
        for (name, producers, epoch, coordinator_epoch, version, expected) in [
            ("unknown producer", &Producers::default(), 0, 0, v2, Ok(())),
            ("V1: the transaction's epoch", &open(3), 3, 5, v1, Ok(())),
            ("V1: a later epoch", &open(3), 4, 6, v1, Ok(())),
            ("V1: an earlier epoch", &open(3), 2, 5, v1, stale(3, 2)),
            ("V2: the transaction's epoch", &open(3), 3, 5, v2, stale(3, 3)),
            ("V2: a later epoch", &open(3), 4, 5, v2, Ok(())),
            ("V2: an earlier epoch", &open(3), 2, 5, v2, stale(3, 2)),
            ("V2: the marker that is here already", &ended, 4, 5, v2, Ok(())),
            ("V2: the marker before that", &ended, 3, 5, v2, stale(4, 3)),
            ("V2: the last epoch that there is", &open(i16::MAX), i16::MAX, 5, v2, Ok(())),
            ("an earlier coordinator", &open(3), 4, 4, v2, fenced(4)),
            ("an earlier coordinator, an earlier epoch", &open(3), 2, 4, v1, fenced(4)),
        ] {
            let marker = Marker { outcome: ControlRecordType::Commit, coordinator_epoch };
            assert_eq!(producers.check_marker(7, epoch, marker, version), expected, "{name}");
        }
    }

    #[test]
    fn a_transaction_lasts_from_its_first_batch_to_its_marker() {
        let of = |producer_id, batch| BatchHeader { producer_id, ..batch };
        let mut producers = Producers::default();
        producers.note(&batch(3, 0, 2, 10), None, 0);
        assert_eq!((producers.first_undecided(), producers.get(7).unwrap().transaction_start), (None, None));
        producers.note(&transactional(batch(3, 2, 2, 12)), None, 0);
        producers.note(&of(8, transactional(batch(0, 0, 1, 14))), None, 0);
        producers.note(&transactional(batch(3, 4, 1, 15)), None, 0);
        assert_eq!(producers.get(7).unwrap().transaction_start, Some(12));
        let outcome = Some(ControlRecordType::Abort);
        let ended = Ended { producer_id: 7, first_offset: 12, last_offset: 16, outcome, last_stable: 14 };
        assert_eq!(producers.note(&marker_at(4, 16), Some(ABORT), 0), Some(ended));
        let producer = producers.get(7).unwrap();
        assert_eq!((producer.epoch, producer.coordinator_epoch, producer.transaction_start), (4, 5, None));
        assert!(producer.batches.is_empty(), "they were of the epoch before");
        assert_eq!(producers.note(&marker_at(4, 17), Some(ABORT), 0), None, "a marker without a transaction");
        let ended = producers.note(&of(8, marker_at(0, 18)), Some(ABORT), 0).unwrap();
        assert_eq!((ended.first_offset, ended.last_stable), (14, 19), "nothing else is open");
        assert_eq!(producers.first_undecided(), Some(12));
        producers.committed(17);
        assert_eq!(producers.first_undecided(), Some(14));
        producers.committed(19);
        assert_eq!(producers.first_undecided(), None);
    }

    #[test]
    fn the_first_batch_of_a_transaction_needs_its_guard() {
        let producers = |known: &[BatchHeader], first: BatchHeader, supports_epoch_bump| {
            let mut producers = after(known);
            let guard = producers.begin_verification(&first, supports_epoch_bump, 0).unwrap();
            (producers, guard)
        };
        let not_verified = Err(ProducerError::NotVerified { producer_id: 7 });
        let stale = Err(ProducerError::StaleEpoch { producer_id: 7, current: 3, found: 2 });
        let append = Ok(Admission::Append);
        let first = |epoch, sequence| transactional(batch(epoch, sequence, 1, 50));
        let idle = [batch(3, 0, 5, 10)];
        let (known, guard) = producers(&idle, first(3, 5), false);
        let (nobody, new_guard) = producers(&[], first(3, 5), false);
        let (nobody_v2, new_v2_guard) = producers(&[], first(3, 5), true);
        let (higher_first, higher_guard) = producers(&idle, first(4, 0), true);
        for (name, producers, batch, guard, expected) in [
            ("with its guard", &known, first(3, 5), guard, append),
            ("without", &known, first(3, 5), None, not_verified),
            ("with another's", &known, first(3, 5), new_guard, not_verified),
            ("an old epoch without", &known, first(2, 5), None, stale),
            ("sent again, without", &known, transactional(batch(3, 0, 5, 50)), None, known.check(&idle[0], None)),
            ("no transaction, without", &known, batch(3, 5, 1, 50), None, append),
            ("ahead of the one that was verified", &known, first(3, 6), guard, out_of_order(5, 6)),
            ("a coordinator's, without a sequence", &known, first(3, NO_SEQUENCE), guard, append),
            ("V1, unknown", &nobody, first(3, 5), new_guard, append),
            ("V2, unknown, not from 0", &nobody_v2, first(3, 5), new_v2_guard, out_of_order(0, 5)),
            ("V2, the next epoch", &higher_first, first(4, 0), higher_guard, append),
            ("V2, the next epoch, without", &higher_first, first(4, 0), None, not_verified),
            ("a marker", &known, marker_at(3, 50), None, append),
        ] {
            assert_eq!(producers.check(&batch, guard), expected, "{name}");
        }
    }

    #[test]
    fn an_open_transaction_is_not_verified_again() {
        let open = transactional(batch(3, 0, 1, 10));
        let mut producers = after(&[open]);
        let begin = |producers: &mut Producers, epoch| producers.begin_verification(&batch(epoch, 1, 1, 0), true, 0);
        assert_eq!(begin(&mut producers, 3), Ok(None));
        assert_eq!(producers.check(&transactional(batch(3, 1, 1, 11)), None), Ok(Admission::Append));
        let stale = Err(ProducerError::StaleEpoch { producer_id: 7, current: 3, found: 2 });
        assert_eq!(begin(&mut producers, 2), stale);
        assert!(begin(&mut producers, 4).unwrap().is_some(), "that one may have ended");
        producers.note(&marker_at(3, 11), Some(ABORT), 0);
        assert!(begin(&mut producers, 3).unwrap().is_some());
        let late = producers.check(&transactional(batch(3, 1, 1, 12)), None);
        assert_eq!(late, Err(ProducerError::NotVerified { producer_id: 7 }), "it came after the marker");
    }

    #[test]
    fn a_guard_is_of_no_use_for_the_next_transaction() {
        let mut producers = Producers::default();
        let first = transactional(batch(3, 0, 1, 10));
        let guard = producers.begin_verification(&first, false, 0).unwrap();
        producers.note(&marker_at(3, 10), Some(ABORT), 0);
        let late = producers.check(&first, guard);
        assert_eq!(
            late,
            Err(ProducerError::NotVerified { producer_id: 7 }),
            "the answer was of the one that has ended"
        );
        let again = producers.begin_verification(&first, false, 0).unwrap();
        assert_ne!(again, guard);
        assert_eq!(producers.check(&first, again), Ok(Admission::Append));
    }

    #[test]
    fn a_plain_batch_has_no_place_in_an_open_transaction() {
        let producers = after(&[transactional(batch(3, 0, 2, 10))]);
        let refused = Err(ProducerError::NotTransactional { producer_id: 7 });
        for (name, batch, expected) in [
            ("plain", batch(3, 2, 1, 12), refused),
            ("plain, of a later epoch", batch(4, 0, 1, 12), refused),
            ("plain, and out of order", batch(3, 5, 1, 12), out_of_order(2, 5)),
            ("transactional", transactional(batch(3, 2, 1, 12)), Ok(Admission::Append)),
            ("a coordinator's, without a sequence", transactional(batch(3, NO_SEQUENCE, 1, 12)), Ok(Admission::Append)),
        ] {
            assert_eq!(producers.check(&batch, None), expected, "{name}");
        }
    }
}

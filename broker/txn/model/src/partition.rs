//! What the leaders of partitions do. What they take in, the real [`Producers`] decide; here is their log.

use ottla_batch::BatchHeader;
use ottla_log::{Admission, ProducerError, Producers, VerificationGuard};
use ottla_txn::{Marker, MarkerResult, ProducerIdAndEpoch, TransactionResult, TransactionVersion, TxnError};

use crate::Protocol;
use crate::action::HasAll;
use crate::mutant::Mutant;
use crate::producer::WriteResult;
use crate::state::{Batch, HeldBatch, Job, LogEntry, MarkerLetter, OffsetWait, Partition, Stage, State, Waiter};

/// The sequence of a marker.
const NO_SEQUENCE: i32 = -1;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Time does not count here.
const NOW_MS: i64 = 0;

impl Protocol {
    /// A producer's batch arrives at its partition. Unless its transaction is open there, its coordinator is asked
    /// first.
    pub(crate) fn arrive(&self, state: &mut State, batch: Batch, is_heard: bool) -> Option<()> {
        let partition = state.partition_mut(batch.partition);
        let bumps = self.protocol(batch.job.producer) >= TransactionVersion::V2;
        match partition.producers.begin_verification(&header_of(&batch), bumps, NOW_MS) {
            Ok(Some(guard)) if !self.is(Mutant::NotVerified) => {
                let held = HeldBatch { batch, is_heard, guard, stage: Stage::Begun };
                let same = |other: &HeldBatch| other.batch == batch && other.is_heard == is_heard;
                if partition.held.iter().any(same) {
                    return None;
                }
                partition.held.push(held);
                partition.held.sort_by_key(|held| (held.batch, held.is_heard));
                Some(())
            }
            Ok(guard) => self.append(state, batch, is_heard, guard),
            Err(error) => {
                self.answer(state, &batch, is_heard, &refusal(&error));
                Some(())
            }
        }
    }

    /// The coordinator's answer about a batch that waits.
    pub(crate) fn hear_of_verification(
        &self,
        state: &mut State,
        partition: usize,
        held: usize,
        verified: Result<(), TxnError>,
    ) {
        let Err(error) = verified else {
            state.partition_mut(partition).held[held].stage = Stage::Verified;
            return;
        };
        state.seen.not_verified = true;
        let HeldBatch { batch, is_heard, .. } = state.partition_mut(partition).held.remove(held);
        let result = match error {
            TxnError::ProducerFenced => WriteResult::Fenced,
            TxnError::ConcurrentTransactions
            | TxnError::CoordinatorLoadInProgress
            | TxnError::CoordinatorNotAvailable
            | TxnError::NotCoordinator => WriteResult::Retriable,
            TxnError::InvalidRequest
            | TxnError::InvalidTxnState
            | TxnError::InvalidProducerIdMapping
            | TxnError::InvalidTransactionTimeout
            | TxnError::TransactionalIdNotFound
            | TxnError::TransactionAbortable
            | TxnError::UnknownServerError => WriteResult::Refused,
        };
        self.answer(state, &batch, is_heard, &result);
    }

    /// A batch that was verified is appended.
    pub(crate) fn append_held(&self, state: &mut State, partition: usize, held: usize) -> Option<()> {
        if state.partitions[partition].held[held].stage != Stage::Verified {
            return None;
        }
        let HeldBatch { batch, is_heard, mut guard, .. } = state.partition_mut(partition).held.remove(held);
        if self.is(Mutant::GuardOutlivesMarkers) {
            let producers = &mut state.partition_mut(partition).producers;
            if let Ok(Some(renewed)) = producers.begin_verification(&header_of(&batch), false, NOW_MS) {
                guard = renewed;
            }
        }
        self.append(state, batch, is_heard, Some(guard))
    }

    fn append(&self, state: &mut State, batch: Batch, is_heard: bool, guard: Option<VerificationGuard>) -> Option<()> {
        let number = batch.partition;
        let partition = state.partition_mut(number);
        if self.is_part_of_another(partition, &batch) {
            return None;
        }
        let header = header_of(&batch);
        let (end, is_known) = match partition.producers.check(&header, guard) {
            Ok(Admission::Append) => {
                let Batch { job, identity: producer, sequence, .. } = batch;
                partition.push(LogEntry::Record { job, producer, sequence, outcome: None });
                (partition.log.len(), false)
            }
            Ok(Admission::Duplicate(known)) => (known.last_offset as usize + 1, true),
            Err(error) => {
                state.seen.void_guard = matches!(error, ProducerError::NotVerified { .. });
                self.answer(state, &batch, is_heard, &refusal(&error));
                return Some(());
            }
        };
        if is_heard {
            partition.wait(OffsetWait { end, who: Waiter::Producer(batch) });
        }
        state.seen.duplicate = is_known;
        self.commit_at_once(state, number);
        Some(())
    }

    /// Before V2 a delayed record of a transaction that has ended goes into the next one if that is open: the epoch is
    /// the same (KAFKA-17754). Those are left out.
    fn is_part_of_another(&self, partition: &Partition, batch: &Batch) -> bool {
        let open = partition.open(batch.identity.producer_id);
        let is_another = open.is_some_and(|(job, producer)| job != batch.job && producer == batch.identity);
        self.may_confuse(batch.job) && is_another
    }

    fn answer(&self, state: &mut State, batch: &Batch, is_heard: bool, result: &WriteResult) {
        if is_heard {
            self.hear_of_record(state, batch.job.producer, batch, result);
        }
    }

    /// A marker arrives. `is_heard`: its coordinator hears what becomes of it.
    pub(crate) fn mark(&self, state: &mut State, letter: MarkerLetter, is_heard: bool) -> Option<()> {
        let MarkerLetter { marker, partition: number, job, .. } = letter;
        let partition = state.partition_mut(number);
        let who = Waiter::Coordinator(letter);
        if self.ends_another(partition, &letter) || (is_heard && partition.waiting.iter().any(|at| at.who == who)) {
            return None;
        }
        let mut said = batch_marker(&marker);
        let mut version = marker.transaction_version.level() as i8;
        if self.is(Mutant::NoCoordinatorEpoch) {
            said.coordinator_epoch = i32::MAX;
        }
        if self.is(Mutant::MarkersOfTheSameEpoch) {
            version = 1;
        }
        match partition.producers.check_marker(marker.producer_id, marker.producer_epoch, said, version) {
            Ok(()) => {
                partition.push(LogEntry::Marker { job, marker });
                if is_heard {
                    partition.wait(OffsetWait { end: partition.log.len(), who });
                }
                self.commit_at_once(state, number);
            }
            Err(ProducerError::CoordinatorFenced { .. }) => {
                state.seen.refused_coordinator = true;
                if is_heard {
                    self.report(state, &letter, MarkerResult::CoordinatorFenced);
                }
            }
            Err(
                ProducerError::StaleEpoch { .. }
                | ProducerError::OutOfOrderSequence { .. }
                | ProducerError::NotTransactional { .. }
                | ProducerError::NotVerified { .. },
            ) => {
                state.seen.refused_marker = true;
                if is_heard {
                    self.report(state, &letter, MarkerResult::ProducerFenced);
                }
            }
        }
        Some(())
    }

    pub(crate) fn repeat_mark(&self, state: &mut State, letter: MarkerLetter) -> Option<()> {
        state.used.repeats += 1;
        self.mark(state, letter, false)
    }

    /// Before V2 a marker that comes again when its transaction is complete ends the next one: the epoch is the same.
    /// Only a newer coordinator that has written a marker there in between prevents that. Where none has, such markers
    /// are left out.
    fn ends_another(&self, partition: &Partition, letter: &MarkerLetter) -> bool {
        let MarkerLetter { marker, job, .. } = letter;
        let Some((open, producer)) = partition.open(marker.producer_id) else { return false };
        let is_current = partition.coordinator_epoch(marker.producer_id) <= marker.coordinator_epoch;
        let is_another = *job != Some(open) && producer.producer_epoch == marker.producer_epoch;
        self.may_confuse(open) && is_another && is_current
    }

    /// Where no election is to happen, a log is committed as soon as it is written.
    fn commit_at_once(&self, state: &mut State, partition: usize) {
        if self.bounds.elections == 0 {
            self.replicate(state, partition);
        }
    }

    /// A partition's log is committed as far as it goes.
    pub(crate) fn replicate(&self, state: &mut State, number: usize) -> Option<()> {
        let partition = state.partition_mut(number);
        partition.committed = partition.log.len();
        partition.producers.committed(partition.committed as i64);
        for OffsetWait { who, .. } in std::mem::take(&mut partition.waiting) {
            match who {
                Waiter::Producer(batch) => self.answer(state, &batch, true, &WriteResult::Acknowledged),
                Waiter::Coordinator(letter) => self.report(state, &letter, MarkerResult::Written),
            }
        }
        Some(())
    }

    /// Another broker leads. Who waits for the former leader loses its connection, and asks again.
    pub(crate) fn elect(&self, state: &mut State, number: usize, has_all: HasAll) -> Option<()> {
        state.used.elections += 1;
        let partition = state.partition_mut(number);
        let is_cut = !has_all && partition.committed < partition.log.len();
        let (held, waiting) = (std::mem::take(&mut partition.held), std::mem::take(&mut partition.waiting));
        if is_cut {
            partition.log.truncate(partition.committed);
        }
        let log = std::mem::take(&mut partition.log);
        partition.producers = Producers::default();
        log.into_iter().for_each(|entry| partition.push(entry));
        partition.producers.committed(partition.committed as i64);
        state.seen.cut = is_cut;
        for HeldBatch { batch, is_heard, .. } in held {
            self.answer(state, &batch, is_heard, &WriteResult::Retriable);
        }
        for OffsetWait { who, .. } in waiting {
            if let Waiter::Producer(batch) = who {
                self.answer(state, &batch, true, &WriteResult::Retriable);
            }
        }
        Some(())
    }
}

impl Partition {
    /// Appends, and has the real producers take note.
    fn push(&mut self, entry: LogEntry) {
        let offset = self.log.len();
        let ended = match &entry {
            LogEntry::Record { producer, sequence, .. } => {
                self.producers.note(&header(*producer, *sequence, offset, TRANSACTIONAL), None, NOW_MS)
            }
            LogEntry::Marker { marker, .. } => {
                let Marker { producer_id, producer_epoch, .. } = *marker;
                let producer = ProducerIdAndEpoch { producer_id, producer_epoch };
                let header = header(producer, NO_SEQUENCE, offset, TRANSACTIONAL | CONTROL);
                self.producers.note(&header, Some(batch_marker(marker)), NOW_MS)
            }
        };
        self.log.push(entry);
        let Some(ended) = ended else { return };
        let outcome_of_marker = ended.outcome.map(|outcome| match outcome {
            ottla_batch::ControlRecordType::Commit => TransactionResult::Commit,
            ottla_batch::ControlRecordType::Abort => TransactionResult::Abort,
        });
        let offsets = ended.first_offset as usize..=ended.last_offset as usize;
        for entry in &mut self.log[offsets] {
            if let LogEntry::Record { producer, outcome, .. } = entry
                && producer.producer_id == ended.producer_id
            {
                *outcome = outcome_of_marker;
            }
        }
    }

    fn wait(&mut self, waiting: OffsetWait) {
        self.waiting.push(waiting);
        self.waiting.sort_unstable();
    }

    /// The transaction that a producer has open here, and the producer; `None`: it has none open.
    pub fn open(&self, id: i64) -> Option<(Job, ProducerIdAndEpoch)> {
        let start = self.producers.get(id)?.transaction_start?;
        match self.log.get(start as usize)? {
            LogEntry::Record { job, producer, .. } => Some((*job, *producer)),
            LogEntry::Marker { .. } => None,
        }
    }

    /// Of the newest coordinator that has ended a transaction of the producer here.
    fn coordinator_epoch(&self, id: i64) -> i32 {
        self.producers.get(id).map_or(-1, |producer| producer.coordinator_epoch)
    }

    /// Before this offset everything is decided, and committed, for readers of committed records: what the real
    /// producers make of it.
    pub fn last_stable(&self) -> usize {
        let first_undecided = self.producers.first_undecided().map_or(self.committed, |offset| offset as usize);
        first_undecided.min(self.committed)
    }
}

fn refusal(error: &ProducerError) -> WriteResult {
    match error {
        ProducerError::StaleEpoch { .. } => WriteResult::Fenced,
        ProducerError::OutOfOrderSequence { .. }
        | ProducerError::CoordinatorFenced { .. }
        | ProducerError::NotTransactional { .. }
        | ProducerError::NotVerified { .. } => WriteResult::Refused,
    }
}

fn batch_marker(marker: &Marker) -> ottla_batch::Marker {
    let outcome = match marker.outcome {
        TransactionResult::Commit => ottla_batch::ControlRecordType::Commit,
        TransactionResult::Abort => ottla_batch::ControlRecordType::Abort,
    };
    ottla_batch::Marker { outcome, coordinator_epoch: marker.coordinator_epoch }
}

fn header_of(batch: &Batch) -> BatchHeader {
    header(batch.identity, batch.sequence, 0, TRANSACTIONAL)
}

/// Of a batch of one record.
fn header(producer: ProducerIdAndEpoch, base_sequence: i32, offset: usize, attributes: i16) -> BatchHeader {
    let ProducerIdAndEpoch { producer_id, producer_epoch } = producer;
    BatchHeader {
        base_offset: offset as i64,
        length: 100,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes,
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id,
        producer_epoch,
        base_sequence,
        records_count: 1,
    }
}

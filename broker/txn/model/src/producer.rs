//! What producers do: one thing at a time, asked again until it is answered. They write one record to each partition.

use ottla_txn::{TransactionResult, TransactionVersion, TxnError, TxnReply};

use crate::Protocol;
use crate::mutant::Mutant;
use crate::state::{Batch, Doing, Job, Letter, PARTITIONS, Producer, State};

/// What came of a record.
pub(crate) enum WriteResult {
    /// It is committed, or was before.
    Acknowledged,
    /// It may be written the next time.
    Retriable,
    /// A newer epoch of the producer is known.
    Fenced,
    /// Its transaction can't be continued.
    Refused,
}

impl Protocol {
    /// The protocol that a producer speaks.
    pub(crate) fn protocol(&self, producer: usize) -> TransactionVersion {
        self.bounds.protocols[producer]
    }

    /// What its requests say.
    pub(crate) fn version_of_requests(&self, producer: usize) -> TransactionVersion {
        if self.is(Mutant::NoEpochBump) { TransactionVersion::V0 } else { self.protocol(producer) }
    }

    pub(crate) fn start(&self, state: &mut State) -> Option<()> {
        let second = 1;
        let may_start = state.producers[second].doing == Doing::Nothing && self.bounds.transactions[second] > 0;
        may_start.then(|| self.turn_to(state, second, Doing::Beginning))
    }

    pub(crate) fn open(&self, state: &mut State, producer: usize) -> Option<()> {
        state.producers[producer].begun += 1;
        let adds = self.protocol(producer) < TransactionVersion::V2;
        self.turn_to(state, producer, if adds { Doing::Adding } else { Doing::Writing(0) });
        Some(())
    }

    /// It may abort at any time after its first record was sent, also while that is on its way.
    pub(crate) fn decide_to_end(&self, state: &mut State, producer: usize, outcome: TransactionResult) -> Option<()> {
        self.turn_to(state, producer, Doing::Ending(outcome));
        Some(())
    }

    /// It does something else. The request for that is on its way, and may arrive at any time.
    fn turn_to(&self, state: &mut State, producer: usize, doing: Doing) {
        let it = &mut state.producers[producer];
        (it.doing, it.waits) = (doing, false);
        if let Doing::Writing(_) = doing {
            it.has_unacknowledged = true;
        }
        if let Some(letter) = it.letter(producer) {
            state.sent.insert(letter);
        }
    }

    /// The request that it waits with arrives.
    pub(crate) fn ask(&self, state: &mut State, producer: usize, at: usize) -> Option<()> {
        let it = &mut state.producers[producer];
        let letter = it.letter(producer).filter(|_| !it.waits)?;
        it.waits = true;
        match letter {
            Letter::Write(batch) => self.arrive(state, batch, true),
            Letter::Begin { .. } | Letter::Add { .. } | Letter::End { .. } => {
                self.request(state, at, letter, Some(producer))
            }
        }
    }

    /// A request arrives, and nobody waits for its answer.
    pub(crate) fn repeat(&self, state: &mut State, letter: Letter) -> Option<()> {
        state.used.repeats += 1;
        match letter {
            Letter::Write(batch) => self.arrive(state, batch, false),
            Letter::Begin { .. } | Letter::Add { .. } | Letter::End { .. } => {
                self.request(state, state.present(), letter, None)
            }
        }
    }

    /// A coordinator's answer, unless it is one to an earlier request.
    pub(crate) fn hear(&self, state: &mut State, producer: usize, reply: &TxnReply) {
        let it = &mut state.producers[producer];
        let error = match (it.doing, reply) {
            (Doing::Beginning | Doing::Renewing, TxnReply::InitProducerId(Ok(identity))) => {
                (it.identity, it.next_sequence) = (*identity, [0; PARTITIONS]);
                it.has_unacknowledged = false;
                state.seen.renewed = it.doing == Doing::Renewing;
                return self.turn_to(state, producer, Doing::Ready);
            }
            (Doing::Adding, TxnReply::AddPartitions(Ok(()))) => {
                return self.turn_to(state, producer, Doing::Writing(0));
            }
            (Doing::Ending(outcome), TxnReply::EndTxn(Ok(next))) => {
                if let Some(identity) = next {
                    (it.identity, it.next_sequence) = (*identity, [0; PARTITIONS]);
                    it.has_unacknowledged = false;
                }
                state.answered.insert(it.job(producer), outcome);
                // As Kafka's client: it does not know which sequence comes next.
                let renews = it.has_unacknowledged;
                return self.turn_to(state, producer, if renews { Doing::Renewing } else { Doing::Ready });
            }
            (Doing::Beginning | Doing::Renewing, TxnReply::InitProducerId(Err(error)))
            | (Doing::Adding, TxnReply::AddPartitions(Err(error)))
            | (Doing::Ending(_), TxnReply::EndTxn(Err(error))) => error,
            _ => return,
        };
        match error {
            TxnError::ConcurrentTransactions
            | TxnError::CoordinatorNotAvailable
            | TxnError::NotCoordinator
            | TxnError::CoordinatorLoadInProgress => it.waits = false,
            TxnError::ProducerFenced | TxnError::InvalidProducerIdMapping => {
                state.seen.fenced = true;
                self.turn_to(state, producer, Doing::Stopped);
            }
            TxnError::InvalidRequest
            | TxnError::InvalidTxnState
            | TxnError::InvalidTransactionTimeout
            | TxnError::TransactionalIdNotFound
            | TxnError::TransactionAbortable
            | TxnError::UnknownServerError => self.turn_to(state, producer, Doing::Stopped),
        }
    }

    /// What came of the record that it waits for.
    pub(crate) fn hear_of_record(&self, state: &mut State, producer: usize, batch: &Batch, result: &WriteResult) {
        let it = &mut state.producers[producer];
        if it.letter(producer) != Some(Letter::Write(*batch)) {
            return;
        }
        match result {
            WriteResult::Acknowledged => {
                it.next_sequence[batch.partition] += 1;
                it.has_unacknowledged = false;
                let next = batch.partition + 1;
                self.turn_to(state, producer, if next < PARTITIONS { Doing::Writing(next) } else { Doing::Written });
            }
            WriteResult::Retriable => it.waits = false,
            WriteResult::Fenced => {
                state.seen.fenced = true;
                self.turn_to(state, producer, Doing::Stopped);
            }
            WriteResult::Refused => self.turn_to(state, producer, Doing::Ending(TransactionResult::Abort)),
        }
    }
}

impl Producer {
    /// Whether it acts under its identity.
    pub fn has_identity(&self) -> bool {
        match self.doing {
            Doing::Nothing | Doing::Beginning | Doing::Stopped => false,
            Doing::Renewing | Doing::Ready | Doing::Adding | Doing::Writing(_) | Doing::Written | Doing::Ending(_) => {
                true
            }
        }
    }

    /// The transaction that it is about.
    pub fn job(&self, producer: usize) -> Job {
        Job { producer, number: self.begun }
    }

    /// The request that it repeats until it is answered; `None`: it has nothing to ask for.
    pub fn letter(&self, producer: usize) -> Option<Letter> {
        let (job, identity) = (self.job(producer), self.identity);
        match self.doing {
            Doing::Beginning => Some(Letter::Begin { producer, keeps: None }),
            Doing::Renewing => Some(Letter::Begin { producer, keeps: Some(identity) }),
            Doing::Adding => Some(Letter::Add { job, identity }),
            Doing::Writing(partition) => {
                Some(Letter::Write(Batch { job, identity, partition, sequence: self.next_sequence[partition] }))
            }
            Doing::Ending(outcome) => Some(Letter::End { job, identity, outcome }),
            Doing::Nothing | Doing::Ready | Doing::Written | Doing::Stopped => None,
        }
    }
}

//! Producers as a program has them: one thing at a time, asked again until it is answered.

use std::collections::BTreeSet;

use ottla_txn::*;

pub const CLIENTS: usize = 3;

/// Partitions of a transaction are numbered from ten times its number.
const PARTITIONS: i32 = 10;

/// Everything that has one identity after the other: an instance of a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instance(pub u32);

#[derive(Clone, Debug)]
pub struct Client {
    pub v2: bool,
    pub instance: Instance,
    pub producer: Option<ProducerIdAndEpoch>,
    pub doing: Doing,
    pub waits_for: Option<Ticket>,
}

#[derive(Clone, Debug)]
pub enum Doing {
    /// It needs an identity.
    Nothing,
    /// It asked for another epoch under the identity it has.
    Recovering,
    Ready,
    /// It adds a partition until it is answered.
    Adding(i32, TopicPartition),
    Open(i32),
    Ending(i32, TransactionResult),
}

/// A request, who sends it, and of which transaction.
#[derive(Clone, Debug)]
pub struct Asked {
    pub instance: Instance,
    pub request: Request,
    pub transaction: Option<i32>,
    /// It makes an identity, rather than use one.
    pub is_fresh: bool,
}

pub fn id() -> TransactionalId {
    "x".into()
}

pub fn transaction_of(partition: &TopicPartition) -> i32 {
    partition.partition / PARTITIONS
}

impl Client {
    pub fn new(v2: bool, instance: Instance) -> Self {
        Client { v2, instance, producer: None, doing: Doing::Nothing, waits_for: None }
    }

    /// The next request of a good client; `choice` is its program's, `next` the number of the next transaction.
    pub fn step(&mut self, choice: u8, next: &mut i32) -> Asked {
        let partition = |number, which: u8| TopicPartition {
            topic: "t".into(),
            partition: number * PARTITIONS + i32::from(which % 4),
        };
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Ready if self.v2 && choice < 60 => {
                *next += 1;
                Doing::Ending(*next, TransactionResult::Abort) // of nothing
            }
            Doing::Ready => {
                *next += 1;
                Doing::Adding(*next, partition(*next, choice))
            }
            Doing::Open(number) if choice < 100 => Doing::Adding(number, partition(number, choice)),
            Doing::Open(number) if choice < 190 => Doing::Ending(number, TransactionResult::Commit),
            Doing::Open(number) => Doing::Ending(number, TransactionResult::Abort),
            doing => doing,
        };
        self.ask()
    }

    fn ask(&self) -> Asked {
        let (instance, transactional_id) = (self.instance, id());
        let client_version = if self.v2 { TransactionVersion::V2 } else { TransactionVersion::V0 };
        let (request, transaction) = match (&self.doing, self.producer) {
            (Doing::Adding(number, partition), Some(producer)) => {
                let partitions = BTreeSet::from([partition.clone()]);
                let request = AddPartitions { transactional_id, producer, partitions, client_version };
                (Request::AddPartitions(request), Some(*number))
            }
            (Doing::Ending(number, outcome), Some(producer)) => {
                let request = EndTxn { transactional_id, producer, outcome: *outcome, client_version };
                (Request::EndTxn(request), Some(*number))
            }
            (Doing::Recovering, Some(ProducerIdAndEpoch { producer_id, producer_epoch })) => {
                let request = InitProducerId { transactional_id, timeout_ms: 20_000, producer_id, producer_epoch };
                (Request::InitProducerId(request), None)
            }
            (Doing::Nothing, _) => {
                let request =
                    InitProducerId { transactional_id, timeout_ms: 20_000, producer_id: -1, producer_epoch: -1 };
                (Request::InitProducerId(request), None)
            }
            (doing, producer) => panic!("{doing:?} asks for nothing as {producer:?}"),
        };
        Asked { instance, request, transaction, is_fresh: matches!(self.doing, Doing::Nothing) }
    }

    /// What a good client makes of an answer. One that lost its identity, or can't know its transaction's outcome,
    /// becomes another instance.
    pub fn answered(&mut self, reply: &TxnReply, next_instance: impl FnOnce() -> Instance) {
        let error = match reply {
            TxnReply::InitProducerId(Ok(producer)) => {
                self.producer = Some(*producer);
                self.doing = Doing::Ready;
                return;
            }
            TxnReply::AddPartitions(Ok(())) => {
                if let Doing::Adding(number, _) = self.doing {
                    self.doing = Doing::Open(number);
                }
                return;
            }
            TxnReply::EndTxn(Ok(next)) => {
                self.producer = next.or(self.producer);
                self.doing = Doing::Ready;
                return;
            }
            TxnReply::InitProducerId(Err(error))
            | TxnReply::AddPartitions(Err(error))
            | TxnReply::EndTxn(Err(error)) => error,
        };
        match error {
            TxnError::ConcurrentTransactions
            | TxnError::CoordinatorNotAvailable
            | TxnError::NotCoordinator
            | TxnError::CoordinatorLoadInProgress => {}
            _ => *self = Client::new(self.v2, next_instance()),
        }
    }
}

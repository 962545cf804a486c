//! The plain values of requests and replies. The broker's handlers translate them from and to the wire.

use std::collections::BTreeSet;

use crate::error::TxnError;
use crate::ids::{ProducerIdAndEpoch, TopicPartition, TransactionalId};
use crate::transaction::{TransactionResult, TransactionState, TransactionVersion};

/// What may change a transactional id: for [`Shard::request`](crate::Shard::request).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// InitProducerId with a transactional id.
    InitProducerId(InitProducerId),
    /// AddPartitionsToTxn without `verifyOnly`, and AddOffsetsToTxn.
    AddPartitions(AddPartitions),
    /// EndTxn.
    EndTxn(EndTxn),
}

impl Request {
    /// The transactional id that it is about.
    pub fn transactional_id(&self) -> &TransactionalId {
        match self {
            Request::InitProducerId(InitProducerId { transactional_id, .. })
            | Request::AddPartitions(AddPartitions { transactional_id, .. })
            | Request::EndTxn(EndTxn { transactional_id, .. }) => transactional_id,
        }
    }

    /// The same kind of reply, refused.
    pub(crate) fn refused(&self, error: TxnError) -> TxnReply {
        match self {
            Request::InitProducerId(_) => TxnReply::InitProducerId(Err(error)),
            Request::AddPartitions(_) => TxnReply::AddPartitions(Err(error)),
            Request::EndTxn(_) => TxnReply::EndTxn(Err(error)),
        }
    }
}

/// InitProducerId, up to version 5. Two-phase commit (version 6, KIP-939) is unstable in Kafka 4.3 and not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitProducerId {
    /// Whose identity. A producer without a transactional id needs no coordinator.
    pub transactional_id: TransactionalId,
    /// How long a transaction may be open.
    pub timeout_ms: i32,
    /// The producer's present id, if the producer wants to keep its identity (KIP-360), else −1. Below version 3: −1.
    pub producer_id: i64,
    /// With `producer_id`, or −1.
    pub producer_epoch: i16,
}

/// Partitions that a producer is about to write to in its transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddPartitions {
    /// Whose transaction.
    pub transactional_id: TransactionalId,
    /// Who writes.
    pub producer: ProducerIdAndEpoch,
    /// The partitions. For AddOffsetsToTxn, that of the group in `__consumer_offsets`.
    pub partitions: BTreeSet<TopicPartition>,
    /// V2 if a leader or a group coordinator adds them for its client (AddPartitionsToTxn version 4 and later), V0 if
    /// the client does.
    pub client_version: TransactionVersion,
}

/// AddPartitionsToTxn with `verifyOnly`: a leader asks whether a batch belongs to an open transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyPartitions {
    /// Whose transaction.
    pub transactional_id: TransactionalId,
    /// Who writes.
    pub producer: ProducerIdAndEpoch,
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
}

/// The answer to a verification: one result per partition, in the request's order.
pub type VerifyReply = Result<Vec<Result<(), TxnError>>, TxnError>;

/// EndTxn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndTxn {
    /// Whose transaction.
    pub transactional_id: TransactionalId,
    /// Who ends it.
    pub producer: ProducerIdAndEpoch,
    /// Commit or abort.
    pub outcome: TransactionResult,
    /// V2 from version 5 of the request on, else V0. The cluster's version does not matter here.
    pub client_version: TransactionVersion,
}

/// An answer to a ticket. Its kind is that of the request the ticket came with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TxnReply {
    /// The producer's identity.
    InitProducerId(Result<ProducerIdAndEpoch, TxnError>),
    /// All partitions have the same result.
    AddPartitions(Result<(), TxnError>),
    /// Under V2 the producer of the next transaction; before that nothing, −1 and −1 on the wire.
    EndTxn(Result<Option<ProducerIdAndEpoch>, TxnError>),
}

impl TxnReply {
    /// The same kind of reply, refused.
    pub(crate) fn refused(&self, error: TxnError) -> TxnReply {
        match self {
            TxnReply::InitProducerId(_) => TxnReply::InitProducerId(Err(error)),
            TxnReply::AddPartitions(_) => TxnReply::AddPartitions(Err(error)),
            TxnReply::EndTxn(_) => TxnReply::EndTxn(Err(error)),
        }
    }
}

/// A transactional id as DescribeTransactions shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedTransaction {
    /// The producer.
    pub producer: ProducerIdAndEpoch,
    /// Its state.
    pub state: TransactionState,
    /// How long a transaction may be open.
    pub timeout_ms: i32,
    /// Wall clock of the transaction's start, or −1.
    pub start_ms: i64,
    /// The partitions of the transaction; once its outcome is decided, those that lack a marker.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Which transactional ids ListTransactions asks for. All conditions must hold.
#[derive(Clone, Copy, Default)]
pub struct ListFilter<'a> {
    /// One of these producer ids; any if there are none.
    pub producer_ids: &'a [i64],
    /// One of these states, as [`states_named`](super::states_named) reads them; any if `None`.
    pub states: Option<&'a BTreeSet<TransactionState>>,
    /// Open for longer than this, in milliseconds; any if `None`, or negative, as where the request has none.
    pub duration_ms: Option<i64>,
    /// The transactional id matches the request's regular expression, which the caller has compiled; `None`: any id.
    pub id_matches: Option<&'a dyn Fn(&str) -> bool>,
}

/// A transactional id as ListTransactions shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTransaction {
    /// The id.
    pub transactional_id: TransactionalId,
    /// The producer id in use.
    pub producer_id: i64,
    /// Its state.
    pub state: TransactionState,
}

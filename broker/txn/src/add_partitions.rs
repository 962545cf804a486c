//! AddPartitionsToTxn and AddOffsetsToTxn: a partition must be known here before a record in it belongs to a
//! transaction. And verification, the question whether it is.

use crate::error::TxnError;
use crate::request::{AddPartitions, TxnReply, VerifyPartitions, VerifyReply};
use crate::transaction::{Transaction, TransactionState};
use crate::turn::{CurrentTransaction, Turn, TxnDecision};

pub(crate) fn decide(
    request: &AddPartitions,
    found: CurrentTransaction<'_>,
    turn: &Turn<'_>,
) -> Result<TxnDecision, TxnError> {
    if request.transactional_id.is_empty() {
        return Err(TxnError::InvalidRequest);
    }
    // First of all: while an end is under way, the producer may have the identity that is still on its way
    // (KAFKA-18660).
    let current = found.settled()?.ok_or(TxnError::InvalidProducerIdMapping)?;
    current.check_producer(request.producer)?;
    let reply = TxnReply::AddPartitions(Ok(()));
    if current.state == TransactionState::Ongoing && current.partitions.is_superset(&request.partitions) {
        return Ok(TxnDecision::Answer(reply));
    }
    let added = request.partitions.iter().cloned();
    Ok(TxnDecision::Write(current.with_partitions(added, request.client_version, turn.now.wall_ms), reply))
}

/// Reads only what is committed.
pub(crate) fn verify(request: &VerifyPartitions, found: Option<&Transaction>) -> VerifyReply {
    if request.transactional_id.is_empty() {
        return Err(TxnError::InvalidRequest);
    }
    let current = found.ok_or(TxnError::InvalidProducerIdMapping)?;
    current.check_producer(request.producer)?;
    if let TransactionState::Prepare(_) = current.state {
        return Err(TxnError::ConcurrentTransactions);
    }
    let is_in = |partition| {
        if current.partitions.contains(partition) { Ok(()) } else { Err(TxnError::TransactionAbortable) }
    };
    Ok(request.partitions.iter().map(is_in).collect())
}

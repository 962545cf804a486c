//! EndTxn: commit or abort. The request's version alone decides which protocol applies.
//!
//! Before V2 the epoch stays the same, so the coordinator can't distinguish a repeated request from a request for the
//! next transaction: a delayed request ends the wrong transaction (KAFKA-17754). V2 bumps the epoch with every end, and
//! the coordinator recognises repeated requests by their epoch.

use crate::error::TxnError;
use crate::request::{EndTxn, TxnReply};
use crate::transaction::{TransactionResult, TransactionState};
use crate::turn::{CurrentTransaction, Turn, TxnDecision};

pub(crate) fn decide(
    request: &EndTxn,
    found: CurrentTransaction<'_>,
    turn: &mut Turn<'_>,
) -> Result<TxnDecision, TxnError> {
    if request.transactional_id.is_empty() {
        return Err(TxnError::InvalidRequest);
    }
    if request.client_version.bumps_epoch() { bumping(request, found, turn) } else { plain(request, found, turn) }
}

/// EndTxn up to version 4. The epoch must be the very one (KAFKA-9600).
fn plain(request: &EndTxn, found: CurrentTransaction<'_>, turn: &mut Turn<'_>) -> Result<TxnDecision, TxnError> {
    let EndTxn { producer, outcome, client_version, .. } = *request;
    let current = found.transaction.ok_or(TxnError::InvalidProducerIdMapping)?;
    current.check_producer(producer)?;
    found.settled()?;
    let reply = TxnReply::EndTxn(Ok(None));
    match current.state {
        TransactionState::Ongoing => {
            Ok(TxnDecision::Write(current.prepared(outcome, client_version, turn.ids, turn.now.wall_ms)?, reply))
        }
        TransactionState::Complete(ended) if ended == outcome => Ok(TxnDecision::Answer(reply)),
        TransactionState::Empty | TransactionState::Prepare(_) | TransactionState::Complete(_) => {
            Err(TxnError::InvalidTxnState)
        }
    }
}

/// EndTxn from version 5 on: the answer names the producer of the next transaction.
///
/// | | abort again | abort | commit again | commit |
/// |---|---|---|---|---|
/// | Ongoing | 90 | ends | 90 | ends |
/// | Empty | 90 | bumps | 90 | 48 |
/// | CompleteAbort | answered again | bumps | 90 | 48 |
/// | CompleteCommit | 48 | bumps | answered again | 48 |
///
/// A client that repeats itself asks for the same outcome again. So a commit that finds its transaction aborted comes
/// too late: the coordinator has aborted it by itself, after its time-out or for another instance of the producer.
/// Kafka 4.3 answers 48, which every client takes for a fault of its own that nothing cures: Kafka Streams loses the
/// thread, though nothing of the transaction has stayed. It meets 90, as under the older protocol: Streams and others
/// begin again after that. Kafka does the same since KAFKA-20785 (apache/kafka#23204).
fn bumping(request: &EndTxn, found: CurrentTransaction<'_>, turn: &mut Turn<'_>) -> Result<TxnDecision, TxnError> {
    let EndTxn { producer, outcome, client_version, .. } = *request;
    let current = found.settled()?.ok_or(TxnError::InvalidProducerIdMapping)?;
    if current.was_ended_by(producer) {
        return match current.state {
            TransactionState::Complete(ended) if ended == outcome => {
                Ok(TxnDecision::Answer(TxnReply::EndTxn(Ok(Some(current.producer())))))
            }
            TransactionState::Complete(TransactionResult::Abort) => Err(TxnError::ProducerFenced),
            TransactionState::Complete(TransactionResult::Commit)
            | TransactionState::Empty
            | TransactionState::Ongoing
            | TransactionState::Prepare(_) => Err(TxnError::InvalidTxnState),
        };
    }
    current.check_producer(producer)?;
    if current.state != TransactionState::Ongoing && outcome == TransactionResult::Commit {
        return Err(TxnError::InvalidTxnState);
    }
    let next = current.prepared(outcome, client_version, turn.ids, turn.now.wall_ms)?;
    let reply = TxnReply::EndTxn(Ok(Some(next.next_producer())));
    Ok(TxnDecision::Write(next, reply))
}

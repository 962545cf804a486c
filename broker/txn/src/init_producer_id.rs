//! InitProducerId: who may speak for a transactional id from now on (KIP-98, KIP-360, KIP-588).

use std::time::Duration;

use crate::error::TxnError;
use crate::ids::ProducerIdAndEpoch;
use crate::request::{InitProducerId, TxnReply};
use crate::transaction::{Transaction, TransactionState};
use crate::turn::{CurrentTransaction, Turn, TxnDecision};

pub(crate) fn decide(
    request: &InitProducerId,
    found: CurrentTransaction<'_>,
    turn: &mut Turn<'_>,
) -> Result<TxnDecision, TxnError> {
    let given = given_producer(request)?;
    if request.transactional_id.is_empty() {
        return Err(TxnError::InvalidRequest);
    }
    let timeout_ms = request.timeout_ms;
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    if timeout.is_zero() || timeout > turn.config.max_timeout {
        return Err(TxnError::InvalidTransactionTimeout);
    }
    let next = match found.settled()? {
        None => Transaction::new(turn.ids.draw()?, timeout_ms, turn.now.wall_ms),
        Some(current) if current.state == TransactionState::Ongoing => return interrupt(current, given, turn),
        Some(current) => continue_as(current, given, timeout_ms, turn)?,
    };
    let reply = TxnReply::InitProducerId(Ok(next.producer()));
    Ok(TxnDecision::Write(next, reply))
}

/// The identity that the producer wants to keep: both halves, or neither.
fn given_producer(request: &InitProducerId) -> Result<Option<ProducerIdAndEpoch>, TxnError> {
    match (request.producer_id, request.producer_epoch) {
        (-1, -1) => Ok(None),
        (-1, _) | (_, -1) => Err(TxnError::InvalidRequest),
        (producer_id, producer_epoch) => Ok(Some(ProducerIdAndEpoch { producer_id, producer_epoch })),
    }
}

/// A transaction is open: abort it first, and let the client repeat the request. The epoch that fences its producer is
/// not given to another instance: that one's repetition bumps again.
///
/// Kafka looks at a given producer id only, so a fenced producer can abort the transaction of the one that fenced it
/// before it hears that it is fenced.
fn interrupt(
    current: &Transaction,
    given: Option<ProducerIdAndEpoch>,
    turn: &mut Turn<'_>,
) -> Result<TxnDecision, TxnError> {
    if given.is_some_and(|given| given != current.producer()) {
        return Err(TxnError::ProducerFenced);
    }
    let aborted = current.fenced(turn.config.transaction_version, turn.ids, turn.now.wall_ms)?;
    Ok(TxnDecision::Write(aborted, TxnReply::InitProducerId(Err(TxnError::ConcurrentTransactions))))
}

fn continue_as(
    current: &Transaction,
    given: Option<ProducerIdAndEpoch>,
    timeout_ms: i32,
    turn: &mut Turn<'_>,
) -> Result<Transaction, TxnError> {
    match given {
        // A new producer: it fences the producer that has the current epoch.
        None => current.renewed(None, timeout_ms, turn.ids, turn.now.wall_ms),
        Some(given) if given == current.producer() => {
            current.renewed(Some(given.producer_epoch), timeout_ms, turn.ids, turn.now.wall_ms)
        }
        Some(given) if current.is_successor_of(given) => Ok(current.emptied(timeout_ms, turn.now.wall_ms)),
        Some(_) => Err(TxnError::ProducerFenced),
    }
}

//! EndTxn (KIP-98, KIP-890): a producer commits or aborts its transaction.

use ottla_access::Operation;
use ottla_txn::{EndTxn, TransactionResult, TransactionVersion};
use ottla_wire::ErrorCode;
use ottla_wire::m26_end_txn::{EndTxnRequest, EndTxnResponse};

use super::{code, producer};
use crate::handle::context::Context;
use crate::reply::Reply;

/// The version from which on the end of a transaction bumps the producer's epoch.
const BUMPS_FROM: i16 = 5;

/// Answers when the decision is safe; markers follow.
pub(crate) fn handle(context: &Context, request: EndTxnRequest) -> Reply {
    if !context.may_transactional_id(Operation::Write, &request.transactional_id) {
        let error_code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        return context.reply(&EndTxnResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        });
    }
    let bumps = context.version >= BUMPS_FROM;
    let ending = EndTxn {
        transactional_id: (&*request.transactional_id).into(),
        producer: producer(request.producer_id, request.producer_epoch),
        outcome: if request.committed { TransactionResult::Commit } else { TransactionResult::Abort },
        client_version: if bumps { TransactionVersion::V2 } else { TransactionVersion::V0 },
    };
    let (handler, version) = (context.handler.clone(), context.version);
    context.later(async move {
        let ended = handler.transactions.end(ending).await;
        let next = ended.as_ref().ok().copied().flatten();
        EndTxnResponse {
            error_code: code(&ended, version),
            producer_id: next.map_or(-1, |next| next.producer_id),
            producer_epoch: next.map_or(-1, |next| next.producer_epoch),
            ..Default::default()
        }
    })
}

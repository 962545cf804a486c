//! InitProducerId (KIP-98, KIP-360): an id for an idempotent producer, which Java's asks for by default; and the
//! identity of a transactional one.

use std::time::Duration;

use ottla_access::Operation;
use ottla_txn::{InitProducerId, ProducerIdAndEpoch};
use ottla_wire::ErrorCode;
use ottla_wire::m22_init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::env;
use crate::handle::context::Context;
use crate::reply::Reply;

/// The version from which on clients know PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 4;

/// How long a producer waits until this broker has more ids: less than clients wait for any answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns a new id with epoch 0, also to a producer without a transactional id that has an id already.
pub(crate) fn handle(context: &Context, request: InitProducerIdRequest) -> Reply {
    let refuse =
        |error_code| context.reply(&InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() });
    match &request.transactional_id {
        Some(id) if !context.may_transactional_id(Operation::Write, id) => {
            return refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        }
        None if !context.may_write_idempotently() => return refuse(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        Some(_) | None => {}
    }
    // Either both are known (recovery after an error, KIP-360) or neither.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::INVALID_REQUEST);
    }
    if let Some(id) = &request.transactional_id {
        return transactional(context, id, &request);
    }
    let handler = context.handler.clone();
    context.later(async move {
        let deadline = env::now() + PATIENCE;
        let next = tokio::select! {
            biased;
            next = handler.producer_ids.next() => next.map_err(|refused| refused.code),
            // As Kafka's broker answers while it waits for its controller: the producer asks again.
            () = env::sleep_until(deadline) => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        };
        match next {
            Ok(producer_id) => InitProducerIdResponse { producer_id, ..Default::default() },
            Err(error_code) => InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() },
        }
    })
}

/// Bumps the epoch of a transactional id, which fences its last producer, and ends what that left open.
fn transactional(context: &Context, id: &str, request: &InitProducerIdRequest) -> Reply {
    let init = InitProducerId {
        transactional_id: id.into(),
        timeout_ms: request.transaction_timeout_ms,
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let (handler, knows_fenced) = (context.handler.clone(), context.version >= FENCED_FROM);
    context.later(async move {
        match handler.transactions.init_producer_id(init).await {
            Ok(ProducerIdAndEpoch { producer_id, producer_epoch }) => {
                InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() }
            }
            Err(error) => {
                let error_code = if knows_fenced { error.code() } else { error.code_for_old_client() };
                InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() }
            }
        }
    })
}

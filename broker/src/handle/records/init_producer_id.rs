//! InitProducerId (KIP-98, KIP-360): an id for an idempotent producer. Java's producer asks for one by default.
//!
//! Left out: transactional ids, until the transaction coordinator exists.

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::m22_init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::env;
use crate::handle::Context;
use crate::reply::Reply;

/// The error for every transactional id. Java, librdkafka and franz-go fail a producer at once with it; they would
/// retry for ever with "coordinator not available", and librdkafka with any other code.
pub const NO_TRANSACTIONS: ErrorCode = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
/// The message for people, if the answer has a field for it.
pub const NO_TRANSACTIONS_TEXT: &str = "This cluster does not support transactions yet: unset transactional.id. \
Without it, a producer with enable.idempotence=true still writes each record once.";

/// How long a producer waits until this broker has more ids: less than clients wait for any answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns a new id with epoch 0, also to a producer without a transactional id that has an id already.
pub fn handle(context: &Context, request: InitProducerIdRequest) -> Reply {
    let refuse =
        |error_code| context.reply(&InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() });
    match request.transactional_id {
        Some(id) if id.is_empty() => return refuse(ErrorCode::INVALID_REQUEST),
        Some(_) => return refuse(NO_TRANSACTIONS),
        None => {}
    }
    // Either both are known (recovery after an error, KIP-360) or neither.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::INVALID_REQUEST);
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

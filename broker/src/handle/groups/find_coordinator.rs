//! FindCoordinator (KIP-699): which broker coordinates a group.
//!
//! Left out: transactions, which are refused with a final error; coordinators of share groups, which are not available,
//! as in a Kafka that can't create their topic.

use std::collections::BTreeSet;

use ottla_wire::m10_find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, NodeEndpoint, Str};

use crate::ask::Ask;
use crate::coordinator::partition_for;
use crate::handle::leader_hint::LeaderHint;
use crate::handle::once::once;
use crate::handle::records::init_producer_id::{NO_TRANSACTIONS, NO_TRANSACTIONS_TEXT};
use crate::handle::topics::internal_topics::internal_topic;
use crate::handle::{Context, election};
use crate::image::{BrokerId, CONSUMER_OFFSETS, ClusterImage, Topic};
use crate::reply::Reply;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Answers from the image; the first request for a group creates the topic. The answer waits for an expected election.
pub fn handle(context: &Context, request: FindCoordinatorRequest) -> Reply {
    election::reply(context, request, leaders, answer)
}

/// The coordinators of the groups in the request.
fn leaders(image: &ClusterImage, request: &FindCoordinatorRequest) -> BTreeSet<BrokerId> {
    let Some(topic) = image.topic(CONSUMER_OFFSETS) else { return BTreeSet::new() };
    let leader = |key: &Str| topic.partitions.get(usize::try_from(partition(topic, key)?).ok()?)?.leader;
    match request.coordinator_keys.as_slice() {
        [] => leader(&request.key).into_iter().collect(),
        keys => keys.iter().filter_map(leader).collect(),
    }
}

/// The partition whose leader coordinates a group.
fn partition(topic: &Topic, group: &str) -> Option<i32> {
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    (count > 0).then(|| partition_for(group, count))
}

fn answer(context: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if context.version < 4 {
        let Coordinator { node_id, host, port, error_code, error_message, .. } =
            find(context, request.key_type, request.key);
        let error_message = error_message.filter(|text| !text.is_empty()).or(Some(message(error_code).into()));
        let response = FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() };
        return response;
    }
    let keys = once(request.coordinator_keys, Str::clone).into_iter();
    let coordinators = keys.map(|(key, _)| find(context, request.key_type, key)).collect();
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

fn find(context: &Context, key_type: i8, key: Str) -> Coordinator {
    let nobody = |key, error_code| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code,
        error_message: Some(Str::new()),
        ..Default::default()
    };
    match key_type {
        GROUP => {}
        TRANSACTION => {
            let error_message = Some(NO_TRANSACTIONS_TEXT.into());
            return Coordinator { error_message, ..nobody(key, NO_TRANSACTIONS) };
        }
        SHARE if context.version >= 6 => return nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE),
        SHARE => return nobody(key, ErrorCode::INVALID_REQUEST),
        _ => {
            let error_message = Some(message(ErrorCode::INVALID_REQUEST).into());
            return Coordinator { error_message, ..nobody(key, ErrorCode::INVALID_REQUEST) };
        }
    }
    let Some(topic) = context.image.topic(CONSUMER_OFFSETS) else {
        ask_for_topic(context);
        return nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    match partition(topic, &key).and_then(|partition| LeaderHint::of(context, topic, partition)) {
        Some(LeaderHint { node: NodeEndpoint { node_id, host, port, .. }, .. }) => {
            Coordinator { node_id, host, port, ..nobody(key, ErrorCode::NONE) }
        }
        None => nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
}

/// The request does not wait: the client asks again, also if the queue is full.
fn ask_for_topic(context: &Context) {
    let Some(topic) = internal_topic(CONSUMER_OFFSETS, &context.image) else { return };
    let (answer, _) = tokio::sync::oneshot::channel();
    let _ = context.handler.ask.try_send(Ask::CreateTopic { topic, answer });
}

/// Kafka's messages.
fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NONE => "NONE",
        ErrorCode::COORDINATOR_NOT_AVAILABLE => "The coordinator is not available.",
        _ => {
            "This most likely occurs because of a request being malformed by the client library or the message was sent \
             to an incompatible broker. See the broker logs for more details."
        }
    }
}

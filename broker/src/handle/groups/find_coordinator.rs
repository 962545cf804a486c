//! FindCoordinator (KIP-699): which broker coordinates a group or a transactional id, or keeps the state of a share
//! partition.

use ottla_access::Operation;
use std::collections::BTreeSet;

use ottla_wire::m10_find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, NodeEndpoint, Str};

use crate::coordinator::partition_for;
use crate::handle::context::Context;
use crate::handle::election;
use crate::handle::leader_hint::LeaderHint;
use crate::handle::once::once;
use crate::handle::topics::internal_topics::ask_for_topic;
use crate::image::{BrokerId, CONSUMER_OFFSETS, ClusterImage, SHARE_GROUP_STATE, TRANSACTION_STATE, Topic};
use crate::reply::Reply;
use crate::share_state;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The version from which on share partitions have coordinators (KIP-932).
const SHARE_FROM: i16 = 6;

/// Answers from the image; the first request of a kind creates its topic. The answer waits for an expected election.
pub(crate) fn handle(context: &Context, request: FindCoordinatorRequest) -> Reply {
    election::reply(context, request, leaders, answer)
}

/// The coordinators of the keys in the request.
fn leaders(image: &ClusterImage, request: &FindCoordinatorRequest) -> BTreeSet<BrokerId> {
    let Some(topic) = topic_of(request.key_type).and_then(|name| image.topic(name)) else { return BTreeSet::new() };
    let leader = |key: &Str| topic.partitions.get(usize::try_from(partition(topic, key)?).ok()?)?.leader;
    match request.coordinator_keys.as_slice() {
        [] => leader(&request.key).into_iter().collect(),
        keys => keys.iter().filter_map(leader).collect(),
    }
}

/// The topic in which coordinators of this kind keep their records.
fn topic_of(key_type: i8) -> Option<&'static str> {
    match key_type {
        GROUP => Some(CONSUMER_OFFSETS),
        TRANSACTION => Some(TRANSACTION_STATE),
        SHARE => Some(SHARE_GROUP_STATE),
        _ => None,
    }
}

/// The partition whose leader coordinates a key.
fn partition(topic: &Topic, key: &str) -> Option<i32> {
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    (count > 0).then(|| partition_for(key, count))
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
    let is_denied = match key_type {
        GROUP => (!context.may_group(Operation::Describe, &key)).then_some(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        TRANSACTION => (!context.may_transactional_id(Operation::Describe, &key))
            .then_some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        SHARE if context.version >= SHARE_FROM => {
            (!context.may_cluster(Operation::ClusterAction)).then_some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)
        }
        _ => None,
    };
    if let Some(denied) = is_denied {
        return nobody(key, denied);
    }
    let name = match topic_of(key_type) {
        // Kafka's answer to an empty transactional id. An empty group id is a group's.
        Some(TRANSACTION_STATE) if key.is_empty() => return nobody(key, ErrorCode::INVALID_REQUEST),
        Some(SHARE_GROUP_STATE) if context.version < SHARE_FROM || share_state::key::parse(&key).is_none() => {
            return nobody(key, ErrorCode::INVALID_REQUEST);
        }
        Some(name) => name,
        None => {
            let error_message = Some(message(ErrorCode::INVALID_REQUEST).into());
            return Coordinator { error_message, ..nobody(key, ErrorCode::INVALID_REQUEST) };
        }
    };
    let Some(topic) = context.image.topic(name) else {
        ask_for_topic(&context.handler.ask, &context.image, name);
        return nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    match partition(topic, &key).and_then(|partition| LeaderHint::of(context, topic, partition)) {
        Some(LeaderHint { node: NodeEndpoint { node_id, host, port, .. }, .. }) => {
            Coordinator { node_id, host, port, ..nobody(key, ErrorCode::NONE) }
        }
        None => nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
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

//! ConsumerGroupHeartbeat (KIP-848): a member joins, says what has changed, learns what it may use, leaves.

use ottla_access::Operation;
use ottla_group::{ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupError, InstanceId, Partitions, TopicName};
use ottla_rules::features::GROUP_VERSION;
use ottla_wire::m68_consumer_group_heartbeat::{
    ConsumerGroupHeartbeatAssignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatTopicPartitions,
};
use ottla_wire::{ErrorCode, Str};

use crate::env;
use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::reply::Reply;

/// The version from which on members make their ids themselves (KIP-1082).
const OWN_ID_FROM: i16 = 1;

/// Answers when what the answer says is replicated.
pub(crate) fn handle(context: &Context, request: ConsumerGroupHeartbeatRequest) -> Reply {
    if context.image.features.level(GROUP_VERSION) < 1 {
        return context.reply(&refused(GroupError::UnsupportedVersion));
    }
    if !context.may_group(Operation::Read, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&ConsumerGroupHeartbeatResponse { error_code, ..Default::default() });
    }
    let mut named = request.subscribed_topic_names.iter().flatten();
    if !named.all(|topic| context.may_topic(Operation::Describe, topic)) {
        let error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        return context.reply(&ConsumerGroupHeartbeatResponse { error_code, ..Default::default() });
    }
    let names = |topics: Vec<Str>| topics.iter().map(|topic| TopicName::from(&**topic)).collect();
    let beating = context.handler.groups.consumer_heartbeat(ConsumerHeartbeatRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        makes_its_own_id: context.version >= OWN_ID_FROM,
        epoch: request.member_epoch,
        instance: request.instance_id.as_deref().map(InstanceId::from),
        rack: request.rack_id.map(String::from),
        client_id: context.client_id.to_string(),
        client_host: context.client_host(),
        principal: context.peer.principal.name().to_string(),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout != -1),
        topics: request.subscribed_topic_names.map(names),
        pattern: request.subscribed_topic_regex.map(String::from),
        assignor: request.server_assignor.map(String::from),
        owned: request.topic_partitions.map(partitions),
        fresh: env::random_uuid(),
    });
    context.later(async move {
        match beating.await {
            Ok(beat) => accepted(beat),
            Err(error) => refused(error),
        }
    })
}

fn partitions(topics: Vec<ConsumerGroupHeartbeatTopicPartitions>) -> Partitions {
    let mut owned = Partitions::new();
    for topic in topics {
        owned.entry(topic.topic_id).or_default().extend(topic.partitions);
    }
    owned
}

fn accepted(beat: ConsumerHeartbeat) -> ConsumerGroupHeartbeatResponse {
    let assignment = |assigned: Partitions| ConsumerGroupHeartbeatAssignment {
        topic_partitions: (assigned.into_iter())
            .map(|(topic_id, partitions)| ConsumerGroupHeartbeatTopicPartitions {
                topic_id,
                partitions: partitions.into_iter().collect(),
            })
            .collect(),
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(text(&beat.member)),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: i32::try_from(beat.interval.as_millis()).unwrap_or(i32::MAX),
        assignment: beat.assignment.map(assignment),
        ..Default::default()
    }
}

fn refused(error: GroupError) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: group_error(error),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

//! ShareGroupHeartbeat (KIP-932): a member joins, says what has changed, learns which partitions to fetch from, leaves.

use ottla_access::Operation;
use ottla_group::{GroupError, Partitions, ShareHeartbeat, ShareHeartbeatRequest, TopicName};
use ottla_wire::m76_share_group_heartbeat::{
    ShareGroupHeartbeatAssignment, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
    ShareGroupHeartbeatTopicPartitions,
};
use ottla_wire::{ErrorCode, Str};

use super::are_served;
use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::reply::Reply;

/// Answers when what the answer says is replicated.
pub(crate) fn handle(context: &Context, request: ShareGroupHeartbeatRequest) -> Reply {
    if let Err(error) = are_served(context) {
        return context.reply(&refused(error));
    }
    let denied = |error_code| context.reply(&ShareGroupHeartbeatResponse { error_code, ..Default::default() });
    if !context.may_group(Operation::Read, &request.group_id) {
        return denied(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let mut named = request.subscribed_topic_names.iter().flatten();
    if !named.all(|topic| context.may_topic(Operation::Describe, topic)) {
        return denied(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let names = |topics: Vec<Str>| topics.iter().map(|topic| TopicName::from(&**topic)).collect();
    let beating = context.handler.groups.share_heartbeat(&ShareHeartbeatRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        epoch: request.member_epoch,
        rack: request.rack_id.map(String::from),
        client_id: context.client_id.to_string(),
        client_host: context.client_host(),
        topics: request.subscribed_topic_names.map(names),
    });
    context.later(async move {
        match beating.await {
            Ok(beat) => accepted(beat),
            Err(error) => refused(error),
        }
    })
}

fn accepted(beat: ShareHeartbeat) -> ShareGroupHeartbeatResponse {
    let assignment = |assigned: Partitions| ShareGroupHeartbeatAssignment {
        topic_partitions: (assigned.into_iter())
            .map(|(topic_id, partitions)| ShareGroupHeartbeatTopicPartitions {
                topic_id,
                partitions: partitions.into_iter().collect(),
            })
            .collect(),
    };
    ShareGroupHeartbeatResponse {
        member_id: Some(text(&beat.member)),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: i32::try_from(beat.interval.as_millis()).unwrap_or(i32::MAX),
        assignment: beat.assignment.map(assignment),
        ..Default::default()
    }
}

fn refused(error: GroupError) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        error_code: group_error(error),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

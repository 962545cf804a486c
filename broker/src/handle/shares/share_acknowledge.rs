//! ShareAcknowledge (KIP-932, KIP-1222): a member says what has become of the records that it got.

use super::may_be_member;
use ottla_wire::ErrorCode;
use ottla_wire::TopicIdPartition;
use ottla_wire::m79_share_acknowledge::{
    ShareAcknowledgePartitionData, ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareAcknowledgeTopicResponse,
};

use super::acknowledgements::{Acknowledged, Member, acknowledge, asks_for_leader};
use super::{FINAL, NO_LEADER, are_served, lock_timeout_ms};
use crate::handle::context::Context;
use crate::handle::errors::{group_error, share_error};
use crate::handle::leader_hint::LeaderHint;
use crate::reply::Reply;
use crate::share_state::wire::{Of, by_topic};

/// Answers when the acknowledgements are replicated.
pub(crate) fn handle(context: &Context, request: ShareAcknowledgeRequest) -> Reply {
    let refused = |error_code| context.reply(&ShareAcknowledgeResponse { error_code, ..Default::default() });
    if let Err(error) = are_served(context) {
        return refused(group_error(error));
    }
    if !may_be_member(context, request.group_id.as_deref()) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let Some(member) = Member::of(request.group_id, request.member_id) else {
        return refused(ErrorCode::INVALID_REQUEST);
    };
    let epoch = request.share_session_epoch;
    let handler = context.handler.clone();
    if let Err(error) = handler.shares.begin_acknowledge(&member.group, &member.id, epoch) {
        return refused(error.code());
    }
    let partitions = request.topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| {
            let place = TopicIdPartition { topic_id: topic.topic_id, partition: partition.partition_index };
            (place, partition.acknowledgement_batches)
        })
    });
    let mut partitions: Vec<_> = partitions.collect();
    if partitions.iter().all(|(_, batches): &(_, Vec<_>)| batches.is_empty()) {
        partitions.clear(); // as when a member only closes its session: Kafka names no partition then
    }
    let acknowledging = acknowledge(context, &member, partitions, request.is_renew_ack);
    let context_later = context.clone();
    context.later(async move {
        let acknowledged = acknowledging.await;
        if epoch == FINAL {
            handler.shares.close(&member.group, &member.id);
        }
        response(&context_later, &member, acknowledged)
    })
}

fn response(context: &Context, member: &Member, acknowledged: Vec<Acknowledged>) -> ShareAcknowledgeResponse {
    let mut response = ShareAcknowledgeResponse {
        acquisition_lock_timeout_ms: lock_timeout_ms(context, &member.group_text),
        ..Default::default()
    };
    let mut all: Vec<Of<ShareAcknowledgePartitionData>> = Vec::with_capacity(acknowledged.len());
    for (TopicIdPartition { topic_id, partition }, result) in acknowledged {
        let mut current_leader = NO_LEADER;
        let error_code = match result {
            Ok(()) => ErrorCode::NONE,
            Err(error) => {
                let topic = context.image.topics.get(&topic_id).filter(|_| asks_for_leader(error));
                if let Some(leader) = topic.and_then(|topic| LeaderHint::of(context, topic, partition)) {
                    leader.write(&mut current_leader, &mut response.node_endpoints);
                }
                share_error(error)
            }
        };
        let error_message = result.err().map(|error| error.to_string().into());
        let said =
            ShareAcknowledgePartitionData { partition_index: partition, error_code, error_message, current_leader };
        all.push((topic_id, partition, said));
    }
    let topic = |topic_id, partitions| ShareAcknowledgeTopicResponse { topic_id, partitions };
    response.responses = by_topic(all, |_, said| said, topic);
    response
}

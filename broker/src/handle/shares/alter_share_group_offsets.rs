//! AlterShareGroupOffsets (KIP-932): a share group without members begins elsewhere.

use ottla_access::Operation;
use ottla_group::{AlterShareOffsetsRequest, AlteredShareOffsets, GroupError, TopicName};
use ottla_wire::ErrorCode;
use ottla_wire::m91_alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestTopic, AlterShareGroupOffsetsResponse,
    AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
};

use super::are_served;
use crate::handle::context::{Context, text};
use crate::handle::errors::{group_error, state_result};
use crate::reply::Reply;

/// Kafka's message.
const DENIED: &str = "Topic authorization failed.";

/// Answers when the share coordinators have the new offsets.
pub(crate) fn handle(context: &Context, request: AlterShareGroupOffsetsRequest) -> Reply {
    if let Err(error) = are_served(context) {
        return context.reply(&refused(error));
    }
    if !context.may_group(Operation::Read, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&AlterShareGroupOffsetsResponse { error_code, ..Default::default() });
    }
    let may = |topic: &AlterShareGroupOffsetsRequestTopic| context.may_topic(Operation::Read, &topic.topic_name);
    let (allowed, denied): (Vec<_>, Vec<_>) = request.topics.into_iter().partition(may);
    let denied: Vec<_> = (denied.iter())
        .map(|topic| AlterShareGroupOffsetsResponseTopic {
            topic_name: topic.topic_name.clone(),
            partitions: (topic.partitions.iter())
                .map(|partition| AlterShareGroupOffsetsResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                    error_message: Some(DENIED.into()),
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    let topics = allowed.into_iter().map(|topic| {
        let offsets = topic.partitions.into_iter().map(|wanted| (wanted.partition_index, wanted.start_offset));
        (TopicName::from(&*topic.topic_name), offsets.collect())
    });
    let request = AlterShareOffsetsRequest { group: (&*request.group_id).into(), topics: topics.collect() };
    if !request.topics.is_empty() {
        context.audit(&format!("sets offsets of the share group {:?}: {:?}", request.group, request.topics));
    }
    let altering = context.handler.groups.alter_share_offsets(&request);
    context.later(async move {
        match altering.await {
            Ok(altered) => {
                let responses = altered.into_iter().map(topic).chain(denied).collect();
                AlterShareGroupOffsetsResponse { responses, ..Default::default() }
            }
            Err(error) => refused(error),
        }
    })
}

fn topic(altered: AlteredShareOffsets) -> AlterShareGroupOffsetsResponseTopic {
    let partitions = altered.partitions.into_iter().map(|(partition_index, result)| {
        let (error_code, error_message) = state_result(result);
        AlterShareGroupOffsetsResponsePartition { partition_index, error_code, error_message }
    });
    AlterShareGroupOffsetsResponseTopic {
        topic_name: text(&altered.topic),
        topic_id: altered.id.unwrap_or_default(),
        partitions: partitions.collect(),
    }
}

fn refused(error: GroupError) -> AlterShareGroupOffsetsResponse {
    AlterShareGroupOffsetsResponse {
        error_code: group_error(error),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

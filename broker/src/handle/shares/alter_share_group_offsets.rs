//! AlterShareGroupOffsets (KIP-932): a share group without members begins elsewhere.

use ottla_group::{AlterShareOffsetsRequest, AlteredShareOffsets, GroupError, TopicName};
use ottla_wire::m91_alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, AlterShareGroupOffsetsResponsePartition,
    AlterShareGroupOffsetsResponseTopic,
};

use super::are_served;
use crate::handle::context::{Context, text};
use crate::handle::errors::{group_error, state_result};
use crate::reply::Reply;

/// Answers when the share coordinators have the new offsets.
pub fn handle(context: &Context, request: AlterShareGroupOffsetsRequest) -> Reply {
    if let Err(error) = are_served(context) {
        return context.reply(&refused(error));
    }
    let topics = request.topics.into_iter().map(|topic| {
        let offsets = topic.partitions.into_iter().map(|wanted| (wanted.partition_index, wanted.start_offset));
        (TopicName::from(&*topic.topic_name), offsets.collect())
    });
    let request = AlterShareOffsetsRequest { group: (&*request.group_id).into(), topics: topics.collect() };
    let altering = context.handler.groups.alter_share_offsets(&request);
    context.later(async move {
        match altering.await {
            Ok(altered) => {
                let responses = altered.into_iter().map(topic).collect();
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

//! OffsetCommit (KIP-320, KIP-848): a group stores the offsets up to which it has read.
//!
//! Offsets of partitions that don't exist are refused one by one; the others are stored together or not at all.

use ottla_access::Operation;
use ottla_group::{CommitRequest, GroupError, InstanceId, OffsetToCommit};
use ottla_wire::ErrorCode;
use ottla_wire::m08_offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use crate::handle::context::Context;
use crate::handle::errors::{group_error, group_result};
use crate::replica::NotServed;
use crate::reply::Reply;

/// Answers when the offsets are replicated.
pub(crate) fn handle(context: &Context, request: OffsetCommitRequest) -> Reply {
    let mut offsets = Vec::new();
    let mut response = OffsetCommitResponse::default();
    if !context.may_group(Operation::Read, &request.group_id) {
        let refused = |topic: OffsetCommitRequestTopic| OffsetCommitResponseTopic {
            partitions: (topic.partitions.iter())
                .map(|asked| OffsetCommitResponsePartition {
                    partition_index: asked.partition_index,
                    error_code: ErrorCode::GROUP_AUTHORIZATION_FAILED,
                })
                .collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        };
        response.topics = request.topics.into_iter().map(refused).collect();
        return context.reply(&response);
    }
    for topic in &request.topics {
        response.topics.push(check_topic(context, topic, &mut offsets));
    }
    if offsets.is_empty() {
        return context.reply(&response);
    }
    let committing = context.handler.groups.commit_offsets(CommitRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id_or_member_epoch,
        knows_group_id_not_found: context.version >= 9,
        retention_ms: Some(request.retention_time_ms).filter(|retention| *retention >= 0),
        offsets,
    });
    context.later(async move {
        let results = committing.await;
        fill(&mut response, &results);
        response
    })
}

/// Collects the offsets that can be committed, and prepares the answer, with NONE for these.
fn check_topic(
    context: &Context,
    topic: &OffsetCommitRequestTopic,
    offsets: &mut Vec<OffsetToCommit>,
) -> OffsetCommitResponseTopic {
    let known = context.topic(Operation::Read, 10, &topic.name, topic.topic_id);
    let partitions = topic.partitions.iter().map(|asked| {
        let exists = known.as_ref().map_err(|error| *error).and_then(|topic| {
            let exists = usize::try_from(asked.partition_index).is_ok_and(|number| number < topic.partitions.len());
            if exists { Ok(topic) } else { Err(NotServed::UnknownTopicOrPartition) }
        });
        let error_code = exists.map_or_else(|error| ErrorCode::from(&error), |_| ErrorCode::NONE);
        if let Ok(topic) = exists {
            offsets.push(OffsetToCommit {
                topic: (&*topic.name).into(),
                topic_id: Some(topic.id),
                partition: asked.partition_index,
                offset: asked.committed_offset,
                leader_epoch: asked.committed_leader_epoch,
                metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
            });
        }
        OffsetCommitResponsePartition { partition_index: asked.partition_index, error_code }
    });
    OffsetCommitResponseTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: partitions.collect() }
}

/// Writes the group's results, in the order of the request, to the partitions without an error.
fn fill(response: &mut OffsetCommitResponse, results: &Result<Vec<Result<(), GroupError>>, GroupError>) {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let open = partitions.filter(|partition| partition.error_code == ErrorCode::NONE);
    match results {
        Ok(results) => open.zip(results).for_each(|(partition, result)| partition.error_code = group_result(result)),
        Err(error) => open.for_each(|partition| partition.error_code = group_error(*error)),
    }
}

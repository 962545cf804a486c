//! OffsetDelete (KIP-496): a group forgets offsets of topics that it is not subscribed to.

use ottla_access::Operation;
use ottla_group::{GroupId, TopicName};
use ottla_wire::ErrorCode;
use ottla_wire::m47_offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::handle::context::Context;
use crate::handle::errors::{group_error, group_result};
use crate::reply::Reply;

/// Answers when the deletion is replicated.
pub(crate) fn handle(context: &Context, request: OffsetDeleteRequest) -> Reply {
    if !context.may_group(Operation::Delete, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&OffsetDeleteResponse { error_code, ..Default::default() });
    }
    let mut existing: Vec<(TopicName, i32)> = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let name = TopicName::from(&*topic.name);
        let may = context.may_topic(Operation::Read, &topic.name);
        let partitions = topic.partitions.iter().map(|asked| {
            let partition_index = asked.partition_index;
            let exists = may && context.image.assignment(&topic.name, partition_index).is_some();
            if exists {
                existing.push((name.clone(), partition_index));
            }
            let error_code = match exists {
                true => ErrorCode::NONE,
                false if may => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                false => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            };
            OffsetDeleteResponsePartition { partition_index, error_code }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name }
    });
    let mut response = OffsetDeleteResponse { topics: topics.collect(), ..Default::default() };
    if let Some(change) = change(&request.group_id, &existing) {
        context.audit(&change);
    }
    let deleting = context.handler.groups.delete_offsets(&GroupId::from(&*request.group_id), &existing);
    context.later(async move {
        match deleting.await {
            Ok(results) => {
                let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                let open = partitions.filter(|partition| partition.error_code == ErrorCode::NONE);
                open.zip(&results).for_each(|(partition, result)| partition.error_code = group_result(result));
                response
            }
            Err(error) => OffsetDeleteResponse { error_code: group_error(error), ..Default::default() },
        }
    })
}

/// What auditors read; `None`: nothing is deleted.
fn change(group: &str, existing: &[(TopicName, i32)]) -> Option<String> {
    (!existing.is_empty()).then(|| format!("deletes offsets of the group {group:?}: {existing:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auditors_read_of_offsets_that_may_be_deleted_and_of_no_others() {
        assert_eq!(change("g", &[]), None);
        let existing = [(TopicName::from("t"), 7)];
        let line = change("g", &existing).expect("a line");
        assert!(line.starts_with("deletes offsets of the group \"g\"") && line.contains('7'), "{line}");
    }
}

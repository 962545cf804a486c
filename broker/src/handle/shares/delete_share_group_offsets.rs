//! DeleteShareGroupOffsets (KIP-932): a share group without members forgets topics.

use ottla_access::Operation;
use ottla_group::{DeletedShareOffsets, GroupError, GroupId, TopicName};
use ottla_wire::ErrorCode;
use ottla_wire::m92_delete_share_group_offsets::{
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic, DeleteShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsResponseTopic,
};

use super::are_served;
use crate::handle::context::{Context, text};
use crate::handle::errors::{group_error, state_result};
use crate::reply::Reply;

/// Kafka's message.
const DENIED: &str = "Topic authorization failed.";

/// Answers when the share coordinators have deleted the states.
pub(crate) fn handle(context: &Context, request: DeleteShareGroupOffsetsRequest) -> Reply {
    if let Err(error) = are_served(context) {
        return context.reply(&refused(error));
    }
    if !context.may_group(Operation::Delete, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&DeleteShareGroupOffsetsResponse { error_code, ..Default::default() });
    }
    let may = |topic: &DeleteShareGroupOffsetsRequestTopic| context.may_topic(Operation::Read, &topic.topic_name);
    let (allowed, denied): (Vec<_>, Vec<_>) = request.topics.into_iter().partition(may);
    let denied: Vec<_> = (denied.iter())
        .map(|topic| DeleteShareGroupOffsetsResponseTopic {
            topic_name: topic.topic_name.clone(),
            error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            error_message: Some(DENIED.into()),
            ..Default::default()
        })
        .collect();
    let topics: Vec<TopicName> = allowed.iter().map(|topic| TopicName::from(&*topic.topic_name)).collect();
    if !topics.is_empty() {
        context.audit(&format!("deletes offsets of the share group {:?}: {topics:?}", request.group_id));
    }
    let deleting = context.handler.groups.delete_share_offsets(&GroupId::from(&*request.group_id), &topics);
    context.later(async move {
        match deleting.await {
            Ok(deleted) => {
                let responses = deleted.into_iter().map(topic).chain(denied).collect();
                DeleteShareGroupOffsetsResponse { responses, ..Default::default() }
            }
            Err(error) => refused(error),
        }
    })
}

fn topic(deleted: DeletedShareOffsets) -> DeleteShareGroupOffsetsResponseTopic {
    let (error_code, error_message) = state_result(deleted.result);
    DeleteShareGroupOffsetsResponseTopic {
        topic_name: text(&deleted.topic),
        topic_id: deleted.id.unwrap_or_default(),
        error_code,
        error_message,
    }
}

fn refused(error: GroupError) -> DeleteShareGroupOffsetsResponse {
    DeleteShareGroupOffsetsResponse {
        error_code: group_error(error),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

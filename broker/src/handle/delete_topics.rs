//! DeleteTopics (KIP-516): the KafkaTopic object goes; answered when the topic is gone from this broker's image.

use futures::future::join_all;
use ottla_wire::m20_delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_wire::{ErrorCode, Uuid};

use super::{Context, Deadline};
use crate::ask::{Ask, Refused};
use crate::reply::Reply;

/// Asks for all deletions at once.
pub fn handle(context: &Context, request: DeleteTopicsRequest) -> Reply {
    let deadline = Deadline::after_ms(request.timeout_ms);
    let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::nil() };
    let wanted: Vec<_> = request.topic_names.into_iter().map(by_name).chain(request.topics).collect();
    let context_later = context.clone();
    context.later(async move {
        let context = &context_later;
        let unique =
            wanted.iter().enumerate().filter(|(n, topic)| !wanted[..*n].contains(topic)).map(|(_, topic)| topic);
        let responses = join_all(unique.map(|topic| {
            let repeated = wanted.iter().filter(|other| *other == topic).count() > 1;
            delete(context, topic, repeated, deadline)
        }));
        DeleteTopicsResponse { responses: responses.await, ..Default::default() }
    })
}

async fn delete(
    context: &Context,
    wanted: &DeleteTopicState,
    repeated: bool,
    deadline: Deadline,
) -> DeletableTopicResult {
    let mut result =
        DeletableTopicResult { name: wanted.name.clone(), topic_id: wanted.topic_id, ..Default::default() };
    let deleted = async {
        if repeated {
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
        }
        let topic = match &wanted.name {
            Some(name) if wanted.topic_id.is_nil() => context.image.topic(name).ok_or_else(Refused::unknown_topic),
            Some(_) => {
                Err(Refused::new(ErrorCode::INVALID_REQUEST, "You may not specify both topic name and topic id."))
            }
            None if wanted.topic_id.is_nil() => {
                Err(Refused::new(ErrorCode::INVALID_REQUEST, "Neither topic name nor id were specified."))
            }
            None => context.image.topics.get(&wanted.topic_id).ok_or_else(Refused::unknown_topic_id),
        }?;
        result.name = Some(topic.name.clone());
        result.topic_id = topic.id;
        let topic_id = topic.id;
        context.ask(deadline, |answer| Ask::DeleteTopic { topic_id, answer }).await
    };
    if let Err(refused) = deleted.await {
        result.error_code = refused.code;
        result.error_message = Some(refused.message.into());
    }
    result
}

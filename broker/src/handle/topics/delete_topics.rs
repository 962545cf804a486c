//! DeleteTopics (KIP-516): the KafkaTopic object goes; answered when the topic is gone from this broker's image.

use futures::future::join_all;
use ottla_access::Operation;
use ottla_wire::m20_delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_wire::{ErrorCode, Uuid};

use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::handle::once::once;
use crate::reply::Reply;

/// The version from which on a client knows that it is over its quota (KIP-599).
const REFUSABLE_FROM: i16 = 5;

/// Asks for all deletions at once.
pub(crate) fn handle(context: &Context, request: DeleteTopicsRequest) -> Reply {
    let deadline = Deadline::after_ms(request.timeout_ms);
    let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::nil() };
    let named = request.topic_names.into_iter().map(by_name).chain(request.topics);
    let wanted = once(named, |topic| (topic.name.clone(), topic.topic_id));
    let context_later = context.clone();
    context.later(async move {
        let context = &context_later;
        let responses = join_all(wanted.iter().map(|(topic, times)| delete(context, topic, *times > 1, deadline)));
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
            return Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
        }
        let may_all = context.sees_cluster(Operation::Delete);
        let may_see = |name: &str| match may_all || context.may_topic(Operation::Describe, name) {
            true => Ok(()),
            false => Err(denied()),
        };
        if let (Some(name), true) = (&wanted.name, wanted.topic_id.is_nil()) {
            may_see(name)?; // before it is looked up
        }
        let topic = match &wanted.name {
            Some(name) if wanted.topic_id.is_nil() => context.image.topic(name).ok_or_else(AskRefusal::unknown_topic),
            Some(_) => {
                Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, "You may not specify both topic name and topic id."))
            }
            None if wanted.topic_id.is_nil() => {
                Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, "Neither topic name nor id were specified."))
            }
            None => context.image.topics.get(&wanted.topic_id).ok_or_else(AskRefusal::unknown_topic_id),
        }?;
        may_see(&topic.name)?;
        let topic_id = topic.id;
        result.name = Some(topic.name.clone());
        if !may_all && !context.may_topic(Operation::Delete, &topic.name) {
            return Err(denied());
        }
        result.topic_id = topic_id;
        context.take_mutations(topic.partitions.len(), REFUSABLE_FROM)?;
        context.ask(deadline, |answer| Ask::DeleteTopic { topic_id, answer }).await
    };
    if let Err(refused) = deleted.await {
        result.error_code = refused.code;
        result.error_message = Some(refused.message.into());
    }
    result
}

fn denied() -> AskRefusal {
    AskRefusal::new(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed.")
}

//! CreatePartitions (KIP-195): a topic gets more partitions, never fewer.

use futures::future::join_all;
use ottla_access::{Operation, ResourceType};
use ottla_wire::ErrorCode;
use ottla_wire::m37_create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use super::create_topics::{MAX_CHANGES, check_can_begin, check_replicas, check_somebody_can_lead, too_many_changes};
use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::handle::once::once;
use crate::image::{Assignment, BrokerId};
use crate::reply::Reply;

/// The version from which on a client knows that it is over its quota (KIP-599).
const REFUSABLE_FROM: i16 = 3;

/// Asks for all topics at once.
pub(crate) fn handle(context: &Context, request: CreatePartitionsRequest) -> Reply {
    let deadline = Deadline::after_ms(request.timeout_ms);
    if added(context, &request) > MAX_CHANGES {
        let (error_code, error_message) = AskRefusal::to_wire(Some(too_many_changes()));
        let refuse = |topic: CreatePartitionsTopic| CreatePartitionsTopicResult {
            name: topic.name,
            error_code,
            error_message: error_message.clone(),
        };
        let results = request.topics.into_iter().map(refuse).collect();
        return context.reply(&CreatePartitionsResponse { results, ..Default::default() });
    }
    let context_later = context.clone();
    context.later(async move {
        let context = &context_later;
        let topics = once(&request.topics, |topic| &topic.name);
        let results = join_all(topics.into_iter().map(|(topic, times)| async move {
            let grown = match times {
                1 => grow(context, topic, request.validate_only, deadline).await,
                _ => Err(AskRefusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.")),
            };
            let (error_code, error_message) = AskRefusal::to_wire(grown.err());
            let error_message = error_message.filter(|message| !message.is_empty());
            CreatePartitionsTopicResult { name: topic.name.clone(), error_code, error_message }
        }));
        CreatePartitionsResponse { results: results.await, ..Default::default() }
    })
}

/// How many partitions a request would add.
fn added(context: &Context, request: &CreatePartitionsRequest) -> usize {
    let added = |topic: &CreatePartitionsTopic| {
        let have = context.image.topic(&topic.name)?.partitions.len();
        usize::try_from(topic.count).ok()?.checked_sub(have)
    };
    let may = |topic: &&CreatePartitionsTopic| context.sees(Operation::Alter, ResourceType::Topic, &topic.name);
    request.topics.iter().filter(may).filter_map(added).sum()
}

async fn grow(
    context: &Context,
    wanted: &CreatePartitionsTopic,
    validate_only: bool,
    deadline: Deadline,
) -> Result<(), AskRefusal> {
    if !context.may_topic(Operation::Alter, &wanted.name) {
        return Err(AskRefusal::new(ErrorCode::TOPIC_AUTHORIZATION_FAILED, ""));
    }
    let topic =
        context.image.topic(&wanted.name).ok_or_else(|| AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""))?;
    let (name, have, count) = (&topic.name, topic.partitions.len() as i32, wanted.count);
    if count <= have {
        let message = if count == have {
            format!("Topic already has {have} partition(s).")
        } else {
            format!("The topic {name} currently has {have} partition(s); {count} would not be an increase.")
        };
        return Err(AskRefusal { code: ErrorCode::INVALID_PARTITIONS, message });
    }
    let assignments: Vec<Vec<BrokerId>> = wanted
        .assignments
        .iter()
        .flatten()
        .map(|assignment| assignment.broker_ids.iter().map(|id| BrokerId(*id)).collect())
        .collect();
    if wanted.assignments.is_some() && assignments.len() as i32 != count - have {
        let message = format!(
            "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
            count - have,
            assignments.len()
        );
        return Err(AskRefusal { code: ErrorCode::INVALID_REPLICA_ASSIGNMENT, message });
    }
    let factor = topic.partitions.first().map(Assignment::replication_factor);
    for (partition, replicas) in (have..).zip(&assignments) {
        check_replicas(context, replicas, factor)?;
        check_can_begin(context, partition, replicas)?;
    }
    if assignments.is_empty() {
        check_somebody_can_lead(factor.unwrap_or(1) as i32, context)?;
    }
    context.take_mutations(usize::try_from(count - have).unwrap_or(0), REFUSABLE_FROM)?;
    let topic_id = topic.id;
    let grow = |answer| Ask::CreatePartitions { topic_id, count, assignments, answer };
    context.ask_or_validate(validate_only, deadline, grow).await?;
    Ok(())
}

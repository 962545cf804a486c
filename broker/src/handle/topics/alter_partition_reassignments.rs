//! AlterPartitionReassignments (KIP-455): partitions are wanted on other brokers, or no longer.
//!
//! A wish becomes a part of the KafkaTopic's placement: the operator moves the partition there. To cancel is to wish it
//! back.

use ottla_access::Operation;
use std::collections::BTreeMap;

use futures::future::join_all;
use ottla_wire::ErrorCode;
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};

use super::create_topics::check_replicas;
use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::image::{BrokerId, Topic};
use crate::reply::Reply;

/// Asks for all topics at once. Answered when the assignments show the moves, not when they are done.
pub(crate) fn handle(context: &Context, request: AlterPartitionReassignmentsRequest) -> Reply {
    if !context.may_cluster(Operation::Alter) {
        return context.reply(&denied(request));
    }
    let deadline = Deadline::after_ms(request.timeout_ms);
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let context_later = context.clone();
    context.later(async move {
        let moves = request
            .topics
            .iter()
            .map(|topic| move_topic(&context_later, topic, allow_replication_factor_change, deadline));
        let responses = join_all(moves).await;
        AlterPartitionReassignmentsResponse { allow_replication_factor_change, responses, ..Default::default() }
    })
}

/// The client may not: said of the request and of each partition that it names.
fn denied(request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse {
    let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    let refused = |partition: &ReassignablePartition| ReassignablePartitionResponse {
        partition_index: partition.partition_index,
        error_code,
        error_message: None,
    };
    let topics = request.topics.into_iter().map(|topic| ReassignableTopicResponse {
        partitions: topic.partitions.iter().map(refused).collect(),
        name: topic.name,
    });
    AlterPartitionReassignmentsResponse { error_code, responses: topics.collect(), ..Default::default() }
}

async fn move_topic(
    context: &Context,
    wanted: &ReassignableTopic,
    may_resize: bool,
    deadline: Deadline,
) -> ReassignableTopicResponse {
    let topic = context.image.topic(&wanted.name);
    let mut targets = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for partition in &wanted.partitions {
        let index = partition.partition_index;
        match topic.ok_or_else(|| unknown(format!("Unable to find a topic named {}.", wanted.name))) {
            Ok(topic) => match target(context, topic, partition, may_resize) {
                Ok(target) => _ = targets.insert(index, target),
                Err(why) => _ = refused.insert(index, why),
            },
            Err(why) => _ = refused.insert(index, why),
        }
    }
    let asked: Vec<i32> = targets.keys().copied().collect();
    if let (Some(topic), false) = (topic, targets.is_empty()) {
        let topic_id = topic.id;
        if let Err(why) = context.ask(deadline, |answer| Ask::Move { topic_id, targets, answer }).await {
            refused.extend(asked.into_iter().map(|index| (index, why.clone())));
        }
    }
    let answer = |partition: &ReassignablePartition| {
        let (error_code, error_message) = AskRefusal::to_wire(refused.get(&partition.partition_index).cloned());
        ReassignablePartitionResponse { partition_index: partition.partition_index, error_code, error_message }
    };
    ReassignableTopicResponse { name: wanted.name.clone(), partitions: wanted.partitions.iter().map(answer).collect() }
}

fn unknown(message: String) -> AskRefusal {
    AskRefusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message)
}

/// Where a partition is wanted.
fn target(
    context: &Context,
    topic: &Topic,
    wanted: &ReassignablePartition,
    may_resize: bool,
) -> Result<Vec<BrokerId>, AskRefusal> {
    let index = wanted.partition_index;
    let entry = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    let entry = entry.ok_or_else(|| unknown(format!("Unable to find partition {}:{index}.", topic.name)))?;
    let Some(replicas) = &wanted.replicas else {
        if !entry.is_reassigning() {
            let message = "No partition reassignment is in progress.";
            return Err(AskRefusal::new(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, message));
        }
        return Ok(entry.origin());
    };
    let replicas: Vec<BrokerId> = replicas.iter().map(|id| BrokerId(*id)).collect();
    check_replicas(context, &replicas, None)?;
    let factor = entry.origin().len();
    if !may_resize && replicas.len() != factor {
        let message = format!("The replication factor is changed from {factor} to {}", replicas.len());
        return Err(AskRefusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    }
    Ok(replicas)
}

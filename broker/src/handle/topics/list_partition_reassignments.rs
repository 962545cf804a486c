//! ListPartitionReassignments (KIP-455): reassignments under way, as the assignments show them.

use ottla_access::Operation;
use std::collections::BTreeSet;

use ottla_wire::m46_list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, ListPartitionReassignmentsTopics,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::image::{Assignment, BrokerId, Topic};
use crate::reply::Reply;

/// Answers from the image.
pub(crate) fn handle(context: &Context, request: ListPartitionReassignmentsRequest) -> Reply {
    if !context.may_cluster(Operation::Describe) {
        return context.reply(&denied(request));
    }
    let named: Option<BTreeSet<(Str, i32)>> = request.topics.map(|topics| {
        let partitions = |topic: ListPartitionReassignmentsTopics| {
            topic.partition_indexes.into_iter().map(move |partition| (topic.name.clone(), partition))
        };
        topics.into_iter().flat_map(partitions).collect()
    });
    let wanted = |topic: &Topic, assignment: &Assignment| {
        named.as_ref().is_none_or(|named| named.contains(&(topic.name.clone(), assignment.partition)))
    };
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect();
    let topics = context.image.topic_names.values().filter_map(|id| {
        let topic = context.image.topics.get(id)?;
        let moving = topic.partitions.iter().filter(|a| !a.adding.is_empty() || !a.removing.is_empty());
        let partitions: Vec<_> = moving
            .filter(|assignment| wanted(topic, assignment))
            .map(|assignment| OngoingPartitionReassignment {
                partition_index: assignment.partition,
                replicas: ids(&assignment.replicas),
                adding_replicas: ids(&assignment.adding),
                removing_replicas: ids(&assignment.removing),
            })
            .collect();
        (!partitions.is_empty()).then(|| OngoingTopicReassignment { name: topic.name.clone(), partitions })
    });
    context.reply(&ListPartitionReassignmentsResponse { topics: topics.collect(), ..Default::default() })
}

/// As in Kafka, with the partitions that were asked for and nothing about them.
fn denied(request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    let topic = |topic: ListPartitionReassignmentsTopics| {
        let partition = |partition_index| OngoingPartitionReassignment { partition_index, ..Default::default() };
        let partitions = topic.partition_indexes.into_iter().map(partition).collect();
        OngoingTopicReassignment { name: topic.name, partitions }
    };
    ListPartitionReassignmentsResponse {
        error_code: ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        topics: request.topics.into_iter().flatten().map(topic).collect(),
        ..Default::default()
    }
}

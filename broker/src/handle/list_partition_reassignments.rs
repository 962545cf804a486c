//! ListPartitionReassignments (KIP-455): reassignments under way, as the assignments show them.

use ottla_wire::m46_list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};

use super::Context;
use crate::image::{Assignment, BrokerId, Topic};
use crate::reply::Reply;

/// Answers from the image.
pub fn handle(context: &Context, request: ListPartitionReassignmentsRequest) -> Reply {
    let wanted = |topic: &Topic, assignment: &Assignment| {
        request.topics.as_ref().is_none_or(|topics| {
            topics.iter().any(|t| t.name == topic.name && t.partition_indexes.contains(&assignment.partition))
        })
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

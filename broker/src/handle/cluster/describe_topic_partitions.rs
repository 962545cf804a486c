//! DescribeTopicPartitions (KIP-966): Metadata in pages, with the replicas that may still lead.

use std::collections::BTreeSet;

use ottla_access::{Operation, ResourceType};
use ottla_wire::m75_describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::{ErrorCode, Str};

use super::metadata;
use crate::handle::context::Context;
use crate::handle::names::check_topic_name;
use crate::reply::Reply;

/// Kafka's `max.request.partition.size.limit`.
const MAX_PARTITIONS: usize = 2000;

/// Answers from the image, topics by name.
pub(crate) fn handle(context: &Context, request: DescribeTopicPartitionsRequest) -> Reply {
    let image = &context.image;
    if let Some(refused) = refuse_cursor(&request) {
        return context.reply(&refused);
    }
    let names_all = request.topics.is_empty();
    let mut names: BTreeSet<Str> = if names_all {
        image.topic_names.keys().cloned().collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    let (first_topic, first_partition) = match request.cursor {
        Some(cursor) => (cursor.topic_name, usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (Str::new(), 0),
    };
    names.retain(|name| *name >= first_topic);
    let sees = |name: &Str| context.sees(Operation::Describe, ResourceType::Topic, name);
    let may = |name: &Str| context.may_topic(Operation::Describe, name);
    let (names, denied): (BTreeSet<Str>, BTreeSet<Str>) =
        names.into_iter().partition(|name| if names_all { sees(name) } else { may(name) });
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(1).clamp(1, MAX_PARTITIONS);

    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if room == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let Some(topic) = image.topic(&name) else {
            let valid = check_topic_name(&name).is_ok();
            let error_code =
                if valid { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { ErrorCode::INVALID_TOPIC_EXCEPTION };
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code,
                topic_authorized_operations: context.topic_operations(&name),
                name: Some(name),
                ..Default::default()
            });
            continue;
        };
        let from = if name == first_topic { first_partition } else { 0 };
        let page: Vec<_> = topic.partitions.iter().skip(from).take(room).map(|a| to_wire(context, a)).collect();
        room -= page.len();
        let next = from + page.len();
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: topic.id,
            topic_authorized_operations: context.topic_operations(&name),
            is_internal: topic.is_internal(),
            partitions: page,
            ..Default::default()
        });
        if next < topic.partitions.len() {
            let partition_index = i32::try_from(next).unwrap_or(i32::MAX);
            response.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    if !names_all {
        // Kafka names them last, whatever the room.
        response.topics.extend(denied.into_iter().map(|name| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            name: Some(name),
            ..Default::default()
        }));
    }
    context.reply(&response)
}

/// Refuses a cursor that points to a topic which the request does not name: then each topic of the request is refused.
fn refuse_cursor(request: &DescribeTopicPartitionsRequest) -> Option<DescribeTopicPartitionsResponse> {
    let cursor = request.cursor.as_ref()?;
    let asks_for = |name: &Str| request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == *name);
    if cursor.partition_index >= 0 && asks_for(&cursor.topic_name) {
        return None;
    }
    let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.clone()),
        ..Default::default()
    });
    Some(DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() })
}

fn to_wire(context: &Context, assignment: &crate::image::Assignment) -> DescribeTopicPartitionsResponsePartition {
    let described = metadata::partition(context, assignment);
    DescribeTopicPartitionsResponsePartition {
        error_code: described.error_code,
        partition_index: described.partition_index,
        leader_id: described.leader_id,
        leader_epoch: described.leader_epoch,
        replica_nodes: described.replica_nodes,
        isr_nodes: described.isr_nodes,
        eligible_leader_replicas: Some(metadata::eligible_leader_replicas(context, assignment)),
        last_known_elr: Some(Vec::new()),
        offline_replicas: described.offline_replicas,
    }
}

//! OffsetFetch (KIP-320, KIP-709, KIP-848): the offsets up to which groups have read.
//!
//! Up to version 7 of one group, from 8 on of several; from 10 on topics are named by id. An offset that was committed
//! for a deleted topic of the same name does not count.

use crate::replica::NotServed;
use ottla_access::{Operation, ResourceType};
use std::collections::BTreeSet;

use ottla_group::{MemberId, Shard, TopicName};
use ottla_wire::m09_offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, Str};
use uuid::Uuid;

use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// Partitions of which the offset is about to change; for clients that do not ask, none.
type Unstable = BTreeSet<(TopicName, i32)>;

/// The version from which on members of consumer groups say who they are.
const MEMBERS_FROM: i16 = 9;

/// The offset in the answer for a partition without one.
const NO_OFFSET: i64 = -1;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: OffsetFetchRequest) -> Reply {
    if context.version >= 8 {
        let stable = request.require_stable;
        let groups =
            once(request.groups, |group| group.group_id.clone()).into_iter().map(|(group, times)| match times {
                1 => of_group(context, group, stable),
                _ => refused(context, group.group_id, Vec::new(), ErrorCode::INVALID_REQUEST),
            });
        return context.reply(&OffsetFetchResponse { groups: groups.collect(), ..Default::default() });
    }
    let by_name = |topics: Vec<_>| {
        let topic = |topic: ottla_wire::m09_offset_fetch::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        };
        topics.into_iter().map(topic).collect()
    };
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(by_name),
        ..Default::default()
    };
    let OffsetFetchResponseGroup { topics, error_code, .. } = of_group(context, group, request.require_stable);
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(older).collect(),
    });
    context.reply(&OffsetFetchResponse { error_code, topics: topics.collect(), ..Default::default() })
}

fn older(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

fn of_group(context: &Context, request: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
    let group = request.group_id;
    if !context.may_group(Operation::Describe, &group) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return refused(context, group, request.topics.unwrap_or_default(), error_code);
    }
    let member = request.member_id.as_deref().filter(|_| context.version >= MEMBERS_FROM).map(MemberId::from);
    let topics = context.handler.groups.read(&group, |groups, _| {
        groups.may_fetch_offsets(&group, member.as_ref(), request.member_epoch)?;
        let unstable = if stable { groups.unstable_offsets(&group) } else { Unstable::new() };
        Ok(match &request.topics {
            Some(topics) => once(topics, |topic| (&topic.name, topic.topic_id))
                .into_iter()
                .map(|(topic, _)| of_topic(context, groups, &group, topic, &unstable))
                .collect(),
            None => all_topics(context, groups, &group, &unstable),
        })
    });
    match topics.flatten() {
        Ok(topics) => OffsetFetchResponseGroup { group_id: group, topics, error_code: ErrorCode::NONE },
        Err(error) => refused(context, group, request.topics.unwrap_or_default(), group_error(error)),
    }
}

/// Version 1 has no place for an error but each partition.
fn refused(
    context: &Context,
    group_id: Str,
    topics: Vec<OffsetFetchRequestTopics>,
    error_code: ErrorCode,
) -> OffsetFetchResponseGroup {
    let topics = if context.version >= 2 { Vec::new() } else { topics };
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|number| no_offset(*number, error_code));
        OffsetFetchResponseTopics { partitions: partitions.collect(), name: topic.name, topic_id: topic.topic_id }
    });
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code }
}

fn of_topic(
    context: &Context,
    groups: &Shard,
    group: &str,
    asked: &OffsetFetchRequestTopics,
    unstable: &Unstable,
) -> OffsetFetchResponseTopics {
    let answer = OffsetFetchResponseTopics { name: asked.name.clone(), topic_id: asked.topic_id, ..Default::default() };
    let (name, id) = match context.topic(Operation::Describe, 10, &asked.name, asked.topic_id) {
        Ok(topic) => (topic.name.clone(), Some(topic.id)),
        Err(NotServed::Denied) => {
            let denied = |number: &i32| no_offset(*number, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
            let partitions = asked.partition_indexes.iter().map(denied).collect();
            return OffsetFetchResponseTopics { partitions, ..answer };
        }
        // A name may be of a topic that is not here any more, or not yet: its offsets are what they are.
        Err(_) if context.version < 10 => (asked.name.clone(), None),
        Err(_) => {
            let unknown = |number: &i32| no_offset(*number, ErrorCode::UNKNOWN_TOPIC_ID);
            return OffsetFetchResponseTopics {
                partitions: asked.partition_indexes.iter().map(unknown).collect(),
                ..answer
            };
        }
    };
    // Four bytes are answered with as many as a commit's metadata has: once.
    let partitions = once(&asked.partition_indexes, |number| **number).into_iter().map(|(number, _)| {
        if is_unstable(unstable, &name, *number) {
            return no_offset(*number, ErrorCode::UNSTABLE_OFFSET_COMMIT);
        }
        let committed = groups.committed_offset(group, &name, *number);
        match committed.filter(|committed| is_of(committed.topic_id, id)) {
            Some(committed) => found(*number, committed),
            None => no_offset(*number, ErrorCode::NONE),
        }
    });
    OffsetFetchResponseTopics { partitions: partitions.collect(), ..answer }
}

/// Every offset of the group. By id, those of topics that are gone can't be named.
fn all_topics(context: &Context, groups: &Shard, group: &str, unstable: &Unstable) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    let mut last: Option<TopicName> = None;
    let mut is_seen = true;
    for (name, number, committed) in groups.committed_offsets(group) {
        let id = context.image.topic(name).map(|topic| topic.id);
        if !is_of(committed.topic_id, id) || (context.version >= 10 && id.is_none()) {
            continue;
        }
        if last.as_ref() != Some(name) {
            last = Some(name.clone());
            is_seen = context.sees(Operation::Describe, ResourceType::Topic, name);
            if !is_seen {
                continue;
            }
            let topic_id = id.unwrap_or_default();
            topics.push(OffsetFetchResponseTopics { name: text(name), topic_id, ..Default::default() });
        }
        if let Some(topic) = topics.last_mut().filter(|_| is_seen) {
            let is_unstable = unstable.contains(&(name.clone(), number));
            topic.partitions.push(match is_unstable {
                true => no_offset(number, ErrorCode::UNSTABLE_OFFSET_COMMIT),
                false => found(number, committed),
            });
        }
    }
    topics
}

fn is_unstable(unstable: &Unstable, topic: &str, number: i32) -> bool {
    !unstable.is_empty() && unstable.contains(&(TopicName::from(topic), number))
}

/// Whether an offset that was committed for one topic id belongs to another; unknown ones agree with any.
fn is_of(committed: Option<Uuid>, topic: Option<Uuid>) -> bool {
    committed.is_none() || topic.is_none() || committed == topic
}

fn found(number: i32, committed: ottla_group::CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: number,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata.into()),
        error_code: ErrorCode::NONE,
    }
}

fn no_offset(number: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: number,
        committed_offset: NO_OFFSET,
        metadata: Some(Str::new()),
        error_code,
        ..Default::default()
    }
}

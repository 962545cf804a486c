//! The records of streams groups in Kafka's format, and back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::Str;
use ottla_wire::coordinator_records::{CoordinatorKey, GroupMetadataKey, decode_value, encode_value};
use ottla_wire::streams_group_records::{
    self as wire, CurrentTaskIds, KeyValue, StreamsGroupCurrentMemberAssignmentValue, StreamsGroupMemberKey,
    StreamsGroupMemberMetadataValue, StreamsGroupMetadataValue, StreamsGroupTargetAssignmentMemberValue,
    StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyValue, TargetTaskIds,
};

use super::shared::{MemberState, TargetValue};
use super::streams::{
    Copartition, Endpoint, InternalTopic, StreamsAssigned, StreamsCurrentValue, StreamsGroupValue, StreamsMemberValue,
    StreamsRecord, StreamsTasks, Subtopology, Tasks, TasksWithEpochs, Topology,
};
use super::{Encoded, Malformed, Record, TooLong, text};
use crate::ids::{GroupId, MemberId, TopicName};

pub(super) fn encode(group: &GroupId, record: &StreamsRecord) -> Result<Encoded, TooLong> {
    let of_group = || Ok(GroupMetadataKey { group: text(group)? });
    let of_member = |member: &MemberId| Ok(StreamsGroupMemberKey { group: text(group)?, member: text(member)? });
    let (key, value) = match record {
        StreamsRecord::Group(value) => {
            let value = value.as_ref().map(encode_group).transpose()?;
            (CoordinatorKey::StreamsGroup(of_group()?), value)
        }
        StreamsRecord::Topology(value) => {
            let value = value.as_deref().map(encode_topology).transpose()?;
            (CoordinatorKey::StreamsGroupTopology(of_group()?), value)
        }
        StreamsRecord::Member(member, value) => {
            let value = value.as_deref().map(encode_member).transpose()?;
            (CoordinatorKey::StreamsGroupMember(of_member(member)?), value)
        }
        StreamsRecord::Target(value) => {
            let value = value.map(|value| StreamsGroupTargetAssignmentMetadataValue {
                assignment_epoch: value.epoch,
                assignment_timestamp: value.computed_ms.unwrap_or(0),
            });
            (CoordinatorKey::StreamsGroupTarget(of_group()?), value.map(|value| encode_value(0, &value)))
        }
        StreamsRecord::TargetMember(member, value) => {
            let value = value.as_ref().map(encode_target).transpose()?;
            (CoordinatorKey::StreamsGroupTargetMember(of_member(member)?), value)
        }
        StreamsRecord::Current(member, value) => {
            let value = value.as_ref().map(encode_current).transpose()?;
            (CoordinatorKey::StreamsGroupCurrentMember(of_member(member)?), value)
        }
    };
    Ok(Encoded { key: key.encode(), value })
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<Vec<KeyValue>, TooLong> {
    pairs.into_iter().map(|(key, value)| Ok(KeyValue { key: text(key)?, value: text(value)? })).collect()
}

fn encode_group(value: &StreamsGroupValue) -> Result<Bytes, TooLong> {
    let value = StreamsGroupMetadataValue {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
        validated_topology_epoch: value.validated_epoch,
        last_assignment_configs: match value.configs.is_empty() {
            true => None,
            false => Some(pairs(&value.configs)?),
        },
    };
    Ok(encode_value(0, &value))
}

fn encode_member(value: &StreamsMemberValue) -> Result<Bytes, TooLong> {
    let optional = |value: Option<&str>| value.map(text).transpose();
    let endpoint =
        |endpoint: &Endpoint| Ok::<_, TooLong>(wire::Endpoint { host: text(&endpoint.host)?, port: endpoint.port });
    let value = StreamsGroupMemberMetadataValue {
        instance_id: optional(value.instance.as_deref())?,
        rack_id: optional(value.rack.as_deref())?,
        client_id: text(&value.client_id)?,
        client_host: text(&value.client_host)?,
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        topology_epoch: value.topology_epoch,
        process_id: text(&value.process)?,
        user_endpoint: value.endpoint.as_ref().map(endpoint).transpose()?,
        client_tags: pairs(&value.client_tags)?,
    };
    Ok(encode_value(0, &value))
}

fn encode_target(value: &StreamsTasks) -> Result<Bytes, TooLong> {
    let tasks = |tasks: &Tasks| {
        let part = |(id, partitions): (&String, &BTreeSet<i32>)| {
            Ok(TargetTaskIds { subtopology_id: text(id)?, partitions: partitions.iter().copied().collect() })
        };
        tasks.iter().map(part).collect::<Result<Vec<_>, TooLong>>()
    };
    let value = StreamsGroupTargetAssignmentMemberValue {
        active_tasks: tasks(&value.active)?,
        standby_tasks: tasks(&value.standby)?,
        warmup_tasks: tasks(&value.warmup)?,
    };
    Ok(encode_value(0, &value))
}

fn encode_current(value: &StreamsCurrentValue) -> Result<Bytes, TooLong> {
    let active = |tasks: &TasksWithEpochs| {
        let part = |(id, partitions): (&String, &BTreeMap<i32, i32>)| {
            Ok(CurrentTaskIds {
                subtopology_id: text(id)?,
                partitions: partitions.keys().copied().collect(),
                assignment_epochs: Some(partitions.values().copied().collect()),
            })
        };
        tasks.iter().map(part).collect::<Result<Vec<_>, TooLong>>()
    };
    let other = |tasks: &Tasks| {
        let part = |(id, partitions): (&String, &BTreeSet<i32>)| {
            let partitions = partitions.iter().copied().collect();
            Ok(CurrentTaskIds { subtopology_id: text(id)?, partitions, assignment_epochs: None })
        };
        tasks.iter().map(part).collect::<Result<Vec<_>, TooLong>>()
    };
    let value = StreamsGroupCurrentMemberAssignmentValue {
        member_epoch: value.epoch,
        previous_member_epoch: value.previous_epoch,
        state: value.state.number(),
        active_tasks: active(&value.assigned.active)?,
        standby_tasks: other(&value.assigned.standby)?,
        warmup_tasks: other(&value.assigned.warmup)?,
        active_tasks_pending_revocation: active(&value.revoking.active)?,
        standby_tasks_pending_revocation: other(&value.revoking.standby)?,
        warmup_tasks_pending_revocation: other(&value.revoking.warmup)?,
    };
    Ok(encode_value(0, &value))
}

fn encode_topology(topology: &Topology) -> Result<Bytes, TooLong> {
    let names = |names: &[TopicName]| names.iter().map(|name| text(name)).collect::<Result<Vec<_>, TooLong>>();
    let topics = |topics: &[InternalTopic]| {
        let topic = |topic: &InternalTopic| {
            Ok(wire::TopicInfo {
                name: text(&topic.name)?,
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                topic_configs: pairs(topic.configs.iter().map(|(key, value)| (key, value)))?,
            })
        };
        topics.iter().map(topic).collect::<Result<Vec<_>, TooLong>>()
    };
    let part = |part: &Subtopology| {
        let copartition = |all: &Copartition| wire::CopartitionGroup {
            source_topics: all.sources.clone(),
            source_topic_regex: all.source_patterns.clone(),
            repartition_source_topics: all.repartition_sources.clone(),
        };
        Ok(wire::Subtopology {
            subtopology_id: text(&part.id)?,
            source_topics: names(&part.sources)?,
            source_topic_regex: part.source_patterns.iter().map(|text_| text(text_)).collect::<Result<_, _>>()?,
            state_changelog_topics: topics(&part.changelogs)?,
            repartition_sink_topics: names(&part.repartition_sinks)?,
            repartition_source_topics: topics(&part.repartition_sources)?,
            copartition_groups: part.copartitions.iter().map(copartition).collect(),
        })
    };
    let subtopologies = topology.subtopologies.iter().map(part).collect::<Result<_, TooLong>>()?;
    Ok(encode_value(0, &StreamsGroupTopologyValue { epoch: topology.epoch, subtopologies }))
}

/// A part of a streams group; `None` if the key is of another kind.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
    let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
    let (group, record) = match CoordinatorKey::decode(key)? {
        CoordinatorKey::StreamsGroup(key) => (key.group, StreamsRecord::Group(value.map(decode_group).transpose()?)),
        CoordinatorKey::StreamsGroupTopology(key) => {
            (key.group, StreamsRecord::Topology(value.map(decode_topology).transpose()?.map(Box::new)))
        }
        CoordinatorKey::StreamsGroupMember(key) => {
            let value = value.map(decode_member).transpose()?.map(Box::new);
            (key.group, StreamsRecord::Member((&*key.member).into(), value))
        }
        CoordinatorKey::StreamsGroupTarget(key) => {
            let value = value.map(decode_value::<StreamsGroupTargetAssignmentMetadataValue>).transpose()?;
            let value = value.map(|value| TargetValue {
                epoch: value.assignment_epoch,
                computed_ms: Some(value.assignment_timestamp).filter(|time_ms| *time_ms != 0),
            });
            (key.group, StreamsRecord::Target(value))
        }
        CoordinatorKey::StreamsGroupTargetMember(key) => {
            let value = value.map(decode_target).transpose()?;
            (key.group, StreamsRecord::TargetMember((&*key.member).into(), value))
        }
        CoordinatorKey::StreamsGroupCurrentMember(key) => {
            let value = value.map(decode_current).transpose()?;
            (key.group, StreamsRecord::Current((&*key.member).into(), value))
        }
        _ => return Ok(None),
    };
    Ok(Some(Record::Streams { group: (&*group).into(), record }))
}

fn decode_group(bytes: Bytes) -> Result<StreamsGroupValue, Malformed> {
    let value: StreamsGroupMetadataValue = decode_value(bytes)?;
    Ok(StreamsGroupValue {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
        validated_epoch: value.validated_topology_epoch,
        configs: value.last_assignment_configs.into_iter().flatten().map(unpaired).collect(),
    })
}

fn unpaired(pair: KeyValue) -> (String, String) {
    (pair.key.to_string(), pair.value.to_string())
}

fn decode_member(bytes: Bytes) -> Result<StreamsMemberValue, Malformed> {
    let value: StreamsGroupMemberMetadataValue = decode_value(bytes)?;
    Ok(StreamsMemberValue {
        instance: value.instance_id.map(|id| (&*id).into()),
        rack: value.rack_id.map(|rack| rack.to_string()),
        client_id: value.client_id.to_string(),
        client_host: value.client_host.to_string(),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        topology_epoch: value.topology_epoch,
        process: value.process_id.to_string(),
        endpoint: value.user_endpoint.map(|endpoint| Endpoint { host: endpoint.host.to_string(), port: endpoint.port }),
        client_tags: value.client_tags.into_iter().map(unpaired).collect(),
    })
}

fn decode_target(bytes: Bytes) -> Result<StreamsTasks, Malformed> {
    let value: StreamsGroupTargetAssignmentMemberValue = decode_value(bytes)?;
    let tasks = |all: Vec<TargetTaskIds>| {
        tasks(all.into_iter().map(|part| (part.subtopology_id, part.partitions.into_iter().collect())))
    };
    Ok(StreamsTasks {
        active: tasks(value.active_tasks),
        standby: tasks(value.standby_tasks),
        warmup: tasks(value.warmup_tasks),
    })
}

fn tasks(all: impl Iterator<Item = (Str, BTreeSet<i32>)>) -> Tasks {
    all.filter(|(_, partitions)| !partitions.is_empty()).map(|(id, all)| (id.to_string(), all)).collect()
}

fn decode_current(bytes: Bytes) -> Result<StreamsCurrentValue, Malformed> {
    let value: StreamsGroupCurrentMemberAssignmentValue = decode_value(bytes)?;
    let epoch = value.member_epoch;
    // Kafka before 4.3 wrote no epochs: the member's counts.
    let active = |all: Vec<CurrentTaskIds>| -> TasksWithEpochs {
        let part = |part: CurrentTaskIds| {
            let epochs = part.assignment_epochs.filter(|epochs| epochs.len() == part.partitions.len());
            let epochs = epochs.unwrap_or_else(|| vec![epoch; part.partitions.len()]);
            (part.subtopology_id.to_string(), part.partitions.into_iter().zip(epochs).collect())
        };
        let parts = all.into_iter().map(part);
        parts.filter(|(_, partitions): &(_, BTreeMap<i32, i32>)| !partitions.is_empty()).collect()
    };
    let other = |all: Vec<CurrentTaskIds>| {
        tasks(all.into_iter().map(|part| (part.subtopology_id, part.partitions.into_iter().collect())))
    };
    Ok(StreamsCurrentValue {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::numbered(value.state),
        assigned: StreamsAssigned {
            active: active(value.active_tasks),
            standby: other(value.standby_tasks),
            warmup: other(value.warmup_tasks),
        },
        revoking: StreamsAssigned {
            active: active(value.active_tasks_pending_revocation),
            standby: other(value.standby_tasks_pending_revocation),
            warmup: other(value.warmup_tasks_pending_revocation),
        },
    })
}

fn decode_topology(bytes: Bytes) -> Result<Topology, Malformed> {
    let value: StreamsGroupTopologyValue = decode_value(bytes)?;
    let names = |names: Vec<Str>| names.iter().map(|name| (&**name).into()).collect();
    let topic = |topic: wire::TopicInfo| InternalTopic {
        name: (&*topic.name).into(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic.topic_configs.into_iter().map(unpaired).collect(),
    };
    let copartition = |all: wire::CopartitionGroup| Copartition {
        sources: all.source_topics,
        source_patterns: all.source_topic_regex,
        repartition_sources: all.repartition_source_topics,
    };
    let part = |part: wire::Subtopology| Subtopology {
        id: part.subtopology_id.to_string(),
        sources: names(part.source_topics),
        source_patterns: part.source_topic_regex.iter().map(|pattern| pattern.to_string()).collect(),
        changelogs: part.state_changelog_topics.into_iter().map(topic).collect(),
        repartition_sinks: names(part.repartition_sink_topics),
        repartition_sources: part.repartition_source_topics.into_iter().map(topic).collect(),
        copartitions: part.copartition_groups.into_iter().map(copartition).collect(),
    };
    Ok(Topology::new(value.epoch, value.subtopologies.into_iter().map(part).collect()))
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;

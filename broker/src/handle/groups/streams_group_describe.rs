//! StreamsGroupDescribe (KIP-1071): topology and members of streams groups, what they have and are to have.

use std::collections::BTreeSet;

use ottla_access::Operation;
use ottla_group::record::{InternalTopic, StreamsTasks};
use ottla_group::{
    DescribedStreamsMember, DescribedSubtopology, DescribedTopology, GroupError, GroupId, GroupKind, TopicName,
};
use ottla_rules::features::STREAMS_VERSION;
use ottla_wire::m88_streams_group_heartbeat::{StreamsGroupKeyValue, StreamsGroupTopicInfo};
use ottla_wire::m89_streams_group_describe::{
    DescribedStreamsGroup, DescribedStreamsGroupAssignment, DescribedStreamsGroupMember, DescribedStreamsSubtopology,
    DescribedStreamsTopology, StreamsGroupDescribeRequest, StreamsGroupDescribeResponse,
};
use ottla_wire::{ErrorCode, Str};

use super::streams_group_heartbeat::{endpoint, task_ids};
use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: StreamsGroupDescribeRequest) -> Reply {
    let wants_operations = request.include_authorized_operations;
    let groups = once(request.group_ids, Str::clone).into_iter().map(|(group, _)| {
        let mut described = describe(context, group);
        if wants_operations && described.error_code == ErrorCode::NONE {
            described.authorized_operations = context.group_operations(&described.group_id);
        }
        described
    });
    context.reply(&StreamsGroupDescribeResponse { groups: groups.collect(), ..Default::default() })
}

fn describe(context: &Context, group_id: Str) -> DescribedStreamsGroup {
    let group = GroupId::from(&*group_id);
    let found = match context.image.features.level(STREAMS_VERSION) {
        ..1 => Err(GroupError::UnsupportedVersion),
        1.. if !context.may_group(Operation::Describe, &group_id) => {
            let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
            return DescribedStreamsGroup { error_code, group_id, ..Default::default() };
        }
        1.. if group_id.is_empty() => Err(GroupError::InvalidGroupId),
        1.. => context.handler.groups.describe_streams(&group),
    };
    match found {
        Ok(described) if !described.topology.as_ref().is_none_or(|topology| sees_topics(context, topology)) => {
            DescribedStreamsGroup {
                error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                error_message: Some(HIDDEN_TOPICS.into()),
                group_id,
                ..Default::default()
            }
        }
        Ok(described) => DescribedStreamsGroup {
            group_id,
            group_state: described.state.name().into(),
            group_epoch: described.epoch,
            assignment_epoch: described.target_epoch,
            topology: described.topology.map(topology),
            members: described.members.into_iter().map(member).collect(),
            ..Default::default()
        },
        Err(error) => DescribedStreamsGroup {
            group_id,
            error_code: group_error(error),
            error_message: matches!(error, GroupError::GroupIdNotFound)
                .then(|| context.handler.groups.not_found(&group, GroupKind::Streams).into()),
            ..Default::default()
        },
    }
}

/// Whether the client may see every topic of the application.
fn sees_topics(context: &Context, topology: &DescribedTopology) -> bool {
    let topics: BTreeSet<&TopicName> = (topology.subtopologies.iter())
        .flat_map(|part| {
            let own = part.repartition_sources.iter().chain(&part.changelogs).map(|topic| &topic.name);
            part.sources.iter().chain(&part.repartition_sinks).chain(own)
        })
        .collect();
    topics.into_iter().all(|topic| context.may_topic(Operation::Describe, topic))
}

/// Kafka's message.
const HIDDEN_TOPICS: &str = "The described group uses topics that the client is not authorized to describe.";

fn topology(topology: DescribedTopology) -> DescribedStreamsTopology {
    let names = |topics: Vec<TopicName>| topics.iter().map(|topic| text(topic)).collect();
    let part = |part: DescribedSubtopology| DescribedStreamsSubtopology {
        subtopology_id: part.id.into(),
        source_topics: names(part.sources),
        repartition_sink_topics: names(part.repartition_sinks),
        state_changelog_topics: part.changelogs.into_iter().map(internal_topic).collect(),
        repartition_source_topics: part.repartition_sources.into_iter().map(internal_topic).collect(),
    };
    DescribedStreamsTopology {
        epoch: topology.epoch,
        subtopologies: Some(topology.subtopologies.into_iter().map(part).collect()),
    }
}

fn internal_topic(topic: InternalTopic) -> StreamsGroupTopicInfo {
    StreamsGroupTopicInfo {
        name: text(&topic.name),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: pairs(topic.configs),
    }
}

fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<StreamsGroupKeyValue> {
    pairs.into_iter().map(|(key, value)| StreamsGroupKeyValue { key: key.into(), value: value.into() }).collect()
}

fn member(member: DescribedStreamsMember) -> DescribedStreamsGroupMember {
    let value = member.value;
    DescribedStreamsGroupMember {
        member_id: text(&member.member),
        member_epoch: member.epoch,
        instance_id: value.instance.as_deref().map(text),
        rack_id: value.rack.map(Str::from),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        topology_epoch: value.topology_epoch,
        process_id: value.process.into(),
        user_endpoint: value.endpoint.map(endpoint),
        client_tags: pairs(value.client_tags),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        ..Default::default()
    }
}

fn assignment(tasks: StreamsTasks) -> DescribedStreamsGroupAssignment {
    DescribedStreamsGroupAssignment {
        active_tasks: task_ids(tasks.active),
        standby_tasks: task_ids(tasks.standby),
        warmup_tasks: task_ids(tasks.warmup),
    }
}

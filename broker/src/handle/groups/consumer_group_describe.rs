//! ConsumerGroupDescribe (KIP-848, KIP-1099): the members of consumer groups, what they have and are to have.

use std::collections::BTreeSet;

use ottla_access::Operation;
use ottla_group::{DescribedConsumerMember, GroupError, GroupId, GroupKind, Partitions};
use ottla_rules::features::GROUP_VERSION;
use ottla_wire::m69_consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedConsumerGroup,
    DescribedConsumerGroupAssignment, DescribedConsumerGroupMember, DescribedConsumerGroupTopicPartitions,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::handle::context::{Context, HIDDEN_TOPICS, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// What a member's protocol is called on the wire.
mod member_type {
    pub(super) const CLASSIC: i8 = 0;
    pub(super) const CONSUMER: i8 = 1;
}

/// Answers at once.
pub(crate) fn handle(context: &Context, request: ConsumerGroupDescribeRequest) -> Reply {
    let wants_operations = request.include_authorized_operations;
    let groups = once(request.group_ids, Str::clone).into_iter().map(|(group, _)| {
        let mut described = describe(context, group);
        if wants_operations && described.error_code == ErrorCode::NONE {
            described.authorized_operations = context.group_operations(&described.group_id);
        }
        described
    });
    context.reply(&ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() })
}

fn describe(context: &Context, group_id: Str) -> DescribedConsumerGroup {
    let found = match context.image.features.level(GROUP_VERSION) {
        ..1 => Err(GroupError::UnsupportedVersion),
        1.. if !context.may_group(Operation::Describe, &group_id) => {
            let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
            return DescribedConsumerGroup { error_code, group_id, ..Default::default() };
        }
        1.. if group_id.is_empty() => Err(GroupError::InvalidGroupId),
        1.. => context.handler.groups.describe_consumer(&GroupId::from(&*group_id)),
    };
    match found {
        Ok(group) if !sees_topics(context, &group) => DescribedConsumerGroup {
            error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            error_message: Some(HIDDEN_TOPICS.into()),
            group_id,
            ..Default::default()
        },
        Ok(group) => DescribedConsumerGroup {
            group_id,
            group_state: group.state.name().into(),
            group_epoch: group.epoch,
            assignment_epoch: group.target_epoch,
            assignor_name: group.assignor.into(),
            members: group.members.into_iter().map(|found| member(context, found)).collect(),
            ..Default::default()
        },
        Err(error) => DescribedConsumerGroup {
            error_code: group_error(error),
            error_message: matches!(error, GroupError::GroupIdNotFound)
                .then(|| context.handler.groups.not_found(&GroupId::from(&*group_id), GroupKind::Consumer).into()),
            group_id,
            ..Default::default()
        },
    }
}

/// Whether the client may see every topic of which members have partitions.
fn sees_topics(context: &Context, group: &ottla_group::DescribedConsumerGroup) -> bool {
    let assigned = group.members.iter().flat_map(|member| member.assigned.keys().chain(member.target.keys()));
    let topics: BTreeSet<&Uuid> = assigned.collect();
    let mut known = topics.into_iter().filter_map(|id| context.image.topics.get(id));
    known.all(|topic| context.may_topic(Operation::Describe, &topic.name))
}

fn member(context: &Context, member: DescribedConsumerMember) -> DescribedConsumerGroupMember {
    let value = member.value;
    DescribedConsumerGroupMember {
        member_id: text(&member.member),
        instance_id: value.instance.as_deref().map(text),
        rack_id: value.rack.map(Str::from),
        member_epoch: member.epoch,
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        subscribed_topic_names: value.topics.iter().map(|topic| text(topic)).collect(),
        // Kafka shows no expression as an empty one.
        subscribed_topic_regex: Some(value.pattern.unwrap_or_default().into()),
        assignment: assignment(context, member.assigned),
        target_assignment: assignment(context, member.target),
        member_type: if value.classic.is_some() { member_type::CLASSIC } else { member_type::CONSUMER },
    }
}

/// Topics that are gone can't be named, and are not shown.
fn assignment(context: &Context, assigned: Partitions) -> DescribedConsumerGroupAssignment {
    let topics = assigned.into_iter().filter_map(|(topic_id, partitions)| {
        Some(DescribedConsumerGroupTopicPartitions {
            topic_id,
            topic_name: context.image.topics.get(&topic_id)?.name.clone(),
            partitions: partitions.into_iter().collect(),
        })
    });
    DescribedConsumerGroupAssignment { topic_partitions: topics.collect() }
}

//! ShareGroupDescribe (KIP-932): the members of share groups, and what they have.

use std::collections::BTreeSet;

use ottla_access::Operation;
use ottla_group::{DescribedShareMember, GroupError, GroupId, GroupKind, Partitions};
use ottla_wire::m77_share_group_describe::{
    DescribedShareGroup, DescribedShareGroupAssignment, DescribedShareGroupMember, DescribedShareGroupTopicPartitions,
    ShareGroupDescribeRequest, ShareGroupDescribeResponse,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::are_served;
use crate::handle::context::{Context, HIDDEN_TOPICS, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: ShareGroupDescribeRequest) -> Reply {
    let wants_operations = request.include_authorized_operations;
    let groups = once(request.group_ids, Str::clone).into_iter().map(|(group, _)| {
        let mut described = describe(context, group);
        if wants_operations && described.error_code == ErrorCode::NONE {
            described.authorized_operations = context.group_operations(&described.group_id);
        }
        described
    });
    context.reply(&ShareGroupDescribeResponse { groups: groups.collect(), ..Default::default() })
}

fn describe(context: &Context, group_id: Str) -> DescribedShareGroup {
    let group = GroupId::from(&*group_id);
    if are_served(context).is_ok() && !context.may_group(Operation::Describe, &group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return DescribedShareGroup { error_code, group_id, ..Default::default() };
    }
    let found = are_served(context).and_then(|()| match group.is_empty() {
        true => Err(GroupError::InvalidGroupId),
        false => context.handler.groups.describe_share(&group),
    });
    match found {
        Ok(described) if !sees_topics(context, &described) => DescribedShareGroup {
            error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            error_message: Some(HIDDEN_TOPICS.into()),
            group_id,
            ..Default::default()
        },
        Ok(described) => DescribedShareGroup {
            group_id,
            group_state: described.state.name().into(),
            group_epoch: described.epoch,
            assignment_epoch: described.target_epoch,
            assignor_name: described.assignor.into(),
            members: described.members.into_iter().map(|found| member(context, found)).collect(),
            ..Default::default()
        },
        Err(error) => DescribedShareGroup {
            group_id,
            error_code: group_error(error),
            error_message: matches!(error, GroupError::GroupIdNotFound)
                .then(|| context.handler.groups.not_found(&group, GroupKind::Share).into()),
            ..Default::default()
        },
    }
}

/// Whether the client may see every topic of which members have partitions.
fn sees_topics(context: &Context, group: &ottla_group::DescribedShareGroup) -> bool {
    let assigned = group.members.iter().flat_map(|member| member.assigned.keys());
    let topics: BTreeSet<&Uuid> = assigned.collect();
    let mut known = topics.into_iter().filter_map(|id| context.image.topics.get(id));
    known.all(|topic| context.may_topic(Operation::Describe, &topic.name))
}

fn member(context: &Context, member: DescribedShareMember) -> DescribedShareGroupMember {
    let value = member.value;
    DescribedShareGroupMember {
        member_id: text(&member.member),
        rack_id: value.rack.map(Str::from),
        member_epoch: member.epoch,
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        subscribed_topic_names: value.topics.iter().map(|topic| text(topic)).collect(),
        assignment: assignment(context, member.assigned),
    }
}

/// Topics that are gone can't be named, and are not shown.
fn assignment(context: &Context, assigned: Partitions) -> DescribedShareGroupAssignment {
    let topics = assigned.into_iter().filter_map(|(topic_id, partitions)| {
        Some(DescribedShareGroupTopicPartitions {
            topic_id,
            topic_name: context.image.topics.get(&topic_id)?.name.clone(),
            partitions: partitions.into_iter().collect(),
        })
    });
    DescribedShareGroupAssignment { topic_partitions: topics.collect() }
}

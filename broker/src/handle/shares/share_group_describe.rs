//! ShareGroupDescribe (KIP-932): the members of share groups, and what they have.

use ottla_group::{DescribedShareMember, GroupError, GroupId, GroupKind, Partitions};
use ottla_wire::m77_share_group_describe::{
    DescribedShareGroup, DescribedShareGroupAssignment, DescribedShareGroupMember, DescribedShareGroupTopicPartitions,
    ShareGroupDescribeRequest, ShareGroupDescribeResponse,
};
use ottla_wire::{ErrorCode, Str};

use super::are_served;
use crate::handle::context::{Context, operations, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers at once.
pub fn handle(context: &Context, request: ShareGroupDescribeRequest) -> Reply {
    let wants_operations = request.include_authorized_operations;
    let groups = once(request.group_ids, Str::clone).into_iter().map(|(group, _)| {
        let mut described = describe(context, group);
        if wants_operations && described.error_code == ErrorCode::NONE {
            described.authorized_operations = operations::GROUP;
        }
        described
    });
    context.reply(&ShareGroupDescribeResponse { groups: groups.collect(), ..Default::default() })
}

fn describe(context: &Context, group_id: Str) -> DescribedShareGroup {
    let group = GroupId::from(&*group_id);
    let found = are_served(context).and_then(|()| match group.is_empty() {
        true => Err(GroupError::InvalidGroupId),
        false => context.handler.groups.describe_share(&group),
    });
    match found {
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

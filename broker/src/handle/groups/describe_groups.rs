//! DescribeGroups (KIP-430, KIP-1043): state, members and assignments of groups.

use ottla_access::Operation;
use ottla_group::{DescribedMember, GroupError, GroupId, GroupKind, GroupState};
use ottla_wire::m15_describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: DescribeGroupsRequest) -> Reply {
    let wants_operations = request.include_authorized_operations;
    let groups = once(request.groups, Str::clone).into_iter().map(|(group, _)| {
        let mut described = describe(context, group);
        if wants_operations && described.error_code == ErrorCode::NONE {
            described.authorized_operations = context.group_operations(&described.group_id);
        }
        described
    });
    context.reply(&DescribeGroupsResponse { groups: groups.collect(), ..Default::default() })
}

fn describe(context: &Context, group_id: Str) -> DescribedGroup {
    if !context.may_group(Operation::Describe, &group_id) {
        return DescribedGroup { error_code: ErrorCode::GROUP_AUTHORIZATION_FAILED, group_id, ..Default::default() };
    }
    let dead = || GroupState::Dead.name().into();
    match context.handler.groups.describe(&GroupId::from(&*group_id)) {
        Ok(group) => DescribedGroup {
            group_id,
            group_state: group.state.name().into(),
            protocol_type: group.protocol_type.into(),
            protocol_data: group.protocol_name.into(),
            members: group.members.into_iter().map(member).collect(),
            ..Default::default()
        },
        // Older clients read the state.
        Err(GroupError::GroupIdNotFound) if context.version < 6 => {
            DescribedGroup { group_id, group_state: dead(), ..Default::default() }
        }
        Err(GroupError::GroupIdNotFound) => DescribedGroup {
            error_code: ErrorCode::GROUP_ID_NOT_FOUND,
            error_message: Some(
                context.handler.groups.not_found(&GroupId::from(&*group_id), GroupKind::Classic).into(),
            ),
            group_id,
            group_state: dead(),
            ..Default::default()
        },
        Err(error) => DescribedGroup { error_code: group_error(error), group_id, ..Default::default() },
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: text(&member.member),
        group_instance_id: member.instance.as_deref().map(text),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}

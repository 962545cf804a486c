//! LeaveGroup (KIP-345): members go; from version 3 on several at once, also static members that an administrator
//! removes.

use ottla_access::Operation;
use ottla_group::{InstanceId, LeaveRequest, Leaving};
use ottla_wire::ErrorCode;
use ottla_wire::m13_leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

use crate::handle::context::Context;
use crate::handle::errors::{group_error, group_result};
use crate::reply::Reply;

/// Answers when the change of the group is replicated.
pub(crate) fn handle(context: &Context, request: LeaveGroupRequest) -> Reply {
    if !context.may_group(Operation::Read, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&LeaveGroupResponse { error_code, ..Default::default() });
    }
    let members = if context.version >= 3 {
        request.members
    } else {
        vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
    };
    let leaving = members.iter().map(|member| Leaving {
        member: (&*member.member_id).into(),
        instance: member.group_instance_id.as_deref().map(InstanceId::from),
    });
    let request = LeaveRequest { group: (&*request.group_id).into(), members: leaving.collect() };
    let left = context.handler.groups.leave(&request);
    let version = context.version;
    context.later(async move {
        let results = match left.await {
            Ok(results) => results,
            Err(error) => return LeaveGroupResponse { error_code: group_error(error), ..Default::default() },
        };
        // The result of its only member is that of the request.
        let error_code =
            if version >= 3 { ErrorCode::NONE } else { results.first().map_or(ErrorCode::NONE, group_result) };
        let members = members.into_iter().zip(&results).map(|(member, result)| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: group_result(result),
        });
        LeaveGroupResponse { error_code, members: members.collect(), ..Default::default() }
    })
}

//! SyncGroup (KIP-345, KIP-559): the leader sends the assignment of all members, and each member gets its own.

use ottla_access::Operation;
use ottla_group::{GroupError, InstanceId, SyncRequest, Synced};
use ottla_wire::m14_sync_group::{SyncGroupRequest, SyncGroupResponse};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::handle::errors::group_error;
use crate::reply::Reply;

/// Answers when the leader's assignment is replicated.
pub(crate) fn handle(context: &Context, request: SyncGroupRequest) -> Reply {
    if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return context.reply(&refused(GroupError::InconsistentGroupProtocol));
    }
    if !context.may_group(Operation::Read, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&SyncGroupResponse { error_code, ..Default::default() });
    }
    let assignments = request.assignments.into_iter();
    let syncing = context.handler.groups.sync(SyncRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol_name: request.protocol_name.map(|name| name.to_string()),
        assignments: assignments.map(|given| ((&*given.member_id).into(), given.assignment)).collect(),
    });
    context.later(async move { syncing.await.map_or_else(refused, accepted) })
}

fn accepted(synced: Synced) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: synced.protocol_type.map(Str::from),
        protocol_name: synced.protocol_name.map(Str::from),
        assignment: synced.assignment,
        ..Default::default()
    }
}

fn refused(error: GroupError) -> SyncGroupResponse {
    SyncGroupResponse { error_code: group_error(error), ..Default::default() }
}

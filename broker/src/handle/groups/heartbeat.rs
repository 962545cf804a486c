//! Heartbeat: a member is alive, and learns whether it must join again.

use ottla_access::Operation;
use ottla_group::{HeartbeatRequest as Beat, InstanceId};
use ottla_wire::ErrorCode;
use ottla_wire::m12_heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::handle::context::Context;
use crate::handle::errors::group_result;
use crate::reply::Reply;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: HeartbeatRequest) -> Reply {
    if !context.may_group(Operation::Read, &request.group_id) {
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&HeartbeatResponse { error_code, ..Default::default() });
    }
    let beat = context.handler.groups.heartbeat(&Beat {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id,
    });
    context.reply(&HeartbeatResponse { error_code: group_result(&beat), ..Default::default() })
}

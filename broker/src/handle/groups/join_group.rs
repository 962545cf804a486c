//! JoinGroup (KIP-134, KIP-345, KIP-394, KIP-814): a member asks to be part of the next generation, and waits for it.

use ottla_access::Operation;
use ottla_group::{InstanceId, JoinRefused, JoinRequest, Joined, Protocol};
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::{ErrorCode, Str};

use crate::env;
use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::reply::Reply;

/// Answered when the rebalance completes.
pub(crate) fn handle(context: &Context, request: JoinGroupRequest) -> Reply {
    if !context.may_group(Operation::Read, &request.group_id) {
        let protocol_name = (context.version < 7).then(Str::new);
        let error_code = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        return context.reply(&JoinGroupResponse { error_code, protocol_name, ..Default::default() });
    }
    let protocols = request.protocols.into_iter();
    let joining = context.handler.groups.join(JoinRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        client_id: context.client_id.to_string(),
        client_host: context.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        // Version 0 has none.
        rebalance_timeout_ms: if context.version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|p| Protocol { name: p.name.to_string(), metadata: p.metadata }).collect(),
        can_be_sent_an_id: context.version >= 4,
        can_skip_assignment: context.version >= 9,
        fresh: env::random_uuid(),
    });
    let version = context.version;
    context.later(async move {
        let mut response = match joining.await {
            Ok(joined) => accepted(joined),
            Err(refusal) => refused(&refusal),
        };
        if version < 7 {
            response.protocol_name.get_or_insert_default();
        }
        response
    })
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: text(&member.member),
        group_instance_id: member.instance.as_deref().map(text),
        metadata: member.metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(Str::from),
        protocol_name: joined.protocol_name.map(Str::from),
        leader: text(&joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id: text(&joined.member),
        members: members.collect(),
        ..Default::default()
    }
}

fn refused(JoinRefused { error, member }: &JoinRefused) -> JoinGroupResponse {
    JoinGroupResponse { error_code: group_error(*error), member_id: text(member), ..Default::default() }
}

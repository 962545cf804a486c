//! DeleteGroups (KIP-229): groups without members, and their offsets.

use ottla_access::Operation;
use ottla_group::GroupId;
use ottla_wire::m42_delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::handle::errors::group_result;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers when the deletion is replicated.
pub(crate) fn handle(context: &Context, request: DeleteGroupsRequest) -> Reply {
    let deleting: Vec<_> = once(request.groups_names, Str::clone)
        .into_iter()
        .map(|(name, _)| {
            let may = context.may_group(Operation::Delete, &name);
            if may {
                context.audit(&format!("deletes the group {name:?}"));
            }
            (may.then(|| context.handler.groups.delete_group(&GroupId::from(&*name))), name)
        })
        .collect();
    context.later(async move {
        let mut response = DeleteGroupsResponse::default();
        for (deleted, group_id) in deleting {
            let error_code = match deleted {
                Some(deleted) => group_result(&deleted.await),
                None => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            };
            response.results.push(DeletableGroupResult { group_id, error_code });
        }
        response
    })
}

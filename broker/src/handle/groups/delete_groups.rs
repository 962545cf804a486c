//! DeleteGroups (KIP-229): groups without members, and their offsets.

use ottla_group::GroupId;
use ottla_wire::Str;
use ottla_wire::m42_delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::handle::context::Context;
use crate::handle::errors::group_result;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers when the deletion is replicated.
pub fn handle(context: &Context, request: DeleteGroupsRequest) -> Reply {
    let deleting: Vec<_> = once(request.groups_names, Str::clone)
        .into_iter()
        .map(|(name, _)| (context.handler.groups.delete_group(&GroupId::from(&*name)), name))
        .collect();
    context.later(async move {
        let mut response = DeleteGroupsResponse::default();
        for (deleted, group_id) in deleting {
            response.results.push(DeletableGroupResult { group_id, error_code: group_result(&deleted.await) });
        }
        response
    })
}

//! DeleteGroups (KIP-229): groups without members, and their offsets.

use ottla_group::GroupId;
use ottla_wire::m42_delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::Context;
use super::errors::group_result;
use crate::reply::Reply;

/// Answered when it is safe that they are gone.
pub fn handle(context: &Context, request: DeleteGroupsRequest) -> Reply {
    let deleting: Vec<_> = request
        .groups_names
        .into_iter()
        .map(|name| (context.handler.groups.delete_group(&GroupId::from(&*name)), name))
        .collect();
    context.later(async move {
        let mut response = DeleteGroupsResponse::default();
        for (deleted, group_id) in deleting {
            response.results.push(DeletableGroupResult { group_id, error_code: group_result(&deleted.await) });
        }
        response
    })
}

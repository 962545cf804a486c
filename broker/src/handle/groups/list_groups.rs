//! ListGroups (KIP-518, KIP-848): the groups that this broker coordinates, filtered by state and type.

use ottla_access::{Operation, ResourceType};
use ottla_group::ListedGroup as Group;
use ottla_wire::Str;
use ottla_wire::m16_list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::handle::context::{Context, text};
use crate::handle::errors::group_error;
use crate::reply::Reply;

/// Answers at once.
pub(crate) fn handle(context: &Context, request: ListGroupsRequest) -> Reply {
    let groups = match context.handler.groups.list() {
        Ok(groups) => groups,
        Err(error) => {
            return context.reply(&ListGroupsResponse { error_code: group_error(error), ..Default::default() });
        }
    };
    let sees_all = context.sees_cluster(Operation::Describe);
    let sees = |group: &Group| sees_all || context.sees(Operation::Describe, ResourceType::Group, &group.group);
    let wanted = |group: &Group| {
        sees(group)
            && passes(&request.states_filter, group.state.name())
            && passes(&request.types_filter, group.kind.name())
    };
    let listed = groups.into_iter().filter(wanted).map(|group| ListedGroup {
        group_id: text(&group.group),
        protocol_type: group.protocol_type.into(),
        group_state: group.state.name().into(),
        group_type: group.kind.name().into(),
    });
    context.reply(&ListGroupsResponse { groups: listed.collect(), ..Default::default() })
}

/// No filter lets everything pass.
fn passes(filter: &[Str], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

//! AlterConfigs: replaces all settings of a resource. Superseded by IncrementalAlterConfigs, still used by some
//! clients.

use ottla_config::Op;
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};

use super::resources::{ConfigChange, Others, alter, repeated_resource};
use crate::ask::AskRefusal;
use crate::handle::context::{Context, Deadline};
use crate::handle::once::once;
use crate::reply::Reply;

/// Changes one resource after the other; each is changed as a whole or not at all.
pub(crate) fn handle(context: &Context, request: AlterConfigsRequest) -> Reply {
    let context_later = context.clone();
    context.later(async move {
        let mut response = AlterConfigsResponse::default();
        for (resource, times) in once(request.resources, |r| (r.resource_type, r.resource_name.clone())) {
            let change = |config: ottla_wire::m33_alter_configs::AlterableConfig| ConfigChange {
                op: Op::Set,
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
            };
            let changes: Vec<ConfigChange> = resource.configs.into_iter().map(change).collect();
            let (kind, name) = (resource.resource_type, resource.resource_name);
            let deadline = Deadline::default();
            let altered = match times {
                1 => alter(&context_later, kind, &name, Ok(changes), Others::Go, request.validate_only, deadline).await,
                _ => Err(repeated_resource()),
            };
            let (error_code, error_message) = AskRefusal::to_wire(altered.err());
            let answer =
                AlterConfigsResourceResponse { error_code, error_message, resource_type: kind, resource_name: name };
            response.responses.extend(std::iter::repeat_n(answer, times));
        }
        response
    })
}

//! AlterConfigs: replaces all settings of a resource. Superseded by IncrementalAlterConfigs, still used by some clients.

use ottla_config::Op;
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};

use super::resources::{Change, Others, alter};
use super::{Context, Deadline};
use crate::ask::Refused;
use crate::reply::Reply;

/// Changes one resource after the other; each is changed as a whole or not at all.
pub fn handle(context: &Context, request: AlterConfigsRequest) -> Reply {
    let context_later = context.clone();
    context.later(async move {
        let mut response = AlterConfigsResponse::default();
        for resource in request.resources {
            let change = |config: ottla_wire::m33_alter_configs::AlterableConfig| Change {
                op: Op::Set,
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
            };
            let changes: Vec<Change> = resource.configs.into_iter().map(change).collect();
            let (kind, name) = (resource.resource_type, resource.resource_name);
            let deadline = Deadline::default();
            let altered =
                alter(&context_later, kind, &name, &changes, Others::Go, request.validate_only, deadline).await;
            let (error_code, error_message) = Refused::to_wire(altered.err());
            response.responses.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: name,
            });
        }
        response
    })
}

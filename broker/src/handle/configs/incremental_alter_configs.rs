//! IncrementalAlterConfigs (KIP-339): sets, deletes, appends to and subtracts from settings of topics and brokers.

use ottla_config::Op;
use ottla_wire::ErrorCode;
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::resources::{ConfigChange, Others, alter, repeated_resource};
use crate::ask::AskRefusal;
use crate::handle::context::{Context, Deadline};
use crate::handle::once::once;
use crate::reply::Reply;

/// Changes one resource after the other; each is changed as a whole or not at all.
pub(crate) fn handle(context: &Context, request: IncrementalAlterConfigsRequest) -> Reply {
    let context_later = context.clone();
    context.later(async move {
        let mut response = IncrementalAlterConfigsResponse::default();
        for (resource, times) in once(request.resources, |r| (r.resource_type, r.resource_name.clone())) {
            let (kind, name) = (resource.resource_type, resource.resource_name.clone());
            let altered = async {
                if times > 1 {
                    return Err(repeated_resource());
                }
                let changes = changes(resource);
                let deadline = Deadline::default();
                alter(&context_later, kind, &name, changes, Others::Stay, request.validate_only, deadline).await
            };
            let (error_code, error_message) = AskRefusal::to_wire(altered.await.err());
            let answer =
                AlterConfigsResourceResponse { error_code, error_message, resource_type: kind, resource_name: name };
            response.responses.extend(std::iter::repeat_n(answer, times));
        }
        response
    })
}

fn changes(resource: AlterConfigsResource) -> Result<Vec<ConfigChange>, AskRefusal> {
    let change = |config: ottla_wire::m44_incremental_alter_configs::AlterableConfig| {
        let op = Op::try_from(config.config_operation).map_err(|unknown| {
            AskRefusal::new(ErrorCode::INVALID_REQUEST, format!("Unknown operation type {unknown}."))
        })?;
        let value = config.value.map(|value| value.to_string());
        Ok(ConfigChange { op, name: config.name.to_string(), value })
    };
    resource.configs.into_iter().map(change).collect()
}

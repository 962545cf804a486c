//! IncrementalAlterConfigs (KIP-339): sets, deletes, appends to and subtracts from settings of topics and brokers.

use std::collections::BTreeSet;

use ottla_config::Op;
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use ottla_wire::{ErrorCode, Str};

use super::resources::{Change, Others, alter};
use super::{Context, Deadline};
use crate::ask::Refused;
use crate::reply::Reply;

/// Changes one resource after the other; each is changed as a whole or not at all.
pub fn handle(context: &Context, request: IncrementalAlterConfigsRequest) -> Reply {
    let context_later = context.clone();
    context.later(async move {
        let mut response = IncrementalAlterConfigsResponse::default();
        let repeated = repeated(&request.resources);
        for resource in request.resources {
            let (kind, name) = (resource.resource_type, resource.resource_name.clone());
            let altered = async {
                if repeated.contains(&(kind, name.clone())) {
                    return Err(Refused::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once."));
                }
                let changes = changes(resource)?;
                let deadline = Deadline::default();
                alter(&context_later, kind, &name, &changes, Others::Stay, request.validate_only, deadline).await
            };
            let (error_code, error_message) = Refused::to_wire(altered.await.err());
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

fn repeated(resources: &[AlterConfigsResource]) -> BTreeSet<(i8, Str)> {
    let mut seen = BTreeSet::new();
    let keys = resources.iter().map(|resource| (resource.resource_type, resource.resource_name.clone()));
    keys.filter(|key| !seen.insert(key.clone())).collect()
}

fn changes(resource: AlterConfigsResource) -> Result<Vec<Change>, Refused> {
    let change = |config: ottla_wire::m44_incremental_alter_configs::AlterableConfig| {
        let op = Op::try_from(config.config_operation).map_err(|unknown| {
            Refused::new(ErrorCode::INVALID_REQUEST, format!("Unknown operation type {unknown}."))
        })?;
        let value = config.value.map(|value| value.to_string());
        Ok(Change { op, name: config.name.to_string(), value })
    };
    resource.configs.into_iter().map(change).collect()
}

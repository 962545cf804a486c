//! ListConfigResources (KIP-1142): the resources that have settings.

use ottla_access::Operation;
use ottla_wire::m74_list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::{ErrorCode, Str};

use super::resources::kind;
use crate::handle::context::Context;
use crate::reply::Reply;

/// Answers from the image. Version 0 asks for client metrics, of which there are none.
pub(crate) fn handle(context: &Context, request: ListConfigResourcesRequest) -> Reply {
    if !context.may_cluster(Operation::DescribeConfigs) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        return context.reply(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let all = [kind::TOPIC, kind::BROKER, kind::BROKER_LOGGER, kind::CLIENT_METRICS, kind::GROUP];
    let mut wanted = request.resource_types;
    if context.version == 0 {
        wanted = vec![kind::CLIENT_METRICS];
    } else if wanted.is_empty() {
        wanted = all.to_vec();
    }
    if wanted.iter().any(|kind| !all.contains(kind)) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        return context.reply(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let image = &context.image;
    let names = |kind| -> Vec<Str> {
        match kind {
            kind::TOPIC => image.topic_names.keys().cloned().collect(),
            kind::BROKER | kind::BROKER_LOGGER => image.brokers.keys().map(|id| id.to_string().into()).collect(),
            kind::GROUP => image.groups.keys().cloned().collect(),
            _ => Vec::new(),
        }
    };
    let resources = wanted.iter().flat_map(|kind| {
        names(*kind).into_iter().map(|resource_name| ConfigResource { resource_name, resource_type: *kind })
    });
    context.reply(&ListConfigResourcesResponse { config_resources: resources.collect(), ..Default::default() })
}

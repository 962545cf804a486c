//! DescribeCluster (KIP-700): the cluster's id and its brokers.

use ottla_wire::ErrorCode;
use ottla_wire::m60_describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use crate::handle::context::{Context, operations};
use crate::reply::Reply;

/// `EndpointType` in Kafka.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers from the image.
pub(crate) fn handle(context: &Context, request: DescribeClusterRequest) -> Reply {
    let refuse = |error_code, message: String| {
        context.reply(&DescribeClusterResponse {
            error_code,
            error_message: Some(message.into()),
            ..Default::default()
        })
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refuse(ErrorCode::MISMATCHED_ENDPOINT_TYPE, message.to_owned());
        }
        other => return refuse(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}")),
    }
    let brokers =
        context.image.brokers.values().filter(|broker| context.is_there(broker) || request.include_fenced_brokers);
    let brokers = brokers.filter_map(|broker| {
        let endpoint = broker.endpoints.get(&context.peer.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: !context.is_there(broker),
        })
    });
    context.reply(&DescribeClusterResponse {
        cluster_id: context.image.cluster_id.clone(),
        controller_id: context.handler.id.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            context.cluster_operations()
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    })
}

//! The Service with which clients inside the Kubernetes cluster begin: any broker that listens.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use ottla_crds::{ListenerType, names};

use super::headless_service::listener_port;
use super::label::{metadata, pod_selector};
use crate::cluster::validate::ValidatedCluster;

/// The bootstrap Service. Clients outside begin at any broker's own address.
pub fn bootstrap_service(cluster: &ValidatedCluster) -> Service {
    let inside = cluster.listeners.iter().filter(|listener| match listener.type_ {
        ListenerType::Internal | ListenerType::ClusterIp => true,
        ListenerType::NodePort | ListenerType::LoadBalancer | ListenerType::Unknown => false,
    });
    Service {
        metadata: metadata(cluster, names::bootstrap_service(&cluster.name)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            // A broker that is not ready is not in sync everywhere, which the PodDisruptionBudget has to know. It still
            // names the leader of every partition to clients; while no broker is ready, nobody else would.
            publish_not_ready_addresses: Some(true),
            selector: Some(pod_selector(cluster)),
            ports: Some(inside.map(listener_port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

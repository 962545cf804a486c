//! One Service per broker and listener, where its type needs one: clients must reach the very broker that leads a
//! partition.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use ottla_crds::{ListenerType, names};
use ottla_rules::assignment::BrokerId;

use super::headless_service::listener_port;
use super::label::{metadata, pod_selector};
use crate::cluster::validate::{Listener, ValidatedCluster};

/// The label that identifies a pod of a StatefulSet.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// The Services of single brokers.
pub fn broker_services(cluster: &ValidatedCluster) -> Vec<Service> {
    let mut services = Vec::new();
    for listener in &cluster.listeners {
        let type_ = match listener.type_ {
            ListenerType::Internal | ListenerType::Unknown => continue,
            ListenerType::NodePort => "NodePort",
            ListenerType::LoadBalancer => "LoadBalancer",
            ListenerType::ClusterIp => "ClusterIP",
        };
        services.extend(cluster.brokers().map(|id| broker_service(cluster, id, listener, type_)));
    }
    services
}

fn broker_service(cluster: &ValidatedCluster, id: BrokerId, listener: &Listener, type_: &str) -> Service {
    let mut selector = pod_selector(cluster);
    selector.insert(POD_NAME_LABEL.to_owned(), cluster.pod(id));
    Service {
        metadata: metadata(cluster, names::broker_service(&cluster.name, id, &listener.name)),
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            // A broker that is not ready may lead a partition that nobody else has.
            publish_not_ready_addresses: Some(true),
            selector: Some(selector),
            ports: Some(vec![listener_port(listener)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

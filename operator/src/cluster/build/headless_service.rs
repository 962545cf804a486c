//! The Service that gives each pod a name of its own, from the moment it has an address.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ottla_crds::names::{self, HTTP_PORT};

use super::label::{metadata, pod_selector};
use crate::cluster::validate::{Listener, ValidatedCluster};

/// The headless Service. Brokers find each other before they are ready: a broker that catches up needs the others.
pub fn headless_service(cluster: &ValidatedCluster) -> Service {
    let http = ServicePort { target_port: Some(IntOrString::String("http".to_owned())), ..port("http", HTTP_PORT) };
    Service {
        metadata: metadata(cluster, names::headless_service(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(pod_selector(cluster)),
            ports: Some(cluster.listeners.iter().map(listener_port).chain([http]).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A listener's port on any of its Services.
pub(super) fn listener_port(listener: &Listener) -> ServicePort {
    ServicePort { target_port: Some(IntOrString::String(listener.name.clone())), ..port(&listener.name, listener.port) }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

//! Who may connect to brokers: anybody, at the listeners and at the metrics; nobody anywhere else.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ottla_crds::names;

use super::{HTTP_PORT, metadata, selector};
use crate::cluster::validate::ValidatedCluster;

/// The brokers' NetworkPolicy.
pub fn network_policy(cluster: &ValidatedCluster) -> NetworkPolicy {
    let open = cluster.listeners.iter().map(|listener| listener.port).chain([HTTP_PORT]);
    let port = |port: u16| NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicy {
        metadata: metadata(cluster, names::brokers(&cluster.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(cluster)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(open.map(port).collect()), from: None }]),
            egress: None,
        }),
    }
}

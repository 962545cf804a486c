//! Who may connect to brokers: anybody, at the listeners and at the metrics; brokers and the operator, at the listener
//! for replication; nobody anywhere else.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ottla_crds::names;

use super::{HTTP_PORT, metadata, selector};
use crate::cluster::validate::ValidatedCluster;

/// The labels of the operator's pods, in whatever namespace.
const OPERATOR_LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "ottla"), ("app.kubernetes.io/component", "operator")];

/// The brokers' NetworkPolicy.
pub fn network_policy(cluster: &ValidatedCluster) -> NetworkPolicy {
    let open = cluster.listeners.iter().map(|listener| listener.port).chain([HTTP_PORT]);
    let brokers = NetworkPolicyPeer { pod_selector: Some(selector(cluster)), ..NetworkPolicyPeer::default() };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(OPERATOR_LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            ..LabelSelector::default()
        }),
        ip_block: None,
    };
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
            ingress: Some(
                [NetworkPolicyIngressRule { ports: Some(open.map(port).collect()), from: None }]
                    .into_iter()
                    .chain(cluster.has_authorities.then(|| NetworkPolicyIngressRule {
                        ports: Some(vec![port(names::REPLICATION_PORT)]),
                        from: Some(vec![brokers, operator]),
                    }))
                    .collect(),
            ),
            egress: None,
        }),
    }
}

//! Who may connect to brokers: at the metrics and the listeners, anybody or, if the listener names some, these; brokers
//! and the operator, at every listener, that for replication too; nobody anywhere else.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ottla_crds::names::{self, HTTP_PORT};

use super::label::{metadata, selector};
use crate::cluster::validate::{Listener, ValidatedCluster};

/// The labels of the operator's pods, in whatever namespace.
const OPERATOR_LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "ottla"), ("app.kubernetes.io/component", "operator")];

/// The brokers' NetworkPolicy.
pub fn network_policy(cluster: &ValidatedCluster) -> NetworkPolicy {
    with_peers(cluster, |listener| &listener.peers)
}

/// The same if the API server refuses peers: to listeners that name some, nobody else may connect.
pub fn closed(cluster: &ValidatedCluster) -> NetworkPolicy {
    with_peers(cluster, |_| &[])
}

/// The listeners that name peers, in the order of their rules.
fn limited(cluster: &ValidatedCluster) -> impl Iterator<Item = &Listener> {
    cluster.listeners.iter().filter(|listener| !listener.peers.is_empty())
}

/// A field of the NetworkPolicy, as the API server names it, as a field of the KafkaCluster, if it is one of peers.
pub fn asked_for(cluster: &ValidatedCluster, field: &str) -> Option<String> {
    let (rule, rest) = field.strip_prefix("spec.ingress[")?.split_once("].from[")?;
    let (peer, below) = rest.split_once(']')?;
    // The first rule is that of the listeners that name none.
    let listener = limited(cluster).nth(rule.parse::<usize>().ok()?.checked_sub(1)?)?;
    let peer = peer.parse::<usize>().ok().filter(|peer| *peer < listener.peers.len())?;
    Some(format!("networkPolicyPeers[{peer}]{below} of the listener {}", listener.name))
}

fn with_peers(cluster: &ValidatedCluster, peers: fn(&Listener) -> &[NetworkPolicyPeer]) -> NetworkPolicy {
    let open = cluster.listeners.iter().filter(|listener| listener.peers.is_empty());
    let open = open.map(|listener| listener.port).chain([HTTP_PORT]);
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
    // Brokers use the first internal listener, until they have certificates, and the operator asks there how they are.
    let own = [brokers, operator];
    let rule = |number: u16, peers: &[NetworkPolicyPeer]| NetworkPolicyIngressRule {
        ports: Some(vec![port(number)]),
        from: Some(peers.iter().chain(&own).cloned().collect()),
    };
    NetworkPolicy {
        metadata: metadata(cluster, names::brokers(&cluster.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(cluster)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(
                [NetworkPolicyIngressRule { ports: Some(open.map(port).collect()), from: None }]
                    .into_iter()
                    .chain(limited(cluster).map(|listener| rule(listener.port, peers(listener))))
                    .chain(cluster.has_authorities.then(|| rule(names::REPLICATION_PORT, &[])))
                    .collect(),
            ),
            egress: None,
        }),
    }
}

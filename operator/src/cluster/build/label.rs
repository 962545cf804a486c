//! What all built objects have in common: their metadata and labels, and the selectors of pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;
use ottla_crds::names;

use crate::cluster::validate::ValidatedCluster;

/// The field manager of everything that is built.
pub const MANAGER: &str = "ottla-operator";
/// The label with the manager's name.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The metadata of an object of this name.
pub fn metadata(cluster: &ValidatedCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(labels(&cluster.name)),
        ..ObjectMeta::default()
    }
}

/// The labels of everything that is built.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "ottla"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", "broker"),
        (MANAGED_BY_LABEL, MANAGER),
        (names::CLUSTER_LABEL, cluster),
    ];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The labels that all pods of the cluster always have, because selectors can't be changed.
pub(super) fn pod_selector(cluster: &ValidatedCluster) -> BTreeMap<String, String> {
    let labels = [(names::CLUSTER_LABEL, cluster.name.as_str()), ("app.kubernetes.io/component", "broker")];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Selects them.
pub(super) fn selector(cluster: &ValidatedCluster) -> LabelSelector {
    LabelSelector { match_labels: Some(pod_selector(cluster)), ..LabelSelector::default() }
}

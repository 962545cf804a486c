//! Secrets that go with what they belong to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use ottla_crds::names;

/// The metadata of a Secret that goes with `owner`.
pub(super) fn owned_by<K: Resource<DynamicType = ()>>(owner: &K, name: String, cluster: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some([(names::CLUSTER_LABEL.to_owned(), cluster.to_owned())].into()),
        owner_references: owner.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

//! The brokers: pods with stable names and volumes. The operator alone decides when one is replaced.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetOrdinals, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use ottla_crds::{DeletionPolicy, Storage, names};

use super::label::{metadata, selector};
use crate::cluster::pools::Pool;
use crate::cluster::validate::ValidatedCluster;

/// The StatefulSet of a pool, with the template that new pods get.
///
/// Its template of claims can't be changed: an existing set keeps its size (`claim_size`), and claims that are smaller
/// than in the spec are enlarged one by one.
///
/// Whatever the cluster's deletion policy, volumes stay when the set is deleted: a user may delete the set of an
/// existing cluster, and the operator creates it again. [`retention`] is set in the last step of a cluster's deletion.
pub fn stateful_set(
    cluster: &ValidatedCluster,
    pool: &Pool,
    claim_size: Option<&str>,
    template: &PodTemplateSpec,
) -> StatefulSet {
    // The labels of the default pool's selector, which can't be changed, are on all pods. Kubernetes takes only those
    // for its own that have its name, too.
    let mut selector = selector(cluster);
    if let Some(name) = &pool.name {
        selector.match_labels.get_or_insert_default().insert(names::POOL_LABEL.to_owned(), name.clone());
    }
    StatefulSet {
        metadata: metadata(cluster, pool.stateful_set(&cluster.name)),
        spec: Some(StatefulSetSpec {
            replicas: Some(pool.replicas),
            ordinals: (pool.first > 0).then_some(StatefulSetOrdinals { start: Some(pool.first) }),
            selector,
            service_name: Some(names::headless_service(&cluster.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(retention(DeletionPolicy::Retain)),
            template: template.clone(),
            volume_claim_templates: Some(vec![claim(&pool.storage, claim_size)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Scaling never deletes a volume.
pub fn retention(policy: DeletionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match policy {
        DeletionPolicy::Delete => "Delete",
        DeletionPolicy::Retain => "Retain",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

fn claim(storage: &Storage, claim_size: Option<&str>) -> PersistentVolumeClaim {
    let size = claim_size.unwrap_or(&storage.size);
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(names::DATA_VOLUME.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.to_owned()))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

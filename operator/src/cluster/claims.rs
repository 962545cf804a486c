//! Brokers' claims: the StatefulSet creates them; the operator enlarges them when the spec grows, and annotates them
//! with the cluster's id, so that a KafkaCluster which comes after this one and finds its volumes continues as the same
//! Kafka cluster. The operator never deletes claims: with `deletionPolicy: Delete` they are deleted with the
//! StatefulSet.
//!
//! Always: while the cluster exists, no StatefulSet owns a claim, because deleting the set would delete the volume. A
//! volume that can't be enlarged does not prevent other changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use ottla_crds::{DeletionPolicy, KafkaCluster, names};
use ottla_rules::assignment::BrokerId;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::apply::ApplyError;
use super::lost;
use super::pools::Pool;
use super::read::{Read, capacity, requested};
use super::validate::ValidatedCluster;
use crate::plan::platform::{Obstacle, Volume};

/// The annotation with the Kafka cluster's id, on claims.
const CLUSTER_ID_ANNOTATION: &str = "ottla.io/cluster-id";

/// The id of the Kafka cluster whose data is on the volumes; `None` if no claim has it. Claims that are being deleted
/// do not count.
pub fn cluster_id(read: &Read) -> Option<String> {
    let mut staying = read.claims.values().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    staying.find_map(|claim| marked_with(claim)).map(str::to_owned)
}

fn marked_with(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.metadata.annotations.as_ref()?.get(CLUSTER_ID_ANNOTATION).map(String::as_str)
}

/// How long a refused size is not requested again; the StorageClass may have been changed since.
pub const REFUSED_FOR: Duration = Duration::from_secs(300);

/// The sizes that were refused, by the claim's name.
#[derive(Debug, Default)]
pub struct RefusedSizes(BTreeMap<String, (String, Instant, Obstacle)>);

/// Changes claims to what they should be. Returns the problem if a claim can't have the size in the spec.
///
/// # Errors
/// When the API server refuses anything else, or can't be reached.
pub async fn apply(
    client: &Client,
    cluster: &ValidatedCluster,
    read: &Read,
    refused: &mut RefusedSizes,
) -> Result<Option<Obstacle>, ApplyError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace);
    let failed = |name: &str, source| ApplyError::new("change", "PersistentVolumeClaim", name, source);
    for (name, change) in marks(cluster, read) {
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            // Another writer has changed it, which a watch shows soon.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            Err(source) => return Err(failed(&name, source)),
        }
    }
    let now = Instant::now();
    let sizes = sizes(cluster, read);
    refused.0.retain(|name, (size, at, _)| {
        now < *at + REFUSED_FOR && sizes.iter().any(|(claim, wanted, _)| claim == name && wanted == size)
    });
    for (name, wanted, has) in sizes.into_iter().filter(|(name, ..)| !refused.0.contains_key(name)).collect::<Vec<_>>()
    {
        let change = json!({ "spec": { "resources": { "requests": { "storage": wanted } } } });
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                let obstacle = impossible(&cluster.name, &name, (&wanted, &has), &status.message);
                refused.0.insert(name, (wanted, now, obstacle));
            }
            Err(source) => return Err(failed(&name, source)),
        }
    }
    Ok(refused.0.values().next().map(|(_, _, obstacle)| obstacle.clone()))
}

fn impossible(cluster: &str, claim: &str, (wanted, has): (&str, &str), why: &str) -> Obstacle {
    let size = match names::of_claim(cluster, claim) {
        Some((Some(pool), _)) => format!("storage.size of the pool {pool}"),
        Some((None, _)) | None => "spec.brokers.storage.size".to_owned(),
    };
    let message = format!(
        "the claim {claim} requests {has} and can not request {wanted}: {why}. Brokers keep their present volumes; \
        set {size} back to {has}, or allowVolumeExpansion in the StorageClass to true"
    );
    Obstacle::new("ResizeImpossible", message)
}

/// The changes of claims' metadata, by name: all have the cluster's id and belong to no StatefulSet.
fn marks(cluster: &ValidatedCluster, read: &Read) -> Vec<(String, Value)> {
    let status = read.cluster.as_ref().and_then(|cluster| cluster.status.as_ref());
    let id = status.and_then(|status| status.cluster_id.as_deref());
    let change = |(_, name, claim): (BrokerId, &str, &PersistentVolumeClaim)| {
        let mut change = owned(claim, None).unwrap_or_else(|| json!({}));
        if let Some(id) = id.filter(|id| marked_with(claim) != Some(id)) {
            change["metadata"]["annotations"] = json!({ CLUSTER_ID_ANNOTATION: id });
        }
        (change != json!({})).then(|| (name.to_owned(), change))
    };
    of_brokers(&cluster.name, read).filter_map(change).collect()
}

/// The claims that should request another size: the name, the new size, and the present request. It is larger; or
/// smaller, if the claim requested more than its volume got and the spec was corrected.
fn sizes(cluster: &ValidatedCluster, read: &Read) -> Vec<(String, String, String)> {
    let change = |broker: BrokerId| {
        let (name, wanted) = (cluster.claim(broker), &cluster.pool(broker).storage.size);
        let claim = read.claims.get(&name)?;
        let has = requested(claim)?;
        let (wanted_bytes, has_bytes) = (bytes(wanted)?, bytes(has)?);
        let undone = || capacity(claim).and_then(bytes).is_some_and(|got| got <= wanted_bytes && got < has_bytes);
        let differs = wanted_bytes > has_bytes || wanted_bytes < has_bytes && undone();
        differs.then(|| (name, wanted.clone(), has.to_owned()))
    };
    cluster.brokers().filter_map(change).collect()
}

/// The size of the smallest volume of a pool's brokers: the spec can't ask for less. `None`: no volume exists yet.
pub fn smallest(cluster: &ValidatedCluster, pool: &Pool, read: &Read) -> Option<String> {
    let claims = pool.brokers().filter_map(|id| read.claims.get(&cluster.claim(id)));
    let sized = claims.filter_map(|claim| Some((bytes(capacity(claim)?)?, capacity(claim)?)));
    sized.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, size)| size.to_owned())
}

/// The volume of each broker that has one.
pub fn volumes(cluster: &ValidatedCluster, read: &Read, lost: &lost::KnownVolumes) -> BTreeMap<BrokerId, Volume> {
    let volume = |broker: BrokerId| {
        let claim = cluster.claim(broker);
        let metadata = &read.claims.get(&claim)?.metadata;
        let uid = metadata.uid.clone()?;
        let volume = Volume {
            claim,
            lost: lost.of(broker, &uid),
            uid,
            version: metadata.resource_version.clone(),
            is_deleted: metadata.deletion_timestamp.is_some(),
            pod: read.pods.get(&cluster.pod(broker)).and_then(|pod| user(pod)),
        };
        Some((broker, volume))
    };
    cluster.brokers().filter_map(volume).collect()
}

/// The uid of a pod that uses its claim: one without a node does not keep it.
fn user(pod: &Pod) -> Option<String> {
    let is_there = pod.metadata.deletion_timestamp.is_none() && pod.spec.as_ref()?.node_name.is_some();
    pod.metadata.uid.clone().filter(|_| is_there)
}

/// Removes the StatefulSet as owner of claims that should stay, or adds it for claims that should be deleted with it.
/// The set's controller does so later, and never for brokers that were removed by scaling before the policy changed;
/// until then claims would be deleted, or stay, against the policy.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn follow(client: &Client, cluster: &KafkaCluster, read: &Read) -> Result<(), ApplyError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let cluster_name = cluster.name_any();
    let owner = |claim: &str| {
        let (pool, _) = names::of_claim(&cluster_name, claim)?;
        read.stateful_sets.get(&names::stateful_set(&cluster_name, pool))?.owner_ref(&())
    };
    for (_, name, claim) in of_brokers(&cluster_name, read) {
        let owner = owner(name).filter(|_| cluster.spec.deletion_policy == DeletionPolicy::Delete);
        let Some(change) = owned(claim, owner.as_ref()) else { continue };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(ApplyError::new("set the owner of", "PersistentVolumeClaim", name, source)),
        }
    }
    Ok(())
}

/// The claims of the cluster's brokers, those included that have left, with their names.
pub fn of_brokers<'a>(
    cluster: &str,
    read: &'a Read,
) -> impl Iterator<Item = (BrokerId, &'a str, &'a PersistentVolumeClaim)> {
    let broker = move |name: &'a str| names::of_claim(cluster, name).map(|(_, id)| id);
    read.claims.iter().filter_map(move |(name, claim)| Some((broker(name)?, name.as_str(), claim.as_ref())))
}

/// The change that makes this StatefulSet the claim's owner, or removes the owner; `None`: nothing to change.
fn owned(claim: &PersistentVolumeClaim, owner: Option<&OwnerReference>) -> Option<Value> {
    let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let (sets, others): (Vec<_>, Vec<_>) = owners.iter().partition(|owner| owner.kind == "StatefulSet");
    let is_so = match owner {
        Some(owner) => sets.iter().any(|set| set.uid == owner.uid),
        None => sets.is_empty(),
    };
    let wanted: Vec<_> = others.into_iter().chain(owner).collect();
    // The version makes the patch a compare-and-swap: a merge patch replaces the whole list.
    let metadata = json!({ "resourceVersion": claim.metadata.resource_version, "ownerReferences": wanted });
    (!is_so).then(|| json!({ "metadata": metadata }))
}

/// A Kubernetes quantity in bytes; `None` if it is malformed.
fn bytes(quantity: &str) -> Option<f64> {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match quantity.get(digits.len()..)? {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 2f64.powi(10),
        "Mi" => 2f64.powi(20),
        "Gi" => 2f64.powi(30),
        "Ti" => 2f64.powi(40),
        "Pi" => 2f64.powi(50),
        "Ei" => 2f64.powi(60),
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_claim_leaves_the_stateful_set_or_goes_with_it_and_other_owners_stay() {
        let owner = |kind: &str, uid: &str| -> OwnerReference {
            OwnerReference { kind: kind.to_owned(), uid: uid.to_owned(), ..OwnerReference::default() }
        };
        let (set, earlier, backup) = (owner("StatefulSet", "s"), owner("StatefulSet", "t"), owner("Backup", "b"));
        for (story, owners, wanted, expected) in [
            ("nobody's, and stays", vec![], None, None),
            ("another's, and stays", vec![&backup], None, None),
            ("the set's, and stays", vec![&set, &backup], None, Some(vec![&backup])),
            ("the set's, and goes", vec![&backup, &set], Some(&set), None),
            ("nobody's, and goes", vec![], Some(&set), Some(vec![&set])),
            ("of a set that is no more", vec![&earlier, &backup], Some(&set), Some(vec![&backup, &set])),
        ] {
            let metadata = json!({ "resourceVersion": "7", "ownerReferences": owners });
            let claim: PersistentVolumeClaim = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
            let change =
                expected.map(|owners| json!({ "metadata": { "resourceVersion": "7", "ownerReferences": owners } }));
            assert_eq!(owned(&claim, wanted), change, "{story}");
        }
    }

    #[test]
    fn only_brokers_claims_are_the_clusters() {
        let mut read = Read::default();
        for name in ["data-prod-broker-0", "data-prod-broker-11", "data-prod-broker-x", "data-other-broker-0", "copy"] {
            read.claims.insert(name.to_owned(), Arc::default());
        }
        let names: Vec<&str> = of_brokers("prod", &read).map(|(_, name, _)| name).collect();
        assert_eq!(names, ["data-prod-broker-0", "data-prod-broker-11"]);
    }

    #[test]
    fn of_a_living_cluster_no_stateful_set_owns_a_claim() {
        let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "prod-broker", "uid": "s" });
        let claim = json!({ "metadata": { "resourceVersion": "7", "ownerReferences": [owner] } });
        let spec = serde_json::from_value(json!({ "brokers": { "storage": { "size": "2Gi" } } })).unwrap();
        let object = KafkaCluster::new("prod", spec);
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let mut read = Read { cluster: Some(Arc::new(object)), ..Read::default() };
        // One of them is of a broker that was scaled away.
        for name in ["data-prod-broker-0", "data-prod-broker-7"] {
            read.claims.insert(name.to_owned(), Arc::new(serde_json::from_value(claim.clone()).unwrap()));
        }
        let freed = json!({ "metadata": { "resourceVersion": "7", "ownerReferences": [] } });
        let expected = ["data-prod-broker-0", "data-prod-broker-7"].map(|name| (name.to_owned(), freed.clone()));
        assert_eq!(marks(&cluster, &read), expected);
    }

    /// An API server for which no volume can grow, while pods must keep running.
    #[tokio::test(start_paused = true)]
    async fn a_refused_size_is_reported_and_not_requested_all_the_time() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
                "message": "only dynamically provisioned pvc can be resized",
            });
            let answer =
                http::Response::builder().status(403).body(kube::client::Body::from(status.to_string().into_bytes()));
            async { answer }
        });
        let client = Client::new(service, "default");
        let (cluster, read) = grows("1Gi", Some("1Gi"), "2Gi");
        let mut refused = RefusedSizes::default();
        for _ in 0..3 {
            let obstacle = apply(&client, &cluster, &read, &mut refused).await.unwrap().unwrap();
            assert_eq!(obstacle.reason, "ResizeImpossible");
            for part in ["data-prod-broker-0", "only dynamically provisioned", "size back to 1Gi"] {
                assert!(obstacle.message.contains(part), "{}", obstacle.message);
            }
        }
        let times = || asked.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(times(), 1);
        tokio::time::advance(REFUSED_FOR).await;
        apply(&client, &cluster, &read, &mut refused).await.unwrap();
        assert_eq!(times(), 2, "the storage class may be another");
        let (cluster, read) = grows("1Gi", Some("1Gi"), "1Gi");
        assert_eq!(apply(&client, &cluster, &read, &mut refused).await.unwrap(), None, "it was taken back");
    }

    /// A cluster of one broker whose claim asks for `requested`, has `capacity`, and is to have `size`.
    fn grows(requested: &str, capacity: Option<&str>, size: &str) -> (ValidatedCluster, Read) {
        let spec = json!({ "brokers": { "storage": { "size": size } } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let claim = json!({
            "spec": { "resources": { "requests": { "storage": requested } } },
            "status": { "capacity": capacity.map(|size| json!({ "storage": size })) },
        });
        let mut read = Read { cluster: Some(Arc::new(object)), ..Read::default() };
        read.claims.insert("data-prod-broker-0".to_owned(), Arc::new(serde_json::from_value(claim).unwrap()));
        (cluster, read)
    }

    #[test]
    fn a_claim_grows_and_takes_back_what_its_volume_never_got() {
        for (requested, capacity, size, expected) in [
            ("1Gi", None, "2Gi", Some("2Gi")),
            ("1Gi", Some("1Gi"), "2048Mi", Some("2048Mi")),
            ("2Gi", Some("2Gi"), "1Gi", None),
            ("2Gi", None, "1Gi", None),
            ("2Gi", Some("1Gi"), "1Gi", Some("1Gi")),
            ("2Gi", Some("1Gi"), "500Mi", None),
            ("2147483647", Some("1Gi"), "2Gi", Some("2Gi")),
        ] {
            let (cluster, read) = grows(requested, capacity, size);
            let asks: Vec<String> = sizes(&cluster, &read).into_iter().map(|(_, wanted, _)| wanted).collect();
            assert_eq!(asks.first().map(String::as_str), expected, "{requested} {capacity:?} {size}");
            assert_eq!(smallest(&cluster, &cluster.pools[0], &read).as_deref(), capacity);
        }
    }

    #[test]
    fn claims_are_marked_with_the_clusters_id() {
        let id = "AAAAAAAAAAAAAAAAAAAAAA";
        let object: KafkaCluster = serde_json::from_value(json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
            "spec": { "brokers": { "replicas": 1, "storage": { "size": "2Gi" } } }, "status": { "clusterId": id },
        }))
        .unwrap();
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let mark = json!({ "annotations": { "ottla.io/cluster-id": id } });
        for (size, marked_with, expected) in [
            ("2Gi", Some(id), None),
            ("2Gi", None, Some(json!({ "metadata": mark.clone() }))),
            ("1G", Some("another"), Some(json!({ "metadata": mark }))),
        ] {
            let annotations = marked_with.map(|id| json!({ "ottla.io/cluster-id": id }));
            let claim = serde_json::from_value(json!({
                "metadata": { "name": "data-prod-broker-0", "annotations": annotations },
                "spec": { "resources": { "requests": { "storage": size } } },
            }));
            let claim: PersistentVolumeClaim = claim.unwrap();
            let mut read = Read { cluster: Some(Arc::new(object.clone())), ..Read::default() };
            read.claims.insert("data-prod-broker-0".to_owned(), Arc::new(claim));
            let expected = expected.map(|change| ("data-prod-broker-0".to_owned(), change));
            assert_eq!(marks(&cluster, &read), expected.into_iter().collect::<Vec<_>>(), "{size} {marked_with:?}");
            assert_eq!(cluster_id(&read).as_deref(), marked_with);
        }
    }

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        for (quantity, expected) in [
            ("1", Some(1.0)),
            ("1500m", Some(1.5)),
            ("0.5Ki", Some(512.0)),
            ("1.5G", Some(1.5e9)),
            ("2Ti", Some(2f64.powi(41))),
            ("Gi", None),
            ("1Xi", None),
            ("", None),
        ] {
            assert_eq!(bytes(quantity), expected, "{quantity}");
        }
    }
}

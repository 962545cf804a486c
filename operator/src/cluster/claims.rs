//! Brokers' claims: made by the StatefulSet, made larger by us where the spec has grown, and marked with the cluster's id,
//! so that a KafkaCluster which comes after this one and finds its volumes goes on as the same Kafka cluster. Never removed by
//! us: with a cluster that takes them along they go with its StatefulSet.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use ottla_crds::assignment::BrokerId;
use ottla_crds::{DeletionPolicy, KafkaCluster, names};
use serde_json::{Value, json};

use super::apply::Failed;
use super::read::{Read, requested};
use super::validate::ValidatedCluster;

/// The annotation with the Kafka cluster's id, on claims.
const CLUSTER_ID_ANNOTATION: &str = "ottla.io/cluster-id";

/// The id of the Kafka cluster whose data is on the volumes, if they tell. Those that are being deleted are nobody's any more.
pub fn cluster_id(read: &Read) -> Option<String> {
    let mut staying = read.claims.values().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    staying.find_map(|claim| marked_with(claim)).map(str::to_owned)
}

fn marked_with(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.metadata.annotations.as_ref()?.get(CLUSTER_ID_ANNOTATION).map(String::as_str)
}

/// Makes claims what they are to be.
///
/// # Errors
/// When the API server refuses, such as for a storage class whose volumes can't grow, or can't be reached.
pub async fn apply(client: &Client, cluster: &ValidatedCluster, read: &Read) -> Result<(), Failed> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace);
    for (name, change) in changes(cluster, read) {
        let written = api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await;
        written.map_err(|source| Failed::new("change", "PersistentVolumeClaim", &name, source))?;
    }
    Ok(())
}

/// What is to be changed, by the claim's name.
fn changes(cluster: &ValidatedCluster, read: &Read) -> Vec<(String, Value)> {
    let status = read.cluster.as_ref().and_then(|cluster| cluster.status.as_ref());
    let id = status.and_then(|status| status.cluster_id.as_deref());
    let change = |broker: BrokerId| {
        let name = names::claim(&cluster.name, broker);
        let claim = read.claims.get(&name)?;
        let mut change = json!({});
        if let Some(id) = id.filter(|id| marked_with(claim) != Some(id)) {
            change["metadata"] = json!({ "annotations": { CLUSTER_ID_ANNOTATION: id } });
        }
        let (wanted, has) = (&cluster.storage.size, requested(claim)?);
        if bytes(wanted)? > bytes(has)? {
            change["spec"] = json!({ "resources": { "requests": { "storage": wanted } } });
        }
        (change != json!({})).then_some((name, change))
    };
    (0..cluster.replicas).map(BrokerId).filter_map(change).collect()
}

/// Takes claims that are to stay out of the StatefulSet's hands, or puts those into them that are to go with it. Its controller does
/// so when it comes to it, and never for brokers that were scaled away before the policy changed; until then they would go, or stay,
/// against the policy.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn follow(client: &Client, cluster: &KafkaCluster, read: &Read) -> Result<(), Failed> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let set = read.stateful_set.as_ref().and_then(|set| set.owner_ref(&()));
    let owner = set.filter(|_| cluster.spec.deletion_policy == DeletionPolicy::Delete);
    for (name, claim) in of_brokers(&cluster.name_any(), read) {
        let Some(change) = owned(claim, owner.as_ref()) else { continue };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(Failed::new("keep or give up", "PersistentVolumeClaim", name, source)),
        }
    }
    Ok(())
}

/// The claims of the cluster's brokers, by name.
pub fn of_brokers<'a>(cluster: &str, read: &'a Read) -> impl Iterator<Item = (&'a str, &'a PersistentVolumeClaim)> {
    let is_brokers = move |name: &str| {
        let pod = name.strip_prefix(names::DATA_VOLUME).and_then(|rest| rest.strip_prefix('-'));
        pod.is_some_and(|pod| names::broker_id(cluster, pod).is_some())
    };
    let claims = read.claims.iter().map(|(name, claim)| (name.as_str(), claim.as_ref()));
    claims.filter(move |(name, _)| is_brokers(name))
}

/// The change that leaves a claim with this StatefulSet as its owner, or without any; none if it is so.
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

/// A Kubernetes quantity in bytes; none if it is not one.
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
        let names: Vec<&str> = of_brokers("prod", &read).map(|(name, _)| name).collect();
        assert_eq!(names, ["data-prod-broker-0", "data-prod-broker-11"]);
    }

    #[test]
    fn claims_are_made_larger_and_marked_and_nothing_else() {
        let id = "AAAAAAAAAAAAAAAAAAAAAA";
        let object: KafkaCluster = serde_json::from_value(json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
            "spec": { "brokers": { "replicas": 1, "storage": { "size": "2Gi" } } }, "status": { "clusterId": id },
        }))
        .unwrap();
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let grow = json!({ "resources": { "requests": { "storage": "2Gi" } } });
        let mark = json!({ "annotations": { "ottla.io/cluster-id": id } });
        for (size, marked_with, expected) in [
            ("2Gi", Some(id), None),
            ("2048Mi", Some(id), None),
            ("3Gi", Some(id), None),
            ("2147483647", Some(id), Some(json!({ "spec": grow.clone() }))),
            ("2Gi", None, Some(json!({ "metadata": mark.clone() }))),
            ("1G", Some("another"), Some(json!({ "metadata": mark, "spec": grow }))),
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
            assert_eq!(changes(&cluster, &read), expected.into_iter().collect::<Vec<_>>(), "{size} {marked_with:?}");
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

//! Brokers' claims: made by the StatefulSet, made larger by us where the spec has grown, and marked with the cluster's id,
//! so that a KafkaCluster which comes after this one and finds its volumes goes on as the same Kafka cluster. Never removed.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use ottla_crds::assignment::BrokerId;
use ottla_crds::names;
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

/// Takes claims that are to stay out of the StatefulSet's hands. Its controller does so when it comes to it; until then they
/// would go with the set.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn keep(client: &Client, namespace: &str, read: &Read) -> Result<(), Failed> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    for (name, change) in read.claims.iter().filter_map(|(name, claim)| Some((name, disowned(claim)?))) {
        let written = api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
        written.map_err(|source| Failed::new("keep", "PersistentVolumeClaim", name, source))?;
    }
    Ok(())
}

/// The change that leaves a claim without the StatefulSet that owns it; none if none does.
fn disowned(claim: &PersistentVolumeClaim) -> Option<Value> {
    let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let others: Vec<_> = owners.iter().filter(|owner| owner.kind != "StatefulSet").collect();
    // The version makes the patch a compare-and-swap: a merge patch replaces the whole list.
    let metadata = json!({ "resourceVersion": claim.metadata.resource_version, "ownerReferences": others });
    (others.len() < owners.len()).then(|| json!({ "metadata": metadata }))
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

    use ottla_crds::KafkaCluster;

    use super::*;

    #[test]
    fn only_the_stateful_set_is_taken_off_a_claim() {
        let claim = |owners: &[&str]| -> PersistentVolumeClaim {
            let owners: Vec<Value> = owners
                .iter()
                .map(|kind| json!({ "apiVersion": "v1", "kind": kind, "name": "a", "uid": "u" }))
                .collect();
            serde_json::from_value(json!({ "metadata": { "resourceVersion": "7", "ownerReferences": owners } }))
                .unwrap()
        };
        assert_eq!(disowned(&claim(&[])), None);
        assert_eq!(disowned(&claim(&["Backup"])), None);
        let change = disowned(&claim(&["StatefulSet", "Backup"])).unwrap();
        assert_eq!(change["metadata"]["resourceVersion"], "7");
        assert_eq!(change["metadata"]["ownerReferences"][0]["kind"], "Backup");
        assert_eq!(change["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
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

//! The deletion of a cluster. The operator removes its objects, not owner references: a definition that is deleted by
//! mistake deletes every KafkaCluster, and must not delete the brokers.
//!
//! `deletionPolicy` says whether volumes are deleted. The StatefulSet gets that policy in the last step and not before:
//! a user who deletes the set of an existing cluster must not delete volumes. The assignments, which say what is on the
//! volumes, and the brokers' Leases are deleted or stay with them. The KafkaCluster exists until its volumes are gone:
//! a new one of the same name would otherwise use them.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Client, CustomResourceExt, Resource, ResourceExt};
use ottla_crds::{DeletionPolicy, KafkaAssignment, KafkaCluster, names};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::OperatorContext;
use super::apply::{self, ApplyError};
use super::build::{Kind, stateful_set};
use super::claims;
use super::read::Read;
use crate::authorities::secrets;
use crate::plan::platform::Obstacle;

/// The finalizer that keeps a KafkaCluster until its objects are removed.
pub const FINALIZER: &str = "ottla.io/cluster";

/// How often one write is tried while another writer is faster.
const TRIES: usize = 5;

/// Adds the finalizer, so that the operator sees the deletion.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn own(shared: &OperatorContext, object: &KafkaCluster) -> Result<(), ApplyError> {
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let add = |finalizers: &mut Vec<String>| {
        if finalizers.iter().all(|finalizer| finalizer != FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
    };
    change_finalizers(shared, object, add).await
}

/// Removes what was built and then the finalizer, or returns what it waits for until the cluster is shown again.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn end(shared: &OperatorContext, object: &KafkaCluster, read: &Read) -> Result<Option<Obstacle>, ApplyError> {
    if object.finalizers().iter().all(|finalizer| finalizer != FINALIZER) {
        return Ok(None); // somebody else's finalizer is waited for
    }
    let namespace = object.namespace().unwrap_or_default();
    let (reason, note) = if definition_is_ending(shared, object).await? {
        (
            "BrokersLeft",
            "the definition of KafkaClusters is being deleted: brokers keep serving, and their volumes stay",
        )
    } else {
        let sets: Vec<&str> =
            read.live.keys().filter(|(kind, _)| *kind == Kind::StatefulSet).map(|(_, name)| name.as_str()).collect();
        for set in &sets {
            if !tell_policy(shared, object, set).await? {
                let message = "the StatefulSet controller has not observed the deletion policy of the volumes yet";
                return Ok(Some(Obstacle::new("Ending", message)));
            }
        }
        if !sets.is_empty() {
            claims::follow(&shared.client, object, read).await?;
        }
        for (key, live) in read.live.iter().rev() {
            apply::remove(&shared.client, &namespace, key, live).await?;
        }
        forget_keys(&shared.client, &namespace, &object.name_any()).await?;
        match object.spec.deletion_policy {
            DeletionPolicy::Delete => {
                let left: Vec<&str> = claims::of_brokers(&object.name_any(), read).map(|(_, name, _)| name).collect();
                if !left.is_empty() {
                    return Ok(Some(volumes_left(&namespace, &left)));
                }
                forget(&shared.client, &namespace, &object.name_any()).await?;
                ("Deleted", "brokers have stopped, and their volumes are deleted")
            }
            DeletionPolicy::Retain => {
                ("Retained", "brokers stop; their volumes stay for a KafkaCluster of the same name")
            }
        }
    };
    shared.tell(object, reason, note).await;
    change_finalizers(shared, object, |finalizers| finalizers.retain(|finalizer| finalizer != FINALIZER)).await?;
    Ok(None)
}

/// A claim is deleted when its pod has stopped. If it stays, a person must delete it.
fn volumes_left(namespace: &str, claims: &[&str]) -> Obstacle {
    let message = format!(
        "the KafkaCluster is deleted after the claims of its volumes, which wait until their pods have stopped; if \
         claims stay: kubectl delete pvc -n {namespace} {}",
        claims.join(" ")
    );
    Obstacle::new("VolumesLeft", message)
}

/// Removes the assignments and Leases of a cluster whose volumes are deleted, because they do not fit another cluster
/// of the same name. Its brokers have stopped by then.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn forget(client: &Client, namespace: &str, cluster: &str) -> Result<(), ApplyError> {
    let of_cluster = format!("{}={cluster}", names::CLUSTER_LABEL);
    remove_all::<KafkaAssignment>(client, namespace, &of_cluster).await?;
    remove_all::<Lease>(client, namespace, &of_cluster).await
}

/// Removes the keys of a cluster: another one of the same name makes its own.
async fn forget_keys(client: &Client, namespace: &str, cluster: &str) -> Result<(), ApplyError> {
    let (label, value) = secrets::COMPONENT;
    remove_all::<Secret>(client, namespace, &format!("{}={cluster},{label}={value}", names::CLUSTER_LABEL)).await
}

async fn remove_all<K>(client: &Client, namespace: &str, selector: &str) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let objects = api.list_metadata(&ListParams::default().labels(selector)).await;
    for object in objects.map_err(|source| ApplyError::new("list", K::kind(&()), selector, source))? {
        let name = object.name_any();
        let this_one = Preconditions { uid: object.uid(), resource_version: None };
        match api.delete(&name, &DeleteParams::default().preconditions(this_one)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(ApplyError::new("remove", K::kind(&()), &name, source)),
        }
    }
    Ok(())
}

/// Sets the StatefulSet's policy for its volumes. Returns whether its controller has observed it: a controller that
/// still uses the old policy would undo what [`claims::follow`] does.
async fn tell_policy(shared: &OperatorContext, object: &KafkaCluster, name: &str) -> Result<bool, ApplyError> {
    let sets: Api<k8s_openapi::api::apps::v1::StatefulSet> =
        Api::namespaced(shared.client.clone(), &object.namespace().unwrap_or_default());
    let retention = stateful_set::retention(object.spec.deletion_policy);
    let patch = Patch::Merge(json!({ "spec": { "persistentVolumeClaimRetentionPolicy": retention } }));
    match sets.patch(name, &PatchParams::default(), &patch).await {
        Ok(set) => Ok(set.status.and_then(|status| status.observed_generation) >= set.metadata.generation),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(true),
        Err(source) => Err(ApplyError::new("set the deletion policy of", "StatefulSet", name, source)),
    }
}

/// Read when it matters: a watch could show it too late.
async fn definition_is_ending(shared: &OperatorContext, object: &KafkaCluster) -> Result<bool, ApplyError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(shared.client.clone());
    let name = KafkaCluster::crd_name();
    let read = definitions.get_metadata_opt(name).await;
    let read =
        read.map_err(|source| ApplyError::new("read the definition of", "KafkaCluster", &object.name_any(), source))?;
    Ok(read.is_none_or(|definition| definition.metadata.deletion_timestamp.is_some()))
}

/// Under compare-and-swap: a merge patch replaces the whole list. Coordination writes the status of the same object, so
/// a few tries may be needed.
async fn change_finalizers(
    shared: &OperatorContext,
    object: &KafkaCluster,
    change: impl Fn(&mut Vec<String>),
) -> Result<(), ApplyError> {
    let name = object.name_any();
    let failed = |source| ApplyError::new("set the finalizers of", "KafkaCluster", &name, source);
    let clusters: Api<KafkaCluster> = Api::namespaced(shared.client.clone(), &object.namespace().unwrap_or_default());
    let mut tries = 0;
    loop {
        let read = clusters.get_metadata_opt(&name).await.map_err(failed)?;
        let Some(read) = read.filter(|read| read.metadata.uid == object.metadata.uid) else { return Ok(()) };
        let mut finalizers = read.metadata.finalizers.clone().unwrap_or_default();
        change(&mut finalizers);
        let metadata = json!({ "resourceVersion": read.metadata.resource_version, "finalizers": finalizers });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        match clusters.patch_metadata(&name, &PatchParams::default(), &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() && tries < TRIES => tries += 1,
            Err(source) => return Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::api::PostParams;
    use kube::runtime::events::Reporter;
    use ottla_crds::{ClusterRef, KafkaAssignmentSpec};
    use ottla_local_api::{Server, Store};
    use tokio::sync::{Semaphore, watch};

    use super::*;
    use crate::events::Recorder;
    use crate::metrics::Metrics;
    use crate::owner::Installation;

    fn shared(client: &Client) -> OperatorContext {
        let reporter = Reporter { controller: "ottla.io/operator".to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        let namespace = "default".to_owned();
        OperatorContext {
            client: client.clone(),
            installation: Installation { client: client.clone(), namespace, recorder: recorder.clone() },
            broker_image: "ottla:1".to_owned(),
            broker_user: None,
            turns: Semaphore::new(1),
            metrics: Arc::new(Metrics::new()),
            recorder,
            definitions: watch::channel(0).1,
        }
    }

    #[tokio::test]
    async fn a_cluster_whose_volumes_go_is_there_until_they_are_gone() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let client = server.client("default");
        let shared = shared(&client);
        let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), "default");
        let assignments: Api<KafkaAssignment> = Api::namespaced(client, "default");
        let is_there = async || clusters.get_opt("prod").await.unwrap().is_some();
        let is_known = async || assignments.get_opt("orders.0").await.unwrap().is_some();
        let ends = async |policy: &str| {
            let spec = serde_json::from_value(json!({ "deletionPolicy": policy })).unwrap();
            let mut cluster = KafkaCluster::new("prod", spec);
            cluster.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            clusters.create(&PostParams::default(), &cluster).await.unwrap();
            clusters.delete("prod", &DeleteParams::default()).await.unwrap();
            clusters.get("prod").await.unwrap()
        };
        let spec = KafkaAssignmentSpec {
            cluster_ref: ClusterRef { name: "prod".to_owned() },
            topic_name: "orders".to_owned(),
            ..KafkaAssignmentSpec::default()
        };
        let mut of_topic = KafkaAssignment::new("orders.0", spec);
        of_topic.labels_mut().insert(names::CLUSTER_LABEL.to_owned(), "prod".to_owned());
        assignments.create(&PostParams::default(), &of_topic).await.unwrap();
        let mut read = Read::default();
        read.claims.insert("data-prod-broker-0".to_owned(), Arc::default());
        read.claims.insert("a-copy".to_owned(), Arc::default());

        let cluster = ends("Retain").await;
        assert_eq!(end(&shared, &cluster, &read).await.unwrap(), None);
        assert_eq!((is_there().await, is_known().await), (false, true), "its volumes stay: nothing is waited for");

        let cluster = ends("Delete").await;
        for _ in 0..2 {
            let left = end(&shared, &cluster, &read).await.unwrap().expect("a claim is left");
            assert_eq!(left.reason, "VolumesLeft");
            assert!(left.message.ends_with("kubectl delete pvc -n default data-prod-broker-0"), "{}", left.message);
            assert_eq!((is_there().await, is_known().await), (true, true));
        }
        read.claims.remove("data-prod-broker-0");
        assert_eq!(end(&shared, &cluster, &read).await.unwrap(), None);
        assert_eq!((is_there().await, is_known().await), (false, false));
    }
}

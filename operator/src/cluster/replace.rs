//! Pods of an earlier spec that run no container: the image could not be pulled, no node fits, the container crashes.
//! The StatefulSet would keep them for ever, so the operator deletes them, and the set creates them by the new spec.
//! Running pods are not deleted.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, Preconditions};

use super::apply::ApplyError;
use super::read::Read;
use super::validate::ValidatedCluster;
use super::waiting;

/// Deletes them.
///
/// # Errors
/// When the API server refuses or can't be reached; not when they are gone already.
pub async fn apply(client: &Client, cluster: &ValidatedCluster, read: &Read) -> Result<(), ApplyError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &cluster.namespace);
    for (name, pod) in useless(cluster, read) {
        let read = Preconditions {
            uid: pod.metadata.uid.clone(),
            // One that has begun to run in the meantime is another version.
            resource_version: pod.metadata.resource_version.clone(),
        };
        tracing::info!(pod = name, "deleting a pod of an earlier spec that runs no container");
        match pods.delete(&name, &DeleteParams::default().preconditions(read)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(ApplyError::new("delete", "Pod", &name, source)),
        }
    }
    Ok(())
}

fn useless<'a>(cluster: &ValidatedCluster, read: &'a Read) -> Vec<(String, &'a Pod)> {
    let outdated = waiting::outdated(cluster, read).into_iter().map(|id| cluster.pod(id));
    let pods = outdated.filter_map(|name| Some((name.clone(), &**read.pods.get(&name)?)));
    pods.filter(|(_, pod)| pod.metadata.deletion_timestamp.is_none() && !runs(pod)).collect()
}

/// Whether a container runs, or may start soon.
fn runs(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return true };
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    if scheduled.is_some_and(|scheduled| scheduled.status == "False") {
        return false;
    }
    let waits = |reason: &str| !matches!(reason, "ContainerCreating" | "PodInitializing");
    let states = status.container_statuses.iter().flatten().filter_map(|container| container.state.as_ref());
    let waiting = states.filter_map(|state| state.waiting.as_ref()?.reason.as_deref());
    !waiting.into_iter().any(waits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_pod_of_an_earlier_spec_in_which_nothing_runs_is_replaced() {
        let container = |state: Value| {
            json!({ "containerStatuses": [
                { "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state }
            ] })
        };
        let waits = |reason: &str| container(json!({ "waiting": { "reason": reason } }));
        let unscheduled = json!({ "conditions": [{ "type": "PodScheduled", "status": "False" }] });
        for (story, revision, status, replaced) in [
            ("an image that can't be had", "old", waits("ImagePullBackOff"), true),
            ("a crash", "old", waits("CrashLoopBackOff"), true),
            ("no node", "old", unscheduled.clone(), true),
            ("it starts", "old", waits("ContainerCreating"), false),
            ("it runs", "old", container(json!({ "running": {} })), false),
            ("nothing is known of it yet", "old", json!({}), false),
            ("the present spec", "new", waits("ImagePullBackOff"), false),
            ("the present spec, and no node", "new", unscheduled, false),
        ] {
            let object: KafkaCluster = KafkaCluster::new(
                "prod",
                serde_json::from_value(json!({ "brokers": { "storage": { "size": "1Gi" } } })).unwrap(),
            );
            let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
            let labels = json!({ "controller-revision-hash": revision });
            let pod = json!({ "metadata": { "name": "prod-broker-0", "labels": labels }, "status": status });
            let set = json!({
                "spec": { "selector": {}, "template": {} }, "status": { "replicas": 1, "updateRevision": "new" },
            });
            let read = Read {
                pods: [("prod-broker-0".to_owned(), Arc::new(serde_json::from_value(pod).unwrap()))].into(),
                stateful_sets: [("prod-broker".to_owned(), Arc::new(serde_json::from_value(set).unwrap()))].into(),
                ..Read::default()
            };
            assert_eq!(!useless(&cluster, &read).is_empty(), replaced, "{story}");
        }
    }
}

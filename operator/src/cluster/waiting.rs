//! Why a cluster's pods are not as they should be, for its conditions: pods that are missing, can't be scheduled, can't
//! pull their image, crash, or run with an earlier spec. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use ottla_rules::assignment::BrokerId;

use super::read::Read;
use super::validate::ValidatedCluster;
use crate::plan::platform::Obstacle;

/// The pod that the cluster waits for; of several, the one that most needs a person. A roll waits for the pods that it
/// restarts.
pub fn waiting(cluster: &ValidatedCluster, read: &Read) -> Option<Obstacle> {
    let rollout = read.cluster.as_ref().and_then(|object| object.status.as_ref()?.rollout.as_ref());
    let restarts = |id: BrokerId| rollout.is_some_and(|rollout| rollout.restarts(id));
    let trouble = |(_, name): (BrokerId, String)| trouble(&name, read.pods.get(&name).map(|pod| &**pod));
    let worst = pods(cluster).filter(|(id, _)| !restarts(*id)).filter_map(trouble).min_by_key(|(rank, _)| *rank);
    worst.map(|(_, obstacle)| obstacle)
}

/// The brokers whose pods have another template than the StatefulSet.
pub fn outdated(cluster: &ValidatedCluster, read: &Read) -> Vec<BrokerId> {
    let is_old = |(id, name): &(BrokerId, String)| {
        let set = read.stateful_sets.get(&cluster.pool(*id).stateful_set(&cluster.name));
        let current = set.and_then(|set| set.status.as_ref()?.update_revision.as_deref());
        current.is_some() && read.pods.get(name).is_some_and(|pod| controller_revision(pod) != current)
    };
    pods(cluster).filter(is_old).map(|(id, _)| id).collect()
}

fn pods(cluster: &ValidatedCluster) -> impl Iterator<Item = (BrokerId, String)> {
    cluster.brokers().map(|id| (id, cluster.pod(id)))
}

/// The hash of the template that the StatefulSet's controller made the pod with.
fn controller_revision(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get("controller-revision-hash").map(String::as_str)
}

/// Why a pod does not serve, if it does not; the lower the number, the more it needs a person.
fn trouble(name: &str, pod: Option<&Pod>) -> Option<(u8, Obstacle)> {
    let Some(pod) = pod else {
        return Some((4, Obstacle::new("PodMissing", format!("pod {name} does not exist yet"))));
    };
    let status = pod.status.clone().unwrap_or_default();
    let condition = |type_: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    if let Some(unscheduled) = condition("PodScheduled").filter(|scheduled| scheduled.status == "False") {
        let why = unscheduled.message.as_deref().unwrap_or("no node was found");
        return Some((0, Obstacle::new("PodUnschedulable", format!("pod {name} can not be scheduled: {why}"))));
    }
    if let Some(stuck) = status.container_statuses.iter().flatten().find_map(|container| stuck(name, container)) {
        return Some(stuck);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some((3, Obstacle::new("PodStopping", format!("pod {name} is stopping"))));
    }
    (!is_ready(pod)).then(|| (5, Obstacle::new("PodNotReady", format!("pod {name} is not ready yet"))))
}

/// Whether the pod is ready: its broker serves, and its replicas are in sync.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A container that does not start by itself sooner or later, or fails again and again.
fn stuck(name: &str, container: &ContainerStatus) -> Option<(u8, Obstacle)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.message.as_deref().unwrap_or("no reason was given");
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            let message = format!("pod {name} can not get its image {}: {why}", container.image);
            Some((1, Obstacle::new("ImageUnavailable", message)))
        }
        "CrashLoopBackOff" => {
            let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let code = ended.map_or_else(String::new, |ended| format!(" with exit code {}", ended.exit_code));
            let why = ended.and_then(|ended| ended.message.as_deref()).unwrap_or("see its log");
            let times = if container.restart_count == 1 { "time" } else { "times" };
            let message = format!("pod {name} ended{code}, {} {times}: {why}", container.restart_count);
            Some((1, Obstacle::new("BrokerCrashes", message)))
        }
        "ContainerCreating" | "PodInitializing" => None,
        reason => Some((2, Obstacle::new("PodStuck", format!("pod {name} does not start: {reason}: {why}")))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::{Value, json};

    use super::*;

    fn read(pods: &[Value], update_revision: &str) -> (ValidatedCluster, Read) {
        let spec = json!({ "brokers": { "replicas": 2, "storage": { "size": "1Gi" } } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let named = |pod: &Value| {
            let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
            (pod.metadata.name.clone().unwrap(), Arc::new(pod))
        };
        let set = json!({ "spec": { "selector": {}, "template": {} }, "status": { "replicas": 2, "updateRevision": update_revision } });
        let read = Read {
            pods: pods.iter().map(named).collect(),
            stateful_sets: [("prod-broker".to_owned(), Arc::new(serde_json::from_value(set).unwrap()))].into(),
            ..Read::default()
        };
        (cluster, read)
    }

    fn pod(id: i32, status: Value) -> Value {
        let labels = json!({ "controller-revision-hash": "new" });
        json!({ "metadata": { "name": format!("prod-broker-{id}"), "labels": labels }, "status": status })
    }

    fn ready(id: i32) -> Value {
        pod(id, json!({ "conditions": [{ "type": "Ready", "status": "True" }] }))
    }

    fn waits(reason: &str) -> Value {
        json!({ "containerStatuses": [{
            "name": "broker", "image": "ottla:1", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": reason, "message": "because" } },
            "lastState": { "terminated": { "exitCode": 101 } },
        }] })
    }

    #[test]
    fn what_a_cluster_waits_for_is_said_the_worst_first() {
        let unscheduled =
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes fit" }] });
        for (pods, expected) in [
            (vec![ready(0)], ("PodMissing", "pod prod-broker-1 does not exist yet")),
            (
                vec![pod(0, json!({})), pod(1, unscheduled)],
                ("PodUnschedulable", "pod prod-broker-1 can not be scheduled: 0/3 nodes fit"),
            ),
            (vec![ready(0), pod(1, json!({}))], ("PodNotReady", "pod prod-broker-1 is not ready yet")),
            (
                vec![ready(0), pod(1, waits("ErrImagePull"))],
                ("ImageUnavailable", "pod prod-broker-1 can not get its image ottla:1: because"),
            ),
            (
                vec![ready(0), pod(1, waits("CrashLoopBackOff"))],
                ("BrokerCrashes", "pod prod-broker-1 ended with exit code 101, 3 times: see its log"),
            ),
            (
                vec![pod(0, waits("CreateContainerConfigError")), ready(1)],
                ("PodStuck", "pod prod-broker-0 does not start: CreateContainerConfigError: because"),
            ),
        ] {
            let (cluster, read) = read(&pods, "new");
            assert_eq!(waiting(&cluster, &read), Some(Obstacle::new(expected.0, expected.1)));
        }
        let (cluster, all_ready) = read(&[ready(0), ready(1)], "new");
        assert_eq!(waiting(&cluster, &all_ready), None);
    }

    #[test]
    fn pods_of_an_earlier_spec_are_distinguished() {
        for (revision, expected) in [("new", vec![]), ("newer", vec![BrokerId(0), BrokerId(1)])] {
            let (cluster, read) = read(&[ready(0), ready(1)], revision);
            assert_eq!(outdated(&cluster, &read), expected);
        }
    }
}

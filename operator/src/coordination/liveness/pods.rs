//! What the API shows of the brokers' pods. On a laptop there are none.
//!
//! Times show whether a container's end concerns the process that holds the Lease: the process notes when it acquired
//! the Lease, and the kubelet notes when the container started and ended, both by one machine's clock. A clock may be
//! set back, so the operator believes these times only of a process that does not answer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod as PodObject};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use ottla_crds::names;
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch;
use ottla_kube::watches::Watches;
use ottla_rules::assignment::BrokerId;
use tokio::time::{Duration, sleep};

use super::Pod;

const RETRY: Duration = Duration::from_millis(500);
/// The broker's container; others may be put beside it.
const CONTAINER: &str = "broker";

/// The pods of one cluster's brokers.
pub struct Pods {
    cluster: String,
    /// None where there are none.
    watch: Option<(Watches<()>, Store<PodObject>)>,
}

/// A broker's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerPod {
    /// Its address, once it has one.
    pub address: Option<String>,
    created: Option<Timestamp>,
    deleting: bool,
    /// When the container that runs was started.
    started: Option<Timestamp>,
    /// When the last container ended.
    ended: Option<Timestamp>,
}

impl Pods {
    /// Begins to watch, if this API has pods at all and we may see them.
    pub async fn start(client: &Client, namespace: &str, cluster: &str, selector: &str) -> Pods {
        let api: Api<PodObject> = Api::namespaced(client.clone(), namespace);
        let are_there = loop {
            match api.list(&ListParams::default().labels(selector).limit(1)).await {
                Ok(_) => break true,
                Err(kube::Error::Api(status)) if status.is_not_found() => break false,
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    tracing::warn!(%status.message, "pods can't be seen: a dead broker is noticed later");
                    break false;
                }
                Err(error) => tracing::warn!(error = why(&error), "failed to list the brokers' pods"),
            }
            sleep(RETRY).await;
        };
        let watch = are_there.then(|| {
            let mut watches = Watches::new(&SetBacks::default());
            let store = watches.keep((), watch::events(api, watch::config().labels(selector)), |_| ());
            (watches, store)
        });
        Pods { cluster: cluster.to_owned(), watch }
    }

    /// Waits until something new was shown. Cancellation safe.
    pub async fn changed(&mut self) {
        let Some((watches, _)) = &mut self.watch else { return std::future::pending().await };
        watches.next().await;
    }

    /// The brokers' pods; none while they are not known.
    pub fn seen(&self) -> Option<BTreeMap<BrokerId, BrokerPod>> {
        let (_, store) = self.watch.as_ref().filter(|(watches, _)| watches.are_complete())?;
        let pod = |pod: &PodObject| Some((names::of_pod(&self.cluster, &pod.name_any())?.1, BrokerPod::of(pod)));
        Some(store.state().iter().filter_map(|object| pod(object)).collect())
    }
}

impl BrokerPod {
    fn of(pod: &PodObject) -> BrokerPod {
        let status = pod.status.as_ref();
        let of_broker = |status: &&ContainerStatus| status.name == CONTAINER;
        let container = status.and_then(|status| status.container_statuses.as_ref()?.iter().find(of_broker));
        let now = container.and_then(|container| container.state.as_ref());
        let before = container.and_then(|container| container.last_state.as_ref());
        let ended = |state: &ContainerState| Some(state.terminated.as_ref()?.finished_at.as_ref()?.0);
        BrokerPod {
            address: status.and_then(|status| status.pod_ip.clone()),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            started: now.and_then(|state| Some(state.running.as_ref()?.started_at.as_ref()?.0)),
            ended: now.and_then(ended).or_else(|| before.and_then(ended)),
        }
    }

    /// What the pod shows of the process that took the Lease at `acquired`.
    fn tell(&self, acquired: Option<Timestamp>) -> Pod {
        // A process takes its Lease after its pod was made and its container was started, and before that has ended.
        let since = self.started.or(self.ended).or(self.created);
        let is_older = since.is_some_and(|since| acquired.is_some_and(|acquired| acquired < since));
        match (is_older, self.deleting) {
            (true, _) => Pod::Ended,
            (false, true) => Pod::Ends,
            (false, false) => Pod::Runs,
        }
    }
}

/// What the pods show of the broker whose process took the Lease at `acquired`.
pub fn tell(pods: Option<&BTreeMap<BrokerId, BrokerPod>>, id: BrokerId, acquired: Option<Timestamp>) -> Pod {
    match pods {
        None => Pod::Unknown,
        Some(pods) => pods.get(&id).map_or(Pod::Gone, |pod| pod.tell(acquired)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(created: i64, deleting: bool, state: serde_json::Value, last: serde_json::Value) -> BrokerPod {
        let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
        let object = serde_json::json!({
            "metadata": {
                "name": "prod-broker-0",
                "creationTimestamp": time(created),
                "deletionTimestamp": deleting.then(|| time(created + 1000)),
            },
            "status": { "podIP": "10.0.0.7", "containerStatuses": [
                { "name": "a-sidecar", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {} },
                { "name": "broker", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state, "lastState": last }
            ]},
        });
        BrokerPod::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_pod_tells_of_its_own_process_and_not_of_the_one_before() {
        let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
        let running = |at| serde_json::json!({ "running": { "startedAt": time(at) } });
        let ended = |at| serde_json::json!({ "terminated": { "exitCode": 137, "finishedAt": time(at) } });
        let waiting = || serde_json::json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let none = || serde_json::json!({});
        // The Lease was taken at 100.
        let cases = [
            ("it runs", pod(90, false, running(99), none()), Pod::Runs),
            ("it runs and is stopping", pod(90, true, running(99), none()), Pod::Ends),
            ("its container has ended", pod(90, false, ended(200), none()), Pod::Ended),
            ("its container waits to start again", pod(90, false, waiting(), ended(200)), Pod::Ended),
            ("another container runs", pod(90, false, running(201), ended(200)), Pod::Ended),
            ("it runs in the second container", pod(10, false, running(99), ended(98)), Pod::Runs),
            ("it runs, and the kubelet has not said so yet", pod(90, false, waiting(), none()), Pod::Runs),
            ("another pod has its name", pod(300, false, waiting(), none()), Pod::Ended),
        ];
        let acquired = Timestamp::from_second(100).ok();
        for (story, seen, expected) in cases {
            assert_eq!(seen.tell(acquired), expected, "{story}: {seen:?}");
            assert_eq!(seen.address.as_deref(), Some("10.0.0.7"));
        }
        assert_eq!(tell(None, BrokerId(0), acquired), Pod::Unknown);
        assert_eq!(tell(Some(&BTreeMap::new()), BrokerId(0), acquired), Pod::Gone);
    }
}

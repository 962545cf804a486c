//! Every cluster of one namespace, or of all namespaces. Each has two tasks, one for its Kubernetes objects and one for
//! its coordination, as long as the cluster exists or a topic refers to it. They run in the standby too, and write
//! nothing there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ottla_crds::names;
use ottla_kube::watches::Told;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument;

use crate::acting::Acting;
use crate::authorities;
use crate::cluster::nodes::Nodes;
use crate::cluster::watches::{self, About, ClusterKey, WatchedStores};
use crate::cluster::{self, OperatorContext, read};
use crate::coordination;
use crate::issuers;
use crate::metrics::Metrics;
use crate::users;

/// Operates until it is dropped. Adds 1 to `complete` when everything has been read once.
pub(crate) async fn run(
    shared: Arc<OperatorContext>,
    namespace: Option<String>,
    nodes: Nodes,
    acting: Acting,
    complete: watch::Sender<usize>,
) {
    let (mut watches, shown) = watches::start(&shared.client, namespace.as_deref(), &nodes);
    let mut counted = false;
    let mut fleet = Fleet { shared, shown, acting, running: BTreeMap::new(), tasks: JoinSet::new() };
    loop {
        let changes = tokio::select! {
            told = watches.next() => match told {
                Some(Told::Events(changes)) => changes,
                Some(Told::SetBack) => continue,
                None => return,
            },
            // One that is ending.
            Some(_) = fleet.tasks.join_next() => continue,
        };
        if !watches.are_complete() {
            continue;
        }
        if !counted {
            complete.send_modify(|fleets| *fleets += 1);
            counted = true;
        }
        changes.iter().for_each(|about| fleet.attend(about));
    }
}

struct Fleet {
    shared: Arc<OperatorContext>,
    shown: WatchedStores,
    acting: Acting,
    running: BTreeMap<ClusterKey, Running>,
    /// Dropped, and so stopped, with the fleet.
    tasks: JoinSet<()>,
}

/// A cluster's tasks. They end with this.
struct Running {
    key: ClusterKey,
    changed: watch::Sender<u64>,
    task: AbortHandle,
    metrics: Arc<Metrics>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        self.metrics.cluster_ends(&self.key);
    }
}

impl Fleet {
    fn attend(&mut self, about: &About) {
        match about {
            About::Nobody => {}
            About::Node(name) => concerned(name, &self.shown.pods.state()).iter().for_each(|key| self.wake(key)),
            About::Cluster(key) if self.running.contains_key(key) && read::cluster(&self.shown, key).is_some() => {
                self.wake(key);
            }
            About::Cluster(_) | About::Everybody => {
                let wanted = self.wanted();
                self.running.retain(|key, _| wanted.contains(key));
                for key in &wanted {
                    if self.running.contains_key(key) { self.wake(key) } else { self.start(key.clone()) }
                }
            }
        }
    }

    /// The clusters that exist, and those that topics refer to: a deleted topic waits until its finalizer is removed.
    fn wanted(&self) -> BTreeSet<ClusterKey> {
        let clusters = self.shown.clusters.state();
        let clusters = clusters.iter().map(|object| key(object.namespace(), object.name_any()));
        let topics = self.shown.topics.state();
        let of_topics = topics.iter().map(|topic| key(topic.namespace(), topic.spec.cluster_ref.name.clone()));
        clusters.chain(of_topics).collect()
    }

    fn wake(&self, key: &ClusterKey) {
        if let Some(running) = self.running.get(key) {
            running.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        }
    }

    fn start(&mut self, key: ClusterKey) {
        let (changed, wake) = watch::channel(0);
        let operated = operate(self.shared.clone(), self.shown.clone(), key.clone(), wake, self.acting.clone());
        // Log lines of all that is done for a cluster say whose they are, whatever the lines' level.
        let task = self.tasks.spawn(operated.instrument(tracing::error_span!("cluster", name = %key)));
        let metrics = self.shared.metrics.clone();
        metrics.cluster_begins();
        self.running.insert(key.clone(), Running { key, changed, task, metrics });
    }
}

/// Operates a cluster whenever it is this installation's.
async fn operate(
    shared: Arc<OperatorContext>,
    shown: WatchedStores,
    key: ClusterKey,
    mut wake: watch::Receiver<u64>,
    mut acting: Acting,
) {
    loop {
        let claimed = shared.installation.claim(&key, &mut acting).await;
        tracing::info!(acts = acting.may_write(), "operating a cluster, or watching it on standby");
        let (told, platform) = watch::channel(None);
        let objects = cluster::run(shared.clone(), shown.clone(), key.clone(), wake.clone(), told, acting.clone());
        let on_platform = coordination::OnPlatform { platform, definitions: shared.definitions.clone() };
        let coordination = coordination::run_on_platform(
            shared.client.clone(),
            &key.namespace,
            &key.name,
            on_platform,
            acting.clone(),
        );
        let lost = async {
            // The sender lives as long as this task.
            while wake.changed().await.is_ok() {
                if shared.installation.has_lost(claimed.as_deref(), read::cluster(&shown, &key).as_deref()) {
                    return;
                }
            }
        };
        let overdue = |end| shared.metrics.certificate_overdue(&key, end);
        let definitions = Some(shared.definitions.clone());
        let users =
            users::run(shared.client.clone(), &key.namespace, &key.name, acting.clone(), definitions.clone(), overdue);
        let authorities =
            authorities::run(shared.client.clone(), &key.namespace, &key.name, acting.clone(), definitions.clone());
        let issuers = issuers::run(shared.client.clone(), &key.namespace, &key.name, acting.clone(), definitions);
        tokio::select! {
            () = objects => {}
            () = authorities => {}
            () = issuers => {}
            () = users => {}
            () = coordination => {}
            () = lost => tracing::info!("the cluster is a new one, or had another operator: claiming it"),
        }
    }
}

/// The clusters that have a broker on this node, or one that no node has taken: its volume may be on this one.
fn concerned(node: &str, pods: &[Arc<Pod>]) -> BTreeSet<ClusterKey> {
    let is_there = |pod: &&Arc<Pod>| {
        let taken_by = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        taken_by.is_none_or(|taken_by| taken_by == node)
    };
    let cluster = |pod: &Arc<Pod>| Some(key(pod.namespace(), pod.labels().get(names::CLUSTER_LABEL)?.clone()));
    pods.iter().filter(is_there).filter_map(cluster).collect()
}

fn key(namespace: Option<String>, name: String) -> ClusterKey {
    ClusterKey { namespace: namespace.unwrap_or_default(), name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_concerns_the_clusters_with_a_pod_on_it_or_on_none_and_no_others() {
        let pod = |namespace: &str, cluster: &str, id: i32, node: Option<&str>| -> Arc<Pod> {
            let labels = json!({ names::CLUSTER_LABEL: cluster });
            let name = format!("{cluster}-broker-{id}");
            let metadata = json!({ "namespace": namespace, "name": name, "labels": labels });
            let spec = json!({ "containers": [], "nodeName": node });
            Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap())
        };
        let pods = [
            pod("shop", "prod", 0, Some("one")),
            pod("shop", "prod", 1, Some("two")),
            pod("shop", "prod", 2, Some("one")),
            pod("shop", "test", 0, Some("two")),
            pod("bank", "prod", 0, Some("one")),
            pod("bank", "test", 0, None),
        ];
        let on = |node: &str| concerned(node, &pods).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(on("one"), ["bank/prod", "bank/test", "shop/prod"]);
        assert_eq!(on("two"), ["bank/test", "shop/prod", "shop/test"]);
        assert_eq!(on("three"), ["bank/test"]);
    }
}

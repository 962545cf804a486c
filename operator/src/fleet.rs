//! Every cluster of one namespace, or of all namespaces: a pair of tasks each, one for its objects and one for its
//! coordination, as long as it exists or a topic refers to it. They run in the replica that waits, too, and write
//! nothing there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ottla_crds::names;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::acting::Acting;
use crate::cluster::nodes::Nodes;
use crate::cluster::watches::{About, ClusterKey, Shown, Watches};
use crate::cluster::{self, Shared, read};
use crate::coordination;
use crate::metrics::Metrics;

/// Operates until it is dropped. Adds 1 to `complete` when everything has been read once.
pub async fn run(
    shared: Arc<Shared>,
    namespace: Option<String>,
    nodes: Nodes,
    acting: Acting,
    complete: watch::Sender<usize>,
) {
    let (mut watches, shown) = Watches::start(&shared.client, namespace.as_deref(), &nodes);
    let mut counted = false;
    let mut fleet = Fleet { shared, shown, acting, running: BTreeMap::new(), tasks: JoinSet::new() };
    loop {
        let about = tokio::select! {
            about = watches.next() => about,
            // One that was told to end.
            Some(_) = fleet.tasks.join_next() => continue,
        };
        let Some(about) = about else { return };
        if !watches.are_complete() {
            continue;
        }
        if !counted {
            complete.send_modify(|fleets| *fleets += 1);
            counted = true;
        }
        fleet.attend(&about);
    }
}

struct Fleet {
    shared: Arc<Shared>,
    shown: Shown,
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
            About::Node(name) => self.with_a_pod_on(name).iter().for_each(|key| self.wake(key)),
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

    /// The clusters that exist, and those that topics refer to: a topic that is deleted waits for somebody to let it
    /// go.
    fn wanted(&self) -> BTreeSet<ClusterKey> {
        let clusters = self.shown.clusters.state();
        let clusters = clusters.iter().map(|object| key(object.namespace(), object.name_any()));
        let topics = self.shown.topics.state();
        let of_topics = topics.iter().map(|topic| key(topic.namespace(), topic.spec.cluster_ref.name.clone()));
        clusters.chain(of_topics).collect()
    }

    /// The clusters that have a broker on this node.
    fn with_a_pod_on(&self, node: &str) -> BTreeSet<ClusterKey> {
        let is_there = |pod: &Arc<Pod>| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(node));
        let pods = self.shown.pods.state().into_iter().filter(is_there);
        pods.filter_map(|pod| Some(key(pod.namespace(), pod.labels().get(names::CLUSTER_LABEL)?.clone()))).collect()
    }

    fn wake(&self, key: &ClusterKey) {
        if let Some(running) = self.running.get(key) {
            running.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        }
    }

    fn start(&mut self, key: ClusterKey) {
        let (changed, wake) = watch::channel(0);
        let operated = operate(self.shared.clone(), self.shown.clone(), key.clone(), wake, self.acting.clone());
        let task = self.tasks.spawn(operated);
        let metrics = self.shared.metrics.clone();
        metrics.cluster_begins();
        self.running.insert(key.clone(), Running { key, changed, task, metrics });
    }
}

/// Operates a cluster whenever it is this installation's.
async fn operate(
    shared: Arc<Shared>,
    shown: Shown,
    key: ClusterKey,
    mut wake: watch::Receiver<u64>,
    mut acting: Acting,
) {
    loop {
        let claimed = shared.installation.claim(&key, &mut acting).await;
        tracing::info!(cluster = %key, acts = acting.may_write(), "operates a cluster, or watches it");
        let (told, platform) = watch::channel(None);
        let objects = cluster::run(shared.clone(), shown.clone(), key.clone(), wake.clone(), told, acting.clone());
        let coordination =
            coordination::run_on_platform(shared.client.clone(), &key.namespace, &key.name, platform, acting.clone());
        let lost = async {
            // The sender lives as long as this task.
            while wake.changed().await.is_ok() {
                if shared.installation.has_lost(claimed.as_deref(), read::cluster(&shown, &key).as_deref()) {
                    return;
                }
            }
        };
        tokio::select! {
            () = objects => {}
            () = coordination => {}
            () = lost => tracing::info!(cluster = %key, "another cluster, or another operator's: claims it anew"),
        }
    }
}

fn key(namespace: Option<String>, name: String) -> ClusterKey {
    ClusterKey { namespace: namespace.unwrap_or_default(), name }
}

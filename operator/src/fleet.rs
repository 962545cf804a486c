//! Every cluster of one namespace, or of all namespaces: a pair of tasks each, one for its objects and one for its
//! coordination, as long as it exists or a topic refers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::cluster::watches::{About, ClusterKey, Shown, Watches};
use crate::cluster::{self, Shared};
use crate::coordination;

/// Operates until it is dropped. `seen` becomes true when everything has been read once.
pub async fn run(shared: Arc<Shared>, namespace: Option<String>, seen: watch::Sender<bool>) {
    let (mut watches, shown) = Watches::start(&shared.client, namespace.as_deref());
    let mut fleet = Fleet { shared, shown, running: BTreeMap::new(), tasks: JoinSet::new() };
    loop {
        let about = tokio::select! {
            about = watches.next() => about,
            // A task that ended by itself has panicked: the cluster gets a new one with the next change.
            Some(ended) = fleet.tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a cluster's task ended");
                }
                fleet.running.retain(|_, cluster| !cluster.task.is_finished());
                Some(About::Everybody)
            }
        };
        let Some(about) = about else { return };
        if !watches.are_complete() {
            continue;
        }
        seen.send_replace(true);
        fleet.attend(&about);
    }
}

struct Fleet {
    shared: Arc<Shared>,
    shown: Shown,
    running: BTreeMap<ClusterKey, Running>,
    /// Dropped, and so stopped, with the fleet.
    tasks: JoinSet<()>,
}

struct Running {
    changed: watch::Sender<u64>,
    task: AbortHandle,
}

impl Fleet {
    fn attend(&mut self, about: &About) {
        match about {
            About::Nobody => {}
            About::Cluster(key) if self.running.contains_key(key) => self.wake(key),
            About::Cluster(_) | About::Everybody => {
                let wanted = self.wanted();
                self.running.retain(|key, running| {
                    let stays = wanted.contains(key);
                    if !stays {
                        running.task.abort();
                    }
                    stays
                });
                for key in &wanted {
                    if self.running.contains_key(key) { self.wake(key) } else { self.start(key.clone()) }
                }
                self.shared.metrics.set_clusters(self.running.len());
            }
        }
    }

    /// The clusters that exist, and those that topics refer to: a topic that is deleted waits for somebody to let it go.
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
        tracing::info!(cluster = %key, "operates a cluster");
        let (changed, wake) = watch::channel(0);
        let (told, platform) = watch::channel(None);
        let (shared, shown, of) = (self.shared.clone(), self.shown.clone(), key.clone());
        let task = self.tasks.spawn(async move {
            let client = shared.client.clone();
            let objects = cluster::run(shared, shown, of.clone(), wake, told);
            let coordination =
                coordination::run_on_platform(client, &of.namespace, &of.name, platform, std::future::pending());
            tokio::join!(objects, coordination);
        });
        self.running.insert(key, Running { changed, task });
    }
}

fn key(namespace: Option<String>, name: String) -> ClusterKey {
    ClusterKey { namespace: namespace.unwrap_or_default(), name }
}

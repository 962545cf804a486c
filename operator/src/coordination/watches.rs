//! What the API server shows of one cluster: four watches, each starts with a consistent list, and starts again when
//! it fails. The Leases are watched by `crds/client/src/lease`.
//!
//! Nothing but rebalances waits for the watch of KafkaRebalances: their definition may be missing, because the operator
//! was upgraded first.
//!
//! They are followed all the time, also while steps are written, because the writes of an old plan are refused.

use kube::runtime::reflector::Store;
use kube::{Api, Client};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic};
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{named, of_cluster, watcher};
use ottla_kube::watches::Watches;
use tokio::sync::watch;

/// What the watches have shown.
pub struct ClusterStores {
    /// The cluster; empty if it does not exist.
    pub cluster: Store<KafkaCluster>,
    /// Its topics.
    pub topics: Store<KafkaTopic>,
    /// Its assignments.
    pub assignments: Store<KafkaAssignment>,
    /// Its rebalances.
    pub rebalances: Store<KafkaRebalance>,
    /// Whether the watch of the rebalances has shown all of them.
    pub rebalances_complete: watch::Receiver<bool>,
    /// Notified with everything that is shown: whether every watch has shown the whole of its kind, so that absence
    /// means something.
    pub complete: watch::Receiver<bool>,
}

/// Begins to watch. What is shown is taken in while the future is polled, for ever.
pub fn start(
    client: &Client,
    namespace: &str,
    cluster: &str,
    set_backs: &SetBacks,
) -> (impl Future<Output = ()> + use<>, ClusterStores) {
    let mut watches = Watches::new(set_backs);
    let clusters = watcher(Api::namespaced(client.clone(), namespace), named(cluster), set_backs);
    let topics = watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), set_backs);
    let assignments = watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), set_backs);
    let mut more_watches = Watches::new(set_backs);
    let rebalances = watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), set_backs);
    let (told, complete) = watch::channel(false);
    let (told_more, rebalances_complete) = watch::channel(false);
    let shown = ClusterStores {
        cluster: watches.keep((), clusters, |_| ()),
        topics: watches.keep((), topics, |_| ()),
        assignments: watches.keep((), assignments, |_| ()),
        rebalances: more_watches.keep((), rebalances, |_| ()),
        rebalances_complete,
        complete,
    };
    let following = async move {
        let all = async {
            while watches.next().await.is_some() {
                told.send_replace(watches.are_complete());
            }
        };
        let more = async {
            while more_watches.next().await.is_some() {
                told_more.send_replace(more_watches.are_complete());
            }
        };
        tokio::join!(all, more);
    };
    (following, shown)
}

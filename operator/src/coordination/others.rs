//! The clusters that KafkaTopics refer to beside the one that a process operates.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::reflector::Store;
use kube::{Api, Client};
use ottla_crds::KafkaTopic;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{config, watcher};
use ottla_kube::watches::Watches;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument;

use super::run;

/// Coordinates the other clusters that KafkaTopics refer to, beside [`run`] in a process that operates only `cluster`,
/// so that these topics say what they wait for. Returns when nothing is watched any more.
pub async fn run_others(client: Client, namespace: &str, cluster: &str) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let of_others = config().fields(&format!("spec.clusterRef.name!={cluster}"));
    let topics = watcher(Api::namespaced(client.clone(), namespace), of_others, &set_backs);
    let shown: Store<KafkaTopic> = watches.keep((), topics, |_| ());
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    while watches.next().await.is_some() {
        if !watches.are_complete() {
            continue;
        }
        let mut wanted: BTreeSet<String> =
            shown.state().into_iter().map(|topic| topic.spec.cluster_ref.name.clone()).collect();
        running.retain(|other, task| {
            let stays = wanted.remove(other);
            if !stays {
                task.abort();
            }
            stays
        });
        while tasks.try_join_next().is_some() {} // those that were aborted
        for other in wanted {
            let (client, namespace, name) = (client.clone(), namespace.to_owned(), other.clone());
            let coordinated = async move { run(client, &namespace, &name, std::future::pending()).await };
            let span = tracing::error_span!("cluster", name = other);
            running.insert(other, tasks.spawn(coordinated.instrument(span)));
        }
    }
}

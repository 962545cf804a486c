//! What the API server shows of one cluster: three watches, each begun with a consistent
//! list and begun anew when it breaks. Leases are `brokers`' business.

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use serde::de::DeserializeOwned;

use crate::guard;

/// The watches and what they have shown.
pub struct Watches {
    /// The cluster, or nothing.
    pub cluster: Store<KafkaCluster>,
    /// Its topics.
    pub topics: Store<KafkaTopic>,
    /// Its assignments.
    pub assignments: Store<KafkaAssignment>,
    events: futures::stream::ReadyChunks<SelectAll<BoxStream<'static, Shown>>>,
    complete: [bool; 3],
}

/// One event of one of the watches.
struct Shown {
    watch: usize,
    /// It ended a list.
    complete: bool,
}

/// Events that are taken in before the next plan.
const MOST_AT_ONCE: usize = 4096;

impl Watches {
    /// Begins to watch.
    pub fn start(client: &Client, namespace: &str, cluster: &str) -> Watches {
        let of_cluster = Config::default().fields(&format!("spec.clusterRef.name={cluster}"));
        let named = Config::default().fields(&format!("metadata.name={cluster}"));
        let mut events = SelectAll::new();
        let cluster = watch(0, client, namespace, named, &mut events);
        let topics = watch(1, client, namespace, of_cluster.clone(), &mut events);
        let assignments = watch(2, client, namespace, of_cluster, &mut events);
        Watches { cluster, topics, assignments, events: events.ready_chunks(MOST_AT_ONCE), complete: [false; 3] }
    }

    /// Waits until something new was shown. Cancellation safe.
    pub async fn changed(&mut self) {
        let shown = self.events.next().await.unwrap_or_default();
        for Shown { watch, complete } in shown {
            // While a list is read again the store keeps what it had: once complete is complete for ever.
            if let Some(known) = self.complete.get_mut(watch) {
                *known |= complete;
            }
        }
    }

    /// Whether every watch has shown the whole of its kind: absence means something.
    pub fn are_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }
}

fn watch<K>(
    watch: usize,
    client: &Client,
    namespace: &str,
    config: Config,
    events: &mut SelectAll<BoxStream<'static, Shown>>,
) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = guard::watcher::<K>(Api::namespaced(client.clone(), namespace), config);
    let shown = stream.reflect(writer).map(move |event| match event {
        Ok(Event::InitDone) => Shown { watch, complete: true },
        Ok(Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) => Shown { watch, complete: false },
        Err(error) => {
            tracing::warn!(%error, kind = %K::kind(&()), "a watch broke: it begins anew");
            Shown { watch, complete: false }
        }
    });
    events.push(shown.boxed());
    store
}

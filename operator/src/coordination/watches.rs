//! What the API server shows of one cluster: three watches, each begun with a consistent
//! list and begun anew when it breaks. Leases are `brokers`' business.
//!
//! Always followed, also while steps are written: a plan on an old view is refused write by write.

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Config};
use kube::{Api, Client, Resource};
use ottla_crds::versions::SetBacks;
use ottla_crds::watch::{config as watch_config, watcher as watch_of};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// The watches themselves.
pub struct Watches {
    events: futures::stream::ReadyChunks<SelectAll<BoxStream<'static, Event>>>,
    complete: [bool; 3],
    told: watch::Sender<bool>,
    set_backs: watch::Receiver<u64>,
}

/// What they have shown.
pub struct Shown {
    /// The cluster, or nothing.
    pub cluster: Store<KafkaCluster>,
    /// Its topics.
    pub topics: Store<KafkaTopic>,
    /// Its assignments.
    pub assignments: Store<KafkaAssignment>,
    /// Told with everything that is shown: whether every watch has shown the whole of its kind, so that absence means
    /// something.
    pub complete: watch::Receiver<bool>,
}

/// One event of one of the watches.
struct Event {
    watch: usize,
    /// It ended a list.
    complete: bool,
}

/// Events that are taken in before they are told of.
const MOST_AT_ONCE: usize = 4096;

impl Watches {
    /// Begins to watch.
    pub fn start(client: &Client, namespace: &str, cluster: &str, set_backs: &SetBacks) -> (Watches, Shown) {
        let of_cluster = watch_config().fields(&format!("spec.clusterRef.name={cluster}"));
        let named = watch_config().fields(&format!("metadata.name={cluster}"));
        let mut events = SelectAll::new();
        let (told, complete) = watch::channel(false);
        let shown = Shown {
            cluster: watch(0, client, namespace, named, set_backs, &mut events),
            topics: watch(1, client, namespace, of_cluster.clone(), set_backs, &mut events),
            assignments: watch(2, client, namespace, of_cluster, set_backs, &mut events),
            complete,
        };
        let (events, set_backs) = (events.ready_chunks(MOST_AT_ONCE), set_backs.told());
        (Watches { events, complete: [false; 3], told, set_backs }, shown)
    }

    /// Takes in what is shown, for ever.
    pub async fn follow(mut self) {
        loop {
            let events = tokio::select! {
                biased;
                Ok(()) = self.set_backs.changed() => {
                    // What the stores keep is of a server that is gone.
                    self.complete = [false; 3];
                    self.told.send_replace(false);
                    continue;
                }
                events = self.events.next() => match events {
                    Some(events) => events,
                    None => return,
                },
            };
            for Event { watch, complete } in events {
                // While a list is read again the store keeps what it had: once complete stays complete.
                if let Some(known) = self.complete.get_mut(watch) {
                    *known |= complete;
                }
            }
            self.told.send_replace(self.complete.iter().all(|complete| *complete));
        }
    }
}

fn watch<K>(
    watch: usize,
    client: &Client,
    namespace: &str,
    config: Config,
    set_backs: &SetBacks,
    events: &mut SelectAll<BoxStream<'static, Event>>,
) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = watch_of::<K>(Api::namespaced(client.clone(), namespace), config, set_backs);
    let seen = stream.reflect(writer).map(move |event| match event {
        Ok(watcher::Event::InitDone) => Event { watch, complete: true },
        Ok(
            watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Apply(_) | watcher::Event::Delete(_),
        ) => Event { watch, complete: false },
        Err(error) => {
            tracing::warn!(%error, kind = %K::kind(&()), "a watch broke: it begins anew");
            Event { watch, complete: false }
        }
    });
    events.push(seen.boxed());
    store
}

//! What the API server shows of all clusters of one namespace, or of all namespaces: one watch per kind. Objects of
//! which only the version counts are watched without their content.

use std::fmt::Debug;
use std::hash::Hash;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaTopic, names, watch};
use serde::de::DeserializeOwned;

use super::build::Kind;
use super::nodes::Nodes;
use crate::guard;

/// A cluster's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the watches have shown.
#[derive(Clone)]
pub struct Shown {
    /// The clusters.
    pub clusters: Store<KafkaCluster>,
    /// Their topics, of which only the names and the references to clusters are kept.
    pub topics: Store<KafkaTopic>,
    /// Their StatefulSets.
    pub stateful_sets: Store<StatefulSet>,
    /// Their pods.
    pub pods: Store<Pod>,
    /// Their Services.
    pub services: Store<Service>,
    /// Their claims.
    pub claims: Store<PersistentVolumeClaim>,
    /// All nodes, of which only names, labels and addresses are kept.
    pub nodes: Store<Node>,
    /// The rest of what is built.
    pub others: Vec<(Kind, Store<PartialObjectMeta<DynamicObject>>)>,
}

/// Something that was shown, by number of its watch.
pub struct Change {
    watch: usize,
    complete: bool,
    /// Which clusters it is about.
    pub about: About,
}

/// Which clusters a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// None that could be told.
    Nobody,
    /// This one.
    Cluster(ClusterKey),
    /// Those that have a pod on this node.
    Node(String),
    /// Any of them.
    Everybody,
}

/// The watches themselves.
pub struct Watches {
    events: SelectAll<BoxStream<'static, Change>>,
    complete: Vec<bool>,
}

impl Watches {
    /// Begins to watch a namespace, or all.
    pub fn start(client: &Client, namespace: Option<&str>, nodes: &Nodes) -> (Watches, Shown) {
        let mut starting = Starting { client, namespace, events: SelectAll::new() };
        let ours = watch::config().labels(names::CLUSTER_LABEL);
        let clusters = {
            let api = starting.api();
            starting.keep(guard::watcher(api, watch::config()), (), |cluster: &KafkaCluster| {
                About::Cluster(ClusterKey {
                    namespace: cluster.namespace().unwrap_or_default(),
                    name: cluster.name_any(),
                })
            })
        };
        let topics = {
            let api = starting.api();
            let slim = guard::watcher(api, watch::config()).modify(|topic: &mut KafkaTopic| {
                topic.spec.config.clear();
                topic.spec.placement.clear();
                topic.status = None;
            });
            starting.keep(slim, (), |topic: &KafkaTopic| {
                let name = topic.spec.cluster_ref.name.clone();
                About::Cluster(ClusterKey { namespace: topic.namespace().unwrap_or_default(), name })
            })
        };
        let shown = Shown {
            clusters,
            topics,
            stateful_sets: starting.watch(ours.clone()),
            pods: starting.watch(ours.clone()),
            services: starting.watch(ours.clone()),
            claims: starting.watch(ours.clone()),
            nodes: starting.nodes(nodes),
            others: Kind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, Kind::StatefulSet | Kind::Service))
                .map(|kind| (kind, starting.watch_metadata(kind, ours.clone())))
                .collect(),
        };
        let complete = vec![false; starting.events.len()];
        (Watches { events: starting.events, complete }, shown)
    }

    /// What was shown next. Cancellation safe.
    pub async fn next(&mut self) -> Option<About> {
        let change = self.events.next().await?;
        if let Some(known) = self.complete.get_mut(change.watch) {
            *known |= change.complete;
        }
        Some(change.about)
    }

    /// Whether every watch has shown the whole of its kind: absence means something.
    pub fn are_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }
}

struct Starting<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    events: SelectAll<BoxStream<'static, Change>>,
}

impl Starting<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn watch<K>(&mut self, config: Config) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let events = watcher::watcher(self.api::<K>(), config).backoff(watch::backoff());
        let events = events.modify(|object: &mut K| object.meta_mut().managed_fields = None);
        self.keep(events, (), labelled)
    }

    fn watch_metadata(&mut self, kind: Kind, config: Config) -> Store<PartialObjectMeta<DynamicObject>> {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let events = watcher::watcher(api, config).backoff(watch::backoff());
        let events = events.modify(|object| object.metadata.managed_fields = None);
        self.keep(events, resource, labelled)
    }

    /// Those that all namespaces share.
    fn nodes(&mut self, nodes: &Nodes) -> Store<Node> {
        let watch = self.events.len();
        self.events.push(nodes.changes().map(move |about| Change { watch, complete: true, about }).boxed());
        nodes.store.clone()
    }

    fn keep<K>(
        &mut self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        kind: K::DynamicType,
        about: impl Fn(&K) -> About + Send + 'static,
    ) -> Store<K>
    where
        K: Resource + Clone + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone + Send + Sync,
    {
        let plural = K::plural(&kind).into_owned();
        let writer = Writer::new(kind);
        let store = writer.as_reader();
        let watch = self.events.len();
        let changes = events.reflect(writer).map(move |event| match event {
            Ok(Event::InitDone) => Change { watch, complete: true, about: About::Everybody },
            Ok(Event::Init) => Change { watch, complete: false, about: About::Nobody },
            // While a list is read the store keeps what it had: its end is the news.
            Ok(Event::InitApply(_)) => Change { watch, complete: false, about: About::Nobody },
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                Change { watch, complete: false, about: about(&object) }
            }
            Err(error) => {
                tracing::warn!(%error, resource = plural, "a watch broke: it begins anew");
                Change { watch, complete: false, about: About::Nobody }
            }
        });
        self.events.push(changes.boxed());
        store
    }
}

fn labelled<K: Resource>(object: &K) -> About {
    let name = object.meta().labels.as_ref().and_then(|labels| labels.get(names::CLUSTER_LABEL));
    match (name, &object.meta().namespace) {
        (Some(name), Some(namespace)) => {
            About::Cluster(ClusterKey { namespace: namespace.clone(), name: name.clone() })
        }
        _ => About::Nobody,
    }
}

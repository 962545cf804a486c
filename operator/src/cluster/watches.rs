//! What the API server shows of all clusters of one namespace, or of all namespaces: one watch per kind. Objects of
//! which only the version counts are watched without their content.

use std::fmt::Debug;
use std::hash::Hash;

use futures::Stream;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaTopic, names};
use ottla_kube::versions::SetBacks;
use ottla_kube::watch;
use ottla_kube::watches::Watches;
use serde::de::DeserializeOwned;

use super::build::Kind;
use super::nodes::Nodes;

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
pub struct WatchedStores {
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

/// Which clusters a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// No error that could be reported.
    Nobody,
    /// This one.
    Cluster(ClusterKey),
    /// Those that have a pod on this node, or one that no node has taken.
    Node(String),
    /// Any of them.
    Everybody,
}

/// Begins to watch a namespace, or all.
pub fn start(client: &Client, namespace: Option<&str>, nodes: &Nodes) -> (Watches<About>, WatchedStores) {
    // Nothing notifies these watches that the API server was set back: only coordination acts on that.
    let set_backs = SetBacks::default();
    let mut starting = Starting { client, namespace, watches: Watches::new(&set_backs) };
    let ours = watch::config().labels(names::CLUSTER_LABEL);
    let clusters = {
        let clusters = watch::watcher::<KafkaCluster>(starting.api(), watch::config(), &set_backs);
        starting.keep(clusters, (), |cluster: &KafkaCluster| {
            About::Cluster(ClusterKey { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() })
        })
    };
    let topics = {
        let topics = watch::watcher::<KafkaTopic>(starting.api(), watch::config(), &set_backs);
        let slim = topics.modify(|topic: &mut KafkaTopic| {
            topic.spec.config.clear();
            topic.spec.placement.clear();
            topic.status = None;
        });
        starting.keep(slim, (), |topic: &KafkaTopic| {
            let name = topic.spec.cluster_ref.name.clone();
            About::Cluster(ClusterKey { namespace: topic.namespace().unwrap_or_default(), name })
        })
    };
    let shown = WatchedStores {
        clusters,
        topics,
        stateful_sets: starting.watch(ours.clone()),
        pods: starting.watch(ours.clone()),
        services: starting.watch(ours.clone()),
        claims: starting.watch(ours.clone()),
        nodes: nodes.store.clone(),
        others: Kind::ALL
            .into_iter()
            .filter(|kind| !matches!(kind, Kind::StatefulSet | Kind::Service))
            .map(|kind| (kind, starting.watch_metadata(kind, ours.clone())))
            .collect(),
    };
    starting.watches.add_complete(nodes.changes());
    (starting.watches, shown)
}

struct Starting<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    watches: Watches<About>,
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
        let events = watch::events(self.api::<K>(), config);
        self.keep(events, (), labelled)
    }

    fn watch_metadata(&mut self, kind: Kind, config: Config) -> Store<PartialObjectMeta<DynamicObject>> {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        self.keep(watch::metadata(api, config), resource, labelled)
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
        self.watches.keep(kind, events, move |event| match event {
            Event::InitDone => About::Everybody,
            // While a list is read the store keeps what it had: its end is the news.
            Event::Init | Event::InitApply(_) => About::Nobody,
            Event::Apply(object) | Event::Delete(object) => about(object),
        })
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

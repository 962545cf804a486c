//! Everything that a reconcile depends on, read at once from what the watches have shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use ottla_crds::{KafkaCluster, names};
use ottla_rules::assignment::BrokerId;

use super::build::label::{MANAGED_BY_LABEL, MANAGER};
use super::build::{Kind, pod};
use super::pools::Pool;
use super::validate::ValidatedCluster;
use super::watches::{ClusterKey, WatchedStores};

/// One cluster and all of its objects.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The cluster; `None` if it does not exist.
    pub cluster: Option<Arc<KafkaCluster>>,
    /// The StatefulSets, by name.
    pub stateful_sets: BTreeMap<String, Arc<StatefulSet>>,
    /// The pods, by name.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// The Services, by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// The claims, by name.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    /// All nodes, by name.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// Everything that the operator has built.
    pub live: BTreeMap<(Kind, String), Live>,
}

/// An object that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its uid; `None`: the API server gave none.
    pub uid: Option<String>,
    /// What changes with the object's spec: its generation if it has one, because a change of the status does not
    /// count; else its resource version. `None`: the API server gave neither.
    pub version: Option<String>,
}

impl Live {
    /// Reads uid and version from the metadata.
    pub fn of(metadata: &ObjectMeta) -> Live {
        let generation = metadata.generation.map(|generation| format!("generation {generation}"));
        Live { uid: metadata.uid.clone(), version: generation.or_else(|| metadata.resource_version.clone()) }
    }
}

/// The cluster itself; `None`: it does not exist.
pub fn cluster(shown: &WatchedStores, key: &ClusterKey) -> Option<Arc<KafkaCluster>> {
    shown.clusters.find(|cluster| is(cluster.meta(), key))
}

/// Reads what the watches have shown of this cluster.
pub fn read(shown: &WatchedStores, key: &ClusterKey) -> Read {
    let stateful_sets = by_name(shown.stateful_sets.state(), key);
    let services = by_name(shown.services.state(), key);
    let mut live = BTreeMap::new();
    let mut note = |kind: Kind, metadata: &ObjectMeta| {
        let managed = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
        if let (Some(name), true) = (&metadata.name, managed.is_some_and(|manager| manager == MANAGER)) {
            live.insert((kind, name.clone()), Live::of(metadata));
        }
    };
    for (kind, store) in &shown.others {
        store.state().iter().filter(|object| belongs(&object.metadata, key)).for_each(|o| note(*kind, &o.metadata));
    }
    services.values().for_each(|service| note(Kind::Service, &service.metadata));
    stateful_sets.values().for_each(|object| note(Kind::StatefulSet, &object.metadata));
    Read {
        cluster: cluster(shown, key),
        stateful_sets,
        pods: by_name(shown.pods.state(), key),
        services,
        claims: by_name(shown.claims.state(), key),
        nodes: shown.nodes.state().into_iter().map(|node| (node.name_any(), node)).collect(),
        live,
    }
}

fn by_name<K: Resource<DynamicType = ()>>(objects: Vec<Arc<K>>, key: &ClusterKey) -> BTreeMap<String, Arc<K>> {
    let ours = objects.into_iter().filter(|object| belongs(object.meta(), key));
    ours.map(|object| (object.name_any(), object)).collect()
}

fn is(metadata: &ObjectMeta, key: &ClusterKey) -> bool {
    metadata.namespace.as_ref() == Some(&key.namespace) && metadata.name.as_ref() == Some(&key.name)
}

fn belongs(metadata: &ObjectMeta, key: &ClusterKey) -> bool {
    let cluster = metadata.labels.as_ref().and_then(|labels| labels.get(names::CLUSTER_LABEL));
    metadata.namespace.as_ref() == Some(&key.namespace) && cluster == Some(&key.name)
}

impl Read {
    /// The image of brokers whose spec names none: the one that they have run so far, also after an upgrade of the
    /// operator. From the status, or, for a cluster of an earlier operator, from the StatefulSet. `None`: they have run
    /// none yet.
    pub fn image(&self) -> Option<&str> {
        let status = self.cluster.as_ref().and_then(|cluster| cluster.status.as_ref()?.image.as_deref());
        let template = || {
            let spec = self.default_set()?.spec.as_ref()?.template.spec.as_ref()?;
            spec.containers.iter().find(|container| container.name == pod::CONTAINER)?.image.as_deref()
        };
        status.or_else(template)
    }

    /// Whether the controller of StatefulSets has observed the newest spec of each: until then their statuses are about
    /// earlier ones.
    pub fn is_observed(&self) -> bool {
        let observed = |set: &StatefulSet| set.status.as_ref()?.observed_generation;
        let mut sets = self.stateful_sets.values();
        !self.stateful_sets.is_empty() && sets.all(|set| observed(set) >= set.metadata.generation)
    }

    /// The StatefulSet of the default pool.
    pub fn default_set(&self) -> Option<&StatefulSet> {
        let cluster = self.cluster.as_ref()?.name_any();
        self.stateful_sets.get(&names::stateful_set(&cluster, None)).map(|set| &**set)
    }

    /// How many pods a pool's StatefulSet asks for; 0 if it does not exist.
    pub fn replicas(&self, cluster: &str, pool: &Pool) -> i32 {
        let set = self.stateful_sets.get(&pool.stateful_set(cluster));
        set.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(0)
    }

    /// Whether a StatefulSet asks for the pod of this broker.
    pub fn asks_for(&self, cluster: &ValidatedCluster, id: BrokerId) -> bool {
        let pool = cluster.pool(id);
        pool.counts(id, self.replicas(&cluster.name, pool))
    }

    /// The volume size in the template of a StatefulSet.
    pub fn claim_size(&self, set: &str) -> Option<&str> {
        let templates = self.stateful_sets.get(set)?.spec.as_ref()?.volume_claim_templates.as_ref()?;
        requested(templates.first()?)
    }
}

/// The size of a claim's volume; `None` before it exists.
pub fn capacity(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.capacity.as_ref()?.get("storage").map(|size| size.0.as_str())
}

/// The size that a claim requests.
pub fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|size| size.0.as_str())
}

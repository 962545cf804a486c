//! `KafkaCluster`: the brokers that a user asks for.
//!
//! The spec belongs to users, the status to the operator, except `nextProducerIdBlock`: a broker that needs producer
//! ids takes the next block by compare-and-swap.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    KafkaClusterStatus, Listener, ListenerType,
    kafka_topic::DeletionPolicy,
    names,
    pod_template::{PodTemplate, Resources},
    pool::Pool,
    rebalance::Rebalance,
    rollout::Rollout,
    schema,
    security::{Authorization, ClusterQuotas, Security},
    storage::Storage,
};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::roster::Order;

/// A Kafka cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaCluster",
    namespaced,
    status = "KafkaClusterStatus",
    derive = "PartialEq",
    doc = "A Kafka cluster.",
    shortname = "okc",
    category = "ottla",
    scale(spec_replicas_path = ".spec.brokers.replicas", status_replicas_path = ".status.replicas"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".status.brokerCount"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.rollout.from", priority = 1),
    printcolumn(name = "ClusterId", type_ = "string", json_path = ".status.clusterId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    // Pods are called <cluster>-broker-<id> and Services after them, which leaves 40 characters of a DNS label.
    validation = (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        "a cluster's name has at most 40 lower-case letters, digits and dashes and starts with a letter"
    ),
    // Services of single brokers are called <cluster>-broker-<id>-<listener>.
    validation = (
        "self.spec.listeners.all(l, l.type == 'internal' \
         || size(self.metadata.name) + size(l.name) <= 51)",
        "the name of a listener that is not internal and the cluster's name have at most 51 characters together"
    ),
    // A mistaken size can be corrected until a volume has that size.
    validation = (
        "!has(self.spec.brokers.storage) || !has(oldSelf.spec.brokers.storage) \
         || quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.spec.brokers.storage.size)) >= 0 \
         || has(oldSelf.status) && has(oldSelf.status.volumeSize) \
         && quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.status.volumeSize)) >= 0",
        "brokers.storage.size can not be reduced below what the brokers' volumes have (status.volumeSize)"
    ),
    // The name of a StatefulSet is in a label of its pods, together with a hash.
    validation = (
        "!has(self.spec.pools) || self.spec.pools.all(p, size(self.metadata.name) + size(p.name) <= 44)",
        "the name of a pool and the cluster's name have at most 44 characters together"
    ),
    // A pool that was removed from the list may be added again as it was, as long as something of it exists.
    validation = (
        "!has(self.spec.pools) || !has(oldSelf.status) || !has(oldSelf.status.pools) \
         || self.spec.pools.all(p, has(oldSelf.spec.pools) && oldSelf.spec.pools.exists(o, o.name == p.name) \
         || oldSelf.status.pools.all(q, q.name != p.name || q.firstBroker == p.firstBroker \
         && (has(p.storage.storageClassName) ? p.storage.storageClassName : '') \
         == (has(q.storage.storageClassName) ? q.storage.storageClassName : '')))",
        "a pool of this name exists with another firstBroker or storageClassName (status.pools): add it again as it was, or \
         choose another name"
    ),
    validation = (
        "!has(self.spec.pools) || !has(oldSelf.status) || !has(oldSelf.status.pools) \
         || self.spec.pools.all(p, has(oldSelf.spec.pools) && oldSelf.spec.pools.exists(o, o.name == p.name \
         && quantity(p.storage.size).compareTo(quantity(o.storage.size)) >= 0) \
         || oldSelf.status.pools.all(q, q.name != p.name || !has(q.volumeSize) \
         || quantity(p.storage.size).compareTo(quantity(q.volumeSize)) >= 0))",
        "storage.size of a pool can not be reduced below what its brokers' volumes have (volumeSize in status.pools)"
    )
)]
#[x_kube(
    validation = (
        "!has(self.defaults) || !has(self.defaults.replicationFactor) \
         || self.defaults.replicationFactor <= self.brokers.replicas \
         + (has(self.pools) ? self.pools.map(p, p.replicas).sum() : 0)",
        "defaults.replicationFactor can not be more than the number of brokers (brokers.replicas, and replicas of pools)"
    ),
    validation = (
        "self.brokers.replicas > 0 || has(self.pools) && self.pools.exists(p, p.replicas > 0)",
        "a cluster has at least one broker: brokers.replicas can be 0 only if a pool has brokers"
    ),
    // The brokers of both would have the same ids.
    validation = (
        "!has(self.pools) || self.pools.all(p, self.brokers.replicas <= p.firstBroker)",
        "the ids of the brokers of pools overlap: those of the default pool run from 0 to brokers.replicas - 1, and must be \
         below firstBroker of each pool"
    ),
    validation = (
        "!has(self.pools) || self.pools.all(p, self.pools.all(q, p.name == q.name || (p.firstBroker < q.firstBroker \
         ? p.firstBroker + p.replicas <= q.firstBroker : q.firstBroker < p.firstBroker)))",
        "the ids of the brokers of pools overlap: those of a pool run from firstBroker to firstBroker + replicas - 1, and \
         must be below firstBroker of the next pool"
    ),
    validation = (
        "has(self.brokers.storage) || !has(self.pools)",
        "pools are not for a laptop, whose brokers have no volumes and pods of their own"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.minInSyncReplicas) || self.defaults.minInSyncReplicas == 1 \
         || has(self.defaults.replicationFactor) || (has(self.config) && 'default.replication.factor' in self.config)",
        "defaults.minInSyncReplicas can not be more than defaults.replicationFactor, which is 1 if it is not set"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.partitions) || !has(self.config) \
         || !('num.partitions' in self.config) || self.config['num.partitions'] == string(self.defaults.partitions)",
        "defaults.partitions and num.partitions in config differ: set only one of them"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.replicationFactor) || !has(self.config) \
         || !('default.replication.factor' in self.config) \
         || self.config['default.replication.factor'] == string(self.defaults.replicationFactor)",
        "defaults.replicationFactor and default.replication.factor in config differ: set only one of them"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.minInSyncReplicas) || !has(self.config) \
         || !('min.insync.replicas' in self.config) \
         || self.config['min.insync.replicas'] == string(self.defaults.minInSyncReplicas)",
        "defaults.minInSyncReplicas and min.insync.replicas in config differ: set only one of them"
    ),
    // On a laptop brokers have no volumes of their own: the operator could not see what a leaving broker still holds.
    validation = (
        "has(self.brokers.storage) || self.brokers.replicas >= oldSelf.brokers.replicas",
        "brokers.replicas can not be reduced on a laptop"
    ),
    validation = (
        "has(self.brokers.storage) || !has(self.brokers.overrides) \
         || self.brokers.overrides.all(o, !has(o.state) || o.state != 'Fresh')",
        "brokers.overrides can not have state: Fresh on a laptop, where brokers have no volumes of their own"
    ),
    validation = (
        "has(self.brokers.storage) == has(oldSelf.brokers.storage)",
        "brokers.storage can not be added or removed"
    ),
    validation = (
        "!has(self.brokers.storage) || !has(oldSelf.brokers.storage) \
         || (has(self.brokers.storage.storageClassName) ? self.brokers.storage.storageClassName : '') \
         == (has(oldSelf.brokers.storage.storageClassName) ? oldSelf.brokers.storage.storageClassName : '')",
        "brokers.storage.storageClassName is immutable"
    ),
    validation = (
        "!has(self.rollout) || has(self.brokers.storage)",
        "rollout is not for a laptop, whose brokers are not pods"
    ),
    // Which brokers fail together is known by their racks alone.
    validation = (
        "!has(self.rollout) || self.rollout.maxUnavailable == 1 || has(self.rack)",
        "rollout.maxUnavailable can be more than 1 only with rack: brokers of one rack restart together"
    ),
    validation = (
        "self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port))",
        "listeners must have different ports"
    ),
    validation = (
        "self.listeners.exists(l, l.type == 'internal')",
        "listeners must have one of type internal: brokers connect to each other on the first of these"
    ),
    validation = (
        "self.listeners.all(l, l.port != 9404 && l.name != 'http')",
        "no listener can have port 9404 or the name http: brokers serve metrics and probes on that port"
    ),
    // Nobody would fill the Secret.
    validation = (
        "has(self.brokers.storage) || self.listeners.all(l, !has(l.tls) || !has(l.tls.issuerRef))",
        "tls.issuerRef is not for a laptop, which has no cert-manager: name a Secret in tls.secretRef"
    ),
    validation = (
        "has(self.brokers.storage) || self.listeners.all(l, !has(l.networkPolicyPeers))",
        "networkPolicyPeers are not for a laptop, which has no NetworkPolicies"
    ),
    // Brokers of a running cluster reach each other on the first of these until each has a certificate.
    validation = (
        "!has(self.brokers.storage) || has(oldSelf.security) || has(oldSelf.authorization) \
         || oldSelf.listeners.exists(l, has(l.tls) || has(l.authentication)) \
         || !self.listeners.exists(l, l.type == 'internal' && (has(l.tls) || has(l.authentication)))",
        "to secure an internal listener of a running cluster, first set security: {} and wait until the roll is finished: \
         then brokers have certificates and reach each other without it"
    ),
    validation = (
        "self.listeners.all(l, l.port != 9091 && l.name != 'replication')",
        "no listener can have port 9091 or the name replication: brokers reach each other on that port"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// The brokers.
    #[serde(default)]
    pub brokers: Brokers,
    /// More brokers, with volumes, resources and nodes of their own. To replace a storage class, a size or an
    /// architecture, add a pool, and set `replicas` of the other one, or of `brokers`, to 0: its brokers leave when
    /// their replicas have moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pools: Vec<Pool>,
    /// The ports on which every broker serves clients. Default: one listener named `internal`, type `internal`, port
    /// 9092.
    #[serde(default = "default_listeners")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<Listener>,
    /// Settings of all brokers, by Kafka's names. A setting that is not named has Kafka's default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
    /// Settings of single groups. A group that is not named, or a setting, has that of all brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub groups: Vec<GroupOverride>,
    /// What users may do. Absent: everybody may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// How much clients may do that are known by their `client.id` or address. For users see KafkaUser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<ClusterQuotas>,
    /// The authorities that issue the certificates of brokers and users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Defaults of topics that do not set these values themselves.
    #[serde(default)]
    pub defaults: TopicDefaults,
    /// The node label that names a broker's rack. Absent: brokers have no rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,
    /// How brokers' pods are replaced when their image, listeners, resources or pod template change. Absent: one after
    /// the other, after a canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// When the operator finalizes levels of features, and up to which level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<FeaturesSpec>,
    /// Which replicas the operator moves by itself, and how fast.
    #[serde(default)]
    pub rebalance: Rebalance,
    /// While true, the operator changes no Kubernetes resources of this cluster, such as pods, volumes and Services. It
    /// still elects leaders, creates and deletes topics, creates and revokes users, and writes statuses.
    #[serde(default)]
    pub paused: bool,
    /// What brokers do when a Kafka client asks to change a KafkaTopic, a KafkaUser or this object: to create, grow,
    /// configure, move or delete topics, or to change settings, quotas, passwords or ACLs. Default: Allow.
    #[serde(default, deserialize_with = "crate::words::wire_changes")]
    pub wire_changes: WireChanges,
    /// Whether the brokers' volumes are deleted with this object. Default: Retain.
    #[serde(default = "retain", deserialize_with = "crate::words::deletion_policy")]
    pub deletion_policy: DeletionPolicy,
}

/// What brokers do when a client asks to change an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WireChanges {
    /// The object is changed; the last writer wins, Git or client.
    #[default]
    Allow,
    /// The client gets the error POLICY_VIOLATION, which names the object. Kafka's internal topics are created as ever,
    /// and leaders can be elected.
    Refuse,
}

fn retain() -> DeletionPolicy {
    DeletionPolicy::Retain
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener { name: "internal".to_owned(), port: 9092, ..Listener::default() }]
}

/// The brokers of a cluster: the default pool, and what all pools share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brokers {
    /// The number of brokers of the default pool; 0 only if a pool has brokers. When it is reduced, the brokers with
    /// the highest ids leave, each as soon as it is empty; until then the old number cancels it.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// The volume of each broker. Required on Kubernetes. Absent on a laptop, where `ottla --data` names the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The container image of the brokers. Absent: the image in `status.image`, which is the operator's own image when
    /// the cluster is created. A change starts a roll (`spec.rollout`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The processor time and memory that each broker requests, and the limits on both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Additions to the brokers' pods: labels, scheduling, pull secrets. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<Box<PodTemplate>>,
    /// Settings of single brokers, and what is wanted of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["broker"])
    )]
    pub overrides: Vec<BrokerOverride>,
}

/// When the operator finalizes levels of features, such as `transaction.version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeaturesSpec {
    /// How long every broker must have supported a level before it is finalized; until then brokers can return to an
    /// earlier version. In a new cluster levels are finalized at once. Absent: `24h`, and on a laptop `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 16), regex(pattern = r"^([0-9]{1,6}(s|m|h))+$"))]
    pub settle_for: Option<kube::core::Duration>,
    /// The highest level of each feature, by Kafka's name. It can't be below the finalized level. A feature that is not
    /// named gets the highest level that every broker supports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub levels: BTreeMap<String, i16>,
}

/// The settings of one broker, and what is wanted of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.volume) == (has(self.state) && self.state == 'Fresh')",
    "message": "state: Fresh and volume come together: volume is the uid of the volume to replace, as in status.brokers",
}]))]
#[serde(rename_all = "camelCase")]
pub struct BrokerOverride {
    /// The broker's id.
    #[schemars(range(min = 0, max = 999))]
    pub broker: BrokerId,
    /// Cordoned: the broker gets no new replica. Drained: its replicas move to other brokers. Fresh: its volume is
    /// replaced by a new one. Absent: the broker serves.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::words::order")]
    pub state: Option<Order>,
    /// With `state: Fresh`: the uid of the volume to replace, as in `status.brokers`. It has no effect on another
    /// volume, so it may stay here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub volume: Option<String>,
    /// Broker settings by Kafka's names. They take precedence over those of all brokers. Only settings that a running
    /// broker can change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
}

/// The settings of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupOverride {
    /// The group's id.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Group settings by Kafka's names, such as `consumer.session.timeout.ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
}

impl KafkaCluster {
    /// The pool that a broker belongs to: the last that begins with its id or a lower one; `None`: the default pool.
    pub fn pool_of(&self, id: BrokerId) -> Option<&Pool> {
        self.pools().filter(|pool| pool.first_broker <= id.0).max_by_key(|pool| pool.first_broker)
    }

    /// The pools beside the default one: those of the spec, and those that were removed from it and still exist.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        let is_asked_for = |pool: &&Pool| self.spec.pools.iter().any(|asked_for| asked_for.name == pool.name);
        let told = self.status.iter().flat_map(|status| &status.pools).map(|told| &told.pool);
        self.spec.pools.iter().chain(told.filter(move |pool| !is_asked_for(pool)))
    }

    /// The name of a broker's pod.
    pub fn pod(&self, id: BrokerId) -> String {
        let pool = self.pool_of(id).map(|pool| pool.name.as_str());
        names::pod(self.metadata.name.as_deref().unwrap_or_default(), pool, id)
    }

    /// The volume of a broker, by its pool; `None`: it has none, on a laptop.
    pub fn storage_of(&self, id: BrokerId) -> Option<&Storage> {
        self.pool_of(id).map(|pool| &pool.storage).or(self.spec.brokers.storage.as_ref())
    }
}

impl KafkaClusterSpec {
    /// The ids of the brokers that the spec asks for, of all pools.
    pub fn broker_ids(&self) -> impl Iterator<Item = BrokerId> + Clone + '_ {
        (0..self.brokers.replicas).map(BrokerId).chain(self.pools.iter().flat_map(Pool::broker_ids))
    }

    /// Whether the spec asks for this broker.
    pub fn asks_for(&self, id: BrokerId) -> bool {
        (0..self.brokers.replicas).contains(&id.0) || self.pools.iter().any(|pool| pool.has(id))
    }

    /// How many brokers the spec asks for, in all pools.
    pub fn broker_count(&self) -> i32 {
        self.pools.iter().fold(self.brokers.replicas, |count, pool| count.saturating_add(pool.replicas))
    }

    /// How long every broker must have supported a level before it is finalized.
    pub fn features_settle_for(&self) -> Duration {
        let asked = self.features.as_ref().and_then(|features| features.settle_for).map(Duration::from);
        let is_laptop = self.brokers.storage.is_none();
        asked.unwrap_or(Duration::from_secs(if is_laptop { 0 } else { 24 * 60 * 60 }))
    }
}

impl Default for Brokers {
    fn default() -> Self {
        Self { replicas: 1, storage: None, image: None, resources: None, pod_template: None, overrides: Vec::new() }
    }
}

impl Brokers {
    /// The settings that only this broker has.
    pub fn own_config(&self, broker: BrokerId) -> BTreeMap<String, String> {
        let own = self.overrides.iter().find(|entry| entry.broker == broker);
        own.map(|entry| entry.config.clone()).unwrap_or_default()
    }

    /// Replaces the settings that only this broker has. What is wanted of it stays.
    pub fn set_own_config(&mut self, broker: BrokerId, config: BTreeMap<String, String>) {
        match self.overrides.iter_mut().find(|entry| entry.broker == broker) {
            Some(entry) => entry.config = config,
            None => self.overrides.push(BrokerOverride { broker, config, ..BrokerOverride::default() }),
        }
        self.overrides.retain(|entry| !entry.config.is_empty() || entry.state.is_some());
    }

    /// What the spec orders of this broker; `volume` is the uid of its present volume, `None` if it has none. An order
    /// for another volume was carried out.
    pub fn order(&self, broker: BrokerId, volume: Option<&str>) -> Option<Order> {
        let entry = self.overrides.iter().find(|entry| entry.broker == broker)?;
        entry
            .state
            .filter(|order| *order != Order::Fresh || entry.volume.is_some() && entry.volume.as_deref() == volume)
    }
}

/// Defaults of topics that do not set these values themselves. The fields stand for Kafka's settings `num.partitions`,
/// `default.replication.factor` and `min.insync.replicas`, which can be set in `config` instead. A value that is set in
/// neither place is 1, as in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minInSyncReplicas) || !has(self.replicationFactor) \
             || self.minInSyncReplicas <= self.replicationFactor",
    "message": "minInSyncReplicas can not be more than replicationFactor",
}]))]
pub struct TopicDefaults {
    /// The number of partitions of a topic (`num.partitions`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<i32>,
    /// The number of replicas of each partition (`default.replication.factor`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// The number of in-sync replicas, the leader included, that a write with acks=all needs (`min.insync.replicas`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub min_in_sync_replicas: Option<i32>,
}

impl TopicDefaults {
    /// The fields by Kafka's names.
    fn by_name(&mut self) -> [(&'static str, &mut Option<i32>); 3] {
        [
            ("num.partitions", &mut self.partitions),
            ("default.replication.factor", &mut self.replication_factor),
            ("min.insync.replicas", &mut self.min_in_sync_replicas),
        ]
    }

    /// Kafka's names of the fields that are set.
    fn set(mut self) -> Vec<&'static str> {
        self.by_name().into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }
}

/// Where a broker's rack is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// The node label whose value is the rack, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
}

impl KafkaClusterSpec {
    /// The listener on which brokers connect to each other: the first of type internal. `None` only if the object was
    /// written without validation.
    pub fn inter_broker_listener(&self) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.type_ == ListenerType::Internal)
    }

    /// Whether the cluster has authorities: its brokers have certificates then, and reach each other under TLS.
    pub fn has_authorities(&self) -> bool {
        let is_secured = |listener: &Listener| listener.tls.is_some();
        self.security.is_some() || self.authorization.is_some() || self.listeners.iter().any(is_secured) || {
            // Brokers could not connect to each other there.
            self.inter_broker_listener().is_some_and(|listener| !listener.authentication.is_empty())
        }
    }

    /// The brokers' settings by Kafka's names: those in `config` and those in `defaults`, which validation keeps equal
    /// where both set a value. `min.insync.replicas` is always present, as in Kafka with eligible leader replicas.
    pub fn broker_config(&self) -> BTreeMap<String, String> {
        let mut config = self.config.clone();
        for (name, value) in self.defaults.clone().by_name() {
            if let Some(value) = value {
                config.entry(name.to_owned()).or_insert_with(|| value.to_string());
            }
        }
        config.entry("min.insync.replicas".to_owned()).or_insert_with(|| "1".to_owned());
        config
    }

    /// The settings that a group has for itself.
    pub fn group_config(&self, group: &str) -> BTreeMap<String, String> {
        let own = self.groups.iter().find(|entry| entry.name == group);
        own.map(|entry| entry.config.clone()).unwrap_or_default()
    }

    /// Replaces the settings that a group has for itself; empty settings remove its entry.
    pub fn set_group_config(&mut self, group: &str, config: BTreeMap<String, String>) {
        self.groups.retain(|entry| entry.name != group);
        if !config.is_empty() {
            self.groups.push(GroupOverride { name: group.to_owned(), config });
            self.groups.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }

    /// Changes the spec so that `broker_config` returns `wanted`. A setting that is in `defaults` is changed there.
    pub fn set_broker_config(&mut self, wanted: &BTreeMap<String, String>) {
        let before = self.broker_config();
        for (name, value) in self.defaults.by_name().into_iter().filter(|(_, value)| value.is_some()) {
            *value = wanted.get(name).and_then(|wanted| wanted.trim().parse().ok());
        }
        self.config.retain(|name, _| wanted.contains_key(name));
        let elsewhere = self.defaults.clone().set();
        let is_new = |name: &str, value: &String| {
            before.get(name) != Some(value) && (self.config.contains_key(name) || !elsewhere.contains(&name))
        };
        let changed = wanted.iter().filter(|(name, value)| is_new(name, value));
        let changed: Vec<_> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.config.extend(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_of_a_broker_change_and_what_is_wanted_of_it_stays() {
        let mut brokers = Brokers::default();
        let id = BrokerId;
        brokers.overrides = vec![
            BrokerOverride { broker: id(2), state: Some(Order::Drained), ..BrokerOverride::default() },
            BrokerOverride {
                broker: id(1),
                config: config(&[("log.cleaner.threads", "2")]),
                ..BrokerOverride::default()
            },
        ];
        brokers.set_own_config(id(1), BTreeMap::new());
        brokers.set_own_config(id(2), config(&[("log.cleaner.threads", "3")]));
        brokers.set_own_config(id(2), BTreeMap::new());
        assert_eq!(
            brokers.overrides,
            [BrokerOverride { broker: id(2), state: Some(Order::Drained), ..BrokerOverride::default() }]
        );
    }

    #[test]
    fn an_order_for_one_volume_has_no_effect_on_the_next() {
        let order = |volume: Option<&str>, present| {
            let (state, volume) = (Some(Order::Fresh), volume.map(str::to_owned));
            let entry = BrokerOverride { broker: BrokerId(1), state, volume, ..BrokerOverride::default() };
            Brokers { overrides: vec![entry], ..Brokers::default() }.order(BrokerId(1), present)
        };
        assert_eq!(order(Some("old"), Some("old")), Some(Order::Fresh));
        assert_eq!(order(Some("old"), Some("new")), None);
        assert_eq!(order(Some("old"), None), None);
        assert_eq!(order(None, None), None, "an object that was never admitted");
        assert_eq!(Brokers::default().order(BrokerId(1), Some("old")), None);
    }

    #[test]
    fn a_setting_that_is_in_defaults_is_changed_there() {
        let mut spec = KafkaClusterSpec {
            config: config(&[("num.partitions", "6"), ("log.retention.hours", "1")]),
            defaults: TopicDefaults { min_in_sync_replicas: Some(1), ..TopicDefaults::default() },
            ..KafkaClusterSpec::default()
        };
        let expected = config(&[("num.partitions", "6"), ("log.retention.hours", "1"), ("min.insync.replicas", "1")]);
        assert_eq!(spec.broker_config(), expected);

        let wanted = config(&[("num.partitions", "7"), ("min.insync.replicas", "2")]);
        spec.set_broker_config(&wanted);
        assert_eq!(spec.broker_config(), wanted);
        assert_eq!(
            (spec.config.clone(), spec.defaults.min_in_sync_replicas),
            (config(&[("num.partitions", "7")]), Some(2))
        );

        spec.set_broker_config(&config(&[("default.replication.factor", "3")]));
        assert_eq!(spec.config, config(&[("default.replication.factor", "3")]));
        assert_eq!(spec.defaults, TopicDefaults::default());
        assert_eq!(spec.broker_config()["min.insync.replicas"], "1");

        spec.set_broker_config(&config(&[("min.insync.replicas", "2")]));
        assert_eq!(spec.config, config(&[("min.insync.replicas", "2")]));
    }
}

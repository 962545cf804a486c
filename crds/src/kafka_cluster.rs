//! `KafkaCluster`: brokers as their user wants them, and what became of them.
//!
//! The spec belongs to users, the status to the operator, except `nextProducerIdBlock`: a broker that needs producer
//! ids takes the next block by compare-and-swap.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    kafka_topic::DeletionPolicy,
    pod_template::{PodTemplate, Resources},
    schema,
};
use ottla_rules::assignment::BrokerId;

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
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.brokers.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
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
    // A mistaken size can be corrected as long as no volume has got it.
    validation = (
        "!has(self.spec.brokers.storage) || !has(oldSelf.spec.brokers.storage) \
         || quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.spec.brokers.storage.size)) >= 0 \
         || has(oldSelf.status) && has(oldSelf.status.volumeSize) \
         && quantity(self.spec.brokers.storage.size).compareTo(quantity(oldSelf.status.volumeSize)) >= 0",
        "brokers.storage.size can not be reduced below what the brokers' volumes have (status.volumeSize)"
    )
)]
#[x_kube(
    validation = (
        "!has(self.defaults) || !has(self.defaults.replicationFactor) \
         || self.defaults.replicationFactor <= self.brokers.replicas",
        "defaults.replicationFactor can not be more than brokers.replicas"
    ),
    validation = (
        "!has(self.defaults) || !has(self.defaults.minInSyncReplicas) || self.defaults.minInSyncReplicas == 1 \
         || has(self.defaults.replicationFactor) || (has(self.config) && 'default.replication.factor' in self.config)",
        "defaults.minInSyncReplicas can not be more than defaults.replicationFactor, which is 1 where it is not set"
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
    // Without volumes of their own, on a laptop, nobody could say what is still on a broker that leaves.
    validation = (
        "has(self.brokers.storage) || self.brokers.replicas >= oldSelf.brokers.replicas",
        "brokers.replicas can not be reduced on a laptop"
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
        "self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port))",
        "listeners must have different ports"
    ),
    validation = (
        "self.listeners.exists(l, l.type == 'internal')",
        "listeners must have one of type internal: brokers talk to each other on the first of them"
    ),
    validation = (
        "self.listeners.all(l, l.port != 9404 && l.name != 'http')",
        "no listener can have port 9404 or be called http: there brokers serve metrics and probes"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// The brokers.
    #[serde(default)]
    pub brokers: Brokers,
    /// Where clients connect; by default one, inside the cluster, on port 9092.
    #[serde(default = "default_listeners")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<Listener>,
    /// Broker settings by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
    /// What topics get that don't say otherwise.
    #[serde(default)]
    pub defaults: TopicDefaults,
    /// How brokers learn which rack they are in; without it they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,
    /// While true the operator changes no Kubernetes object of this cluster. Partitions get leaders, topics are created
    /// and deleted, and the status is written all the same.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of the brokers' volumes when this object is deleted.
    #[serde(default = "retain", deserialize_with = "crate::words::deletion_policy")]
    pub deletion_policy: DeletionPolicy,
}

fn retain() -> DeletionPolicy {
    DeletionPolicy::Retain
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener { name: "internal".to_owned(), port: 9092, type_: ListenerType::Internal }]
}

/// The brokers of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brokers {
    /// How many. With fewer than before the highest ids leave, each as soon as no partition is on it.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The volume of each; needed on Kubernetes. On a laptop brokers keep their data where their program was told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The image that they run; by default what they ran before, and at first the operator's own. Pods change to
    /// another one when they are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What each asks for and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What is added to their pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<Box<PodTemplate>>,
    /// Settings of single brokers, which go before those in `config`; only what brokers can change while they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["broker"])
    )]
    pub overrides: Vec<BrokerOverride>,
}

/// The settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerOverride {
    /// The broker's id.
    #[schemars(range(min = 0, max = 999))]
    pub broker: BrokerId,
    /// Broker settings by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
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

    /// Gives a broker settings of its own instead of those that it had; an entry without settings goes.
    pub fn set_own_config(&mut self, broker: BrokerId, config: BTreeMap<String, String>) {
        self.overrides.retain(|entry| entry.broker != broker);
        if !config.is_empty() {
            self.overrides.push(BrokerOverride { broker, config });
            self.overrides.sort_by_key(|entry| entry.broker);
        }
    }
}

/// A broker's volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its size, as in `100Gi`. It can grow, and go back as long as no volume has grown.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub size: String,
    /// Its storage class; by default the Kubernetes cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// A port on which every broker serves clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name, which is the name of the Services' ports too.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The port that brokers bind.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// How clients reach it.
    #[serde(default, rename = "type")]
    pub type_: ListenerType,
}

/// How clients reach a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ListenerType {
    /// From inside the Kubernetes cluster, at each pod's own name.
    #[default]
    Internal,
    /// From outside, at a port of the node that a broker runs on.
    NodePort,
    /// From outside, at a load balancer per broker.
    LoadBalancer,
    /// From inside, at an address per broker that stays the same when its pod is replaced.
    #[serde(rename = "clusterIP")]
    ClusterIp,
}

/// What topics get that don't say otherwise: names for Kafka's settings `num.partitions`, `default.replication.factor`
/// and `min.insync.replicas`, which may stand in `config` instead. What stands in neither is 1, as in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minInSyncReplicas) || !has(self.replicationFactor) \
             || self.minInSyncReplicas <= self.replicationFactor",
    "message": "minInSyncReplicas can not be more than replicationFactor",
}]))]
pub struct TopicDefaults {
    /// Partitions per topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<i32>,
    /// On how many brokers each partition is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// On how many of them a record must be before acks=all is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub min_in_sync_replicas: Option<i32>,
}

impl TopicDefaults {
    /// Each by Kafka's name.
    fn by_name(&mut self) -> [(&'static str, &mut Option<i32>); 3] {
        [
            ("num.partitions", &mut self.partitions),
            ("default.replication.factor", &mut self.replication_factor),
            ("min.insync.replicas", &mut self.min_in_sync_replicas),
        ]
    }

    /// Kafka's names of those that are set.
    fn set(mut self) -> Vec<&'static str> {
        self.by_name().into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }
}

/// How brokers learn which rack they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// The label of the nodes that names it, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
}

/// What became of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// The generation of the spec that this status is about: on Kubernetes of the one whose objects were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The namespace of the operator that operates the cluster. Others leave it alone while that one is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub operator: Option<String>,
    /// The image that brokers' pods are made to run where the spec names none: an operator that is upgraded does not
    /// change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// The size of the brokers' smallest volume: spec.brokers.storage.size can not go below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub volume_size: Option<String>,
    /// Kafka's cluster id: a uuid in 22 characters of base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 22, max = 22))]
    pub cluster_id: Option<String>,
    /// Brokers that are there, for `kubectl scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// One entry per broker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub brokers: Vec<BrokerStatus>,
    /// What to give clients as `bootstrap.servers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub listeners: Vec<ListenerStatus>,
    /// The first producer id that no broker has taken yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub next_producer_id_block: Option<i64>,
    /// Ready, Available, Degraded, Replicable; on Kubernetes also Progressing and Paused; SetBack after the API server
    /// was restored from a backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A broker as clients and administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Its id.
    pub id: BrokerId,
    /// Its rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Its pod's address; none on a laptop. Brokers connect there while nobody answers for its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it is there.
    #[serde(deserialize_with = "crate::words::broker_state")]
    pub state: BrokerState,
    /// Where clients reach it, per listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["listener"])
    )]
    pub endpoints: Vec<Endpoint>,
}

/// Whether a broker is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BrokerState {
    /// Its lease is renewed.
    Online,
    /// It serves, and asked to lead nothing.
    Draining,
    /// Its lease is not renewed, or it was never seen.
    Offline,
}

/// Where clients reach a broker on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// The host that is advertised.
    pub host: String,
    /// The port that is advertised.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Where clients reach a listener first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// A value for `bootstrap.servers`.
    pub bootstrap_servers: String,
}

impl KafkaClusterSpec {
    /// The listener on which brokers talk to each other: the first that is reached from inside; none where the object
    /// was written past its rules.
    pub fn inter_broker_listener(&self) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.type_ == ListenerType::Internal)
    }

    /// The brokers' settings by Kafka's names: those in `config` and in `defaults`, which agree where both say
    /// something. As in a Kafka with eligible leader replicas `min.insync.replicas` is always among them.
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

    /// Makes `broker_config` what is `wanted`. What stands in `defaults` is changed there.
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
    fn a_default_for_topics_is_changed_where_it_stands() {
        let mut spec = KafkaClusterSpec {
            config: config(&[("num.partitions", "6"), ("log.retention.hours", "1")]),
            defaults: TopicDefaults { min_in_sync_replicas: Some(1), ..TopicDefaults::default() },
            ..KafkaClusterSpec::default()
        };
        let told = config(&[("num.partitions", "6"), ("log.retention.hours", "1"), ("min.insync.replicas", "1")]);
        assert_eq!(spec.broker_config(), told);

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

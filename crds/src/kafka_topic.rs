//! `KafkaTopic`: a topic that a user asks for, and its state.
//!
//! Users write the spec, and brokers do for requests of Kafka's admin API. Only the operator writes the status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::schema::{self, ClusterRef};
use ottla_rules::assignment::{BrokerId, RecoveryOrder};

/// A topic of a Kafka cluster.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaTopic",
    namespaced,
    status = "KafkaTopicStatus",
    derive = "PartialEq",
    doc = "A topic of a Kafka cluster.",
    shortname = "okt",
    category = "ottla",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicationFactor"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = (
        "has(self.spec.topicName) || size(self.metadata.name) <= 249",
        "a topic's name has at most 249 characters: set spec.topicName"
    )
)]
#[x_kube(
    validation = ("self.clusterRef.name == oldSelf.clusterRef.name", "clusterRef is immutable"),
    validation = (
        "has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)",
        "topicName is immutable"
    ),
    validation = ("!has(self.topicName) || !(self.topicName in ['.', '..'])", "topicName can not be '.' or '..'")
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicSpec {
    /// The KafkaCluster that the topic belongs to; immutable.
    pub cluster_ref: ClusterRef,
    /// The topic's name in Kafka; immutable. Absent: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub topic_name: Option<String>,
    /// The number of partitions that the topic has at least: with a greater number it grows. A topic never loses
    /// partitions, so with a smaller number it keeps those that it has (`status.partitions`): a manifest in Git may lag
    /// behind what clients have added. Absent: the cluster's default when the topic was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub partitions: Option<i32>,
    /// The number of replicas of each partition. Absent: the cluster's default when the topic was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// The brokers that hold single partitions; the operator chooses the brokers of all other partitions. A changed
    /// entry moves the partition. A removed entry moves nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub placement: Vec<Placement>,
    /// Elects the preferred replicas of partitions as leaders now, where they are in sync. Done once for each id.
    /// Absent: nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_election: Option<PreferredElection>,
    /// Orders an unclean election of partitions whose in-sync replicas will not return. Acknowledged records that only
    /// those replicas hold are lost for good: first make sure that their brokers do not run. The condition
    /// ReplicasHealthy names those brokers and shows the command. Each order holds for one leader epoch, so it is
    /// obeyed once; afterwards it has no effect and may stay or be removed. Absent: nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Settings of the topic, by Kafka's names. A setting that is not named has the cluster's default.
    // Strings, not integer-or-string: the wire's configs are strings, and with one spelling per value what a broker
    // writes back for AlterConfigs equals what a user wrote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
    /// Whether the topic and its records are deleted with this object. Default: Delete.
    #[serde(default, deserialize_with = "crate::words::deletion_policy")]
    pub deletion_policy: DeletionPolicy,
}

/// A preferred election that a user asks for, instead of waiting for `auto.leader.rebalance.enable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredElection {
    /// Any text that names this election. A new id asks for a new election; the status shows the last id that was held.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The numbers of the partitions whose preferred replicas should lead.
    #[schemars(length(max = 10000))]
    pub partitions: Vec<i32>,
}

/// An administrator's order to elect leaders without in-sync replicas that are lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// `status.clusterId` of the KafkaCluster. A cluster that is created again under the same name has another id and
    /// starts its leader epochs at 0, so the order does not hold for it.
    #[schemars(length(min = 22, max = 22))]
    pub cluster_id: String,
    /// `status.topicId` of the KafkaTopic. A topic that is created again from the same manifest has another id, so the
    /// order does not hold for it.
    #[schemars(with = "String", length(min = 36, max = 36))]
    pub topic_id: Uuid,
    /// For each waiting partition, the broker that will lead it with the records that it has.
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub partitions: Vec<RecoveryOrder>,
}

impl KafkaTopicSpec {
    /// The orders that are for this cluster id and topic id.
    pub fn recovery_orders(&self, cluster_id: &str, topic_id: Uuid) -> &[RecoveryOrder] {
        let recovery = self.recovery.as_ref();
        let meant = recovery.filter(|recovery| (&*recovery.cluster_id, recovery.topic_id) == (cluster_id, topic_id));
        meant.map_or(&[], |recovery| &recovery.partitions)
    }
}

/// The brokers that hold a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The partition's number, from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The ids of the brokers that hold it, all different. The first is the preferred leader.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub replicas: Vec<BrokerId>,
    /// Whether the operator removes this entry once the partition is on these brokers, so that later moves may choose
    /// others. Kafka's tools write such entries. Default: false, the partition stays on these brokers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
}

/// Whether data is deleted with the object that describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The data is deleted with the object.
    #[default]
    Delete,
    /// The data stays.
    Retain,
}

/// The state of a topic. Written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicStatus {
    /// `metadata.generation` of the last spec that the operator read. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The id of the cluster that has the topic's records. A new cluster of the same name does not have them. Absent:
    /// not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The topic's name in Kafka. Absent: the operator has not read the topic yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's topic id, a UUID. A topic that is deleted and created again has another id. Absent: not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub topic_id: Option<Uuid>,
    /// The number of partitions that exist. Absent: not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// The number of replicas of each partition. Absent: not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// `spec.preferredElection.id` of the last election that was held. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_election: Option<String>,
    /// The number of partitions without a leader: clients can not use them. Absent: not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_partitions: Option<i32>,
    /// The number of partitions that have a replica which is not in sync. Absent: not created yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_replicated_partitions: Option<i32>,
    /// Ready, ConfigSynced, ReplicasHealthy, Conflict; Stalled or Reconciling while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl KafkaTopic {
    /// The finalizer that keeps a KafkaTopic until its KafkaAssignments have tombstones.
    pub const FINALIZER: &str = "ottla.io/topic";

    /// The topic's name in Kafka.
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

//! `KafkaTopic`: a topic as its user wants it, and what became of it.
//!
//! Written by users, and by brokers for what Kafka's admin API asks; the status by the operator alone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::schema::{self, ClusterRef};
use ottla_rules::assignment::{BrokerId, RecoveryOrder};

/// A topic of a Kafka cluster.
// An unset number of partitions means the cluster's default when the topic was made, so what may not shrink stands in
// the status.
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
    ),
    validation = (
        "has(oldSelf.spec.partitions) || !has(self.spec.partitions) || !has(oldSelf.status) \
         || !has(oldSelf.status.partitions) || self.spec.partitions >= oldSelf.status.partitions",
        "spec.partitions can not be reduced"
    )
)]
#[x_kube(
    validation = ("self.clusterRef.name == oldSelf.clusterRef.name", "clusterRef is immutable"),
    validation = (
        "has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)",
        "topicName is immutable"
    ),
    validation = (
        "!has(oldSelf.partitions) || (has(self.partitions) && self.partitions >= oldSelf.partitions)",
        "partitions can not be reduced"
    ),
    validation = ("!has(self.topicName) || !(self.topicName in ['.', '..'])", "topicName can not be '.' or '..'")
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicSpec {
    /// The cluster that the topic belongs to.
    pub cluster_ref: ClusterRef,
    /// The topic's name in Kafka; by default the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub topic_name: Option<String>,
    /// The number of partitions; by default the cluster's. It can grow, never shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub partitions: Option<i32>,
    /// On how many brokers each partition is kept; by default what was the cluster's when the topic was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// Which brokers hold partitions, for those that the operator should not place itself. A change moves the
    /// partition; an entry that is taken out leaves it where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub placement: Vec<Placement>,
    /// Partitions whose preferred replicas shall lead now, where they are in sync. Done once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_election: Option<PreferredElection>,
    /// What partitions go on with that wait for in-sync replicas which will not come back. Acknowledged records that
    /// only the missing ones have are given up for good, so make sure that their brokers do not run. The condition
    /// ReplicasHealthy tells who is waited for, and shows the command. Done once, in the leader epochs that it names;
    /// afterwards it means nothing, and may stay or go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Topic settings by Kafka's names.
    // Strings, not integer-or-string: the wire's configs are strings, and with one spelling per value what a broker
    // writes back for AlterConfigs equals what a user wrote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::config")]
    pub config: BTreeMap<String, String>,
    /// What becomes of the records when this object is deleted.
    #[serde(default, deserialize_with = "crate::words::deletion_policy")]
    pub deletion_policy: DeletionPolicy,
}

/// A wish that leaders return now, and not when their brokers have been there for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredElection {
    /// Names the wish: another id is another wish.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The partitions whose preferred replicas shall lead.
    #[schemars(length(max = 10000))]
    pub partitions: Vec<i32>,
}

/// What an administrator gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// The cluster's id, as its status says: in one that is made again under its name the leader epochs begin anew.
    #[schemars(length(min = 22, max = 22))]
    pub cluster_id: String,
    /// The topic's id, as its status says: a topic that is made again from the same file is another.
    #[schemars(with = "String", length(min = 36, max = 36))]
    pub topic_id: Uuid,
    /// The partitions that wait, and the broker whose records each goes on with.
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub partitions: Vec<RecoveryOrder>,
}

impl KafkaTopicSpec {
    /// What is ordered for this very topic of this very cluster.
    pub fn recovery_orders(&self, cluster_id: &str, topic_id: Uuid) -> &[RecoveryOrder] {
        let recovery = self.recovery.as_ref();
        let meant = recovery.filter(|recovery| (&*recovery.cluster_id, recovery.topic_id) == (cluster_id, topic_id));
        meant.map_or(&[], |recovery| &recovery.partitions)
    }
}

/// Which brokers hold a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The partition's number.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// Its replicas, in order of preference to lead: different brokers.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub replicas: Vec<BrokerId>,
}

/// What becomes of the data when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It goes too.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// What became of a topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The id of the cluster that this status is about: another that has the name knows nothing of the topic's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The topic's name in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The topic's id: another one for each topic that ever had this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub topic_id: Option<Uuid>,
    /// The partitions that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// On how many brokers each partition is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// The id of the last preferred election that was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_election: Option<String>,
    /// Partitions without a leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_partitions: Option<i32>,
    /// Partitions with replicas out of sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_replicated_partitions: Option<i32>,
    /// Ready, ConfigSynced, ReplicasHealthy, Conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl KafkaTopic {
    /// The finalizer that keeps a topic's object until its assignments bear tombstones.
    pub const FINALIZER: &str = "ottla.io/topic";

    /// The topic's name in Kafka.
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

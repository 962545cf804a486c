//! `KafkaRebalance`: moves of replicas that a user asks for once, proposed first and made when approved.
//!
//! Users write the spec. Only the operator writes the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use ottla_rules::assignment::BrokerId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, ClusterRef};

/// Moves of replicas between the brokers of a Kafka cluster.
#[allow(clippy::duplicated_attributes)] // two columns of one type are no duplicates
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaRebalance",
    namespaced,
    status = "KafkaRebalanceStatus",
    derive = "PartialEq",
    doc = "Moves of replicas between the brokers of a Kafka cluster: proposed first, and made when approved.",
    shortname = "okr",
    category = "ottla",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name", priority = 1),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Moves", type_ = "integer", json_path = ".status.moves"),
    printcolumn(name = "Bytes", type_ = "string", json_path = ".status.bytes"),
    printcolumn(name = "Eta", type_ = "string", json_path = ".status.eta"),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.percent", priority = 1),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.hash"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = ("self.clusterRef.name == oldSelf.clusterRef.name", "clusterRef is immutable"),
    validation = (
        "self.mode == oldSelf.mode && has(self.brokers) == has(oldSelf.brokers) \
         && (!has(self.brokers) || self.brokers == oldSelf.brokers)",
        "mode and brokers are immutable: create another KafkaRebalance"
    ),
    validation = ("has(self.brokers) == (self.mode == 'Fill')", "brokers must be set if mode is Fill, and only then")
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaRebalanceSpec {
    /// The KafkaCluster whose replicas move; immutable.
    pub cluster_ref: ClusterRef,
    /// What is made even; immutable. Default: Full.
    #[serde(default, deserialize_with = "crate::words::rebalance_mode")]
    pub mode: RebalanceMode,
    /// The ids of the brokers that get replicas; immutable. Absent: mode is not Fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), extend("x-kubernetes-list-type" = "set"))]
    pub brokers: Vec<BrokerId>,
    /// The hash of the proposal that may be carried out, from the status. Absent: nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub approved: Option<String>,
    /// Whether to stop. Moves in progress return to where they came from, if in-sync replicas suffice there; finished
    /// moves stay.
    #[serde(default)]
    pub cancel: bool,
}

/// What a rebalance makes even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebalanceMode {
    /// Replicas and leaders of all brokers.
    #[default]
    Full,
    /// The preferred leaders: no replica moves to another broker.
    Leaders,
    /// The brokers that `brokers` names get replicas of the others.
    Fill,
    /// A word of a newer version: nothing is proposed.
    #[serde(skip_deserializing)]
    Unknown,
}

/// The state of a rebalance. Written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaRebalanceStatus {
    /// `metadata.generation` of the last spec that the operator read. Absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far the rebalance is.
    #[serde(default, deserialize_with = "crate::words::rebalance_state")]
    pub state: RebalanceState,
    /// Identifies the proposal. Set `spec.approved` to it to carry the proposal out.
    #[serde(default)]
    pub hash: String,
    /// The number of replicas that the proposal moves to other brokers.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub moves: i32,
    /// The bytes of these replicas, such as `1.4Ti`. Absent: unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bytes: String,
    /// How long the rest takes at the present rate, or the whole at `spec.rebalance.maxRate` of the KafkaCluster, such
    /// as `2h10m`. Absent: unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub eta: String,
    /// The number of preferred leaders that brokers get from others.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub leaders: i32,
    /// The number of replicas that have moved since the approval.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub moved: i32,
    /// The number of replicas that have not moved yet, at the last change of `percent`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub left: i32,
    /// How much of the proposal is done. Absent: nothing was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// What each broker holds before and after the proposal, ordered by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub brokers: Vec<BrokerChange>,
    /// Ready: the rebalance is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How far a rebalance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebalanceState {
    /// Nothing is proposed yet; the condition Ready says why.
    #[default]
    Pending,
    /// The proposal waits for approval; nothing has moved.
    Proposed,
    /// Replicas move.
    Moving,
    /// Nothing is left to move.
    Done,
    /// The cluster has changed so much since the approval that the proposal would move much more: a new one waits
    /// for approval.
    Stale,
    /// The user has cancelled it.
    Cancelled,
}

/// What one broker holds before and after a rebalance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerChange {
    /// The broker's id.
    pub id: BrokerId,
    /// The number of its replicas, before and after.
    pub replicas: String,
    /// How full its disk is, before and after. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// The number of partitions that it leads by preference, before and after.
    pub leaders: String,
}

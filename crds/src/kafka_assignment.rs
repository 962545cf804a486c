//! `KafkaAssignment`: the replicas, leaders and in-sync replicas of up to 64 partitions of one topic. Internal: users
//! do not write it.
//!
//! Everything is in the spec and there is no status subresource, so that one write creates a complete object. The
//! operator changes entries, and each partition's leader its ISR, only through `ottla_kube::change`.
//!
//! Always: entry i describes partition first + i; no entry is removed; an entry's epochs never fall and its leader
//! changes only with its epoch; a tombstone stays. The API server enforces this. Rules about one entry are on
//! [`Assignment`]: a rule on the list that looks up 64 entries in a list of 64 would be quadratic. The list type `map`
//! keeps a partition from appearing twice.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use ottla_rules::assignment::Assignment;

use crate::schema::ClusterRef;

/// The number of partitions in one object: small, so that a change is a small write; large enough that 10,000
/// partitions are only 160 objects to watch.
pub const PARTITIONS_PER_OBJECT: i32 = 64;

/// Assignments of up to 64 partitions of one topic.
#[allow(clippy::duplicated_attributes)] // two columns of one type are no duplicates
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.io",
    version = "v1alpha1",
    kind = "KafkaAssignment",
    namespaced,
    derive = "PartialEq",
    doc = "The replicas, leaders and in-sync replicas of up to 64 partitions of a topic. Internal: only Ottla writes \
    it.",
    shortname = "oka",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topicName"),
    printcolumn(name = "First", type_ = "integer", json_path = ".spec.first"),
    printcolumn(name = "Deleted", type_ = "boolean", json_path = ".spec.deleted"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = ("self.clusterRef.name == oldSelf.clusterRef.name", "clusterRef is immutable"),
    validation = ("self.topicName == oldSelf.topicName", "topicName is immutable"),
    validation = ("self.topicId == oldSelf.topicId", "topicId is immutable"),
    validation = ("self.first == oldSelf.first", "first is immutable"),
    validation = (
        "!(has(oldSelf.deleted) && oldSelf.deleted) || (has(self.deleted) && self.deleted)",
        "a tombstone can not be withdrawn"
    ),
    validation = (
        "size(self.partitions) >= size(oldSelf.partitions)",
        "an entry can not be removed, and its epochs can not fall"
    ),
    validation = (
        "size(self.partitions) == 0 || self.partitions.map(p, p.partition).isSorted() \
         && self.partitions[0].partition == self.first \
         && self.partitions[size(self.partitions) - 1].partition == self.first + size(self.partitions) - 1",
        "the partitions of the entries must be first, first + 1, and so on"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaAssignmentSpec {
    /// The KafkaCluster that the topic belongs to.
    pub cluster_ref: ClusterRef,
    /// The topic's name in Kafka.
    #[schemars(length(min = 1, max = 249))]
    pub topic_name: String,
    /// Kafka's topic id, a UUID.
    #[schemars(with = "String", length(min = 36, max = 36))]
    pub topic_id: Uuid,
    /// The number of the first partition in this object: a multiple of 64.
    #[schemars(range(min = 0), extend("multipleOf" = 64))]
    pub first: i32,
    /// The tombstone: the topic was deleted. Each replica removes its files, then itself from its entry. It can not be
    /// withdrawn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// One entry per partition: first, first + 1, and so on.
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub partitions: Vec<Assignment>,
}

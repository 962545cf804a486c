//! `KafkaAssignment`: who holds, leads and is in sync with up to 64 partitions of one topic. Internal: no user writes
//! one.
//!
//! Everything is in the spec and there is no status subresource, so that one write creates an object whole. The
//! operator changes entries, and each partition's leader its ISR, by [`crate::change`] alone.
//!
//! Always: entry i is about partition first + i; no entry vanishes; an entry's epochs never fall and its leader changes
//! only with its epoch; a tombstone stays. The API server holds us to it. Rules about one entry are [`Assignment`]'s
//! own: a rule that looks 64 entries up in a list of 64 is quadratic. That no partition comes twice is the map list's
//! doing.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use ottla_rules::assignment::Assignment;

use crate::schema::ClusterRef;

/// How many partitions one object holds: few enough that a change is a small write, enough that 10,000 partitions are
/// 160 objects to watch.
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
    doc = "Which brokers hold, lead and are in sync with partitions of a topic. Internal: written by Ottla alone.",
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
        "an entry can not vanish, nor its epochs fall"
    ),
    validation = (
        "size(self.partitions) == 0 || self.partitions.map(p, p.partition).isSorted() \
         && self.partitions[0].partition == self.first \
         && self.partitions[size(self.partitions) - 1].partition == self.first + size(self.partitions) - 1",
        "partitions must be first, first + 1, and so on"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaAssignmentSpec {
    /// The cluster.
    pub cluster_ref: ClusterRef,
    /// The topic's name in Kafka.
    #[schemars(length(min = 1, max = 249))]
    pub topic_name: String,
    /// The topic's id.
    #[schemars(with = "String", length(min = 36, max = 36))]
    pub topic_id: Uuid,
    /// The first partition number that this object may hold: a multiple of 64.
    #[schemars(range(min = 0), extend("multipleOf" = 64))]
    pub first: i32,
    /// The tombstone: replicas remove their files, then themselves from their entries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// One entry per partition: first, first + 1, and so on.
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["partition"])
    )]
    pub partitions: Vec<Assignment>,
}

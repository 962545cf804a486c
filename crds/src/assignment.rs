//! A partition's assignment and its only transitions.
//!
//! An assignment says which brokers hold a partition, which of them leads, and which are in sync. It lives in one entry of a
//! `KafkaAssignment` and changes only by the functions of this file, each applied under compare-and-swap on the entry's
//! partition epoch. Values in, values out: no client, clock or randomness.
//!
//! Always: a change adds 1 to the partition epoch; a change of leader adds 1 to the leader epoch; neither ever falls.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A broker's id: its ordinal in the StatefulSet, from 0. −1 never occurs: "nobody" is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random id of a data directory's content, 1 ..= 2^63 − 1. A broker that may have lost unflushed data draws a new one, which
/// makes every in-sync entry that names the old one void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Incarnation(pub i64);

/// A member of the in-sync replicas: a broker *with the content it had*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IsrMember {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation when it joined.
    pub incarnation: Incarnation,
}

/// One partition's entry in a `KafkaAssignment`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The partition's number within its topic, from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// Who holds it, in order of preference to lead. During a reassignment: the union of old and new.
    #[schemars(length(max = 64))]
    pub replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds; a subset of `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment removes when it is done; a subset of `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub removing: Vec<BrokerId>,
    /// Who leads; `None` while no in-sync member can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<BrokerId>,
    /// Grows by 1 with each change of leader, from 0.
    #[schemars(range(min = 0))]
    pub leader_epoch: i32,
    /// Grows by 1 with each change at all, from 0: the token of compare-and-swap.
    #[schemars(range(min = 0))]
    pub partition_epoch: i32,
    /// Who holds every acknowledged record.
    #[schemars(length(max = 64))]
    pub isr: Vec<IsrMember>,
    /// What brokers with void entries still have, published while no in-sync member is valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub reports: Vec<RecoveryReport>,
}

/// What a broker that can not lead still has of a partition: the material of a recovery election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation now.
    pub incarnation: Incarnation,
    /// The leader epoch of its last batch; -1 of an empty log.
    pub last_epoch: i32,
    /// The offset after its last record.
    pub log_end: i64,
}

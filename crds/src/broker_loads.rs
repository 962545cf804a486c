//! What a broker answers to `GET /loads` on its HTTP port: the loads by which the operator plans moves.

use serde::{Deserialize, Serialize};

/// The loads of one broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerLoads {
    /// The bytes that its disk can hold. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// The bytes that its disk holds, those of other programs included. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How long producers wait for an answer.
    #[serde(default)]
    pub produce: Latency,
    /// How long the disk takes to flush.
    #[serde(default)]
    pub fsync: Latency,
    /// Its replicas.
    #[serde(default)]
    pub replicas: Vec<ReplicaLoad>,
}

/// A 99th percentile of durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Of the last minute. Absent: too few happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_ms: Option<f64>,
    /// Of the hour before. Absent: too few happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<f64>,
}

/// The load of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaLoad {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The bytes of its log.
    pub bytes: u64,
    /// The bytes per second that producers sent, averaged over 15 minutes; 0 on followers.
    #[serde(default)]
    pub bytes_in: u64,
    /// The bytes per second that consumers fetched, averaged over 15 minutes.
    #[serde(default)]
    pub bytes_out: u64,
}

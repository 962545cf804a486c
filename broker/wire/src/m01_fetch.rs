//! Fetch.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::frame::Records;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Fetch, versions = "4-18", flexible = "12+")]
pub struct FetchRequest {
    #[wire(versions = "12+", nullable, tag = 0)]
    pub cluster_id: Option<Str>,
    #[wire(versions = "0-14", default = -1)]
    pub replica_id: i32,
    #[wire(versions = "15+", tag = 1)]
    pub replica_state: ReplicaState,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    #[wire(default = i32::MAX)]
    pub max_bytes: i32,
    pub isolation_level: i8,
    #[wire(versions = "7+")]
    pub session_id: i32,
    #[wire(versions = "7+", default = -1)]
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    #[wire(versions = "7+")]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    #[wire(versions = "11+")]
    pub rack_id: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReplicaState {
    #[wire(default = -1)]
    pub replica_id: i32,
    #[wire(default = -1)]
    pub replica_epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchTopic {
    #[wire(versions = "0-12")]
    pub topic: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchPartition {
    pub partition: i32,
    #[wire(versions = "9+", default = -1)]
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    #[wire(versions = "12+", default = -1)]
    pub last_fetched_epoch: i32,
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
    #[wire(versions = "17+", tag = 0)]
    pub replica_directory_id: Uuid,
    #[wire(versions = "18+", tag = 1, default = i64::MAX)]
    pub high_watermark: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ForgottenTopic {
    #[wire(versions = "7-12")]
    pub topic: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = Fetch)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = "7+")]
    pub error_code: ErrorCode,
    #[wire(versions = "7+")]
    pub session_id: i32,
    pub responses: Vec<FetchableTopicResponse>,
    #[wire(versions = "16+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchableTopicResponse {
    #[wire(versions = "0-12")]
    pub topic: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partitions: Vec<PartitionData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    pub high_watermark: i64,
    #[wire(default = -1)]
    pub last_stable_offset: i64,
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    #[wire(versions = "12+", tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    #[wire(versions = "12+", tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    #[wire(versions = "12+", tag = 2)]
    pub snapshot_id: SnapshotId,
    #[wire(nullable)]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    #[wire(versions = "11+", default = -1)]
    pub preferred_read_replica: i32,
    #[wire(nullable)]
    pub records: Option<Records>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct EpochEndOffset {
    #[wire(default = -1)]
    pub epoch: i32,
    #[wire(default = -1)]
    pub end_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    #[wire(default = -1)]
    pub leader_id: i32,
    #[wire(default = -1)]
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct SnapshotId {
    #[wire(default = -1)]
    pub end_offset: i64,
    #[wire(default = -1)]
    pub epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    #[wire(nullable)]
    pub rack: Option<Str>,
}

//! Fetch: read records of partitions, as a consumer or as a follower.
//!
//! Topics go by name up to version 12 and by id from 13 on (KIP-516). Since version 7 a client may open a session and
//! from then on name only what changes (KIP-227).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::frame::Records;
use crate::leader::{LeaderIdAndEpoch, NodeEndpoint};
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Fetch, versions = "4-18", flexible = "12+")]
pub struct FetchRequest {
    /// Only sent between the controllers of Kafka.
    #[wire(versions = "12+", nullable, tag = 0)]
    pub cluster_id: Option<Str>,
    /// The broker that follows, or −1 for a consumer. Later in `replica_state`.
    #[wire(versions = "4-14", default = -1)]
    pub replica_id: i32,
    #[wire(versions = "15+", tag = 1)]
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Over all partitions.
    pub min_bytes: i32,
    /// Over all partitions; but a first batch that is larger is sent whole (KIP-74).
    #[wire(default = i32::MAX)]
    pub max_bytes: i32,
    /// 0 to read everything, 1 to read only what is committed.
    pub isolation_level: i8,
    /// 0 outside of a session.
    #[wire(versions = "7+")]
    pub session_id: i32,
    /// 0 asks for a session, −1 ends it; else it counts the requests in it.
    #[wire(versions = "7+", default = -1)]
    pub session_epoch: i32,
    /// In a session: those that are new or changed.
    pub topics: Vec<FetchTopic>,
    /// What the session shall no longer ask for.
    #[wire(versions = "7+")]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// Where the consumer is, so that it can be sent to a replica nearby (KIP-392).
    #[wire(versions = "11+")]
    pub rack_id: Str,
}

/// Who follows.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReplicaState {
    /// The broker, or −1 for a consumer.
    #[wire(default = -1)]
    pub replica_id: i32,
    /// Which life of it: a fetch from an earlier one must not count (KIP-903).
    #[wire(default = -1)]
    pub replica_epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchTopic {
    #[wire(versions = "4-12")]
    pub topic: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchPartition {
    pub partition: i32,
    /// The epoch that the client believes in, or −1: to find out which of the two is behind (KIP-320).
    #[wire(versions = "9+", default = -1)]
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// That of the record before `fetch_offset`, or −1: to find out where two logs part (KIP-595).
    #[wire(versions = "12+", default = -1)]
    pub last_fetched_epoch: i32,
    /// A follower says how far its own log reaches back.
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    /// Like `max_bytes`, for this partition.
    pub partition_max_bytes: i32,
    /// Only sent between the controllers of Kafka.
    #[wire(versions = "17+", tag = 0)]
    pub replica_directory_id: Uuid,
    /// What a follower knows of it, so that it need not wait for news (KIP-1166).
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
    /// Of the session; each partition has its own.
    #[wire(versions = "7+")]
    pub error_code: ErrorCode,
    /// 0 where there is no session.
    #[wire(versions = "7+")]
    pub session_id: i32,
    /// In an incremental response: only those with something to say.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where the leaders named in `current_leader` are (KIP-951).
    #[wire(versions = "16+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchableTopicResponse {
    #[wire(versions = "4-12")]
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
    /// The end of what `isolation_level` 1 may read.
    #[wire(default = -1)]
    pub last_stable_offset: i64,
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    /// Where the log that the client has read ends in ours. Then there are no records.
    #[wire(versions = "12+", tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    /// Set with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH, to spare the client a round of Metadata.
    #[wire(versions = "12+", tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    /// Only sent between the controllers of Kafka.
    #[wire(versions = "12+", tag = 2)]
    pub snapshot_id: SnapshotId,
    /// Sorted by first offset, all that touch the records; null if everything is read.
    #[wire(nullable)]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// Who is to be asked instead, or −1.
    #[wire(versions = "11+", default = -1)]
    pub preferred_read_replica: i32,
    /// Whole batches, the first of which may begin before `fetch_offset`.
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

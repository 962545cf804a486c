//! ShareFetch: acquire records of partitions as a member of a share group, and acknowledge earlier ones (KIP-932).
//!
//! A client names only what changes in its share session. Version 2 adds the acquire mode (KIP-1206) and the renewal of
//! locks (KIP-1222).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::frame::Records;
use crate::leader::{LeaderIdAndEpoch, NodeEndpoint};
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ShareFetch, versions = "1-2", flexible = "0+")]
pub struct ShareFetchRequest {
    #[wire(nullable)]
    pub group_id: Option<Str>,
    #[wire(nullable)]
    pub member_id: Option<Str>,
    /// 0 opens a session, −1 closes it; else it counts the requests in it.
    pub share_session_epoch: i32,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Over all partitions.
    pub min_bytes: i32,
    /// Over all partitions.
    #[wire(default = i32::MAX)]
    pub max_bytes: i32,
    /// How many records to acquire at most.
    pub max_records: i32,
    /// How many records an entry of `acquired_records` may have.
    pub batch_size: i32,
    /// 0 to acquire whole batches beyond `max_records`, 1 to acquire no record beyond it.
    #[wire(versions = "2+")]
    pub share_acquire_mode: i8,
    /// Whether the acknowledgements renew locks; then nothing is fetched.
    #[wire(versions = "2+")]
    pub is_renew_ack: bool,
    /// In a session: those that are new, or have acknowledgements.
    pub topics: Vec<ShareFetchTopic>,
    /// What the session shall no longer ask for.
    pub forgotten_topics_data: Vec<ShareForgottenTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareFetchTopic {
    pub topic_id: Uuid,
    pub partitions: Vec<ShareFetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareFetchPartition {
    pub partition_index: i32,
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
}

/// What became of records that the member had acquired.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AcknowledgementBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// One for all of the offsets, or one for each: 0 gap, 1 accept, 2 release, 3 reject, 4 renew.
    pub acknowledge_types: Vec<i8>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareForgottenTopic {
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ShareFetch)]
pub struct ShareFetchResponse {
    pub throttle_time_ms: i32,
    /// Of the session; each partition has its own.
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// How long the member may work on the records.
    pub acquisition_lock_timeout_ms: i32,
    pub responses: Vec<ShareFetchableTopicResponse>,
    /// Where the leaders named in `current_leader` are.
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareFetchableTopicResponse {
    pub topic_id: Uuid,
    pub partitions: Vec<ShareFetchPartitionData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareFetchPartitionData {
    pub partition_index: i32,
    /// Of the fetch.
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Of the acknowledgements.
    pub acknowledge_error_code: ErrorCode,
    #[wire(nullable)]
    pub acknowledge_error_message: Option<Str>,
    /// Set with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH.
    pub current_leader: LeaderIdAndEpoch,
    /// Whole batches, which may have more records than were acquired.
    pub records: Records,
    /// The records that the member has now, sorted by offset.
    pub acquired_records: Vec<AcquiredRecords>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AcquiredRecords {
    pub first_offset: i64,
    pub last_offset: i64,
    /// How often they were acquired, this time included.
    pub delivery_count: i16,
}

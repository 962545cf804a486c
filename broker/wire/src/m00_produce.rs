//! Produce: append records to partitions.
//!
//! Topics go by name up to version 12 and by id from 13 on (KIP-516). With `acks` 0 no response is sent, whatever
//! comes. Versions 0–2 are advertised but not served: see [`ApiVersion::of`](crate::m18_api_versions::ApiVersion::of).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::frame::Records;
use crate::leader::{LeaderIdAndEpoch, NodeEndpoint};
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Produce, versions = "3-13", flexible = "9+")]
pub struct ProduceRequest {
    /// Null unless the batches belong to a transaction.
    #[wire(nullable)]
    pub transactional_id: Option<Str>,
    /// Wait for nobody (0), for the leader (1), or for all of the in-sync replicas (−1).
    pub acks: i16,
    /// How long to wait for the replicas.
    pub timeout_ms: i32,
    pub topic_data: Vec<TopicProduceData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceData {
    #[wire(versions = "3-12")]
    pub name: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partition_data: Vec<PartitionProduceData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceData {
    pub index: i32,
    /// Exactly one batch, of the format that came with Kafka 0.11.
    #[wire(nullable)]
    pub records: Option<Records>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = Produce)]
pub struct ProduceResponse {
    pub responses: Vec<TopicProduceResponse>,
    pub throttle_time_ms: i32,
    /// Where the leaders named in `current_leader` are (KIP-951).
    #[wire(versions = "10+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceResponse {
    #[wire(versions = "3-12")]
    pub name: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partition_responses: Vec<PartitionProduceResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceResponse {
    pub index: i32,
    pub error_code: ErrorCode,
    /// The offset of the first record, or −1 if none was appended.
    pub base_offset: i64,
    /// −1 where the topic keeps the times that its producers set.
    #[wire(default = -1)]
    pub log_append_time_ms: i64,
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    /// Which records are to blame, so that the client can drop them and send the others again (KIP-467).
    #[wire(versions = "8+")]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    #[wire(versions = "8+", nullable)]
    pub error_message: Option<Str>,
    /// Set with NOT_LEADER_OR_FOLLOWER, to spare the client a round of Metadata.
    #[wire(versions = "10+", tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

/// A record that is to blame for the batch having been refused.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct BatchIndexAndErrorMessage {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    #[wire(nullable)]
    pub batch_index_error_message: Option<Str>,
}

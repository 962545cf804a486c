//! Produce.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::frame::Records;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Produce, versions = "3-13", flexible = "9+")]
pub struct ProduceRequest {
    #[wire(nullable)]
    pub transactional_id: Option<Str>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic_data: Vec<TopicProduceData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceData {
    #[wire(versions = "0-12")]
    pub name: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partition_data: Vec<PartitionProduceData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceData {
    pub index: i32,
    #[wire(nullable)]
    pub records: Option<Records>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = Produce)]
pub struct ProduceResponse {
    pub responses: Vec<TopicProduceResponse>,
    pub throttle_time_ms: i32,
    #[wire(versions = "10+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceResponse {
    #[wire(versions = "0-12")]
    pub name: Str,
    #[wire(versions = "13+")]
    pub topic_id: Uuid,
    pub partition_responses: Vec<PartitionProduceResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceResponse {
    pub index: i32,
    pub error_code: ErrorCode,
    pub base_offset: i64,
    #[wire(default = -1)]
    pub log_append_time_ms: i64,
    #[wire(versions = "5+", default = -1)]
    pub log_start_offset: i64,
    #[wire(versions = "8+")]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    #[wire(versions = "8+", nullable)]
    pub error_message: Option<Str>,
    #[wire(versions = "10+", tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct BatchIndexAndErrorMessage {
    pub batch_index: i32,
    #[wire(nullable)]
    pub batch_index_error_message: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    #[wire(default = -1)]
    pub leader_id: i32,
    #[wire(default = -1)]
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    #[wire(nullable)]
    pub rack: Option<Str>,
}

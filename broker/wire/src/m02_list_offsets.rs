//! ListOffsets.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ListOffsets, versions = "1-11", flexible = "6+")]
pub struct ListOffsetsRequest {
    pub replica_id: i32,
    #[wire(versions = "2+")]
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    #[wire(versions = "10+")]
    pub timeout_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopic {
    pub name: Str,
    pub partitions: Vec<ListOffsetsPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartition {
    pub partition_index: i32,
    #[wire(versions = "4+", default = -1)]
    pub current_leader_epoch: i32,
    pub timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ListOffsets)]
pub struct ListOffsetsResponse {
    #[wire(versions = "2+")]
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopicResponse {
    pub name: Str,
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartitionResponse {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub timestamp: i64,
    #[wire(default = -1)]
    pub offset: i64,
    #[wire(versions = "4+", default = -1)]
    pub leader_epoch: i32,
}

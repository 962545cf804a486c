//! ListOffsets: the offset of a time, or of one of the ends of a log.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ListOffsets, versions = "1-11", flexible = "6+")]
pub struct ListOffsetsRequest {
    /// −1 for a consumer; −2 for a tool that asks any broker.
    pub replica_id: i32,
    /// 0 to see everything, 1 to see only what is committed.
    #[wire(versions = "2+")]
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    /// How long to wait for what is stored elsewhere.
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
    /// A time, for the first record at or after it; or −1 latest, −2 earliest, −3 the record with the highest time
    /// (since version 7), −4 earliest that is local (8), −5 latest that is tiered (9), −6 earliest to be tiered (11).
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
    /// That of the record found, or −1.
    #[wire(default = -1)]
    pub timestamp: i64,
    /// −1 if there is no such record.
    #[wire(default = -1)]
    pub offset: i64,
    #[wire(versions = "4+", default = -1)]
    pub leader_epoch: i32,
}

//! DescribeProducers: the producers that a partition's leader remembers, and their open transactions.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeProducers, versions = "0-0", flexible = "0+")]
pub struct DescribeProducersRequest {
    pub topics: Vec<DescribeProducersTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeProducersTopic {
    pub name: Str,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeProducers)]
pub struct DescribeProducersResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeProducersTopicResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeProducersTopicResult {
    pub name: Str,
    pub partitions: Vec<DescribeProducersPartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeProducersPartitionResult {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub active_producers: Vec<ProducerState>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ProducerState {
    pub producer_id: i64,
    pub producer_epoch: i32,
    /// −1 where the producer has written markers only.
    #[wire(default = -1)]
    pub last_sequence: i32,
    /// Milliseconds since 1970, or −1.
    #[wire(default = -1)]
    pub last_timestamp: i64,
    /// That of the last marker, or −1.
    pub coordinator_epoch: i32,
    /// The first offset of the open transaction; −1 where none is open.
    #[wire(default = -1)]
    pub current_txn_start_offset: i64,
}

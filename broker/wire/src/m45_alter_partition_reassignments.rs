//! AlterPartitionReassignments: moves partitions to other brokers, or stops a move (KIP-455).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = AlterPartitionReassignments, versions = "0-1", flexible = "0+")]
pub struct AlterPartitionReassignmentsRequest {
    #[wire(default = 60000)]
    pub timeout_ms: i32,
    /// Whether partitions may get more or fewer replicas.
    #[wire(versions = "1+", default = true)]
    pub allow_replication_factor_change: bool,
    pub topics: Vec<ReassignableTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignableTopic {
    pub name: Str,
    pub partitions: Vec<ReassignablePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignablePartition {
    pub partition_index: i32,
    /// Where it shall be; null to stop a move.
    #[wire(nullable)]
    pub replicas: Option<Vec<i32>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = AlterPartitionReassignments)]
pub struct AlterPartitionReassignmentsResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = "1+", default = true)]
    pub allow_replication_factor_change: bool,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub responses: Vec<ReassignableTopicResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignableTopicResponse {
    pub name: Str,
    pub partitions: Vec<ReassignablePartitionResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignablePartitionResponse {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

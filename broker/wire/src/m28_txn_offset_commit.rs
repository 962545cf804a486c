//! TxnOffsetCommit: how far a group has read, once the transaction that says so is committed.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = TxnOffsetCommit, versions = "0-5", flexible = "3+")]
pub struct TxnOffsetCommitRequest {
    pub transactional_id: Str,
    pub group_id: Str,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// −1 for a producer that does not say who consumes for it (KIP-447).
    #[wire(versions = "3+", default = -1)]
    pub generation_id: i32,
    #[wire(versions = "3+")]
    pub member_id: Str,
    /// Null unless the member is static (KIP-345).
    #[wire(versions = "3+", nullable)]
    pub group_instance_id: Option<Str>,
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TxnOffsetCommitRequestTopic {
    pub name: Str,
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TxnOffsetCommitRequestPartition {
    pub partition_index: i32,
    /// That of the record to be read next.
    pub committed_offset: i64,
    /// That of the record before it, or −1.
    #[wire(versions = "2+", default = -1)]
    pub committed_leader_epoch: i32,
    /// Whatever the client wants to find again.
    #[wire(nullable)]
    pub committed_metadata: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = TxnOffsetCommit)]
pub struct TxnOffsetCommitResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TxnOffsetCommitResponseTopic {
    pub name: Str,
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TxnOffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}

//! OffsetCommit: how far a group has read.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = OffsetCommit, versions = "2-10", flexible = "8+")]
pub struct OffsetCommitRequest {
    pub group_id: Str,
    /// −1 for one who commits without being in the group.
    #[wire(default = -1)]
    pub generation_id_or_member_epoch: i32,
    pub member_id: Str,
    /// Null unless the member is static (KIP-345).
    #[wire(versions = "7+", nullable)]
    pub group_instance_id: Option<Str>,
    /// −1 for ours, and since version 5 always ours.
    #[wire(versions = "2-4", default = -1)]
    pub retention_time_ms: i64,
    pub topics: Vec<OffsetCommitRequestTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestTopic {
    #[wire(versions = "2-9")]
    pub name: Str,
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestPartition {
    pub partition_index: i32,
    /// That of the record to be read next.
    pub committed_offset: i64,
    /// That of the record before it, or −1.
    #[wire(versions = "6+", default = -1)]
    pub committed_leader_epoch: i32,
    /// Whatever the client wants to find again.
    #[wire(nullable)]
    pub committed_metadata: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = OffsetCommit)]
pub struct OffsetCommitResponse {
    #[wire(versions = "3+")]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetCommitResponseTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponseTopic {
    #[wire(versions = "2-9")]
    pub name: Str,
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}

//! OffsetFetch: how far groups have read.
//!
//! Up to version 7 for one group, whose fields stand at the top; from 8 on for several.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = OffsetFetch, versions = "1-10", flexible = "6+")]
pub struct OffsetFetchRequest {
    #[wire(versions = "1-7")]
    pub group_id: Str,
    /// Null for all; since version 2.
    #[wire(versions = "1-7", nullable = "2-7")]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    #[wire(versions = "8+")]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Rather wait than learn an offset that an open transaction may be about to change (KIP-447).
    #[wire(versions = "7+")]
    pub require_stable: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopic {
    pub name: Str,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestGroup {
    pub group_id: Str,
    /// With the epoch: only for members of the new kind of consumer group (KIP-848).
    #[wire(versions = "9+", nullable)]
    pub member_id: Option<Str>,
    #[wire(versions = "9+", default = -1)]
    pub member_epoch: i32,
    /// Null for all.
    #[wire(nullable)]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopics {
    #[wire(versions = "8-9")]
    pub name: Str,
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = OffsetFetch)]
pub struct OffsetFetchResponse {
    #[wire(versions = "3+")]
    pub throttle_time_ms: i32,
    #[wire(versions = "1-7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// Of the group; as are those in `groups`.
    #[wire(versions = "2-7")]
    pub error_code: ErrorCode,
    #[wire(versions = "8+")]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopic {
    pub name: Str,
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartition {
    pub partition_index: i32,
    /// −1 if there is none.
    pub committed_offset: i64,
    #[wire(versions = "5-7", default = -1)]
    pub committed_leader_epoch: i32,
    #[wire(nullable)]
    pub metadata: Option<Str>,
    pub error_code: ErrorCode,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseGroup {
    pub group_id: Str,
    pub topics: Vec<OffsetFetchResponseTopics>,
    pub error_code: ErrorCode,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopics {
    #[wire(versions = "8-9")]
    pub name: Str,
    #[wire(versions = "10+")]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartitions {
    pub partition_index: i32,
    /// −1 if there is none.
    pub committed_offset: i64,
    #[wire(default = -1)]
    pub committed_leader_epoch: i32,
    #[wire(nullable)]
    pub metadata: Option<Str>,
    pub error_code: ErrorCode,
}

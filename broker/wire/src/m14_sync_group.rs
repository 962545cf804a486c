//! SyncGroup: the leader of a classic group hands in the assignment, and everybody gets a part of it.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = SyncGroup, versions = "0-5", flexible = "4+")]
pub struct SyncGroupRequest {
    pub group_id: Str,
    pub generation_id: i32,
    pub member_id: Str,
    /// Null unless the member is static (KIP-345).
    #[wire(versions = "3+", nullable)]
    pub group_instance_id: Option<Str>,
    #[wire(versions = "5+", nullable)]
    pub protocol_type: Option<Str>,
    #[wire(versions = "5+", nullable)]
    pub protocol_name: Option<Str>,
    /// From the leader alone.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct SyncGroupRequestAssignment {
    pub member_id: Str,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = SyncGroup)]
pub struct SyncGroupResponse {
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(versions = "5+", nullable)]
    pub protocol_type: Option<Str>,
    #[wire(versions = "5+", nullable)]
    pub protocol_name: Option<Str>,
    /// The very bytes that the leader sent.
    pub assignment: Bytes,
}

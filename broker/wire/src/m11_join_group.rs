//! JoinGroup: become a member of a classic group, for its next generation.
//!
//! Answered when all have joined, or when the time for it is over.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = JoinGroup, versions = "0-9", flexible = "6+")]
pub struct JoinGroupRequest {
    pub group_id: Str,
    /// A member that sends no heartbeat for so long is out.
    pub session_timeout_ms: i32,
    /// How long the others wait for this member to join again. In version 0 it is the session’s.
    #[wire(versions = "1+", default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Empty for a new member, which since version 4 is given an id and asked to come again with it.
    pub member_id: Str,
    /// Null unless the member is static (KIP-345).
    #[wire(versions = "5+", nullable)]
    pub group_instance_id: Option<Str>,
    pub protocol_type: Str,
    /// What the member can do, best first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// For the log (KIP-800).
    #[wire(versions = "8+", nullable)]
    pub reason: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupRequestProtocol {
    pub name: Str,
    /// For the leader; opaque to us.
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = JoinGroup)]
pub struct JoinGroupResponse {
    #[wire(versions = "2+")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub generation_id: i32,
    #[wire(versions = "7+", nullable)]
    pub protocol_type: Option<Str>,
    /// What all of them can do. Null in case of an error, since version 7.
    #[wire(nullable = "7+")]
    pub protocol_name: Option<Str>,
    pub leader: Str,
    /// A leader that has returned keeps the assignment as it is (KIP-814).
    #[wire(versions = "9+")]
    pub skip_assignment: bool,
    pub member_id: Str,
    /// For the leader alone.
    pub members: Vec<JoinGroupResponseMember>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupResponseMember {
    pub member_id: Str,
    #[wire(versions = "5+", nullable)]
    pub group_instance_id: Option<Str>,
    pub metadata: Bytes,
}

//! LeaveGroup: members leave a classic group.
//!
//! Up to version 2 one member; from 3 on several, which is how an administrator removes static ones.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = LeaveGroup, versions = "0-5", flexible = "4+")]
pub struct LeaveGroupRequest {
    pub group_id: Str,
    #[wire(versions = "0-2")]
    pub member_id: Str,
    #[wire(versions = "3+")]
    pub members: Vec<MemberIdentity>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberIdentity {
    /// May be empty if there is an instance id.
    pub member_id: Str,
    #[wire(nullable)]
    pub group_instance_id: Option<Str>,
    /// For the log (KIP-800).
    #[wire(versions = "5+", nullable)]
    pub reason: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = LeaveGroup)]
pub struct LeaveGroupResponse {
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(versions = "3+")]
    pub members: Vec<MemberResponse>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberResponse {
    pub member_id: Str,
    #[wire(nullable)]
    pub group_instance_id: Option<Str>,
    pub error_code: ErrorCode,
}

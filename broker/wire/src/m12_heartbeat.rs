//! Heartbeat: a member of a classic group is still there, and learns whether it must join again.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = Heartbeat, versions = "0-4", flexible = "4+")]
pub struct HeartbeatRequest {
    pub group_id: Str,
    pub generation_id: i32,
    pub member_id: Str,
    /// Null unless the member is static (KIP-345).
    #[wire(versions = "3+", nullable)]
    pub group_instance_id: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = Heartbeat)]
pub struct HeartbeatResponse {
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}

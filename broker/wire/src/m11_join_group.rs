//! JoinGroup.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = JoinGroup, versions = "0-9", flexible = "6+")]
pub struct JoinGroupRequest {
    pub group_id: Str,
    pub session_timeout_ms: i32,
    #[wire(versions = "1+", default = -1)]
    pub rebalance_timeout_ms: i32,
    pub member_id: Str,
    #[wire(versions = "5+", nullable)]
    pub group_instance_id: Option<Str>,
    pub protocol_type: Str,
    pub protocols: Vec<JoinGroupRequestProtocol>,
    #[wire(versions = "8+", nullable)]
    pub reason: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupRequestProtocol {
    pub name: Str,
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
    #[wire(nullable = "7+")]
    pub protocol_name: Option<Str>,
    pub leader: Str,
    #[wire(versions = "9+")]
    pub skip_assignment: bool,
    pub member_id: Str,
    pub members: Vec<JoinGroupResponseMember>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupResponseMember {
    pub member_id: Str,
    #[wire(versions = "5+", nullable)]
    pub group_instance_id: Option<Str>,
    pub metadata: Bytes,
}

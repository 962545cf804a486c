//! FindCoordinator: which broker looks after a group or a transaction.
//!
//! Up to version 3 one key, whose answer stands at the top; from 4 on several.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = FindCoordinator, versions = "0-6", flexible = "3+")]
pub struct FindCoordinatorRequest {
    #[wire(versions = "0-3")]
    pub key: Str,
    /// 0 for a group, 1 for a transaction, 2 for a share group.
    #[wire(versions = "1+")]
    pub key_type: i8,
    #[wire(versions = "4+")]
    pub coordinator_keys: Vec<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = FindCoordinator)]
pub struct FindCoordinatorResponse {
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    #[wire(versions = "0-3")]
    pub error_code: ErrorCode,
    #[wire(versions = "1-3", nullable)]
    pub error_message: Option<Str>,
    #[wire(versions = "0-3")]
    pub node_id: i32,
    #[wire(versions = "0-3")]
    pub host: Str,
    #[wire(versions = "0-3")]
    pub port: i32,
    #[wire(versions = "4+")]
    pub coordinators: Vec<Coordinator>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct Coordinator {
    pub key: Str,
    pub node_id: i32,
    pub host: Str,
    pub port: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

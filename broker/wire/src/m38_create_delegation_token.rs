//! CreateDelegationToken: a token with which others log in as its owner.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = CreateDelegationToken, versions = "1-3", flexible = "2+")]
pub struct CreateDelegationTokenRequest {
    /// Null for the one who asks.
    #[wire(versions = "3+", nullable)]
    pub owner_principal_type: Option<Str>,
    /// Null for the one who asks.
    #[wire(versions = "3+", nullable)]
    pub owner_principal_name: Option<Str>,
    pub renewers: Vec<CreatableRenewers>,
    pub max_lifetime_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableRenewers {
    pub principal_type: Str,
    pub principal_name: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = CreateDelegationToken)]
pub struct CreateDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub principal_type: Str,
    pub principal_name: Str,
    #[wire(versions = "3+")]
    pub token_requester_principal_type: Str,
    #[wire(versions = "3+")]
    pub token_requester_principal_name: Str,
    pub issue_timestamp_ms: i64,
    pub expiry_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub token_id: Str,
    pub hmac: Bytes,
    pub throttle_time_ms: i32,
}

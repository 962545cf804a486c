//! ExpireDelegationToken: a token is to end, now or later.

use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ExpireDelegationToken, versions = "1-2", flexible = "2+")]
pub struct ExpireDelegationTokenRequest {
    /// Names the token.
    pub hmac: Bytes,
    pub expiry_time_period_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ExpireDelegationToken)]
pub struct ExpireDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub expiry_timestamp_ms: i64,
    pub throttle_time_ms: i32,
}

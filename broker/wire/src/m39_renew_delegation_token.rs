//! RenewDelegationToken: a token is to live longer.

use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = RenewDelegationToken, versions = "1-2", flexible = "2+")]
pub struct RenewDelegationTokenRequest {
    /// Names the token.
    pub hmac: Bytes,
    pub renew_period_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = RenewDelegationToken)]
pub struct RenewDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub expiry_timestamp_ms: i64,
    pub throttle_time_ms: i32,
}

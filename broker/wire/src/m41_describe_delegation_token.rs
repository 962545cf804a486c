//! DescribeDelegationToken: the tokens that somebody may see.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use bytes::Bytes;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeDelegationToken, versions = "1-3", flexible = "2+")]
pub struct DescribeDelegationTokenRequest {
    /// Null for all.
    #[wire(nullable)]
    pub owners: Option<Vec<DescribeDelegationTokenOwner>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeDelegationTokenOwner {
    pub principal_type: Str,
    pub principal_name: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeDelegationToken)]
pub struct DescribeDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub tokens: Vec<DescribedDelegationToken>,
    pub throttle_time_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedDelegationToken {
    pub principal_type: Str,
    pub principal_name: Str,
    #[wire(versions = "3+")]
    pub token_requester_principal_type: Str,
    #[wire(versions = "3+")]
    pub token_requester_principal_name: Str,
    pub issue_timestamp: i64,
    pub expiry_timestamp: i64,
    pub max_timestamp: i64,
    pub token_id: Str,
    pub hmac: Bytes,
    pub renewers: Vec<DescribedDelegationTokenRenewer>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedDelegationTokenRenewer {
    pub principal_type: Str,
    pub principal_name: Str,
}

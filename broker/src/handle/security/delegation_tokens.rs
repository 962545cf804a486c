//! CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken, DescribeDelegationToken (KIP-48): refused as by
//! Kafka where nobody has logged in, for nobody can yet.

use ottla_wire::m38_create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use ottla_wire::m39_renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
use ottla_wire::m40_expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use ottla_wire::m41_describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::reply::Reply;

const REFUSED: ErrorCode = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
/// Kafka's time of a token that there is not.
const NO_TIME: i64 = -1;
/// Who everybody is on a listener without a login, as type and name.
const ANYBODY: (Str, Str) = (Str::from_static("User"), Str::from_static("ANONYMOUS"));

/// The token would be the one's who asks, unless the request names another.
pub fn create(context: &Context, request: CreateDelegationTokenRequest) -> Reply {
    let (requester_type, requester_name) = ANYBODY;
    let owner = match request.owner_principal_name.filter(|name| !name.is_empty()) {
        Some(name) => (request.owner_principal_type.unwrap_or_default(), name),
        None => ANYBODY,
    };
    context.reply(&CreateDelegationTokenResponse {
        error_code: REFUSED,
        principal_type: owner.0,
        principal_name: owner.1,
        token_requester_principal_type: requester_type,
        token_requester_principal_name: requester_name,
        issue_timestamp_ms: NO_TIME,
        expiry_timestamp_ms: NO_TIME,
        max_timestamp_ms: NO_TIME,
        ..Default::default()
    })
}

/// Refused.
pub fn renew(context: &Context, _: RenewDelegationTokenRequest) -> Reply {
    context.reply(&RenewDelegationTokenResponse {
        error_code: REFUSED,
        expiry_timestamp_ms: NO_TIME,
        ..Default::default()
    })
}

/// Refused.
pub fn expire(context: &Context, _: ExpireDelegationTokenRequest) -> Reply {
    context.reply(&ExpireDelegationTokenResponse {
        error_code: REFUSED,
        expiry_timestamp_ms: NO_TIME,
        ..Default::default()
    })
}

/// Refused.
pub fn describe(context: &Context, _: DescribeDelegationTokenRequest) -> Reply {
    context.reply(&DescribeDelegationTokenResponse { error_code: REFUSED, ..Default::default() })
}

//! CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken, DescribeDelegationToken (KIP-48): refused, as by
//! a Kafka without `delegation.token.secret.key`. It makes no tokens, and knows none.
//!
//! Kafka's order of checks: whether the client has said who it is; then its rights; then whether there are tokens.

use ottla_access::{Authentication, Operation, Principal, ResourceType};
use ottla_wire::m38_create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use ottla_wire::m39_renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
use ottla_wire::m40_expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use ottla_wire::m41_describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::reply::Reply;

const NOT_ALLOWED: ErrorCode = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
const DISABLED: ErrorCode = ErrorCode::DELEGATION_TOKEN_AUTH_DISABLED;
const USER: Str = Str::from_static(Principal::TYPE);

/// The times in an answer. Kafka's brokers refuse with -1 what they do not hand to a controller; the controller leaves
/// the times of its refusals at 0.
fn times(error_code: ErrorCode) -> i64 {
    if error_code == DISABLED { 0 } else { -1 }
}

/// Whether the client has said who it is: nobody else may ask for tokens.
fn is_known(context: &Context) -> bool {
    let listener = context.image.access.listeners.get(&context.peer.listener);
    match listener.map(|listener| &listener.authentication) {
        Some(Authentication::Sasl { .. }) => true,
        Some(Authentication::Certificate { .. }) => context.peer.principal != Principal::ANONYMOUS,
        Some(Authentication::None | Authentication::Brokers) | None => false,
    }
}

/// Why a request about tokens that need no rights is refused.
fn refusal(context: &Context) -> ErrorCode {
    if is_known(context) { DISABLED } else { NOT_ALLOWED }
}

/// The token would be the one's who asks, unless the request names another.
pub(crate) fn create(context: &Context, request: CreateDelegationTokenRequest) -> Reply {
    let requester = (USER, context.peer.principal.name().clone());
    let named = request.owner_principal_name.filter(|name| !name.is_empty());
    let (error_code, owner) = match (named, request.owner_principal_type) {
        (None, _) => (None, requester.clone()),
        (Some(name), Some(kind)) => (None, (kind, name)),
        (Some(_), None) => (Some(ErrorCode::INVALID_REQUEST), requester.clone()),
    };
    let may_make = || {
        let name = format!("{}:{}", owner.0, owner.1);
        owner == requester || context.may(Operation::CreateTokens, ResourceType::User, &name)
    };
    let error_code = match error_code {
        Some(error_code) => error_code,
        None if !is_known(context) => NOT_ALLOWED,
        None if !may_make() => ErrorCode::DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        None if request.renewers.iter().any(|renewer| renewer.principal_type != USER) => {
            ErrorCode::INVALID_PRINCIPAL_TYPE
        }
        None => DISABLED,
    };
    context.reply(&CreateDelegationTokenResponse {
        error_code,
        principal_type: owner.0,
        principal_name: owner.1,
        token_requester_principal_type: requester.0,
        token_requester_principal_name: requester.1,
        issue_timestamp_ms: times(error_code),
        expiry_timestamp_ms: times(error_code),
        max_timestamp_ms: times(error_code),
        ..Default::default()
    })
}

/// Refused.
pub(crate) fn renew(context: &Context, _: RenewDelegationTokenRequest) -> Reply {
    let error_code = refusal(context);
    let expiry_timestamp_ms = times(error_code);
    context.reply(&RenewDelegationTokenResponse { error_code, expiry_timestamp_ms, ..Default::default() })
}

/// Refused.
pub(crate) fn expire(context: &Context, _: ExpireDelegationTokenRequest) -> Reply {
    let error_code = refusal(context);
    let expiry_timestamp_ms = times(error_code);
    context.reply(&ExpireDelegationTokenResponse { error_code, expiry_timestamp_ms, ..Default::default() })
}

/// Refused.
pub(crate) fn describe(context: &Context, _: DescribeDelegationTokenRequest) -> Reply {
    context.reply(&DescribeDelegationTokenResponse { error_code: refusal(context), ..Default::default() })
}

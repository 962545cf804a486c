//! DescribeAcls, CreateAcls, DeleteAcls (KIP-140): refused as by a Kafka without an authorizer, for there is none yet.

use ottla_wire::m29_describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use ottla_wire::m30_create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use ottla_wire::m31_delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::reply::Reply;

/// Kafka's brokers say it so, and its controllers say [`NO_AUTHORIZER`].
const NO_AUTHORIZER_ON_THE_BROKER: Str = Str::from_static("No Authorizer is configured on the broker");
const NO_AUTHORIZER: Str = Str::from_static("No Authorizer is configured.");

/// Refused as a whole.
pub fn describe(context: &Context, _: DescribeAclsRequest) -> Reply {
    context.reply(&DescribeAclsResponse {
        error_code: ErrorCode::SECURITY_DISABLED,
        error_message: Some(NO_AUTHORIZER_ON_THE_BROKER),
        ..Default::default()
    })
}

/// Refuses each.
pub fn create(context: &Context, request: CreateAclsRequest) -> Reply {
    let refused = AclCreationResult { error_code: ErrorCode::SECURITY_DISABLED, error_message: Some(NO_AUTHORIZER) };
    let results = request.creations.iter().map(|_| refused.clone()).collect();
    context.reply(&CreateAclsResponse { results, ..Default::default() })
}

/// Refuses each.
pub fn delete(context: &Context, request: DeleteAclsRequest) -> Reply {
    let refused = DeleteAclsFilterResult {
        error_code: ErrorCode::SECURITY_DISABLED,
        error_message: Some(NO_AUTHORIZER),
        ..Default::default()
    };
    let filter_results = request.filters.iter().map(|_| refused.clone()).collect();
    context.reply(&DeleteAclsResponse { filter_results, ..Default::default() })
}

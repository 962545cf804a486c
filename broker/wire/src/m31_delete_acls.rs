//! DeleteAcls: filters whose rules are to go. For the numbers see [`m29_describe_acls`](crate::m29_describe_acls).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DeleteAcls, versions = "1-3", flexible = "2+")]
pub struct DeleteAclsRequest {
    pub filters: Vec<DeleteAclsFilter>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteAclsFilter {
    pub resource_type_filter: i8,
    /// Null for any.
    #[wire(nullable)]
    pub resource_name_filter: Option<Str>,
    #[wire(default = 3)]
    pub pattern_type_filter: i8,
    /// Null for any.
    #[wire(nullable)]
    pub principal_filter: Option<Str>,
    /// Null for any.
    #[wire(nullable)]
    pub host_filter: Option<Str>,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DeleteAcls)]
pub struct DeleteAclsResponse {
    pub throttle_time_ms: i32,
    /// One for each of the request's, in its order.
    pub filter_results: Vec<DeleteAclsFilterResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteAclsFilterResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub matching_acls: Vec<DeleteAclsMatchingAcl>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteAclsMatchingAcl {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub resource_type: i8,
    pub resource_name: Str,
    #[wire(default = 3)]
    pub pattern_type: i8,
    pub principal: Str,
    pub host: Str,
    pub operation: i8,
    pub permission_type: i8,
}

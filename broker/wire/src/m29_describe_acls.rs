//! DescribeAcls: which rules match a filter.
//!
//! Numbers of resource types, patterns, operations and permissions are Kafka's `ResourceType`, `PatternType`,
//! `AclOperation` and `AclPermissionType`.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeAcls, versions = "1-3", flexible = "2+")]
pub struct DescribeAclsRequest {
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
#[wire(response = DescribeAcls)]
pub struct DescribeAclsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub resources: Vec<DescribeAclsResource>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeAclsResource {
    pub resource_type: i8,
    pub resource_name: Str,
    #[wire(default = 3)]
    pub pattern_type: i8,
    pub acls: Vec<AclDescription>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AclDescription {
    pub principal: Str,
    pub host: Str,
    pub operation: i8,
    pub permission_type: i8,
}

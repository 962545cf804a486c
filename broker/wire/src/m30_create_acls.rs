//! CreateAcls: rules to add. For the numbers see [`m29_describe_acls`](crate::m29_describe_acls).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = CreateAcls, versions = "1-3", flexible = "2+")]
pub struct CreateAclsRequest {
    pub creations: Vec<AclCreation>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AclCreation {
    pub resource_type: i8,
    pub resource_name: Str,
    #[wire(default = 3)]
    pub resource_pattern_type: i8,
    pub principal: Str,
    pub host: Str,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = CreateAcls)]
pub struct CreateAclsResponse {
    pub throttle_time_ms: i32,
    /// One for each of the request's, in its order.
    pub results: Vec<AclCreationResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AclCreationResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

//! ListConfigResources: what there is that has settings (KIP-1142).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ListConfigResources, versions = "0-1", flexible = "0+")]
pub struct ListConfigResourcesRequest {
    /// As in DescribeConfigs; empty for all. Version 0 asks for client metrics.
    #[wire(versions = "1+")]
    pub resource_types: Vec<i8>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ListConfigResources)]
pub struct ListConfigResourcesResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub config_resources: Vec<ConfigResource>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ConfigResource {
    pub resource_name: Str,
    #[wire(versions = "1+", default = 16)]
    pub resource_type: i8,
}

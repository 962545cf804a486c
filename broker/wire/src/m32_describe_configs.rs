//! DescribeConfigs.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeConfigs, versions = "1-4", flexible = "4+")]
pub struct DescribeConfigsRequest {
    pub resources: Vec<DescribeConfigsResource>,
    pub include_synonyms: bool,
    #[wire(versions = "3+")]
    pub include_documentation: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResource {
    pub resource_type: i8,
    pub resource_name: Str,
    #[wire(nullable)]
    pub configuration_keys: Option<Vec<Str>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeConfigs)]
pub struct DescribeConfigsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DescribeConfigsResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub resource_type: i8,
    pub resource_name: Str,
    pub configs: Vec<DescribeConfigsResourceResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResourceResult {
    pub name: Str,
    #[wire(nullable)]
    pub value: Option<Str>,
    pub read_only: bool,
    #[wire(default = -1)]
    pub config_source: i8,
    pub is_sensitive: bool,
    pub synonyms: Vec<DescribeConfigsSynonym>,
    #[wire(versions = "3+")]
    pub config_type: i8,
    #[wire(versions = "3+", nullable)]
    pub documentation: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsSynonym {
    pub name: Str,
    #[wire(nullable)]
    pub value: Option<Str>,
    pub source: i8,
}

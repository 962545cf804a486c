//! DescribeConfigs: the settings of topics, brokers and the like, with where each comes from.

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
    /// 2 for a topic, 4 for a broker, 8 for its loggers, 16 for client metrics, 32 for a group.
    pub resource_type: i8,
    pub resource_name: Str,
    /// Null for all.
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
    /// Null if it is a secret.
    #[wire(nullable)]
    pub value: Option<Str>,
    pub read_only: bool,
    /// 1 the topic, 2 the broker, 3 all brokers, 4 the configuration file, 5 the default, 6 the logger, 7 client
    /// metrics, 8 the group.
    #[wire(default = -1)]
    pub config_source: i8,
    pub is_sensitive: bool,
    /// All places that have a value for it; the first is the one that counts.
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
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

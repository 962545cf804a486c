//! CreateTopics.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = CreateTopics, versions = "2-7", flexible = "5+")]
pub struct CreateTopicsRequest {
    pub topics: Vec<CreatableTopic>,
    /// How long to wait until the topics can be used.
    #[wire(default = 60000)]
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopic {
    pub name: Str,
    /// −1 for the default, or if there are assignments.
    pub num_partitions: i32,
    /// −1 for the default, or if there are assignments.
    pub replication_factor: i16,
    /// Empty to let us place the replicas.
    pub assignments: Vec<CreatableReplicaAssignment>,
    pub configs: Vec<CreatableTopicConfig>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableReplicaAssignment {
    pub partition_index: i32,
    /// The first is to lead.
    pub broker_ids: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfig {
    pub name: Str,
    #[wire(nullable)]
    pub value: Option<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = CreateTopics)]
pub struct CreateTopicsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<CreatableTopicResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicResult {
    pub name: Str,
    #[wire(versions = "7+")]
    pub topic_id: Uuid,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Why there are no configs.
    #[wire(versions = "5+", tag = 0)]
    pub topic_config_error_code: ErrorCode,
    #[wire(versions = "5+", default = -1)]
    pub num_partitions: i32,
    #[wire(versions = "5+", default = -1)]
    pub replication_factor: i16,
    #[wire(versions = "5+", nullable)]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfigs {
    pub name: Str,
    #[wire(nullable)]
    pub value: Option<Str>,
    pub read_only: bool,
    /// As in DescribeConfigs.
    #[wire(default = -1)]
    pub config_source: i8,
    pub is_sensitive: bool,
}

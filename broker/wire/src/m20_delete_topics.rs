//! DeleteTopics: by name, and since version 6 by id as well.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DeleteTopics, versions = "1-6", flexible = "4+")]
pub struct DeleteTopicsRequest {
    #[wire(versions = "6+")]
    pub topics: Vec<DeleteTopicState>,
    #[wire(versions = "1-5")]
    pub topic_names: Vec<Str>,
    /// How long to wait until the topics are gone.
    pub timeout_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteTopicState {
    /// Null to delete by id.
    #[wire(nullable)]
    pub name: Option<Str>,
    pub topic_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DeleteTopics)]
pub struct DeleteTopicsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<DeletableTopicResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeletableTopicResult {
    /// Null if the id is not known.
    #[wire(nullable = "6+")]
    pub name: Option<Str>,
    #[wire(versions = "6+")]
    pub topic_id: Uuid,
    pub error_code: ErrorCode,
    #[wire(versions = "5+", nullable)]
    pub error_message: Option<Str>,
}

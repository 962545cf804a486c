//! ConsumerGroupHeartbeat: all that a member of a consumer group and its coordinator say to each other (KIP-848).
//!
//! A member sends what has changed only; so does the coordinator.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ConsumerGroupHeartbeat, versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupHeartbeatRequest {
    pub group_id: Str,
    /// Since version 1 the member makes it itself (KIP-1082); in version 0 it is empty to join.
    pub member_id: Str,
    /// 0 to join, −1 to leave, −2 to leave as a static member that will be back.
    pub member_epoch: i32,
    /// Null unless the member is static, or if it has not changed.
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// How long the coordinator waits for the member to revoke partitions; −1 if it has not changed.
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    #[wire(nullable)]
    pub subscribed_topic_names: Option<Vec<Str>>,
    /// RE2's syntax; empty ends the subscription.
    #[wire(versions = "1+", nullable)]
    pub subscribed_topic_regex: Option<Str>,
    #[wire(nullable)]
    pub server_assignor: Option<Str>,
    /// The partitions that the member owns.
    #[wire(nullable)]
    pub topic_partitions: Option<Vec<ConsumerGroupHeartbeatTopicPartitions>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ConsumerGroupHeartbeatTopicPartitions {
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ConsumerGroupHeartbeat)]
pub struct ConsumerGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    #[wire(nullable)]
    pub member_id: Option<Str>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// Null if it has not changed.
    #[wire(nullable)]
    pub assignment: Option<ConsumerGroupHeartbeatAssignment>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ConsumerGroupHeartbeatAssignment {
    pub topic_partitions: Vec<ConsumerGroupHeartbeatTopicPartitions>,
}

//! ShareGroupHeartbeat: all that a member of a share group and its coordinator say to each other (KIP-932).
//!
//! A member sends what has changed only; so does the coordinator.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ShareGroupHeartbeat, versions = "1", flexible = "0+")]
pub struct ShareGroupHeartbeatRequest {
    pub group_id: Str,
    /// The member makes it itself.
    pub member_id: Str,
    /// 0 to join, −1 to leave.
    pub member_epoch: i32,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// Null if they have not changed.
    #[wire(nullable)]
    pub subscribed_topic_names: Option<Vec<Str>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ShareGroupHeartbeat)]
pub struct ShareGroupHeartbeatResponse {
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
    pub assignment: Option<ShareGroupHeartbeatAssignment>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareGroupHeartbeatAssignment {
    pub topic_partitions: Vec<ShareGroupHeartbeatTopicPartitions>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareGroupHeartbeatTopicPartitions {
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

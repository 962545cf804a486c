//! ReadShareGroupState: a leader asks the share coordinator for the state of its partitions (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ReadShareGroupState, versions = "0", flexible = "0+")]
pub struct ReadShareGroupStateRequest {
    pub group_id: Str,
    pub topics: Vec<ReadStateData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<ReadStatePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadStatePartition {
    pub partition: i32,
    /// Of the partition whose records the group shares.
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ReadShareGroupState)]
pub struct ReadShareGroupStateResponse {
    pub results: Vec<ReadStateResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<ReadStatePartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadStatePartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Rises each time the partition is initialised.
    pub state_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
    /// Sorted by offset.
    pub state_batches: Vec<StateBatch>,
}

/// Records of a partition whose delivery is in the same state.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct StateBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// 0 available, 2 acknowledged, 4 archived.
    pub delivery_state: i8,
    /// How often they were acquired.
    pub delivery_count: i16,
}

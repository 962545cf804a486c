//! ReadShareGroupStateSummary: the group coordinator asks the share coordinator where a group's partitions are, to
//! describe the group's offsets (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ReadShareGroupStateSummary, versions = "0-1", flexible = "0+")]
pub struct ReadShareGroupStateSummaryRequest {
    pub group_id: Str,
    pub topics: Vec<ReadSummaryStateData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadSummaryStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<ReadSummaryStatePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadSummaryStatePartition {
    pub partition: i32,
    /// Of the partition whose records the group shares.
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ReadShareGroupStateSummary)]
pub struct ReadShareGroupStateSummaryResponse {
    pub results: Vec<ReadSummaryStateResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadSummaryStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<ReadSummaryStatePartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReadSummaryStatePartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Rises each time the partition is initialised.
    pub state_epoch: i32,
    /// Of the partition whose records the group shares.
    pub leader_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
    /// How many records from the start offset on are done with; −1 if unknown (KIP-1226).
    #[wire(versions = "1+", default = -1)]
    pub delivery_complete_count: i32,
}

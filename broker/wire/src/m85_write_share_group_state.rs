//! WriteShareGroupState: a leader has the share coordinator keep what has changed in its partitions (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::m84_read_share_group_state::StateBatch;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = WriteShareGroupState, versions = "0-1", flexible = "0+")]
pub struct WriteShareGroupStateRequest {
    pub group_id: Str,
    pub topics: Vec<WriteStateData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct WriteStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<WriteStatePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct WriteStatePartition {
    pub partition: i32,
    /// Rises each time the partition is initialised.
    pub state_epoch: i32,
    /// Of the partition whose records the group shares.
    pub leader_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
    /// How many records from the start offset on are done with; −1 if unknown (KIP-1226).
    #[wire(versions = "1+", default = -1)]
    pub delivery_complete_count: i32,
    /// Those that have changed.
    pub state_batches: Vec<StateBatch>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = WriteShareGroupState)]
pub struct WriteShareGroupStateResponse {
    pub results: Vec<WriteStateResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct WriteStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<WriteStatePartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct WriteStatePartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

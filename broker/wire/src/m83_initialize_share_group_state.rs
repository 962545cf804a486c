//! InitializeShareGroupState: the group coordinator has the share coordinator begin the state of partitions (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = InitializeShareGroupState, versions = "0", flexible = "0+")]
pub struct InitializeShareGroupStateRequest {
    pub group_id: Str,
    pub topics: Vec<InitializeStateData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct InitializeStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<InitializeStatePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct InitializeStatePartition {
    pub partition: i32,
    /// Rises each time the partition is initialised.
    pub state_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = InitializeShareGroupState)]
pub struct InitializeShareGroupStateResponse {
    pub results: Vec<InitializeStateResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct InitializeStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<InitializeStatePartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct InitializeStatePartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

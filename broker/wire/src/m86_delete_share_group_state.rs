//! DeleteShareGroupState: the group coordinator has the share coordinator forget partitions (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DeleteShareGroupState, versions = "0", flexible = "0+")]
pub struct DeleteShareGroupStateRequest {
    pub group_id: Str,
    pub topics: Vec<DeleteStateData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteStateData {
    pub topic_id: Uuid,
    pub partitions: Vec<DeleteStatePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteStatePartition {
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DeleteShareGroupState)]
pub struct DeleteShareGroupStateResponse {
    pub results: Vec<DeleteStateResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteStateResult {
    pub topic_id: Uuid,
    pub partitions: Vec<DeleteStatePartitionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteStatePartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

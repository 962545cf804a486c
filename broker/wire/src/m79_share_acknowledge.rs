//! ShareAcknowledge: say what became of records of a share group without fetching others (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::leader::{LeaderIdAndEpoch, NodeEndpoint};
use crate::m78_share_fetch::AcknowledgementBatch;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ShareAcknowledge, versions = "1-2", flexible = "0+")]
pub struct ShareAcknowledgeRequest {
    #[wire(nullable)]
    pub group_id: Option<Str>,
    #[wire(nullable)]
    pub member_id: Option<Str>,
    /// −1 closes the session; else it counts the requests in it. Never 0: ShareFetch opens the session.
    pub share_session_epoch: i32,
    /// Whether some of the acknowledgements renew locks (KIP-1222).
    #[wire(versions = "2+")]
    pub is_renew_ack: bool,
    pub topics: Vec<AcknowledgeTopic>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AcknowledgeTopic {
    pub topic_id: Uuid,
    pub partitions: Vec<AcknowledgePartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct AcknowledgePartition {
    pub partition_index: i32,
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ShareAcknowledge)]
pub struct ShareAcknowledgeResponse {
    pub throttle_time_ms: i32,
    /// Of the session; each partition has its own.
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// How long the member may work on records whose lock it renewed.
    #[wire(versions = "2+")]
    pub acquisition_lock_timeout_ms: i32,
    pub responses: Vec<ShareAcknowledgeTopicResponse>,
    /// Where the leaders named in `current_leader` are.
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareAcknowledgeTopicResponse {
    pub topic_id: Uuid,
    pub partitions: Vec<ShareAcknowledgePartitionData>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ShareAcknowledgePartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    /// Set with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH.
    pub current_leader: LeaderIdAndEpoch,
}

//! ElectLeaders: asks that preferred replicas lead, or anybody where nobody in sync is left.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ElectLeaders, versions = "0-2", flexible = "2+")]
pub struct ElectLeadersRequest {
    /// 0: the preferred replica; 1: the first that lives, in sync or not.
    #[wire(versions = "1+")]
    pub election_type: i8,
    /// Null for all.
    #[wire(nullable)]
    pub topic_partitions: Option<Vec<ElectLeadersTopic>>,
    #[wire(default = 60000)]
    pub timeout_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ElectLeadersTopic {
    pub topic: Str,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ElectLeaders)]
pub struct ElectLeadersResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = "1+")]
    pub error_code: ErrorCode,
    pub replica_election_results: Vec<ReplicaElectionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReplicaElectionResult {
    pub topic: Str,
    pub partition_result: Vec<ElectionResult>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ElectionResult {
    pub partition_id: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
}

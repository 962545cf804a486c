//! ShareGroupDescribe: the members of share groups and what they have, as tools show them (KIP-932).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ShareGroupDescribe, versions = "1", flexible = "0+")]
pub struct ShareGroupDescribeRequest {
    pub group_ids: Vec<Str>,
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ShareGroupDescribe)]
pub struct ShareGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedShareGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedShareGroup {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub group_id: Str,
    pub group_state: Str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor_name: Str,
    pub members: Vec<DescribedShareGroupMember>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(default = i32::MIN)]
    pub authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedShareGroupMember {
    pub member_id: Str,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    pub member_epoch: i32,
    pub client_id: Str,
    pub client_host: Str,
    pub subscribed_topic_names: Vec<Str>,
    pub assignment: DescribedShareGroupAssignment,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedShareGroupAssignment {
    pub topic_partitions: Vec<DescribedShareGroupTopicPartitions>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedShareGroupTopicPartitions {
    pub topic_id: Uuid,
    pub topic_name: Str,
    pub partitions: Vec<i32>,
}

//! ConsumerGroupDescribe: the members of consumer groups, as tools show them (KIP-848).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ConsumerGroupDescribe, versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupDescribeRequest {
    pub group_ids: Vec<Str>,
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ConsumerGroupDescribe)]
pub struct ConsumerGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedConsumerGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedConsumerGroup {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub group_id: Str,
    pub group_state: Str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor_name: Str,
    pub members: Vec<DescribedConsumerGroupMember>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(default = i32::MIN)]
    pub authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedConsumerGroupMember {
    pub member_id: Str,
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    pub member_epoch: i32,
    pub client_id: Str,
    pub client_host: Str,
    pub subscribed_topic_names: Vec<Str>,
    #[wire(nullable)]
    pub subscribed_topic_regex: Option<Str>,
    /// What it has.
    pub assignment: DescribedConsumerGroupAssignment,
    /// What it is to have.
    pub target_assignment: DescribedConsumerGroupAssignment,
    /// 0 for a member of the classic protocol, 1 for one of the consumer protocol, −1 where it is not known (KIP-1099).
    #[wire(versions = "1+", default = -1)]
    pub member_type: i8,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedConsumerGroupAssignment {
    pub topic_partitions: Vec<DescribedConsumerGroupTopicPartitions>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedConsumerGroupTopicPartitions {
    pub topic_id: Uuid,
    pub topic_name: Str,
    pub partitions: Vec<i32>,
}

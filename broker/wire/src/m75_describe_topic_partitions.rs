//! DescribeTopicPartitions: topics and their partitions, sorted and page by page (KIP-966).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = DescribeTopicPartitions, versions = "0", flexible = "0+")]
pub struct DescribeTopicPartitionsRequest {
    /// Empty for all.
    pub topics: Vec<TopicRequest>,
    #[wire(default = 2000)]
    pub response_partition_limit: i32,
    /// Where to begin: the `next_cursor` of the last page.
    #[wire(nullable)]
    pub cursor: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicRequest {
    pub name: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct Cursor {
    pub topic_name: Str,
    pub partition_index: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = DescribeTopicPartitions)]
pub struct DescribeTopicPartitionsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Null on the last page.
    #[wire(nullable)]
    pub next_cursor: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponseTopic {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub name: Option<Str>,
    pub topic_id: Uuid,
    pub is_internal: bool,
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    /// A set of bits, one for each operation; `i32::MIN` if not known.
    #[wire(default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: i32,
    /// −1 if there is none.
    pub leader_id: i32,
    #[wire(default = -1)]
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
    /// Out of sync, but with every acknowledged record.
    #[wire(nullable)]
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// Who was, when the last of them was lost.
    #[wire(nullable)]
    pub last_known_elr: Option<Vec<i32>>,
    pub offline_replicas: Vec<i32>,
}

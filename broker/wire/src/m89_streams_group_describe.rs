//! StreamsGroupDescribe: topology and members of streams groups, as tools show them (KIP-1071).

use crate::codec::Str;
use crate::error_code::ErrorCode;
use crate::m88_streams_group_heartbeat::{
    StreamsGroupEndpoint, StreamsGroupKeyValue, StreamsGroupTaskIds, StreamsGroupTaskOffset, StreamsGroupTopicInfo,
};
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = StreamsGroupDescribe, versions = "0", flexible = "0+")]
pub struct StreamsGroupDescribeRequest {
    pub group_ids: Vec<Str>,
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = StreamsGroupDescribe)]
pub struct StreamsGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedStreamsGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedStreamsGroup {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub group_id: Str,
    pub group_state: Str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    #[wire(nullable)]
    pub topology: Option<DescribedStreamsTopology>,
    pub members: Vec<DescribedStreamsGroupMember>,
    /// A set of bits, one for each operation; `i32::MIN` if not asked for.
    #[wire(default = i32::MIN)]
    pub authorized_operations: i32,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedStreamsTopology {
    pub epoch: i32,
    /// Null while source topics are missing or incorrectly partitioned.
    #[wire(nullable)]
    pub subtopologies: Option<Vec<DescribedStreamsSubtopology>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedStreamsSubtopology {
    pub subtopology_id: Str,
    pub source_topics: Vec<Str>,
    pub repartition_sink_topics: Vec<Str>,
    pub state_changelog_topics: Vec<StreamsGroupTopicInfo>,
    pub repartition_source_topics: Vec<StreamsGroupTopicInfo>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedStreamsGroupMember {
    pub member_id: Str,
    pub member_epoch: i32,
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub topology_epoch: i32,
    pub process_id: Str,
    #[wire(nullable)]
    pub user_endpoint: Option<StreamsGroupEndpoint>,
    pub client_tags: Vec<StreamsGroupKeyValue>,
    pub task_offsets: Vec<StreamsGroupTaskOffset>,
    pub task_end_offsets: Vec<StreamsGroupTaskOffset>,
    /// What it has.
    pub assignment: DescribedStreamsGroupAssignment,
    /// What it is to have.
    pub target_assignment: DescribedStreamsGroupAssignment,
    pub is_classic: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedStreamsGroupAssignment {
    pub active_tasks: Vec<StreamsGroupTaskIds>,
    pub standby_tasks: Vec<StreamsGroupTaskIds>,
    pub warmup_tasks: Vec<StreamsGroupTaskIds>,
}

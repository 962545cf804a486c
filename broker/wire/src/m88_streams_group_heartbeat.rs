//! StreamsGroupHeartbeat: all that a member of a streams group and its coordinator say to each other (KIP-1071).
//!
//! A member sends what has changed only; so does the coordinator.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = StreamsGroupHeartbeat, versions = "0", flexible = "0+")]
pub struct StreamsGroupHeartbeatRequest {
    pub group_id: Str,
    /// The member makes it itself.
    pub member_id: Str,
    /// 0 to join, −1 to leave, −2 to leave as a static member that will be back.
    pub member_epoch: i32,
    /// The last one that the member got.
    pub endpoint_information_epoch: i32,
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// How long the coordinator waits for the member to revoke tasks; −1 if it has not changed.
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Sent to join only.
    #[wire(nullable)]
    pub topology: Option<StreamsGroupTopology>,
    /// The tasks that the member owns; null if they have not changed.
    #[wire(nullable)]
    pub active_tasks: Option<Vec<StreamsGroupTaskIds>>,
    #[wire(nullable)]
    pub standby_tasks: Option<Vec<StreamsGroupTaskIds>>,
    #[wire(nullable)]
    pub warmup_tasks: Option<Vec<StreamsGroupTaskIds>>,
    /// Members of one process share it.
    #[wire(nullable)]
    pub process_id: Option<Str>,
    /// Where the member answers interactive queries.
    #[wire(nullable)]
    pub user_endpoint: Option<StreamsGroupEndpoint>,
    #[wire(nullable)]
    pub client_tags: Option<Vec<StreamsGroupKeyValue>>,
    #[wire(nullable)]
    pub task_offsets: Option<Vec<StreamsGroupTaskOffset>>,
    #[wire(nullable)]
    pub task_end_offsets: Option<Vec<StreamsGroupTaskOffset>>,
    /// All clients of the group are to shut down.
    pub shutdown_application: bool,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupTopology {
    pub epoch: i32,
    pub subtopologies: Vec<StreamsGroupSubtopology>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupSubtopology {
    pub subtopology_id: Str,
    pub source_topics: Vec<Str>,
    pub source_topic_regex: Vec<Str>,
    pub state_changelog_topics: Vec<StreamsGroupTopicInfo>,
    pub repartition_sink_topics: Vec<Str>,
    pub repartition_source_topics: Vec<StreamsGroupTopicInfo>,
    pub copartition_groups: Vec<StreamsGroupCopartitionGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupCopartitionGroup {
    /// Indices into the lists of the subtopology.
    pub source_topics: Vec<i16>,
    pub source_topic_regex: Vec<i16>,
    pub repartition_source_topics: Vec<i16>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupTopicInfo {
    pub name: Str,
    /// 0 if the coordinator is to decide; always 0 for a changelog.
    pub partitions: i32,
    /// 0 for the default.
    pub replication_factor: i16,
    pub topic_configs: Vec<StreamsGroupKeyValue>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupKeyValue {
    pub key: Str,
    pub value: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupEndpoint {
    pub host: Str,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupTaskIds {
    pub subtopology_id: Str,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupTaskOffset {
    pub subtopology_id: Str,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = StreamsGroupHeartbeat)]
pub struct StreamsGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<Str>,
    pub member_id: Str,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// How far behind a warm-up task may be to count as caught up.
    pub acceptable_recovery_lag: i32,
    pub task_offset_interval_ms: i32,
    #[wire(nullable)]
    pub status: Option<Vec<StreamsGroupStatus>>,
    /// Null if they have not changed.
    #[wire(nullable)]
    pub active_tasks: Option<Vec<StreamsGroupTaskIds>>,
    #[wire(nullable)]
    pub standby_tasks: Option<Vec<StreamsGroupTaskIds>>,
    #[wire(nullable)]
    pub warmup_tasks: Option<Vec<StreamsGroupTaskIds>>,
    pub endpoint_information_epoch: i32,
    /// Null if it has not changed.
    #[wire(nullable)]
    pub partitions_by_user_endpoint: Option<Vec<StreamsGroupEndpointToPartitions>>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupStatus {
    /// 0 stale topology, 1 missing source topics, 2 incorrectly partitioned topics, 3 missing internal topics,
    /// 4 shutdown of the application, 5 assignment delayed.
    pub status_code: i8,
    pub status_detail: Str,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupEndpointToPartitions {
    pub user_endpoint: StreamsGroupEndpoint,
    pub active_partitions: Vec<StreamsGroupTopicPartition>,
    pub standby_partitions: Vec<StreamsGroupTopicPartition>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct StreamsGroupTopicPartition {
    pub topic: Str,
    pub partitions: Vec<i32>,
}

//! Requests and replies of streams groups (KIP-1071).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::GroupError;
use crate::ids::{GroupId, InstanceId, MemberId, TopicName};
use crate::record::{Endpoint, InternalTopic, StreamsMemberValue, StreamsTasks, Topology};
use crate::state::GroupState;

/// StreamsGroupHeartbeat. What is `None` has not changed.
#[derive(Clone, Debug)]
pub struct StreamsHeartbeatRequest {
    /// The group; created by a member that joins.
    pub group: GroupId,
    /// The member, which makes its id itself.
    pub member: MemberId,
    /// The member's epoch; 0 to join, −1 to leave.
    pub epoch: i32,
    /// The epoch of the endpoints that the member knows.
    pub endpoint_epoch: i32,
    /// The instance id of a static member, which is refused: a streams group has no static members. `None`: a dynamic
    /// one.
    pub instance: Option<InstanceId>,
    /// The rack where it is; `None`: it has not changed.
    pub rack: Option<String>,
    /// From the request's header.
    pub client_id: String,
    /// Where the client is, as Kafka prints it: `/10.0.0.1`.
    pub client_host: String,
    /// How long it may take to revoke tasks, in ms; `None`: as before.
    pub rebalance_timeout_ms: Option<i32>,
    /// What the application works on: of a member that joins, else `None`.
    pub topology: Option<Topology>,
    /// The tasks that it owns: active, standby, warm-up. All of them, or none.
    pub owned: Owned,
    /// The id that members of one process share; `None`: it has not changed.
    pub process: Option<String>,
    /// Where it answers interactive queries; `None`: that has not changed.
    pub endpoint: Option<Endpoint>,
    /// What the client says about its place; `None`: it has not changed.
    pub client_tags: Option<BTreeMap<String, String>>,
    /// It says how far it is with tasks, which is refused.
    pub has_task_offsets: bool,
    /// It says where tasks end, which is refused.
    pub has_task_end_offsets: bool,
    /// Every client of the application is to shut down.
    pub shuts_down: bool,
}

/// What a member says about the tasks that it owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owned {
    /// Nothing.
    Unsaid,
    /// All of them.
    Tasks(StreamsTasks),
    /// Some kinds of tasks only: refused.
    Partly,
}

/// The answer to StreamsGroupHeartbeat.
pub type StreamsHeartbeatReply = Result<StreamsHeartbeat, GroupError>;

/// The member is part of the group, or has left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsHeartbeat {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// When to send the next heartbeat; zero for one that leaves.
    pub interval: Duration,
    /// The tasks that it may work on; `None`: they have not changed, and the member knows them.
    pub tasks: Option<StreamsTasks>,
    /// What it is to know about the group.
    pub statuses: Vec<StreamsStatus>,
    /// The epoch of the endpoints.
    pub endpoint_epoch: i32,
    /// Where the group's members answer queries, unless the member knows.
    pub endpoints: Option<Vec<EndpointPartitions>>,
    /// Topics of the application that do not exist, with the number of their partitions: the host creates those that
    /// the member's user may create, and says in the answer what has failed. Every answer names them until they exist.
    pub missing: Vec<InternalTopic>,
}

/// What members are to know about their group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsStatus {
    /// Which.
    pub code: StatusCode,
    /// In words.
    pub detail: String,
}

/// Kafka's `StreamsGroupHeartbeatResponse.Status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusCode {
    /// The group works on a newer topology than the member.
    StaleTopology,
    /// Source topics do not exist.
    MissingSourceTopics,
    /// Topics do not have the partitions that they must have.
    IncorrectlyPartitionedTopics,
    /// Topics of the application do not exist yet.
    MissingInternalTopics,
    /// A member has asked all to shut down.
    ShutdownApplication,
    /// Tasks are not assigned yet, so that more members can join before.
    AssignmentDelayed,
}

impl StatusCode {
    /// Its number on the wire.
    pub fn number(self) -> i8 {
        match self {
            StatusCode::StaleTopology => 0,
            StatusCode::MissingSourceTopics => 1,
            StatusCode::IncorrectlyPartitionedTopics => 2,
            StatusCode::MissingInternalTopics => 3,
            StatusCode::ShutdownApplication => 4,
            StatusCode::AssignmentDelayed => 5,
        }
    }
}

/// What a member answers queries about: the partitions of topics that its tasks read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointPartitions {
    /// Where.
    pub endpoint: Endpoint,
    /// Those of its active tasks.
    pub active: BTreeMap<TopicName, Vec<i32>>,
    /// Those of its standby tasks.
    pub standby: BTreeMap<TopicName, Vec<i32>>,
}

/// A streams group as StreamsGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedStreamsGroup {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// That of its target assignment.
    pub target_epoch: i32,
    /// What it works on; `None`: no member has given it a topology.
    pub topology: Option<DescribedTopology>,
    /// Its members.
    pub members: Vec<DescribedStreamsMember>,
}

/// A topology as StreamsGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedTopology {
    /// Its epoch.
    pub epoch: i32,
    /// Its parts, by id.
    pub subtopologies: Vec<DescribedSubtopology>,
}

/// A part of a topology as StreamsGroupDescribe shows it. Names are sorted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedSubtopology {
    /// Names it within the topology.
    pub id: String,
    /// The topics that it reads.
    pub sources: Vec<TopicName>,
    /// The repartition topics that it writes.
    pub repartition_sinks: Vec<TopicName>,
    /// The topics that hold its state; with their partitions if all topics are as they must be.
    pub changelogs: Vec<InternalTopic>,
    /// The repartition topics that it reads; the same.
    pub repartition_sources: Vec<InternalTopic>,
}

/// A member as StreamsGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedStreamsMember {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it has said about itself.
    pub value: StreamsMemberValue,
    /// What it has.
    pub assigned: StreamsTasks,
    /// What it is to have.
    pub target: StreamsTasks,
}

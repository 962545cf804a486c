//! Requests and replies of share groups (KIP-932).

use std::time::Duration;

use uuid::Uuid;

use crate::error::GroupError;
use crate::ids::{GroupId, MemberId, TopicName};
use crate::record::{Partitions, ShareMemberValue};
use crate::share_state::StateError;
use crate::state::GroupState;

/// ShareGroupHeartbeat. What is `None` has not changed.
#[derive(Clone, Debug)]
pub struct ShareHeartbeatRequest {
    /// The group; created by a member that joins.
    pub group: GroupId,
    /// The member, which makes its id itself.
    pub member: MemberId,
    /// The member's epoch; 0 to join, −1 to leave.
    pub epoch: i32,
    /// The rack where it is; `None`: it has not changed.
    pub rack: Option<String>,
    /// From the request's header.
    pub client_id: String,
    /// Where the client is, as Kafka prints it: `/10.0.0.1`.
    pub client_host: String,
    /// The topics that it subscribes to; `None`: they have not changed.
    pub topics: Option<Vec<TopicName>>,
}

/// The answer to ShareGroupHeartbeat.
pub type ShareHeartbeatReply = Result<ShareHeartbeat, GroupError>;

/// The member is part of the group, or has left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareHeartbeat {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// When to send the next heartbeat; zero for one that leaves.
    pub interval: Duration,
    /// What it may use; `None`: that has not changed, and the member knows it.
    pub assignment: Option<Partitions>,
}

/// A share group as ShareGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedShareGroup {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// That of its target assignment.
    pub target_epoch: i32,
    /// The assignor that it uses.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedShareMember>,
}

/// A member as ShareGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedShareMember {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it has said about itself.
    pub value: ShareMemberValue,
    /// What it has.
    pub assigned: Partitions,
}

/// AlterShareGroupOffsets.
#[derive(Clone, Debug)]
pub struct AlterShareOffsetsRequest {
    /// The group; created if it does not exist.
    pub group: GroupId,
    /// By topic: partitions, and the offset from which the group is to begin in each.
    pub topics: Vec<(TopicName, Vec<(i32, i64)>)>,
}

/// The answer to AlterShareGroupOffsets: the topics of the request, in its order.
pub type AlterShareOffsetsReply = Result<Vec<AlteredShareOffsets>, GroupError>;

/// What became of the partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlteredShareOffsets {
    /// Its name.
    pub topic: TopicName,
    /// Its id, if there is such a topic.
    pub id: Option<Uuid>,
    /// The partitions of the request, in its order.
    pub partitions: Vec<(i32, Result<(), StateError>)>,
}

/// The answer to DeleteShareGroupOffsets: the topics of the request.
pub type DeleteShareOffsetsReply = Result<Vec<DeletedShareOffsets>, GroupError>;

/// What became of the offsets of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedShareOffsets {
    /// Its name.
    pub topic: TopicName,
    /// Its id, if the group had something there.
    pub id: Option<Uuid>,
    /// [`StateError::UnknownTopicOrPartition`] also if the group had nothing there.
    pub result: Result<(), StateError>,
}

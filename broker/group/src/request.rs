//! The plain values of requests and replies. The broker's handlers translate them from and to the wire.

mod share;
mod streams;

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::error::GroupError;
use crate::ids::{GroupId, InstanceId, MemberId, TopicName};
pub use crate::record::Protocol;
use crate::record::{ConsumerMemberValue, Partitions};
use crate::state::{GroupKind, GroupState};
pub use share::*;
pub use streams::*;

/// JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The group to join; created if it does not exist and `member` is empty.
    pub group: GroupId,
    /// Empty for a member that has no id yet.
    pub member: MemberId,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
    /// From the request's header; becomes part of the member's id.
    pub client_id: String,
    /// Where the client is, as Kafka prints it: `/10.0.0.1`.
    pub client_host: String,
    /// Silence after which the member is dead.
    pub session_timeout_ms: i32,
    /// How long the group waits for this member in a rebalance. Version 0 has none: pass the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...: what kind of group this is.
    pub protocol_type: String,
    /// Assignment strategies that the member supports, preferred first.
    pub protocols: Vec<Protocol>,
    /// Version 4 and later: a new dynamic member can be sent away to come back with the id it is given (KIP-394).
    pub can_be_sent_an_id: bool,
    /// Version 9 and later: the answer can ask a static leader that comes back not to assign again (KIP-814).
    pub can_skip_assignment: bool,
    /// Fresh randomness, should the member need an id.
    pub fresh: Uuid,
}

/// The answer to JoinGroup.
pub type JoinReply = Result<Joined, JoinRefused>;

/// The member is part of a generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// As the members gave it; `None`: the group was read from a log that does not have it.
    pub protocol_type: Option<String>,
    /// The strategy that all members support; `None`: there is none.
    pub protocol_name: Option<String>,
    /// Who assigns.
    pub leader: MemberId,
    /// Whom this reply is for.
    pub member: MemberId,
    /// Everybody, if this reply is for the leader; else empty.
    pub members: Vec<JoinedMember>,
    /// The leader must not assign: the last assignment stands.
    pub skip_assignment: bool,
}

/// A member as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Its instance id; `None`: a dynamic member.
    pub instance: Option<InstanceId>,
    /// Its metadata under the chosen protocol.
    pub metadata: Bytes,
}

/// The member was not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRefused {
    /// Why.
    pub error: GroupError,
    /// What the reply carries as member id: with MEMBER_ID_REQUIRED, the new one.
    pub member: MemberId,
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
    /// What JoinGroup answered.
    pub generation: i32,
    /// What the member takes for the protocol type, from version 5 on; `None`: the member does not say.
    pub protocol_type: Option<String>,
    /// What the member takes for the chosen strategy, from version 5 on; `None`: the member does not say.
    pub protocol_name: Option<String>,
    /// From the leader: what everybody is to do.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// The answer to SyncGroup.
pub type SyncReply = Result<Synced, GroupError>;

/// What the member is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// As the members gave it; `None`: neither the log nor, in a consumer group, the request has it.
    pub protocol_type: Option<String>,
    /// The chosen strategy; `None`: neither the log nor, in a consumer group, the request has it.
    pub protocol_name: Option<String>,
    /// The very bytes that the leader sent for this member.
    pub assignment: Bytes,
}

/// Heartbeat.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
    /// The generation it believes in.
    pub generation: i32,
}

/// LeaveGroup.
#[derive(Clone, Debug)]
pub struct LeaveRequest {
    /// The group.
    pub group: GroupId,
    /// Who leaves, or whom an administrator removes.
    pub members: Vec<Leaving>,
}

/// Who leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Empty when an administrator removes a static member by its instance id.
    pub member: MemberId,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
}

/// The answer to LeaveGroup: one result per member, in the request's order.
pub type LeaveReply = Result<Vec<Result<(), GroupError>>, GroupError>;

/// OffsetCommit.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The group; created if it does not exist and `generation` is negative.
    pub group: GroupId,
    /// Empty for administrators and for consumers without group management.
    pub member: MemberId,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
    /// Negative where `member` is empty.
    pub generation: i32,
    /// Version 9 and later: an unknown group is GROUP_ID_NOT_FOUND, not ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    /// Versions 2 to 4: how long to keep these offsets, instead of the broker's retention; `None`: as the broker does.
    pub retention_ms: Option<i64>,
    /// What to keep.
    pub offsets: Vec<OffsetToCommit>,
}

/// One offset to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetToCommit {
    /// The topic's name.
    pub topic: TopicName,
    /// The topic's id, where the broker knows it.
    pub topic_id: Option<Uuid>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last consumed record, or -1.
    pub leader_epoch: i32,
    /// Whatever the client wants to find again.
    pub metadata: String,
}

/// The answer to OffsetCommit: one result per offset, in the request's order.
pub type CommitReply = Result<Vec<Result<(), GroupError>>, GroupError>;

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last consumed record, or -1.
    pub leader_epoch: i32,
    /// What the client left there.
    pub metadata: String,
    /// The topic's id when it was committed, if it was known. A topic of the same name with another id is another
    /// topic.
    pub topic_id: Option<Uuid>,
}

/// A topic that was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedTopic {
    /// Its name, which may be another topic's by now.
    pub name: TopicName,
    /// Its id.
    pub id: Uuid,
    /// Whether offsets under its name that do not say which topic they are of are taken for its own: no other topic had
    /// the name since, as far as is known.
    pub is_last: bool,
}

/// The answer to OffsetDelete: one result per partition, in the request's order.
pub type DeleteOffsetsReply = Result<Vec<Result<(), GroupError>>, GroupError>;

/// The answer to DeleteGroups: one result per group, in the request's order.
pub type DeleteGroupsReply = Result<Vec<Result<(), GroupError>>, GroupError>;

/// A group as DescribeGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// Empty for groups that only store offsets.
    pub protocol_type: String,
    /// The chosen strategy; empty unless Stable.
    pub protocol_name: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Its instance id; `None`: a dynamic member.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// Its metadata under the chosen protocol; empty unless Stable.
    pub metadata: Bytes,
    /// Its last assignment.
    pub assignment: Bytes,
}

/// ConsumerGroupHeartbeat. What is `None` has not changed.
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeatRequest {
    /// The group; created by a member that joins.
    pub group: GroupId,
    /// Empty for a member of version 0 that joins.
    pub member: MemberId,
    /// Version 1 and later: the member makes its id itself (KIP-1082).
    pub makes_its_own_id: bool,
    /// The member's epoch; 0 to join, −1 to leave, −2 to leave as a static member that will be back.
    pub epoch: i32,
    /// The instance id of a static member; `None`: a dynamic one.
    pub instance: Option<InstanceId>,
    /// The rack where it is.
    pub rack: Option<String>,
    /// From the request's header.
    pub client_id: String,
    /// Where the client is, as Kafka prints it: `/10.0.0.1`.
    pub client_host: String,
    /// The name of the principal that the client is.
    pub principal: String,
    /// How long it may take to revoke partitions, in ms.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it subscribes to by name.
    pub topics: Option<Vec<TopicName>>,
    /// The regular expression that it subscribes to; empty for none.
    pub pattern: Option<String>,
    /// The assignor that it wishes for.
    pub assignor: Option<String>,
    /// The partitions that it owns.
    pub owned: Option<Partitions>,
    /// Fresh randomness, should the member need an id.
    pub fresh: Uuid,
}

/// The answer to ConsumerGroupHeartbeat.
pub type ConsumerHeartbeatReply = Result<ConsumerHeartbeat, GroupError>;

/// The member is part of the group, or has left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerHeartbeat {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// When to send the next heartbeat; zero for one that leaves.
    pub interval: Duration,
    /// What it may use, if that has changed or the member may not know.
    pub assignment: Option<Partitions>,
}

/// A consumer group as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedConsumerGroup {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// That of its target assignment.
    pub target_epoch: i32,
    /// The assignor that it uses.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumerMember>,
}

/// A member as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedConsumerMember {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it has said about itself.
    pub value: ConsumerMemberValue,
    /// What it has, with what it is about to revoke.
    pub assigned: Partitions,
    /// What it is to have.
    pub target: Partitions,
}

/// A group as ListGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// Its id.
    pub group: GroupId,
    /// Which protocol it speaks.
    pub kind: GroupKind,
    /// Empty for groups that only store offsets.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// An answer to a ticket. Its kind is that of the request the ticket came with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupReply {
    /// To [`Shard::join`](crate::Shard::join).
    Join(JoinReply),
    /// To [`Shard::sync`](crate::Shard::sync).
    Sync(SyncReply),
    /// To [`Shard::leave`](crate::Shard::leave).
    Leave(LeaveReply),
    /// To [`Shard::commit_offsets`](crate::Shard::commit_offsets).
    Commit(CommitReply),
    /// To [`Shard::delete_offsets`](crate::Shard::delete_offsets).
    DeleteOffsets(DeleteOffsetsReply),
    /// To [`Shard::delete_groups`](crate::Shard::delete_groups).
    DeleteGroups(DeleteGroupsReply),
    /// To [`Shard::consumer_heartbeat`](crate::Shard::consumer_heartbeat).
    ConsumerHeartbeat(ConsumerHeartbeatReply),
    /// To [`Shard::streams_heartbeat`](crate::Shard::streams_heartbeat).
    StreamsHeartbeat(StreamsHeartbeatReply),
    /// To [`Shard::share_heartbeat`](crate::Shard::share_heartbeat).
    ShareHeartbeat(ShareHeartbeatReply),
    /// To [`Shard::alter_share_offsets`](crate::Shard::alter_share_offsets).
    AlterShareOffsets(AlterShareOffsetsReply),
    /// To [`Shard::delete_share_offsets`](crate::Shard::delete_share_offsets).
    DeleteShareOffsets(DeleteShareOffsetsReply),
}

impl GroupReply {
    /// The same kind of reply, refused as a whole.
    pub(crate) fn refused(&self, error: GroupError) -> GroupReply {
        match self {
            GroupReply::Join(_) => GroupReply::Join(Err(JoinRefused { error, member: MemberId::from("") })),
            GroupReply::Sync(_) => GroupReply::Sync(Err(error)),
            GroupReply::Leave(_) => GroupReply::Leave(Err(error)),
            GroupReply::Commit(_) => GroupReply::Commit(Err(error)),
            GroupReply::DeleteOffsets(_) => GroupReply::DeleteOffsets(Err(error)),
            GroupReply::DeleteGroups(_) => GroupReply::DeleteGroups(Err(error)),
            GroupReply::ConsumerHeartbeat(_) => GroupReply::ConsumerHeartbeat(Err(error)),
            GroupReply::StreamsHeartbeat(_) => GroupReply::StreamsHeartbeat(Err(error)),
            GroupReply::ShareHeartbeat(_) => GroupReply::ShareHeartbeat(Err(error)),
            GroupReply::AlterShareOffsets(_) => GroupReply::AlterShareOffsets(Err(error)),
            GroupReply::DeleteShareOffsets(_) => GroupReply::DeleteShareOffsets(Err(error)),
        }
    }
}

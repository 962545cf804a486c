//! One function per request. What must happen has happened when they return; the future only waits for the answer.

use std::collections::BTreeMap;

use ottla_group::{
    AlterShareOffsetsReply, AlterShareOffsetsRequest, CommitReply, CommitRequest, ConsumerHeartbeatReply,
    ConsumerHeartbeatRequest, DeleteGroupsReply, DeleteOffsetsReply, DeleteShareOffsetsReply, DescribedConsumerGroup,
    DescribedGroup, DescribedShareGroup, DescribedStreamsGroup, Effects, GroupError, GroupId, GroupKind, GroupReply,
    HeartbeatRequest, JoinRefused, JoinReply, JoinRequest, LeaveReply, LeaveRequest, ListedGroup, Now, Producer, Shard,
    ShareHeartbeatReply, ShareHeartbeatRequest, StreamsHeartbeatReply, StreamsHeartbeatRequest, SyncReply, SyncRequest,
    Ticket, TopicName,
};
use ottla_log::VerificationGuard;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::machine::effects;
use super::{Groups, max_batch};
use crate::coordinator::machine::{self as coordinator, CoordinatorError};
use crate::coordinator::transactional_batch_of;
use crate::replica::NotServed;
use crate::replica::partition::transactions::TransactionEnd;
use crate::replica::partition::{AppendError, Appended};

/// Why a commit in a transaction does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The group is coordinated elsewhere, or being loaded.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The group's partition knows a newer epoch of the producer, or is not led here.
    #[error(transparent)]
    Partition(#[from] AppendError),
}

type PendingReply = Result<oneshot::Receiver<GroupReply>, GroupError>;

/// Takes the answer out of its envelope: a ticket is answered in the kind of its request.
macro_rules! expect {
    ($kind:ident, $asked:expr) => {
        match answer($asked).await {
            Ok(GroupReply::$kind(reply)) => reply,
            Ok(other) => unreachable!("an answer of another kind: {other:?}"),
            Err(error) => Err(error),
        }
    };
}

impl Groups {
    /// JoinGroup. Answered when the rebalance completes.
    pub fn join(&self, request: JoinRequest) -> impl Future<Output = JoinReply> + use<> {
        let (group, member) = (request.group.clone(), request.member.clone());
        let asked = self.ask(&group, |groups, ticket, now| groups.join(request, ticket, now));
        async move {
            match answer(asked).await {
                Ok(GroupReply::Join(reply)) => reply,
                Ok(other) => unreachable!("an answer of another kind: {other:?}"),
                Err(error) => Err(JoinRefused { error, member }),
            }
        }
    }

    /// SyncGroup. Answered when the leader's assignment is safe.
    pub fn sync(&self, request: SyncRequest) -> impl Future<Output = SyncReply> + use<> {
        let group = request.group.clone();
        let asked = self.ask(&group, |groups, ticket, now| groups.sync(request, ticket, now));
        async move { expect!(Sync, asked) }
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// That the member can not just continue.
    pub fn heartbeat(&self, request: &HeartbeatRequest) -> Result<(), GroupError> {
        let beat = self.read(&request.group, |groups, now| groups.heartbeat(request, now));
        match beat {
            // Its session begins when the group is loaded: nothing to be done about it before.
            Err(GroupError::CoordinatorLoadInProgress) => Ok(()),
            Err(error) => Err(error),
            Ok(result) => result,
        }
    }

    /// ConsumerGroupHeartbeat. Answered when what it says is safe.
    pub fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeatRequest,
    ) -> impl Future<Output = ConsumerHeartbeatReply> + use<> {
        let group = request.group.clone();
        let asked = self.ask(&group, |groups, ticket, now| groups.consumer_heartbeat(request, ticket, now));
        async move { expect!(ConsumerHeartbeat, asked) }
    }

    /// ShareGroupHeartbeat. Answered when what it says is safe.
    pub fn share_heartbeat(
        &self,
        request: &ShareHeartbeatRequest,
    ) -> impl Future<Output = ShareHeartbeatReply> + use<> {
        let asked = self.ask(&request.group, |groups, ticket, now| groups.share_heartbeat(request, ticket, now));
        async move { expect!(ShareHeartbeat, asked) }
    }

    /// StreamsGroupHeartbeat. Answered when what it says is safe.
    pub fn streams_heartbeat(
        &self,
        request: &StreamsHeartbeatRequest,
    ) -> impl Future<Output = StreamsHeartbeatReply> + use<> {
        let asked = self.ask(&request.group, |groups, ticket, now| groups.streams_heartbeat(request, ticket, now));
        async move { expect!(StreamsHeartbeat, asked) }
    }

    /// AlterShareGroupOffsets. Answered when the share coordinators have the offsets.
    pub fn alter_share_offsets(
        &self,
        request: &AlterShareOffsetsRequest,
    ) -> impl Future<Output = AlterShareOffsetsReply> + use<> {
        let asked = self.ask(&request.group, |groups, ticket, now| groups.alter_share_offsets(request, ticket, now));
        async move { expect!(AlterShareOffsets, asked) }
    }

    /// DeleteShareGroupOffsets. Answered when the share coordinators have deleted the states.
    pub fn delete_share_offsets(
        &self,
        group: &GroupId,
        topics: &[TopicName],
    ) -> impl Future<Output = DeleteShareOffsetsReply> + use<> {
        let asked = self.ask(group, |groups, ticket, now| groups.delete_share_offsets(group, topics, ticket, now));
        async move { expect!(DeleteShareOffsets, asked) }
    }

    /// LeaveGroup.
    pub fn leave(&self, request: &LeaveRequest) -> impl Future<Output = LeaveReply> + use<> {
        let asked = self.ask(&request.group, |groups, ticket, now| groups.leave(request, ticket, now));
        async move { expect!(Leave, asked) }
    }

    /// OffsetCommit. Answered when the offsets are safe.
    pub fn commit_offsets(&self, request: CommitRequest) -> impl Future<Output = CommitReply> + use<> {
        let group = request.group.clone();
        let asked = self.ask(&group, |groups, ticket, now| groups.commit_offsets(request, ticket, now));
        async move { expect!(Commit, asked) }
    }

    /// Begins to verify that a transaction includes a group's offsets. Gives the number of the group's partition, and
    /// the guard with which the commit must come back once the transaction's coordinator has said so; `None` when there
    /// is nothing to ask: the transaction is open there. `supports_epoch_bump`: as in
    /// [`Partition::begin_verification`](crate::replica::partition::Partition::begin_verification).
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin_verification(
        &self,
        group: &GroupId,
        producer: Producer,
        supports_epoch_bump: bool,
    ) -> Result<(i32, Option<VerificationGuard>), BeginError> {
        let coordinator = self.coordinators.of(group).map_err(GroupError::from)?;
        let (partition, _) = coordinator.partition();
        // Only whose it is counts; the records are decided later.
        let producer = coordinator::Producer { id: producer.id, epoch: producer.epoch };
        let batch = transactional_batch_of(producer, [(&b""[..], None)], 0);
        let guard = partition.begin_verification(batch.header(), supports_epoch_bump)?;
        Ok((partition.number, guard))
    }

    /// TxnOffsetCommit. Answered when the offsets are safe; they count when the transaction is committed.
    pub fn commit_offsets_in_transaction(
        &self,
        producer: Producer,
        guard: Option<VerificationGuard>,
        request: CommitRequest,
    ) -> impl Future<Output = CommitReply> + use<> {
        let group = request.group.clone();
        let max_batch = max_batch(&self.images.borrow());
        let act = |groups: &mut Shard, ticket: coordinator::Ticket, now: coordinator::Now| {
            groups.set_max_batch(max_batch);
            effects(groups.commit_offsets_in_transaction(producer, request, ticket.into(), now.into()), now)
        };
        let coordinator = self.coordinators.of(&group).map_err(GroupError::from);
        let asked = coordinator.and_then(|coordinator| Ok(coordinator.ask_verified(&group, guard, act)?));
        async move { expect!(Commit, asked) }
    }

    /// Appends the marker of a transaction to a partition of the groups' topic. The caller waits until it is committed.
    /// Every marker there comes through here: its offsets count from then on.
    ///
    /// # Errors
    /// `NotServed` when this broker does not coordinate the partition or still reads it; else see
    /// [`Partition::append_marker`](crate::replica::partition::Partition::append_marker).
    pub fn append_marker(&self, partition: i32, end: TransactionEnd) -> Result<Appended, AppendError> {
        let coordinator = self.coordinators.at(partition).map_err(|_| NotServed::NotLeader)?;
        coordinator.append_marker(end)
    }

    /// OffsetDelete, of partitions whose topics exist.
    pub fn delete_offsets(
        &self,
        group: &GroupId,
        partitions: &[(TopicName, i32)],
    ) -> impl Future<Output = DeleteOffsetsReply> + use<> {
        let asked = self.ask(group, |groups, ticket, now| groups.delete_offsets(group, partitions, ticket, now));
        async move { expect!(DeleteOffsets, asked) }
    }

    /// DeleteGroups, of one group.
    pub fn delete_group(&self, group: &GroupId) -> impl Future<Output = Result<(), GroupError>> + use<> {
        let id = std::slice::from_ref(group);
        let asked = self.ask(group, |groups, ticket, now| groups.delete_groups(id, ticket, now));
        async move {
            let reply: DeleteGroupsReply = expect!(DeleteGroups, asked);
            reply?.into_iter().collect()
        }
    }

    /// DescribeGroups, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is not here.
    pub fn describe(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        self.read(group, |groups, _| groups.describe(group))?
    }

    /// ConsumerGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is not here.
    pub fn describe_consumer(&self, group: &GroupId) -> Result<DescribedConsumerGroup, GroupError> {
        self.read(group, |groups, _| groups.describe_consumer(group))?
    }

    /// ShareGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is not here.
    pub fn describe_share(&self, group: &GroupId) -> Result<DescribedShareGroup, GroupError> {
        self.read(group, |groups, _| groups.describe_share(group))?
    }

    /// StreamsGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is not here.
    pub fn describe_streams(&self, group: &GroupId) -> Result<DescribedStreamsGroup, GroupError> {
        self.read(group, |groups, _| groups.describe_streams(group))?
    }

    /// The partitions in which a share group has offsets, by topic.
    ///
    /// # Errors
    /// That there is no such group, or that it is not here.
    pub fn shared_partitions(&self, group: &GroupId) -> Result<BTreeMap<Uuid, Vec<i32>>, GroupError> {
        let partitions = self.read(group, |groups, _| {
            let topics = groups.initialized_partitions(group)?.iter();
            Some(topics.map(|(id, topic)| (*id, topic.partitions.iter().copied().collect())).collect())
        })?;
        partitions.ok_or(GroupError::GroupIdNotFound)
    }

    /// Why a group of another kind is not found, or one that is not there, in Kafka's words.
    pub fn not_found(&self, group: &GroupId, wanted: GroupKind) -> String {
        match self.read(group, |groups, _| groups.kind(group)) {
            Ok(Some(kind)) if kind != wanted => format!("Group {group} is not a {} group.", wanted.name()),
            _ => format!("Group {group} not found."),
        }
    }

    /// ListGroups: every group that is coordinated here.
    ///
    /// # Errors
    /// That some are still being loaded.
    pub fn list(&self) -> Result<Vec<ListedGroup>, GroupError> {
        let mut all = Vec::new();
        for coordinator in self.coordinators.all() {
            match coordinator.survey(|groups| all.extend(groups.list())) {
                Ok(()) | Err(CoordinatorError::NotCoordinator) => {}
                Err(CoordinatorError::LoadInProgress) => return Err(GroupError::CoordinatorLoadInProgress),
            }
        }
        Ok(all)
    }

    /// Looks at a group and its neighbours.
    ///
    /// # Errors
    /// That they are being loaded, or are another broker's.
    pub fn read<T>(&self, group: &str, look: impl FnOnce(&mut Shard, Now) -> T) -> Result<T, GroupError> {
        Ok(self.coordinators.of(group)?.read(group, |groups, now| look(groups, now.into()))?)
    }

    fn ask(&self, group: &str, act: impl FnOnce(&mut Shard, Ticket, Now) -> Effects) -> PendingReply {
        let max_batch = max_batch(&self.images.borrow());
        let act = |groups: &mut Shard, ticket: coordinator::Ticket, now: coordinator::Now| {
            groups.set_max_batch(max_batch);
            effects(act(groups, ticket.into(), now.into()), now)
        };
        Ok(self.coordinators.of(group)?.ask(group, act)?)
    }
}

async fn answer(asked: PendingReply) -> Result<GroupReply, GroupError> {
    asked?.await.map_err(|_| GroupError::NotCoordinator)
}

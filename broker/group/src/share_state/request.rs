//! The plain values of requests to the share coordinator, and of its replies.

use thiserror::Error;
use uuid::Uuid;

use super::batches::StateBatch;
use crate::error::GroupAppendError;
use crate::ids::GroupId;

/// A partition whose records a group shares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SharePartition {
    /// The group.
    pub group: GroupId,
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// What is asked about one partition. A request of the wire has several; each may belong to another shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// InitializeShareGroupState: begin again from this offset.
    Initialize {
        /// An older one than before is fenced.
        state_epoch: i32,
        /// −1 leaves the choice to the leader.
        start_offset: i64,
    },
    /// ReadShareGroupState. From then on older leaders are fenced.
    Read {
        /// Of the leader that asks; −1 if it is none.
        leader_epoch: i32,
    },
    /// WriteShareGroupState.
    Write(WriteState),
    /// DeleteShareGroupState.
    Delete,
    /// ReadShareGroupStateSummary.
    Summarize,
}

/// What a leader writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteState {
    /// As it was read; −1 is not checked.
    pub state_epoch: i32,
    /// Of the leader that writes; −1 is not checked.
    pub leader_epoch: i32,
    /// The first offset that may still be delivered; −1 if it has not changed.
    pub start_offset: i64,
    /// How many records from the start offset on are done with; −1 if unknown.
    pub delivery_complete_count: i32,
    /// What has changed.
    pub batches: Vec<StateBatch>,
}

/// The answer to a request, of the same kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StateReply {
    /// To InitializeShareGroupState.
    Initialize(Result<(), StateError>),
    /// To ReadShareGroupState.
    Read(Result<ReadState, StateError>),
    /// To WriteShareGroupState.
    Write(Result<(), StateError>),
    /// To DeleteShareGroupState.
    Delete(Result<(), StateError>),
    /// To ReadShareGroupStateSummary.
    Summarize(Result<Summary, StateError>),
}

/// What a leader begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadState {
    /// To be sent with writes.
    pub state_epoch: i32,
    /// −1 if no leader has chosen one.
    pub start_offset: i64,
    /// Sorted by offset, without overlaps.
    pub batches: Vec<StateBatch>,
}

/// A state without its batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// 0 if there is no state.
    pub state_epoch: i32,
    /// 0 if there is no state.
    pub leader_epoch: i32,
    /// −1 if there is no state, or no leader has chosen one.
    pub start_offset: i64,
    /// −1 if unknown.
    pub delivery_complete_count: i32,
}

/// Why the share coordinator refuses. Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // the names are Kafka's, the texts say the rest
pub enum StateError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("a newer leader of the partition has asked")]
    FencedLeaderEpoch,
    #[error("the state of the partition was initialized again")]
    FencedStateEpoch,
    #[error("there is no such topic or partition")]
    UnknownTopicOrPartition,
    #[error("the coordinator cannot serve now")]
    CoordinatorNotAvailable,
    #[error("the coordinator is still loading")]
    CoordinatorLoadInProgress,
    #[error("the coordinator is another broker")]
    NotCoordinator,
    #[error("the peer is not authorized as a broker")]
    ClusterAuthorizationFailed,
    #[error("the coordinator failed to store the records")]
    UnknownServerError,
}

impl From<GroupAppendError> for StateError {
    fn from(error: GroupAppendError) -> Self {
        match error {
            GroupAppendError::NotCommitted => StateError::CoordinatorNotAvailable,
            GroupAppendError::NotLeader => StateError::NotCoordinator,
            GroupAppendError::TooLarge => StateError::UnknownServerError,
        }
    }
}

impl Request {
    /// The reply that refuses it.
    #[must_use]
    pub fn refused(&self, error: StateError) -> StateReply {
        match self {
            Request::Initialize { .. } => StateReply::Initialize(Err(error)),
            Request::Read { .. } => StateReply::Read(Err(error)),
            Request::Write(_) => StateReply::Write(Err(error)),
            Request::Delete => StateReply::Delete(Err(error)),
            Request::Summarize => StateReply::Summarize(Err(error)),
        }
    }
}

impl StateReply {
    /// The same kind of reply, with the error.
    #[must_use]
    pub fn refused(&self, error: StateError) -> StateReply {
        match self {
            StateReply::Initialize(_) => StateReply::Initialize(Err(error)),
            StateReply::Read(_) => StateReply::Read(Err(error)),
            StateReply::Write(_) => StateReply::Write(Err(error)),
            StateReply::Delete(_) => StateReply::Delete(Err(error)),
            StateReply::Summarize(_) => StateReply::Summarize(Err(error)),
        }
    }
}

//! Why the coordinator refuses. Kafka's names; the broker maps them to wire codes in one place.

use thiserror::Error;

/// A refusal, by Kafka's name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // the names are Kafka's, the texts say the rest
pub enum GroupError {
    #[error("the group id is empty")]
    InvalidGroupId,
    #[error("the session timeout is outside the allowed range")]
    InvalidSessionTimeout,
    #[error("the group speaks another protocol")]
    InconsistentGroupProtocol,
    #[error("join again with the member id of this reply")]
    MemberIdRequired,
    #[error("the group does not know this member")]
    UnknownMemberId,
    #[error("another member took this instance id")]
    FencedInstanceId,
    #[error("the group is of another generation")]
    IllegalGeneration,
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    #[error("the group has its maximum of members")]
    GroupMaxSizeReached,
    #[error("there is no such group")]
    GroupIdNotFound,
    #[error("the group has members")]
    NonEmptyGroup,
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("the member is of another epoch: it must join again, without partitions")]
    FencedMemberEpoch,
    #[error("the member is of another epoch")]
    StaleMemberEpoch,
    #[error("another member has this instance id: it must leave first")]
    UnreleasedInstanceId,
    #[error("there is no such assignor; there are uniform and range")]
    UnsupportedAssignor,
    #[error("the topology of the streams application makes no sense")]
    StreamsInvalidTopology,
    #[error("the regular expression is not one of RE2's syntax")]
    InvalidRegularExpression,
    #[error("the group needs a later version of the request, or a feature that is not finalized yet")]
    UnsupportedVersion,
    #[error("the coordinator cannot serve now")]
    CoordinatorNotAvailable,
    #[error("the coordinator is still loading")]
    CoordinatorLoadInProgress,
    #[error("the coordinator is another broker")]
    NotCoordinator,
    #[error("the coordinator failed to store the records")]
    UnknownServerError,
}

/// Why records could not be made durable. What the client hears differs: see [`GroupError::from`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum GroupAppendError {
    /// No such partition, or too few replicas: somebody may serve soon.
    #[error("the records cannot be committed now")]
    NotCommitted,
    /// This broker does not lead the partition, or its disk failed: another broker will serve.
    #[error("the partition is not led here")]
    NotLeader,
    /// The batch is larger than the partition allows.
    #[error("the records are too large")]
    TooLarge,
}

impl From<GroupAppendError> for GroupError {
    fn from(error: GroupAppendError) -> Self {
        match error {
            GroupAppendError::NotCommitted => GroupError::CoordinatorNotAvailable,
            GroupAppendError::NotLeader => GroupError::NotCoordinator,
            GroupAppendError::TooLarge => GroupError::UnknownServerError,
        }
    }
}

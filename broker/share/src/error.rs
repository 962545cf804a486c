//! Why something is refused or fails, and the only mapping of that to Kafka's error codes.

use ottla_wire::ErrorCode;
use thiserror::Error;

use crate::ids::Offset;

/// Why an acknowledgement changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AcknowledgeError {
    /// 42. Offsets out of order, wrong acknowledge types, or offsets that were never acquired.
    #[error("the acknowledgement contradicts itself, or names records that were never acquired")]
    InvalidRequest,
    /// 121. Also while the member's previous acknowledgement of the record is being persisted.
    #[error("a record is not acquired by this member, or its acknowledgement is under way, or may not be renewed")]
    InvalidRecordState,
}

impl AcknowledgeError {
    /// The code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            AcknowledgeError::InvalidRequest => ErrorCode::INVALID_REQUEST,
            AcknowledgeError::InvalidRecordState => ErrorCode::INVALID_RECORD_STATE,
        }
    }
}

/// Why what the persister has read can not be a share partition's state. The client hears −1, as from Kafka.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LoadError {
    /// The start is negative: the caller has to choose one first.
    #[error("the share partition has no start offset")]
    NoStart,
    /// A batch ends before it starts, starts before the start or within the batch before it, or has a negative count.
    #[error("the batch of states at offset {0} is out of order")]
    OutOfOrder(Offset),
    /// A number that stands for no state.
    #[error("{0} is not the number of a delivery state")]
    UnknownState(i8),
}

/// Why the persister has not read or written, as far as a client or the leader has to distinguish it
/// (`SharePartition.fetchPersisterError`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PersisterError {
    /// The share coordinator moves or loads. The client hears 15 and repeats.
    #[error("the share coordinator is not available")]
    CoordinatorNotAvailable,
    /// The group was deleted.
    #[error("the share group does not exist")]
    GroupIdNotFound,
    /// The topic was deleted, or its state was.
    #[error("the share coordinator does not know the share partition")]
    UnknownTopicOrPartition,
    /// Another broker leads by now, or an administrator has altered the offsets. The client hears 6.
    #[error("the share partition's leader or state has a newer epoch")]
    Fenced,
    /// Anything else: −1.
    #[error("the share coordinator failed")]
    Unknown,
}

impl From<ErrorCode> for PersisterError {
    /// What the coordinator answered, which is not NONE.
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => PersisterError::CoordinatorNotAvailable,
            ErrorCode::GROUP_ID_NOT_FOUND => PersisterError::GroupIdNotFound,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => PersisterError::UnknownTopicOrPartition,
            ErrorCode::FENCED_LEADER_EPOCH | ErrorCode::FENCED_STATE_EPOCH => PersisterError::Fenced,
            _ => PersisterError::Unknown,
        }
    }
}

impl PersisterError {
    /// The code that the client gets for the partition.
    pub fn code(self) -> ErrorCode {
        match self {
            PersisterError::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            PersisterError::GroupIdNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
            PersisterError::UnknownTopicOrPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            PersisterError::Fenced => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            PersisterError::Unknown => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }

    /// Whether the leader's memory is worth nothing any more: the host drops the share partition, and the next fetch
    /// reads it again (`SharePartitionManager.fencedSharePartitionHandler`).
    pub fn drops_share_partition(self) -> bool {
        match self {
            PersisterError::GroupIdNotFound | PersisterError::UnknownTopicOrPartition | PersisterError::Fenced => true,
            PersisterError::CoordinatorNotAvailable | PersisterError::Unknown => false,
        }
    }
}

/// Why a share session does not go along with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SessionError {
    /// 42. A request that opens a session acknowledges nothing.
    #[error("the first request of a share session has acknowledgements")]
    InvalidRequest,
    /// 122. The client opens another one.
    #[error("the share session is not known")]
    ShareSessionNotFound,
    /// 123. The client opens another one.
    #[error("the share session is at another epoch")]
    InvalidShareSessionEpoch,
    /// 133. The client repeats the request after a pause; the host may hold the answer for the fetch's longest wait.
    #[error("the broker has as many share sessions as it may have")]
    ShareSessionLimitReached,
}

impl SessionError {
    /// The code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            SessionError::InvalidRequest => ErrorCode::INVALID_REQUEST,
            SessionError::ShareSessionNotFound => ErrorCode::SHARE_SESSION_NOT_FOUND,
            SessionError::InvalidShareSessionEpoch => ErrorCode::INVALID_SHARE_SESSION_EPOCH,
            SessionError::ShareSessionLimitReached => ErrorCode::SHARE_SESSION_LIMIT_REACHED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_kafkas_codes() {
        assert_eq!(AcknowledgeError::InvalidRequest.code(), ErrorCode(42));
        assert_eq!(AcknowledgeError::InvalidRecordState.code(), ErrorCode(121));
        assert_eq!(SessionError::InvalidRequest.code(), ErrorCode(42));
        assert_eq!(SessionError::ShareSessionNotFound.code(), ErrorCode(122));
        assert_eq!(SessionError::InvalidShareSessionEpoch.code(), ErrorCode(123));
        assert_eq!(SessionError::ShareSessionLimitReached.code(), ErrorCode(133));
    }

    #[test]
    fn the_persisters_errors_reach_the_client_as_kafka_maps_them() {
        // What the coordinator answers, what the client hears, whether the share partition is dropped.
        let cases = [
            (14, 15, false),
            (15, 15, false),
            (16, 15, false),
            (69, 69, true),
            (3, 3, true),
            (74, 6, true),
            (124, 6, true),
            (35, -1, false),
            (58, -1, false),
            (13, -1, false),
        ];
        for (answer, code, dropped) in cases {
            let error = PersisterError::from(ErrorCode(answer));
            assert_eq!((error.code(), error.drops_share_partition()), (ErrorCode(code), dropped), "{answer}");
        }
    }
}

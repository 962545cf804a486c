//! Refusals of share coordinators as codes, and back.

use ottla_group::share_state::StateError;
use ottla_wire::ErrorCode;

use crate::coordinator::machine::CoordinatorError;

/// The code on the wire.
pub(crate) fn code(error: StateError) -> ErrorCode {
    match error {
        StateError::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
        StateError::FencedLeaderEpoch => ErrorCode::FENCED_LEADER_EPOCH,
        StateError::FencedStateEpoch => ErrorCode::FENCED_STATE_EPOCH,
        StateError::UnknownTopicOrPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        StateError::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        StateError::CoordinatorLoadInProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        StateError::NotCoordinator => ErrorCode::NOT_COORDINATOR,
        StateError::ClusterAuthorizationFailed => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        StateError::UnknownServerError => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

/// What another broker has answered, which is not NONE.
pub(crate) fn error(code: ErrorCode) -> StateError {
    match code {
        ErrorCode::INVALID_REQUEST => StateError::InvalidRequest("the share coordinator refuses the request"),
        ErrorCode::FENCED_LEADER_EPOCH => StateError::FencedLeaderEpoch,
        ErrorCode::FENCED_STATE_EPOCH => StateError::FencedStateEpoch,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => StateError::UnknownTopicOrPartition,
        ErrorCode::COORDINATOR_NOT_AVAILABLE => StateError::CoordinatorNotAvailable,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => StateError::CoordinatorLoadInProgress,
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => StateError::ClusterAuthorizationFailed,
        ErrorCode::NOT_COORDINATOR => StateError::NotCoordinator,
        _ => StateError::UnknownServerError,
    }
}

impl From<CoordinatorError> for StateError {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::LoadInProgress => StateError::CoordinatorLoadInProgress,
            CoordinatorError::NotCoordinator => StateError::NotCoordinator,
        }
    }
}

//! Errors of the rooms below as Kafka's codes: the only mapping.

use ottla_batch::{BatchError, InvalidBatch, RecordsError};
use ottla_group::GroupError;
use ottla_group::share_state::StateError;
use ottla_log::ProducerError;
use ottla_wire::{ErrorCode, Str};

use super::records::produce::ProduceError;
use super::records::transactional;
use crate::replica::NotServed;
use crate::replica::partition::deleting::DeleteError;
use crate::replica::partition::reading::ReadError;
use crate::replica::partition::{AppendError, NotAcknowledged};
use crate::share::ShareError;
use crate::share_state::codes;
use crate::transactions::verifier::VerifyError;

impl From<&NotServed> for ErrorCode {
    fn from(error: &NotServed) -> ErrorCode {
        match error {
            NotServed::UnknownTopicOrPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            NotServed::UnknownTopicId => ErrorCode::UNKNOWN_TOPIC_ID,
            NotServed::Denied => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            NotServed::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            NotServed::FencedLeaderEpoch => ErrorCode::FENCED_LEADER_EPOCH,
            NotServed::UnknownLeaderEpoch => ErrorCode::UNKNOWN_LEADER_EPOCH,
            NotServed::Storage => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<&ReadError> for ErrorCode {
    fn from(error: &ReadError) -> ErrorCode {
        match error {
            ReadError::NotServed(error) => error.into(),
            ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::NotAvailable => ErrorCode::OFFSET_NOT_AVAILABLE,
            ReadError::Log(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<&DeleteError> for ErrorCode {
    fn from(error: &DeleteError) -> ErrorCode {
        match error {
            DeleteError::NotServed(error) => error.into(),
            DeleteError::Policy => ErrorCode::POLICY_VIOLATION,
            DeleteError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            DeleteError::TimedOut { .. } => ErrorCode::REQUEST_TIMED_OUT,
        }
    }
}

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> ErrorCode {
        match error {
            AppendError::NotServed(error) => error.into(),
            AppendError::Invalid(error) => invalid_batch(error),
            AppendError::Producer(error) => producer_error(error),
            AppendError::GapAfterElection => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            AppendError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
            AppendError::NotEnoughReplicas => ErrorCode::NOT_ENOUGH_REPLICAS,
            AppendError::Log(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

fn producer_error(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ProducerError::StaleEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        ProducerError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        ProducerError::NotTransactional { .. } | ProducerError::NotVerified { .. } => ErrorCode::INVALID_TXN_STATE,
    }
}

impl From<&NotAcknowledged> for ErrorCode {
    fn from(error: &NotAcknowledged) -> ErrorCode {
        match error {
            NotAcknowledged::NotServed(error) => error.into(),
            NotAcknowledged::NotEnoughReplicas => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            NotAcknowledged::TimedOut => ErrorCode::REQUEST_TIMED_OUT,
        }
    }
}

impl From<&ProduceError> for ErrorCode {
    fn from(error: &ProduceError) -> ErrorCode {
        match error {
            ProduceError::InvalidAcks => ErrorCode::INVALID_REQUIRED_ACKS,
            ProduceError::InternalTopic => ErrorCode::INVALID_TOPIC_EXCEPTION,
            ProduceError::ZstdTooEarly => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            ProduceError::Behind(code) => *code,
            ProduceError::NoTransactionalId | ProduceError::DeniedTransactionalId => {
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            }
            ProduceError::SeveralProducers => ErrorCode::INVALID_PRODUCER_ID_MAPPING,
            ProduceError::Unverified { error, version } => unverified(*error, *version),
            ProduceError::NotServed(error) => error.into(),
            ProduceError::Append(error) => error.into(),
            ProduceError::NotAcknowledged(error) => error.into(),
        }
    }
}

/// What a producer gets that was not verified. Older ones do not know every code of a coordinator.
fn unverified(error: VerifyError, version: i16) -> ErrorCode {
    match error.code() {
        // Of the errors after which a producer sends its batch again, the one after which it asks for no metadata.
        ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::CONCURRENT_TRANSACTIONS if version < transactional::ADDS_FROM => ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::TRANSACTION_ABORTABLE if version < transactional::ABORTABLE_FROM => ErrorCode::INVALID_TXN_STATE,
        code => code,
    }
}

fn invalid_batch(error: &InvalidBatch) -> ErrorCode {
    match error {
        // The client splits it and sends it again, if it can.
        InvalidBatch::TooLarge { .. } | InvalidBatch::Unreadable(RecordsError::TooLarge) => {
            ErrorCode::MESSAGE_TOO_LARGE
        }
        InvalidBatch::Bytes(BatchError::BadMagic(..2) | BatchError::Truncated { .. })
        | InvalidBatch::NoBatch
        | InvalidBatch::SeveralBatches
        | InvalidBatch::BaseOffset(_)
        | InvalidBatch::Count { .. }
        | InvalidBatch::Control
        | InvalidBatch::Sequence { .. }
        | InvalidBatch::Unreadable(
            RecordsError::UnknownCompression(_) | RecordsError::Decompress(_) | RecordsError::Malformed(_),
        )
        | InvalidBatch::Records { timestamp: false, .. } => ErrorCode::INVALID_RECORD,
        InvalidBatch::Bytes(BatchError::BadMagic(2..) | BatchError::BadLength(_) | BatchError::Corrupt { .. }) => {
            ErrorCode::CORRUPT_MESSAGE
        }
        InvalidBatch::Records { timestamp: true, .. } => ErrorCode::INVALID_TIMESTAMP,
        InvalidBatch::UnknownCompression(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
    }
}

/// A coordinator's refusal. (A function, because neither type is of this crate.)
pub(super) fn group_error(error: GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::InconsistentGroupProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::UnknownMemberId => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::FencedInstanceId => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::GroupMaxSizeReached => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::GroupIdNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        GroupError::GroupSubscribedToTopic => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        GroupError::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
        GroupError::FencedMemberEpoch => ErrorCode::FENCED_MEMBER_EPOCH,
        GroupError::StaleMemberEpoch => ErrorCode::STALE_MEMBER_EPOCH,
        GroupError::UnreleasedInstanceId => ErrorCode::UNRELEASED_INSTANCE_ID,
        GroupError::UnsupportedAssignor => ErrorCode::UNSUPPORTED_ASSIGNOR,
        GroupError::StreamsInvalidTopology => ErrorCode::STREAMS_INVALID_TOPOLOGY,
        GroupError::InvalidRegularExpression => ErrorCode::INVALID_REGULAR_EXPRESSION,
        GroupError::UnsupportedVersion => ErrorCode::UNSUPPORTED_VERSION,
        GroupError::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        GroupError::CoordinatorLoadInProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        GroupError::NotCoordinator => ErrorCode::NOT_COORDINATOR,
        GroupError::UnknownServerError => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

/// NONE, or a coordinator's refusal.
pub(super) fn group_result(result: &Result<(), GroupError>) -> ErrorCode {
    result.map_or_else(group_error, |()| ErrorCode::NONE)
}

/// Why a member of a share group gets nothing, or its acknowledgement does not count.
pub(super) fn share_error(error: ShareError) -> ErrorCode {
    match error {
        ShareError::NotServed(error) => ErrorCode::from(&error),
        ShareError::Persister(error) => error.code(),
        ShareError::BadState => ErrorCode::UNKNOWN_SERVER_ERROR,
        ShareError::Acknowledge(error) => error.code(),
        ShareError::NotFetched => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

/// NONE, or a share coordinator's refusal, with its message.
pub(super) fn state_result(result: Result<(), StateError>) -> (ErrorCode, Option<Str>) {
    match result {
        Ok(()) => (ErrorCode::NONE, None),
        Err(error) => (codes::code(error), Some(error.to_string().into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_that_were_not_verified_get_codes_that_they_know() {
        for (error, to_10, to_11, to_12) in [
            (VerifyError::NoCoordinator, 19, 19, 19),
            (VerifyError::NoAnswer, 19, 19, 19),
            (VerifyError::Replaced, 19, 19, 19),
            (VerifyError::Full, 19, 19, 19),
            (VerifyError::Fenced, 47, 47, 47),
            (VerifyError::Refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), 19, 19, 19),
            (VerifyError::Refused(ErrorCode::NOT_COORDINATOR), 19, 19, 19),
            (VerifyError::Refused(ErrorCode::INVALID_TXN_STATE), 48, 48, 48),
            (VerifyError::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING), 49, 49, 49),
            (VerifyError::Refused(ErrorCode::CONCURRENT_TRANSACTIONS), 19, 19, 51),
            (VerifyError::Refused(ErrorCode::PRODUCER_FENCED), 47, 47, 47),
            (VerifyError::Refused(ErrorCode::TRANSACTION_ABORTABLE), 48, 120, 120),
        ] {
            let codes = [10, 11, 12].map(|version| ErrorCode::from(&ProduceError::Unverified { error, version }).0);
            assert_eq!(codes, [to_10, to_11, to_12], "{error:?}");
        }
    }
}

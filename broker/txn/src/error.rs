//! Why the coordinator refuses, and the only mapping of that to Kafka's error codes.

use ottla_wire::ErrorCode;
use thiserror::Error;

/// A refusal, by Kafka's name for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum TxnError {
    /// 14. Also when no fresh producer id is at hand, as in Kafka.
    #[error("the coordinator is still loading")]
    CoordinatorLoadInProgress,
    /// 15. The change could not be committed, or not in time; in the second case it may still be.
    #[error("the coordinator cannot commit the change now")]
    CoordinatorNotAvailable,
    /// 16.
    #[error("the coordinator is another broker")]
    NotCoordinator,
    /// 42.
    #[error("the request contradicts itself, or names no transactional id")]
    InvalidRequest,
    /// 48.
    #[error("the transaction is not in a state that allows this")]
    InvalidTxnState,
    /// 49.
    #[error("the transactional id belongs to another producer id")]
    InvalidProducerIdMapping,
    /// 50.
    #[error("the transaction timeout is not positive, or longer than the broker allows")]
    InvalidTransactionTimeout,
    /// 51. The client repeats the request after a pause.
    #[error("another change of the same transactional id is under way")]
    ConcurrentTransactions,
    /// 90, or 47 for a client that does not know 90: see [`TxnError::code_for_old_client`].
    #[error("a newer producer with the same transactional id has taken over")]
    ProducerFenced,
    /// 105. To DescribeTransactions only.
    #[error("there is no such transactional id")]
    TransactionalIdNotFound,
    /// 120. To a verification only: the partition is not in the transaction.
    #[error("the partition was not added to the transaction; abort it")]
    TransactionAbortable,
    /// −1.
    #[error("the coordinator failed to store the change")]
    UnknownServerError,
}

impl TxnError {
    /// The code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            TxnError::CoordinatorLoadInProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            TxnError::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            TxnError::NotCoordinator => ErrorCode::NOT_COORDINATOR,
            TxnError::InvalidRequest => ErrorCode::INVALID_REQUEST,
            TxnError::InvalidTxnState => ErrorCode::INVALID_TXN_STATE,
            TxnError::InvalidProducerIdMapping => ErrorCode::INVALID_PRODUCER_ID_MAPPING,
            TxnError::InvalidTransactionTimeout => ErrorCode::INVALID_TRANSACTION_TIMEOUT,
            TxnError::ConcurrentTransactions => ErrorCode::CONCURRENT_TRANSACTIONS,
            TxnError::ProducerFenced => ErrorCode::PRODUCER_FENCED,
            TxnError::TransactionalIdNotFound => ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
            TxnError::TransactionAbortable => ErrorCode::TRANSACTION_ABORTABLE,
            TxnError::UnknownServerError => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }

    /// The code for InitProducerId below version 4, and for AddPartitionsToTxn, AddOffsetsToTxn and EndTxn below
    /// version 2: their clients do not know PRODUCER_FENCED (KIP-588).
    pub fn code_for_old_client(self) -> ErrorCode {
        match self.code() {
            ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
            code => code,
        }
    }
}

/// Why records are not in the log and never will be. What the client hears differs: see [`TxnError::from`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TxnAppendError {
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

impl From<TxnAppendError> for TxnError {
    fn from(error: TxnAppendError) -> Self {
        match error {
            TxnAppendError::NotCommitted => TxnError::CoordinatorNotAvailable,
            TxnAppendError::NotLeader => TxnError::NotCoordinator,
            TxnAppendError::TooLarge => TxnError::UnknownServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_kafkas_codes() {
        let cases = [
            (TxnError::CoordinatorLoadInProgress, 14, 14),
            (TxnError::CoordinatorNotAvailable, 15, 15),
            (TxnError::NotCoordinator, 16, 16),
            (TxnError::InvalidRequest, 42, 42),
            (TxnError::InvalidTxnState, 48, 48),
            (TxnError::InvalidProducerIdMapping, 49, 49),
            (TxnError::InvalidTransactionTimeout, 50, 50),
            (TxnError::ConcurrentTransactions, 51, 51),
            (TxnError::ProducerFenced, 90, 47),
            (TxnError::TransactionalIdNotFound, 105, 105),
            (TxnError::TransactionAbortable, 120, 120),
            (TxnError::UnknownServerError, -1, -1),
        ];
        for (error, code, for_old_client) in cases {
            assert_eq!((error.code(), error.code_for_old_client()), (ErrorCode(code), ErrorCode(for_old_client)));
        }
    }
}

//! What a coordinator is asked, and what comes of it.

use std::time::Duration;

use ottla_txn::{ProducerIdAndEpoch, TopicPartition, TransactionalId, TxnError};
use ottla_wire::ErrorCode;

/// How long a coordinator may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The partitions of one transaction that are about to get their first batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whose transaction.
    pub transactional_id: TransactionalId,
    /// Who writes.
    pub producer: ProducerIdAndEpoch,
    /// Where to.
    pub partitions: Vec<TopicPartition>,
    /// What to ask for.
    pub kind: VerificationKind,
}

/// What a coordinator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationKind {
    /// Whether the client has added the partitions.
    Verify,
    /// To add the partitions: the client does not (`transaction.version` 2).
    Add,
}

/// Why a partition was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Nobody coordinates the id now.
    #[error("the transactional id has no coordinator now")]
    NoCoordinator,
    /// No connection, or no answer within the time-out.
    #[error("the transaction coordinator did not answer")]
    NoAnswer,
    /// The producer came again, before its coordinator was asked. The later request is the one that counts.
    #[error("a later request of the same producer took its place")]
    Replaced,
    /// A request of a newer epoch of the producer waits, or came before the coordinator was asked.
    #[error("a newer epoch of the producer is being verified")]
    Fenced,
    /// Too many ids wait for this coordinator.
    #[error("too many verifications wait for the transaction coordinator")]
    Full,
    /// The coordinator's own answer.
    #[error("the transaction coordinator refused: {0:?}")]
    Refused(ErrorCode),
}

impl VerifyError {
    /// The code, as Kafka's `AddPartitionsToTxnManager` gives it to those who asked. What their clients get for it is
    /// for them to decide.
    pub fn code(self) -> ErrorCode {
        match self {
            VerifyError::NoCoordinator => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            VerifyError::NoAnswer | VerifyError::Replaced | VerifyError::Full => ErrorCode::NETWORK_EXCEPTION,
            // Producers expect this one.
            VerifyError::Fenced | VerifyError::Refused(ErrorCode::PRODUCER_FENCED) => ErrorCode::INVALID_PRODUCER_EPOCH,
            // It says that this broker may not ask, which is no business of the client's.
            VerifyError::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) => ErrorCode::INVALID_TXN_STATE,
            VerifyError::Refused(code) => code,
        }
    }
}

impl From<TxnError> for VerifyError {
    fn from(error: TxnError) -> VerifyError {
        VerifyError::Refused(error.code())
    }
}

/// One result for each partition of a verification, in its order.
pub(crate) type Results = Vec<Result<(), VerifyError>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_refusals_have_kafkas_codes() {
        for (error, code) in [
            (VerifyError::NoCoordinator, ErrorCode::COORDINATOR_NOT_AVAILABLE),
            (VerifyError::NoAnswer, ErrorCode::NETWORK_EXCEPTION),
            (VerifyError::Replaced, ErrorCode::NETWORK_EXCEPTION),
            (VerifyError::Full, ErrorCode::NETWORK_EXCEPTION),
            (VerifyError::Fenced, ErrorCode::INVALID_PRODUCER_EPOCH),
            (TxnError::ProducerFenced.into(), ErrorCode::INVALID_PRODUCER_EPOCH),
            (TxnError::NotCoordinator.into(), ErrorCode::NOT_COORDINATOR),
            (TxnError::InvalidProducerIdMapping.into(), ErrorCode::INVALID_PRODUCER_ID_MAPPING),
            (TxnError::ConcurrentTransactions.into(), ErrorCode::CONCURRENT_TRANSACTIONS),
            (TxnError::TransactionAbortable.into(), ErrorCode::TRANSACTION_ABORTABLE),
            (VerifyError::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED), ErrorCode::INVALID_TXN_STATE),
        ] {
            assert_eq!(error.code(), code, "{error:?}");
        }
    }
}

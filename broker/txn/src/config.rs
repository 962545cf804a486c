//! What the broker and the cluster decide for the coordinator.

use std::time::Duration;

use crate::transaction::TransactionVersion;

/// The broker's settings, under Kafka's names, and the cluster's version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// `transaction.max.timeout.ms`
    pub max_timeout: Duration,
    /// `transactional.id.expiration.ms`
    pub id_expiration: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub timeout_interval: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval: Duration,
    /// The finalized level of `transaction.version`.
    pub transaction_version: TransactionVersion,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_timeout: Duration::from_secs(15 * 60),
            id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            timeout_interval: Duration::from_secs(10),
            expiry_interval: Duration::from_secs(60 * 60),
            transaction_version: TransactionVersion::V2,
        }
    }
}

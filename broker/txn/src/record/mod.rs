//! What is persisted in `__transaction_state`: typed records, and Kafka's format of them.
//!
//! The layouts are those of Kafka's `TransactionLogKey` and `TransactionLogValue`, so that Kafka's formatters can print
//! our log and we can load Kafka's. One tagged field is Ottla's own; Kafka passes over it.

mod format;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::TransactionalId;
use crate::transaction::{Transaction, TransactionVersion};

/// What a record says of a transactional id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// The id.
    pub transactional_id: TransactionalId,
    /// `None`: a tombstone; the id is not known any longer.
    pub value: Option<Value>,
}

/// A transaction, and how it is written down.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Value {
    /// The format.
    pub version: ValueVersion,
    /// All there is to say of the id.
    pub transaction: Transaction,
}

/// A version of Kafka's `TransactionLogValue`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ValueVersion {
    /// Without tagged fields: nothing of the previous producer id or the last epoch.
    V0,
    /// With tagged fields.
    V1,
}

/// A key and value as they stand in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// The record's key.
    pub key: Bytes,
    /// The record's value; none for a tombstone.
    pub value: Option<Bytes>,
}

/// A text does not fit Kafka's format. To the shard this is [`TxnAppendError::TooLarge`](crate::TxnAppendError).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a field is too long for the record format")]
pub struct TooLong;

/// The bytes are not what their version says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("malformed transaction record")]
pub struct Malformed;

impl Record {
    /// The record of a transaction, in the format that the cluster's version asks for: version 1 from level 1 on, and
    /// below where version 0 would lose what a transaction of V2 needs.
    pub fn of(transactional_id: TransactionalId, transaction: Transaction, cluster: TransactionVersion) -> Self {
        let needs_tags = transaction.next_producer_id.is_some() || transaction.client_version > TransactionVersion::V0;
        let version = if cluster > TransactionVersion::V0 || needs_tags { ValueVersion::V1 } else { ValueVersion::V0 };
        Record { transactional_id, value: Some(Value { version, transaction }) }
    }

    /// The record in Kafka's format.
    ///
    /// # Errors
    /// When a name is longer than the format allows.
    pub fn encode(&self) -> Result<Encoded, TooLong> {
        format::encode(self)
    }

    /// Reads a record. `Ok(None)` is a key or a value of a version that Kafka 4.3 does not know: like Kafka, the
    /// coordinator passes over it.
    ///
    /// # Errors
    /// When the bytes are not what their version says.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
        format::decode(key, value)
    }
}

#[cfg(test)]
mod tests;

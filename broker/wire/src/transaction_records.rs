//! The records of `__transaction_state`, in Kafka's encoding, so that Kafka's own formatters can print them.
//!
//! A key begins with the number of its type; a value begins with its version. A record without a value deletes.
#![warn(missing_docs)]

use crate::codec::{Str, Version, Wire};
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::Encoder;
use bytes::Bytes;
use ottla_wire_derive::Message;

/// Which transactional id a record is about.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct TransactionLogKey {
    /// The transactional id.
    pub transactional_id: Str,
}

/// What is known of a transactional id. Kafka writes version 1 when `transaction.version` is 1 or higher, else 0.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0-1", flexible = "1+")]
pub struct TransactionLogValue {
    /// The producer id in use.
    pub producer_id: i64,
    /// The producer id in use before the last change, or −1.
    #[wire(versions = "1+", tag = 0, default = -1)]
    pub previous_producer_id: i64,
    /// The producer id of the next transaction, or −1 if it stays the same.
    #[wire(versions = "1+", tag = 1, default = -1)]
    pub next_producer_id: i64,
    /// The epoch of `producer_id`.
    pub producer_epoch: i16,
    /// Part of Kafka's format; Kafka 4.3 does not write it.
    #[wire(versions = "1+", tag = 3, default = -1)]
    pub next_producer_epoch: i16,
    /// In milliseconds.
    pub transaction_timeout_ms: i32,
    /// The number of Kafka's `TransactionState`.
    pub transaction_status: i8,
    /// The partitions of the transaction; null in the state Empty.
    #[wire(nullable)]
    pub transaction_partitions: Option<Vec<PartitionsSchema>>,
    /// Wall clock of the last change.
    pub transaction_last_update_timestamp_ms: i64,
    /// Wall clock of the transaction's start, or −1.
    pub transaction_start_timestamp_ms: i64,
    /// The `transaction.version` that the client uses.
    #[wire(versions = "1+", tag = 2)]
    pub client_transaction_version: i16,
    /// Ottla's own, far from Kafka's tags, which count from 0: the epoch that the producer had before its last bump, or
    /// −1. Kafka keeps it in memory only (KAFKA-20357).
    #[wire(versions = "1+", tag = 1000, default = -1)]
    pub last_producer_epoch: i16,
}

/// Partitions of one topic in a [`TransactionLogValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionsSchema {
    /// The topic's name.
    pub topic: Str,
    /// The partitions' numbers.
    pub partition_ids: Vec<i32>,
}

const TRANSACTION_LOG: i16 = 0;
const KEY_VERSION: Version = Version { number: 0, flexible: false };

impl TransactionLogKey {
    /// The key's bytes.
    pub fn to_bytes(&self) -> Bytes {
        Encoder::contiguous(|encoder| {
            encoder.i16(TRANSACTION_LOG);
            self.encode(encoder, KEY_VERSION);
        })
    }

    /// Reads a record's key. `Ok(None)` is a type of record that Kafka 4.3 does not know.
    pub fn from_bytes(bytes: Bytes) -> Result<Option<Self>, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        match decoder.i16()? {
            TRANSACTION_LOG => Self::decode(&mut decoder, KEY_VERSION).map(Some),
            _ => Ok(None),
        }
    }
}

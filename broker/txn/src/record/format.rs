//! Typed records as the wire's messages, and back.
//!
//! What is read is copied: a shard keeps it long after the piece of log that it stood in.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::Str;
use ottla_wire::coordinator_records::{decode_value, encode_value};
use ottla_wire::decoder::DecodeError;
use ottla_wire::transaction_records::{PartitionsSchema, TransactionLogKey, TransactionLogValue};

use super::{Encoded, Malformed, Record, TooLong, Value, ValueVersion};
use crate::ids::TopicPartition;
use crate::transaction::{Transaction, TransactionResult, TransactionState, TransactionVersion};

/// Stands for no producer id, no epoch and no time.
const NONE: i8 = -1;
/// Kafka's state of an id that is being removed. Kafka does not write it; what it would mean is a tombstone.
const DEAD: i8 = 6;

pub(super) fn encode(record: &Record) -> Result<Encoded, TooLong> {
    let key = TransactionLogKey { transactional_id: text(&record.transactional_id)? };
    Ok(Encoded { key: key.to_bytes(), value: record.value.as_ref().map(encode_transaction).transpose()? })
}

fn encode_transaction(value: &Value) -> Result<Bytes, TooLong> {
    let Value { version, transaction } = value;
    let Transaction {
        producer_id,
        producer_epoch,
        previous_producer_id,
        next_producer_id,
        last_producer_epoch,
        timeout_ms,
        state,
        partitions,
        start_ms,
        last_update_ms,
        client_version,
    } = transaction;
    let message = TransactionLogValue {
        producer_id: *producer_id,
        previous_producer_id: previous_producer_id.unwrap_or(NONE.into()),
        next_producer_id: next_producer_id.unwrap_or(NONE.into()),
        producer_epoch: *producer_epoch,
        next_producer_epoch: NONE.into(),
        transaction_timeout_ms: *timeout_ms,
        transaction_status: status(*state),
        transaction_partitions: match state {
            TransactionState::Empty => None,
            TransactionState::Ongoing | TransactionState::Prepare(_) | TransactionState::Complete(_) => {
                Some(by_topic(partitions)?)
            }
        },
        transaction_last_update_timestamp_ms: *last_update_ms,
        transaction_start_timestamp_ms: start_ms.unwrap_or(NONE.into()),
        client_transaction_version: client_version.level(),
        last_producer_epoch: last_producer_epoch.unwrap_or(NONE.into()),
    };
    let version = match version {
        ValueVersion::V0 => 0,
        ValueVersion::V1 => 1,
    };
    Ok(encode_value(version, &message))
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Result<Vec<PartitionsSchema>, TooLong> {
    let mut topics: Vec<PartitionsSchema> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.last_mut().filter(|last| *last.topic == **topic) {
            Some(last) => last.partition_ids.push(*partition),
            None => topics.push(PartitionsSchema { topic: text(topic)?, partition_ids: vec![*partition] }),
        }
    }
    Ok(topics)
}

/// The wire would cut what is too long for a string: two ids could become one.
fn text(text: &str) -> Result<Str, TooLong> {
    if text.len() > i16::MAX as usize { Err(TooLong) } else { Ok(Str::from(text)) }
}

pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
    let Some(key) = TransactionLogKey::from_bytes(Bytes::copy_from_slice(key))? else { return Ok(None) };
    let transactional_id = (&*key.transactional_id).into();
    let Some(value) = value else { return Ok(Some(Record { transactional_id, value: None })) };
    let version = match value {
        [0, 0, ..] => ValueVersion::V0,
        [0, 1, ..] => ValueVersion::V1,
        [_, _, ..] => return Ok(None),
        _ => return Err(Malformed),
    };
    let message: TransactionLogValue = decode_value(Bytes::copy_from_slice(value))?;
    let value = match message.transaction_status {
        DEAD => None,
        _ => Some(Value { version, transaction: decode_transaction(message)? }),
    };
    Ok(Some(Record { transactional_id, value }))
}

fn decode_transaction(message: TransactionLogValue) -> Result<Transaction, Malformed> {
    let state = state(message.transaction_status)?;
    let topics = match state {
        TransactionState::Empty => Vec::new(),
        TransactionState::Ongoing | TransactionState::Prepare(_) | TransactionState::Complete(_) => {
            message.transaction_partitions.ok_or(Malformed)?
        }
    };
    let partitions = topics.iter().flat_map(|PartitionsSchema { topic, partition_ids }| {
        partition_ids.iter().map(|partition| TopicPartition { topic: (&**topic).into(), partition: *partition })
    });
    Ok(Transaction {
        producer_id: message.producer_id,
        producer_epoch: message.producer_epoch,
        previous_producer_id: known(message.previous_producer_id),
        next_producer_id: known(message.next_producer_id),
        last_producer_epoch: known(message.last_producer_epoch),
        timeout_ms: message.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        start_ms: known(message.transaction_start_timestamp_ms),
        last_update_ms: message.transaction_last_update_timestamp_ms,
        client_version: TransactionVersion::from_level(message.client_transaction_version).ok_or(Malformed)?,
    })
}

fn status(state: TransactionState) -> i8 {
    match state {
        TransactionState::Empty => 0,
        TransactionState::Ongoing => 1,
        TransactionState::Prepare(TransactionResult::Commit) => 2,
        TransactionState::Prepare(TransactionResult::Abort) => 3,
        TransactionState::Complete(TransactionResult::Commit) => 4,
        TransactionState::Complete(TransactionResult::Abort) => 5,
    }
}

fn state(number: i8) -> Result<TransactionState, Malformed> {
    TransactionState::ALL.into_iter().find(|state| status(*state) == number).ok_or(Malformed)
}

/// −1 stands for none.
fn known<T: From<i8> + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != NONE.into())
}

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Malformed
    }
}

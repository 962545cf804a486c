//! What is persisted in `__share_group_state`: typed records, and Kafka's format of them.

use bytes::Bytes;
use ottla_wire::Str;
use ottla_wire::coordinator_records::{decode_value, encode_value};
use ottla_wire::decoder::DecodeError;
use ottla_wire::m84_read_share_group_state as wire;
use ottla_wire::share_state_records::{SharePartitionKey, ShareSnapshotValue, ShareStateKey, ShareUpdateValue};
use thiserror::Error;

use super::batches::StateBatch;
use super::request::SharePartition;
use super::state::ShareGroupState;

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What it is about.
    pub partition: SharePartition,
    /// What it says.
    pub value: Value,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// All there is.
    Snapshot(ShareGroupState),
    /// What has changed.
    Update(Update),
    /// The state is deleted: a snapshot without a value.
    Deleted,
}

/// What has changed since the record before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Of the snapshot before.
    pub snapshot_epoch: i32,
    /// Of the leader that reads and writes; −1 if it has not changed.
    pub leader_epoch: i32,
    /// −1 if it has not changed.
    pub start_offset: i64,
    /// −1 if unknown.
    pub delivery_complete_count: i32,
    /// Sorted by offset, without overlaps.
    pub batches: Vec<StateBatch>,
}

/// Key and value of a record, as the log has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// The key.
    pub key: Bytes,
    /// `None`: a tombstone.
    pub value: Option<Bytes>,
}

/// The group's id is longer than the format allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the id of the group is too long for a record")]
pub struct TooLong;

/// The bytes are no record of `__share_group_state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not a record of share groups' state")]
pub struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Malformed
    }
}

/// The only version of both values.
const VERSION: i16 = 0;

impl Record {
    /// Kafka's format of it.
    ///
    /// # Errors
    /// When the format has no room for the group's id.
    pub fn encode(&self) -> Result<Encoded, TooLong> {
        let SharePartition { group, topic_id, partition } = &self.partition;
        if group.len() > i16::MAX as usize {
            return Err(TooLong);
        }
        let key = SharePartitionKey { group: Str::from(&**group), topic_id: *topic_id, partition: *partition };
        let (key, value) = match &self.value {
            Value::Snapshot(state) => (ShareStateKey::Snapshot(key), Some(encode_snapshot(state))),
            Value::Update(update) => (ShareStateKey::Update(key), Some(encode_update(update))),
            Value::Deleted => (ShareStateKey::Snapshot(key), None),
        };
        Ok(Encoded { key: key.to_bytes(), value })
    }

    /// Reads a record. `Ok(None)` is one that this version does not know, or that says nothing.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
        let Some(key) = ShareStateKey::from_bytes(Bytes::copy_from_slice(key))? else { return Ok(None) };
        if value.is_some_and(|value| !value.starts_with(&VERSION.to_be_bytes())) {
            return Ok(None);
        }
        let value = value.map(Bytes::copy_from_slice);
        let (key, value) = match (key, value) {
            (ShareStateKey::Snapshot(key), Some(value)) => (key, Value::Snapshot(decode_snapshot(value)?)),
            (ShareStateKey::Snapshot(key), None) => (key, Value::Deleted),
            (ShareStateKey::Update(key), Some(value)) => (key, Value::Update(decode_update(value)?)),
            (ShareStateKey::Update(_), None) => return Ok(None),
        };
        let SharePartitionKey { group, topic_id, partition } = key;
        Ok(Some(Record { partition: SharePartition { group: (&*group).into(), topic_id, partition }, value }))
    }

    /// How many bytes it takes, about.
    pub(super) fn bytes(&self) -> usize {
        const BATCH: usize = 20;
        const REST: usize = 100;
        let batches = match &self.value {
            Value::Snapshot(state) => state.batches.len(),
            Value::Update(update) => update.batches.len(),
            Value::Deleted => 0,
        };
        self.partition.group.len() + batches * BATCH + REST
    }
}

fn encode_snapshot(state: &ShareGroupState) -> Bytes {
    let value = ShareSnapshotValue {
        snapshot_epoch: state.snapshot_epoch,
        state_epoch: state.state_epoch,
        leader_epoch: state.leader_epoch,
        start_offset: state.start_offset,
        delivery_complete_count: state.delivery_complete_count,
        create_timestamp: state.created_ms,
        write_timestamp: state.written_ms,
        state_batches: encode_batches(&state.batches),
    };
    encode_value(VERSION, &value)
}

fn encode_update(update: &Update) -> Bytes {
    let value = ShareUpdateValue {
        snapshot_epoch: update.snapshot_epoch,
        leader_epoch: update.leader_epoch,
        start_offset: update.start_offset,
        delivery_complete_count: update.delivery_complete_count,
        state_batches: encode_batches(&update.batches),
    };
    encode_value(VERSION, &value)
}

fn encode_batches(batches: &[StateBatch]) -> Vec<wire::StateBatch> {
    let encode = |batch: &StateBatch| wire::StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
    };
    batches.iter().map(encode).collect()
}

fn decode_snapshot(value: Bytes) -> Result<ShareGroupState, Malformed> {
    let value: ShareSnapshotValue = decode_value(value)?;
    Ok(ShareGroupState {
        snapshot_epoch: value.snapshot_epoch,
        state_epoch: value.state_epoch,
        leader_epoch: value.leader_epoch,
        start_offset: value.start_offset,
        delivery_complete_count: value.delivery_complete_count,
        created_ms: value.create_timestamp,
        written_ms: value.write_timestamp,
        batches: decode_batches(&value.state_batches),
    })
}

fn decode_update(value: Bytes) -> Result<Update, Malformed> {
    let value: ShareUpdateValue = decode_value(value)?;
    Ok(Update {
        snapshot_epoch: value.snapshot_epoch,
        leader_epoch: value.leader_epoch,
        start_offset: value.start_offset,
        delivery_complete_count: value.delivery_complete_count,
        batches: decode_batches(&value.state_batches),
    })
}

fn decode_batches(batches: &[wire::StateBatch]) -> Vec<StateBatch> {
    let decode = |batch: &wire::StateBatch| StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_count: batch.delivery_count,
        delivery_state: batch.delivery_state,
    };
    batches.iter().map(decode).collect()
}

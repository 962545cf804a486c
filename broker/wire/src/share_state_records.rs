//! The records of `__share_group_state`, in Kafka's encoding, so that Kafka's own formatters can print them (KIP-932).
//!
//! A key begins with the number of its type; a value begins with its version. A snapshot without a value deletes.
#![warn(missing_docs)]

use crate::codec::{Str, Version, Wire};
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::Encoder;
use crate::m84_read_share_group_state::StateBatch;
use bytes::Bytes;
use ottla_wire_derive::Message;
use uuid::Uuid;

/// What a record of `__share_group_state` is.
#[derive(Clone, Debug, PartialEq)]
pub enum ShareStateKey {
    /// Its value is a [`ShareSnapshotValue`].
    Snapshot(SharePartitionKey),
    /// Its value is a [`ShareUpdateValue`].
    Update(SharePartitionKey),
}

/// A partition whose records a group shares.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct SharePartitionKey {
    /// The share group.
    pub group: Str,
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// All that is known of a partition.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareSnapshotValue {
    /// Grows with each snapshot.
    pub snapshot_epoch: i32,
    /// Grows each time the partition is initialised.
    pub state_epoch: i32,
    /// Of the partition's leader.
    pub leader_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
    /// How many records from the start offset on are done with; −1 if unknown (KIP-1226).
    #[wire(versions = "0+", tag = 0, default = -1)]
    pub delivery_complete_count: i32,
    /// Wall clock of the first snapshot with this state, in milliseconds.
    pub create_timestamp: i64,
    /// Wall clock of this snapshot, in milliseconds.
    pub write_timestamp: i64,
    /// Sorted by offset.
    pub state_batches: Vec<StateBatch>,
}

/// What has changed since the last snapshot or update.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareUpdateValue {
    /// Of the snapshot before.
    pub snapshot_epoch: i32,
    /// Of the partition's leader.
    pub leader_epoch: i32,
    /// As in [`ShareSnapshotValue`]; −1 if it has not changed.
    pub start_offset: i64,
    /// As in [`ShareSnapshotValue`].
    #[wire(versions = "0+", tag = 0, default = -1)]
    pub delivery_complete_count: i32,
    /// Sorted by offset.
    pub state_batches: Vec<StateBatch>,
}

const SHARE_SNAPSHOT: i16 = 0;
const SHARE_UPDATE: i16 = 1;
const KEY_VERSION: Version = Version { number: 0, flexible: false };

impl ShareStateKey {
    /// The key's bytes.
    pub fn to_bytes(&self) -> Bytes {
        let (number, key) = match self {
            Self::Snapshot(key) => (SHARE_SNAPSHOT, key),
            Self::Update(key) => (SHARE_UPDATE, key),
        };
        Encoder::contiguous(|encoder| {
            encoder.i16(number);
            key.encode(encoder, KEY_VERSION);
        })
    }

    /// Reads a record's key. `Ok(None)` is a type of record that Kafka 4.3 does not know.
    ///
    /// # Errors
    /// When the bytes are no key.
    pub fn from_bytes(bytes: Bytes) -> Result<Option<Self>, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        match decoder.i16()? {
            SHARE_SNAPSHOT => SharePartitionKey::decode(&mut decoder, KEY_VERSION).map(|key| Some(Self::Snapshot(key))),
            SHARE_UPDATE => SharePartitionKey::decode(&mut decoder, KEY_VERSION).map(|key| Some(Self::Update(key))),
            _ => Ok(None),
        }
    }
}

//! From what groups decide to the log, and what becomes of it.

use ottla_batch::{Batch, BatchBuilder, Codec, InvalidBatch, NewRecord};
use ottla_group::record::{Encoded, TooLong};
use ottla_group::{AppendError, Record};

use crate::replica::NotServed;
use crate::replica::partition::{self, Appended, Partition};

/// Appends records as one batch: all of them are in the log, or none. Only in the epoch in which the groups were
/// loaded.
///
/// # Errors
/// Why not, as groups need to know it.
pub fn append(
    partition: &Partition,
    leader_epoch: i32,
    records: &[Record],
    now_ms: i64,
) -> Result<Appended, AppendError> {
    let batch = batch(records, now_ms).map_err(|TooLong| AppendError::TooLarge)?;
    partition.append_own(&batch, leader_epoch, now_ms).map_err(|error| fate(&error))
}

fn batch(records: &[Record], now_ms: i64) -> Result<Batch, TooLong> {
    let mut builder = BatchBuilder::new(Codec::None);
    for record in records {
        let Encoded { key, value } = record.encode()?;
        builder.push(NewRecord { timestamp: now_ms, key: Some(&key), value: value.as_deref(), headers: &[] });
    }
    Ok(builder.build())
}

/// What an error of the partition means to groups: whether to ask again here, or to look for another coordinator.
fn fate(error: &partition::AppendError) -> AppendError {
    use partition::AppendError as E;
    match error {
        E::NotServed(NotServed::UnknownTopicOrPartition | NotServed::UnknownTopicId) | E::NotEnoughReplicas => {
            AppendError::NotCommitted
        }
        E::NotServed(
            NotServed::NotLeader | NotServed::FencedLeaderEpoch | NotServed::UnknownLeaderEpoch | NotServed::Storage,
        )
        | E::Log(_) => AppendError::NotLeader,
        E::Invalid(InvalidBatch::TooLarge { .. }) | E::LargerThanSegment { .. } => AppendError::TooLarge,
        E::Invalid(_)
        | E::Producer(_)
        | E::NotEnoughReplicasAfterAppend
        | E::TimedOut
        | E::InvalidAcks
        | E::InternalTopic
        | E::ZstdTooEarly
        | E::Behind(_)
        | E::Transactional => unreachable!("a coordinator's batch follows the rules, and nobody waits here: {error}"),
    }
}

//! From what a machine decides to the log.

use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};

use super::machine::AppendError;
use crate::replica::NotServed;
use crate::replica::partition::{self, Appended, Partition};

/// One batch of these keys and values: all of them will be in the log, or none. A record without value is a tombstone.
pub fn batch_of<'a>(records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>, now_ms: i64) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for (key, value) in records {
        builder.push(NewRecord { timestamp: now_ms, key: Some(key), value, headers: &[] });
    }
    builder.build()
}

/// Appends a batch, while this broker leads without a break since the epoch in which the machine was loaded.
///
/// # Errors
/// Why not, as machines need to know it.
pub fn append(partition: &Partition, since_epoch: i32, batch: &Batch, now_ms: i64) -> Result<Appended, AppendError> {
    partition.append_own(batch, since_epoch, now_ms).map_err(|error| cause(&error))
}

/// What an error of the partition means to a machine: whether clients ask again here, or look for another coordinator.
fn cause(error: &partition::AppendError) -> AppendError {
    use partition::AppendError as E;
    match error {
        E::NotServed(NotServed::UnknownTopicOrPartition | NotServed::UnknownTopicId) | E::NotEnoughReplicas => {
            AppendError::NotCommitted
        }
        E::NotServed(
            NotServed::NotLeader | NotServed::FencedLeaderEpoch | NotServed::UnknownLeaderEpoch | NotServed::Storage,
        )
        | E::Log(_) => AppendError::NotLeader,
        E::Invalid(_) | E::LargerThanSegment { .. } | E::Producer(_) | E::GapAfterElection => AppendError::Rejected,
    }
}

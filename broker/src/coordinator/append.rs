//! From what a machine decides to the log.

use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_log::VerificationGuard;

use super::machine::{CoordinatorAppendError, Producer};
use crate::image::LeaderEpoch;
use crate::replica::NotServed;
use crate::replica::partition::{self, Appended, Partition};

/// The sequence of a batch that has none.
const NO_SEQUENCE: i32 = -1;

/// One batch of these keys and values: all of them will be in the log, or none. A record without value is a tombstone.
pub(crate) fn batch_of<'a>(records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>, now_ms: i64) -> Batch {
    build(BatchBuilder::new(Codec::None), records, now_ms)
}

/// The same as part of a producer's transaction. It has no sequence: a coordinator writes for the producer, who numbers
/// only what it sends itself.
pub(crate) fn transactional_batch_of<'a>(
    producer: Producer,
    records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    now_ms: i64,
) -> Batch {
    let builder = BatchBuilder::new(Codec::None).producer(producer.id, producer.epoch, NO_SEQUENCE);
    build(builder.transactional(), records, now_ms)
}

fn build<'a>(
    mut builder: BatchBuilder,
    records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    now_ms: i64,
) -> Batch {
    for (key, value) in records {
        builder.push(NewRecord { timestamp: now_ms, key: Some(key), value, headers: &[] });
    }
    builder.build()
}

/// Appends a batch, while this broker leads without a break since the epoch in which the machine was loaded; a
/// transactional one with the guard of its verification.
///
/// # Errors
/// Why not, as machines need to know it.
pub(super) fn append(
    partition: &Partition,
    since_epoch: LeaderEpoch,
    batch: &Batch,
    guard: Option<VerificationGuard>,
    now_ms: i64,
) -> Result<Appended, CoordinatorAppendError> {
    partition.append_own_verified(batch, since_epoch, guard, now_ms).map_err(|error| cause(&error))
}

/// What an error of the partition means to a machine: whether clients ask again here, or look for another coordinator.
fn cause(error: &partition::AppendError) -> CoordinatorAppendError {
    use partition::AppendError as E;
    match error {
        E::NotServed(NotServed::UnknownTopicOrPartition | NotServed::UnknownTopicId) | E::NotEnoughReplicas => {
            CoordinatorAppendError::NotCommitted
        }
        E::NotServed(
            NotServed::Denied
            | NotServed::NotLeader
            | NotServed::FencedLeaderEpoch
            | NotServed::UnknownLeaderEpoch
            | NotServed::Storage,
        )
        | E::Log(_) => CoordinatorAppendError::NotLeader,
        E::Invalid(_) | E::LargerThanSegment { .. } | E::Producer(_) | E::GapAfterElection => {
            CoordinatorAppendError::Rejected
        }
    }
}

//! From the log to a machine.

use bytes::Bytes;
use ottla_batch::{BadBatch, Batch, BatchHeader, Batches, Marker, RecordsError};

use super::machine::{Machine, Origin, Producer};
use crate::image::LeaderEpoch;
use crate::replica::NotServed;
use crate::replica::partition::reading::ReadError;
use crate::replica::partition::{Appended, Partition};

/// Bytes to read at a time.
const PIECE: usize = 1 << 20;
/// Records of one compressed batch may take this much once decompressed; ours are not compressed.
const MAX_DECOMPRESSED: usize = 64 << 20;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The log, or its disk.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch is not whole.
    #[error(transparent)]
    Batch(#[from] BadBatch),
    /// A batch's records are not what its header says.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<NotServed> for LoadError {
    fn from(error: NotServed) -> LoadError {
        LoadError::Read(error.into())
    }
}

/// Replays the log, and returns what was read. What a leader finds beyond its high watermark may have been acknowledged
/// by the leader before it, and may be lost with this one: the keys of records there are to be shown once all of it is
/// committed.
///
/// # Errors
/// See [`LoadError`].
pub(super) fn replay<M: Machine>(
    machine: &mut M,
    partition: &Partition,
    leader_epoch: LeaderEpoch,
) -> Result<Appended, LoadError> {
    let log = partition.whole_log(leader_epoch)?;
    // It only grows: what is before it now is committed.
    let committed = partition.high_watermark.get();
    let mut offset = log.base_offset;
    while offset < log.end {
        let piece = partition.scan(offset, log.end, leader_epoch, PIECE)?;
        if piece.is_empty() {
            break;
        }
        offset = replay_piece(machine, piece, committed, partition.number)?;
    }
    Ok(log)
}

/// Returns the offset after the last batch.
pub(super) fn replay_piece<M: Machine>(
    machine: &mut M,
    piece: Bytes,
    committed: i64,
    partition: i32,
) -> Result<i64, LoadError> {
    let mut next = 0;
    for batch in Batches::new(piece) {
        let batch = batch?;
        next = batch.header().next_offset();
        let is_committed = next <= committed;
        if batch.header().is_control() {
            replay_control(machine, &batch, is_committed)?;
            continue;
        }
        let BatchHeader { base_offset, .. } = *batch.header();
        let producer = batch.header().is_transactional().then(|| producer(batch.header()));
        for record in batch.records(MAX_DECOMPRESSED)? {
            let record = record?;
            let offset = base_offset + i64::from(record.offset_delta);
            // An administrator's client may write to this topic: one bad record must not take everything with it.
            if let Err(error) = machine.replay(Origin { offset, producer, is_committed }, &record) {
                tracing::error!(topic = M::TOPIC, partition, offset, %error, "passed over a record");
            }
        }
    }
    Ok(next)
}

/// Control records that end no transaction say nothing to a machine.
fn replay_control<M: Machine>(machine: &mut M, batch: &Batch, is_committed: bool) -> Result<(), RecordsError> {
    if let Some(marker) = Marker::of(batch)? {
        machine.control(producer(batch.header()), marker, is_committed);
    }
    Ok(())
}

fn producer(header: &BatchHeader) -> Producer {
    Producer { id: header.producer_id, epoch: header.producer_epoch }
}

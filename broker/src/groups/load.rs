//! From the log to groups: a coordinator reads its whole partition before it serves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_batch::{BadBatch, Batches, Record as LogRecord, RecordsError};
use ottla_group::{Config, Record, Shard};

use super::coordinator::Coordinator;
use super::host::Host;
use crate::env::{self, Workers};
use crate::replica::NotServed;
use crate::replica::partition::reading::ReadError;
use crate::replica::partition::{Appended, Partition};

/// Bytes to read at a time.
const PIECE: usize = 1 << 20;
/// Records of one compressed batch may take this much once decompressed; ours are not compressed.
const MAX_DECOMPRESSED: usize = 64 << 20;
/// Pause before a log is read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
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

/// Gives a coordinator its groups, unless it is stopped before.
pub async fn load(coordinator: Arc<Coordinator>, config: Config, workers: Workers) {
    while coordinator.is_loading() {
        let (partition, leader_epoch) = coordinator.partition();
        let (partition, config, timeout) = (partition.clone(), config.clone(), coordinator.commit_timeout());
        let number = partition.number;
        match workers.run(move || Host::load(&partition, leader_epoch, config, timeout)).await {
            Ok(host) => return coordinator.activate(host),
            // Its role has changed, which stops the coordinator; or it gave way for a moment.
            Err(LoadError::Read(ReadError::NotServed(_))) => {}
            Err(error) => tracing::error!(partition = number, %error, "failed to load groups"),
        }
        env::sleep_until(env::now() + RETRY).await;
    }
}

/// The groups, and the log that they were read from. What a leader finds beyond its high watermark may have been
/// acknowledged by the leader before it, and may be lost with this one: the groups with records there are to be shown
/// once all of it is committed.
///
/// # Errors
/// See [`LoadError`].
pub fn replay(partition: &Partition, leader_epoch: i32, config: Config) -> Result<(Shard, Appended), LoadError> {
    let log = partition.whole_log(leader_epoch)?;
    // It only grows: what is before it now is committed.
    let committed = partition.high_watermark.get();
    let mut groups = Shard::new(config);
    let mut offset = log.base_offset;
    while offset < log.end {
        let piece = partition.scan(offset, log.end, leader_epoch, PIECE)?;
        if piece.is_empty() {
            break;
        }
        offset = replay_piece(&mut groups, piece, committed, partition.number)?;
    }
    Ok((groups, log))
}

/// Returns the offset after the last batch.
fn replay_piece(groups: &mut Shard, piece: Bytes, committed: i64, partition: i32) -> Result<i64, LoadError> {
    let mut next = 0;
    for batch in Batches::new(piece) {
        let batch = batch?;
        next = batch.header().next_offset();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(MAX_DECOMPRESSED)? {
            replay_record(groups, &record?, next <= committed, partition);
        }
    }
    Ok(next)
}

fn replay_record(groups: &mut Shard, record: &LogRecord, is_committed: bool, partition: i32) {
    let decoded = record.key().map(|key| Record::decode(key, record.value()));
    match decoded {
        Some(Ok(Some(record))) if is_committed => groups.replay(record),
        Some(Ok(Some(record))) => groups.replay_unsettled(record),
        // Of a newer kind of group.
        Some(Ok(None)) => {}
        // An administrator's client may write to this topic: one bad record must not take all groups with it.
        Some(Err(_)) | None => tracing::error!(partition, "passed over a record that is none of a coordinator"),
    }
}

//! From the log to groups: a coordinator reads its whole partition before it serves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_batch::{BadBatch, Batches, Record as LogRecord, RecordsError};
use ottla_group::{Config, Record, Shard};

use super::coordinator::Coordinator;
use crate::env::{self, Workers};
use crate::replica::NotServed;
use crate::replica::partition::reading::ReadError;
use crate::replica::partition::{AppendError, Appended, Partition};

/// Bytes to read at a time.
const PIECE: usize = 1 << 20;
/// Records of one compressed batch may take this much once decompressed; ours are not compressed.
const MAX_DECOMPRESSED: usize = 64 << 20;
/// How often to say that a partition's log is still not committed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a log is read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Batch(#[from] BadBatch),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Gives a coordinator its groups, unless it is stopped before.
pub async fn load(coordinator: Arc<Coordinator>, config: Config, workers: Workers) {
    let (partition, epoch) = coordinator.partition();
    let Ok(log) = committed_log(partition, epoch).await else { return };
    while coordinator.is_loading() {
        let (read, config) = (partition.clone(), config.clone());
        match workers.run(move || replay(&read, &log, config)).await {
            Ok(groups) => return coordinator.activate(groups),
            Err(LoadError::Read(ReadError::NotServed(_))) => return,
            Err(error) => {
                tracing::error!(partition = partition.number, %error, "failed to load groups");
                env::sleep_until(env::now() + RETRY).await;
            }
        }
    }
}

/// The log as the epoch found it, once all of it is committed: what is not yet may still be lost with this leader, and must not
/// have been shown to anybody.
async fn committed_log(partition: &Partition, epoch: i32) -> Result<Appended, NotServed> {
    let log = partition.whole_log(epoch)?;
    loop {
        match partition.committed(&log, env::now() + PATIENCE).await {
            Ok(()) => return Ok(log),
            Err(AppendError::NotServed(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(partition = partition.number, %error, "groups wait for their log to be replicated");
            }
        }
    }
}

fn replay(partition: &Partition, log: &Appended, config: Config) -> Result<Shard, LoadError> {
    let mut groups = Shard::new(config);
    let mut offset = log.base_offset;
    while offset < log.end {
        let piece = partition.scan(offset, log.leader_epoch, PIECE)?;
        if piece.is_empty() {
            break;
        }
        offset = replay_piece(&mut groups, piece, partition.number)?;
    }
    Ok(groups)
}

/// Returns the offset after the last batch.
fn replay_piece(groups: &mut Shard, piece: Bytes, partition: i32) -> Result<i64, LoadError> {
    let mut next = 0;
    for batch in Batches::new(piece) {
        let batch = batch?;
        next = batch.header().next_offset();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(MAX_DECOMPRESSED)? {
            replay_record(groups, &record?, partition);
        }
    }
    Ok(next)
}

fn replay_record(groups: &mut Shard, record: &LogRecord, partition: i32) {
    let decoded = record.key().map(|key| Record::decode(key, record.value()));
    match decoded {
        Some(Ok(Some(record))) => groups.replay(record),
        // Of a newer kind of group.
        Some(Ok(None)) => {}
        // An administrator's client may write to this topic: one bad record must not take all groups with it.
        Some(Err(_)) | None => tracing::error!(partition, "passed over a record that is none of a coordinator"),
    }
}

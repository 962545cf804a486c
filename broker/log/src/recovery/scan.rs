//! A segment that can't be trusted, read and checked batch by batch: where it ends, what is damaged, what is lost.

use std::path::Path;
use std::sync::Arc;

use ottla_batch::BatchHeader;

use super::hint::RecoveryHint;
use crate::chunk::Chunk;
use crate::config::LogConfig;
use crate::disk::DiskFile;
use crate::epochs::Epochs;
use crate::indexes::Indexes;
use crate::segment::{self, LOG};
use crate::walk::{LogError, plausible};

/// The outcome of checking a segment's batches.
pub(super) struct Scan {
    pub file: Arc<DiskFile>,
    /// Where the last good batch ends.
    pub size: u64,
    pub next_offset: i64,
    pub indexes: Indexes,
    pub epochs: Epochs,
    /// The last batch; `None`: none was read.
    pub last: Option<BatchHeader>,
    pub checked_bytes: u64,
    pub cut_bytes: u64,
    pub corrupt: Vec<LogError>,
}

impl Scan {
    /// `before` is the last batch that was read before the segment.
    pub(super) fn run(
        dir: &Path,
        base_offset: i64,
        end_offset: Option<i64>,
        before: Option<&BatchHeader>,
        config: &LogConfig,
        hint: &RecoveryHint,
    ) -> Result<Scan, LogError> {
        let file = Arc::new(DiskFile::open(&segment::path(dir, base_offset, LOG))?);
        let file_size = file.size()?;
        let mut chunk = Chunk::new(&file, file_size);
        let indexes = believable_indexes(dir, base_offset, hint.recovery_point, &mut chunk)?;
        let mut position = indexes.offsets.last().map_or(0, |(_, position)| position);
        let mut scan = Scan {
            file: file.clone(),
            size: position,
            next_offset: base_offset,
            indexes,
            epochs: Epochs::default(),
            last: None,
            checked_bytes: file_size - position,
            cut_bytes: 0,
            corrupt: Vec::new(),
        };
        let mut epoch = before.map_or(i32::MIN, |last| last.partition_leader_epoch);
        let max_offset = end_offset.unwrap_or(i64::MAX);
        while position < file_size {
            let in_order = |header: &BatchHeader, from: i64| {
                header.base_offset >= from
                    && header.last_offset_delta >= 0
                    && header.next_offset() <= max_offset
                    && segment::spans(base_offset, header.last_offset())
            };
            if end_offset.is_some_and(|end_offset| scan.next_offset >= end_offset) {
                // It was cut there, which a loss of power has undone: the next segment holds what follows.
                file.truncate(position)?;
                break;
            }
            // What was cut off and came back with a loss of power may continue the log just where what followed it
            // ends.
            let may_be_back = scan.next_offset >= hint.recovery_point && !hint.intact;
            let reason = match chunk.batch_at(position)? {
                Ok(batch) if may_be_back && batch.header().partition_leader_epoch < epoch => {
                    scan.cut_bytes = file_size - position;
                    break;
                }
                Ok(batch) if in_order(batch.header(), scan.next_offset) => {
                    epoch = batch.header().partition_leader_epoch;
                    position += scan.take(batch.header(), batch.bytes().len() as u64, config);
                    continue;
                }
                Ok(batch) => {
                    format!("it has offset {} where {} comes next", batch.header().base_offset, scan.next_offset)
                }
                Err(error) => error.to_string(),
            };
            // As long as its header makes sense the damage can be stepped over: its offsets and length are known.
            let header = chunk.header_at(position).filter(|header| in_order(header, scan.next_offset));
            let place = header.and_then(|header| plausible(header, position, file_size));
            let goes_on = end_offset.is_some() || chunk.goes_on_after(place.as_ref())?;
            if scan.next_offset >= hint.recovery_point && !(hint.intact && goes_on) {
                scan.cut_bytes = file_size - position;
                break;
            }
            let corrupt = LogError::Corrupt { path: file.path().to_owned(), position, reason };
            match place {
                Some(place) => position += scan.take(&place.header, place.len, config),
                None if end_offset.is_some() => scan.size = file_size,
                // Nobody knows where the log ends: giving out offsets again would overwrite what somebody may still
                // save.
                None => return Err(corrupt),
            }
            scan.corrupt.push(corrupt);
            if scan.size == file_size {
                break;
            }
        }
        Ok(scan)
    }

    /// Whether the machine's crash took this segment's last batches, all that was left of them, and kept the segment
    /// that begins at `next`. Such a log would give a wrong length, and no reader would get past the hole. A segment
    /// ends where the next one begins, also where compaction has removed records and where a follower copies a log with
    /// gaps. The exception is a gap wider than a segment can span: what lies in front of it was synced.
    pub(super) fn has_lost_its_end(&self, base_offset: i64, next: i64, hint: &RecoveryHint) -> bool {
        let is_hole = self.next_offset < next && segment::spans(base_offset, next - 1);
        is_hole && self.next_offset >= hint.recovery_point && !hint.intact
    }

    fn take(&mut self, batch: &BatchHeader, len: u64, config: &LogConfig) -> u64 {
        self.indexes.add(batch, self.size, len, config.index_interval_bytes.into());
        self.epochs.note(batch);
        self.last = Some(*batch);
        self.size += len;
        self.next_offset = batch.next_offset();
        len
    }
}

/// The indexes as far as they were flushed with the log, if they fit it: the last entry must point at a batch.
fn believable_indexes(
    dir: &Path,
    base_offset: i64,
    recovery_point: i64,
    chunk: &mut Chunk<'_>,
) -> Result<Indexes, LogError> {
    let Some(mut indexes) = segment::load_indexes(dir, base_offset, chunk.file_size)? else {
        return Ok(Indexes::new(base_offset));
    };
    indexes.truncate(recovery_point);
    let Some((last_offset, position)) = indexes.offsets.last() else { return Ok(Indexes::new(base_offset)) };
    let fits = chunk.batch_at(position)?.is_ok_and(|batch| batch.header().last_offset() == last_offset);
    Ok(if fits { indexes } else { Indexes::new(base_offset) })
}

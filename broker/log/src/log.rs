//! The log of one partition: its segments, and what can be said of its offsets.
//!
//! Owns the order of appends; offsets and epochs are stamped by the caller. Not async, no locks: the partition's mutex
//! is around it. What may wait for the disk is split in two, a step under the lock and one outside of it: reading
//! ([`Log::window`]), flushing ([`Log::start_flush`]), deleting ([`Log::apply_retention`]). Always: log_start ≤
//! log_end, segments lie end to end, the last one is active.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_batch::{BatchHeader, Stamped};

use crate::config::LogConfig;
use crate::disk::{self, DiskError, DiskResult};
use crate::epochs::{self, Epochs};
use crate::era::Era;
use crate::files::Files;
use crate::flush::Dirty;
use crate::producers::{ProducerError, Producers};
use crate::sealed::Sealed;
use crate::segment::{self, Active, EXTENSIONS, SNAPSHOT};
use crate::snapshot;
use crate::transactions::{AbortedTransaction, VerificationGuard, markers};

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) files: Arc<Files>,
    /// By base offset.
    pub(crate) sealed: BTreeMap<i64, Arc<Sealed>>,
    pub(crate) active: Active,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    /// What the partition has said last: see [`Log::set_high_watermark`].
    pub(crate) high_watermark: i64,
    /// Everything before is compacted ([`crate::compaction`]).
    pub(crate) first_dirty: i64,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) dirty: Dirty,
    /// Since the tail was cut last.
    pub(crate) era: Arc<Era>,
    pub(crate) failed: bool,
}

/// Where appended batches went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// First offset of the first batch.
    pub base_offset: i64,
    /// The log's end after the last.
    pub log_end: i64,
}

/// Nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum LogAppendError {
    /// A batch's offset is below the log's end or that of the batch before it.
    #[error("batch at offset {found} where the log ends at {log_end}")]
    OutOfOrder {
        /// The least offset that would do.
        log_end: i64,
        /// The batch's.
        found: i64,
    },
    /// There is no room ([`DiskError::lacks_room`]). The log is as it was and may be written when there is room again.
    #[error(transparent)]
    NoRoom(DiskError),
    /// The disk failed; this log takes no more writes.
    #[error(transparent)]
    Disk(DiskError),
    /// An earlier write failed, or the log was closed.
    #[error("the log takes no writes any more")]
    Failed,
}

impl Log {
    /// First offset that can be read.
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// The offset that comes next.
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// The leader epochs.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The idempotent producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Everything before `offset` is committed; less than before only when the log was cut.
    pub fn set_high_watermark(&mut self, offset: i64) {
        if offset != self.high_watermark {
            self.high_watermark = offset;
            self.producers.committed(offset);
        }
    }

    /// The last stable offset: every record before it is committed, and it is decided whether the record counts. Never
    /// above the high watermark that the log was given, and where records were deleted not below the log's start.
    pub fn last_stable(&self) -> i64 {
        let undecided = self.producers.first_undecided();
        undecided.map_or(self.high_watermark, |first| first.min(self.high_watermark)).max(self.log_start)
    }

    /// A leader is about to ask the transaction coordinator about this batch of a client, because it may be the first
    /// of a transaction: gives the guard for [`Producers::check`]. `None` when there is nothing to ask: the transaction
    /// is open here. `supports_epoch_bump`: the client gives each transaction an epoch of its own (KIP-890).
    ///
    /// # Errors
    /// `StaleEpoch`.
    pub fn begin_verification(
        &mut self,
        batch: &BatchHeader,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> Result<Option<VerificationGuard>, ProducerError> {
        self.producers.begin_verification(batch, supports_epoch_bump, now_ms)
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.sealed.values().map(|segment| segment.size).sum::<u64>() + self.active.size
    }

    /// Obey other settings from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// Note that `epoch` begins at the log's end. The end of the process does not take that back: see [`crate::epochs`]
    /// why.
    pub fn start_epoch(&mut self, epoch: i32) -> DiskResult<()> {
        let mut epochs = self.epochs.clone();
        if epochs.assign(epoch, self.log_end) { self.set_epochs(epochs) } else { Ok(()) }
    }

    fn set_epochs(&mut self, epochs: Epochs) -> DiskResult<()> {
        // A compacted log may no longer hold an epoch's first batch: if the file were torn, the batches would not show
        // where the epoch began.
        if self.config.compaction.is_some() {
            epochs.store(&self.dir)?;
        } else {
            epochs.store_unsynced(&self.dir)?;
            self.dirty.add_path(self.dir.join(epochs::FILE));
        }
        self.epochs = epochs;
        Ok(())
    }

    /// Write batches at the end, as one unit: all are appended or none. They must carry their offsets and epochs; the
    /// log accepts an offset above its end, for a leader's compacted log has gaps.
    pub fn append(&mut self, batches: &[Stamped], now_ms: i64) -> Result<Appended, LogAppendError> {
        if self.failed {
            return Err(LogAppendError::Failed);
        }
        let Some((first, last, len)) = self.check_order(batches)? else {
            return Ok(Appended { base_offset: self.log_end, log_end: self.log_end });
        };
        self.start_epochs_of(batches).map_err(|error| self.refused(error))?;
        if self.active.must_roll(len, &last, now_ms, &self.config) {
            // The segment begins before a gap, not behind it: so it shows if the one before has lost its end.
            let is_wide = !segment::spans(self.log_end, last.last_offset());
            let base_offset = if is_wide { first.base_offset } else { self.log_end };
            self.roll_at(base_offset, now_ms).map_err(|error| self.refused(error))?;
        }
        if let Err(error) = self.active.append(batches, len, &self.config) {
            if self.active.cut().is_err() {
                self.failed = true;
            }
            return Err(self.refused(error));
        }
        for batch in batches {
            let header = batch.header();
            let marker = if header.is_control() { markers::appended(batch) } else { None };
            let ended = self.producers.note(&header, marker, now_ms);
            if let Some(aborted) = ended.as_ref().and_then(AbortedTransaction::of) {
                self.active.indexes.aborted.push(aborted);
            }
        }
        self.log_end = last.next_offset();
        self.dirty.add(len);
        Ok(Appended { base_offset: first.base_offset, log_end: self.log_end })
    }

    /// The first and last header and the length of all; none when there are none.
    fn check_order(&self, batches: &[Stamped]) -> Result<Option<(BatchHeader, BatchHeader, u64)>, LogAppendError> {
        let (mut log_end, mut len) = (self.log_end, 0);
        for batch in batches {
            let header = batch.header();
            if header.base_offset < log_end || header.last_offset_delta < 0 {
                return Err(LogAppendError::OutOfOrder { log_end, found: header.base_offset });
            }
            log_end = header.next_offset();
            len += batch.len() as u64;
        }
        Ok(batches.first().zip(batches.last()).map(|(first, last)| (first.header(), last.header(), len)))
    }

    fn start_epochs_of(&mut self, batches: &[Stamped]) -> DiskResult<()> {
        if batches.iter().all(|batch| self.epochs.knows(&batch.header())) {
            return Ok(());
        }
        let mut epochs = self.epochs.clone();
        batches.iter().for_each(|batch| epochs.note(&batch.header()));
        self.set_epochs(epochs)
    }

    /// Only want of room leaves the log writable: after any other error nobody knows what is on the disk.
    fn refused(&mut self, error: DiskError) -> LogAppendError {
        if error.lacks_room() && !self.failed {
            // Epochs of batches that were not appended may be ahead of the log's end.
            self.epochs.truncate_end(self.log_end + 1);
            LogAppendError::NoRoom(error)
        } else {
            self.failed = true;
            LogAppendError::Disk(error)
        }
    }

    /// Seal the active segment, if it holds anything, and start one at the log's end.
    pub fn roll(&mut self, now_ms: i64) -> DiskResult<()> {
        self.roll_at(self.log_end, now_ms)
    }

    fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> DiskResult<()> {
        if base_offset == self.active.base_offset {
            return Ok(());
        }
        self.producers.expire(now_ms, self.config.producer_expiration_ms);
        // A full disk must find the log as it was: first what may fail, then the exchange.
        self.active.finish()?;
        if base_offset > self.log_end {
            // In front of such a gap nothing would show that a segment has lost its end.
            let synced = self.dirty.sync_sealed().and_then(|()| self.active.file().sync());
            synced.inspect_err(|_| self.failed = true)?;
        }
        self.write_snapshot(base_offset)?;
        let next = Active::create(&self.dir, base_offset, now_ms).inspect_err(|_| {
            // A file of the next segment that stays would hide what the active one gets from now on.
            self.failed |= remove_segment_files(&self.dir, base_offset).is_err();
        })?;
        let old = std::mem::replace(&mut self.active, next);
        // A gap belongs to the log as soon as a segment begins behind it, whatever becomes of the batches to come.
        self.log_end = self.log_end.max(base_offset);
        if old.size == 0 {
            return remove_segment_files(&self.dir, old.base_offset);
        }
        self.dirty.add_sealed(&old);
        let sealed = Sealed::from_active(old, &self.dir, base_offset, &self.config, &self.files);
        self.sealed.insert(sealed.base_offset, Arc::new(sealed));
        Ok(())
    }

    pub(crate) fn write_snapshot(&mut self, offset: i64) -> DiskResult<()> {
        let path = segment::path(&self.dir, offset, SNAPSHOT);
        let file = disk::DiskFile::create(&path)?;
        file.write_all_at(&mut [std::io::IoSlice::new(&snapshot::encode(&self.producers))], 0)?;
        self.dirty.add_path(path);
        Ok(())
    }
}

/// Remove a segment that holds nothing worth keeping.
pub(crate) fn remove_segment_files(dir: &Path, base_offset: i64) -> DiskResult<()> {
    EXTENSIONS.iter().try_for_each(|extension| disk::remove(&segment::path(dir, base_offset, extension)))
}

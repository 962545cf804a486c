//! Opening a log: what its files say, and how much of that to believe.
//!
//! After a clean stop everything; after a crash only what lies below the recovery point. What lies above is read and
//! checked, and the log ends before the first batch that is not whole: that is the tail which a crash may tear. Damage
//! below the recovery point is no torn tail: it was on the device, it may have been acknowledged long ago, and it is
//! never cut away but reported. Nor is it where only the process crashed and a whole batch or segment follows: the
//! cluster still counts this log as in sync with all that it held ([`crate::scrub`] mends it). Whole segments that
//! can't stay behind what was cut or lost are quarantined.
//!
//! - here: a log from its files: segments, epochs; `producers`: from snapshots and batches, with transaction indexes
//! - `segments`: which of them to believe, which to check; `scan`: checking one; `aside`: what becomes of those that
//!   can't stay
//! - `hint`: what is known before, and what is found

mod aside;
mod hint;
mod producers;
mod scan;
mod segments;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_batch::{BatchHeader, Marker};

pub use self::hint::{Opened, RecoveryHint};
use self::segments::Segments;
use crate::checkpoints::CheckpointError;
use crate::compaction::swap;
use crate::config::LogConfig;
use crate::disk::{self, DiskFile, DiskResult};
use crate::epochs::{self, Epochs};
use crate::expired;
use crate::files::Files;
use crate::flush::Dirty;
use crate::log::{Log, remove_segment_files};
use crate::producers::Producers;
use crate::segment::{self, Active, LOG, OFFSET_INDEX, SNAPSHOT, TIME_INDEX, TRANSACTION_INDEX};
use crate::transactions::markers;
use crate::walk::{LogError, Walk};

/// Marks of files that are on their way out or were never finished.
const LEFTOVERS: [&str; 3] = [".deleted", ".cleaned", ".tmp"];

impl Log {
    /// Open the log in `dir`, or create an empty one there.
    pub fn open(
        dir: &Path,
        config: LogConfig,
        hint: RecoveryHint,
        files: &Arc<Files>,
        now_ms: i64,
    ) -> Result<(Log, Opened), LogError> {
        let names = tidied(dir)?;
        let mut opened = Opened::default();
        let mut segments = Segments::open(dir, &names, &config, &hint, files, now_ms, &mut opened)?;
        if segments.log_end < hint.log_start {
            // All that the log still holds was deleted before the crash.
            remove_segments(dir, &segments)?;
            segments = Segments::create(dir, hint.log_start, now_ms)?;
        }
        if segments.log_end < hint.recovery_point {
            // Lawful after a truncation whose new recovery point was not checkpointed before the crash.
            let (log_end, recovery_point) = (segments.log_end, hint.recovery_point);
            tracing::warn!(dir = %dir.display(), log_end, recovery_point, "the log ends below its recovery point");
        }
        let first = segments.sealed.keys().next().unwrap_or(&segments.active.base_offset);
        let log_start = hint.log_start.max(*first);
        let mut log = Log {
            dir: dir.to_owned(),
            files: files.clone(),
            log_start,
            log_end: segments.log_end,
            high_watermark: hint.high_watermark.clamp(log_start, segments.log_end.max(log_start)),
            first_dirty: log_start,
            dirty: Dirty::new(if hint.clean { segments.log_end } else { hint.recovery_point.min(segments.log_end) }),
            sealed: segments.sealed,
            active: segments.active,
            epochs: Epochs::default(),
            producers: Producers::default(),
            era: Arc::default(),
            failed: false,
            config,
        };
        if segments.is_new || !hint.clean {
            log.dirty.add_indexes(&log.active);
        }
        if !hint.clean {
            log.dirty.add_path(dir.join(epochs::FILE));
        }
        // Also what an earlier process left in the page cache is to be on the device before the recovery point says so.
        let recovery_point = log.recovery_point();
        for segment in log.sealed.values().filter(|segment| segment.end_offset >= recovery_point) {
            log.dirty.add_path(segment::path(dir, segment.base_offset, LOG));
        }
        log.recover_epochs(&segments.epochs, segments.last.as_ref(), hint.clean || hint.intact)?;
        log.recover_producers(segment::offsets_of(&names, SNAPSHOT), now_ms, &segments.unindexed)?;
        Ok((log, opened))
    }

    /// An epoch that began at the log's end, without a record so far, stays where the file can be `believed`, because
    /// the machine has not crashed. Most partitions of a broker that starts again are like that, and are led on in it.
    fn recover_epochs(&mut self, found: &Epochs, last: Option<&BatchHeader>, believed: bool) -> Result<(), LogError> {
        let stored = match Epochs::load(&self.dir) {
            Ok(stored) => stored,
            Err(CheckpointError::Disk(error)) => return Err(error.into()),
            Err(error @ CheckpointError::Malformed { .. }) => {
                tracing::warn!(%error, "rebuilding the leader epochs from the log");
                None
            }
        };
        let is_empty = self.log_start == self.log_end;
        self.epochs = match &stored {
            Some(stored) => stored.clone(),
            None if is_empty => Epochs::default(),
            None => self.epochs_of_batches()?,
        };
        // A loss of power may bring back what was cut, and keep the file with the epoch that was to follow there.
        last.inspect(|last| self.epochs.believe(last));
        self.epochs.extend(found);
        self.epochs.truncate_end(self.log_end + i64::from(believed));
        self.epochs.truncate_start(self.log_start);
        if stored.unwrap_or_default() != self.epochs {
            self.epochs.store(&self.dir)?;
        }
        Ok(())
    }

    fn epochs_of_batches(&self) -> Result<Epochs, LogError> {
        let mut epochs = Epochs::default();
        self.replay(self.log_start, |batch, _| epochs.note(batch))?;
        Ok(epochs)
    }

    /// Show the header of every batch that ends at or after `from`, and the marker that it holds.
    pub(crate) fn replay(&self, from: i64, mut each: impl FnMut(&BatchHeader, Option<Marker>)) -> Result<(), LogError> {
        let mut each_of = |file: &DiskFile, position: u64, size: u64| {
            let mut walk = Walk::new(file, position, size);
            while let Some(place) = walk.next()? {
                if place.header.last_offset() >= from {
                    each(&place.header, markers::at(file, &place)?);
                }
            }
            Ok::<(), LogError>(())
        };
        for segment in self.sealed.values().filter(|segment| segment.end_offset > from) {
            let file = segment.file()?;
            each_of(&file, segment.indexes(&file)?.offsets.position_before(from), segment.size)?;
        }
        if from < self.log_end {
            let Active { size, indexes, .. } = &self.active;
            each_of(self.active.file(), indexes.offsets.position_before(from), *size)?;
        }
        Ok(())
    }
}

/// Quarantines the segment with the file `damaged`, and those behind it, of a log that is not open; gives the folder in
/// which they are now, or none when they were empty or the file is not that of a segment. The log then ends before
/// them, as if it had never been longer: for a replica that can copy all of that again from another one.
///
/// # Errors
/// When the disk refuses: then fewer of them are left behind, and nothing before them has changed.
pub fn put_aside_from(damaged: &Path) -> DiskResult<Option<PathBuf>> {
    let base = damaged.file_name().and_then(|name| segment::parse_name(name.to_str()?));
    let (Some(dir), Some((base_offset, _))) = (damaged.parent(), base) else { return Ok(None) };
    let bases: Vec<i64> =
        segment::offsets_of(&disk::list(dir)?, LOG).into_iter().filter(|base| *base >= base_offset).collect();
    let aside = aside::put_aside(dir, &bases)?;
    disk::sync_dir(dir)?;
    Ok(aside)
}

/// The names of a log's files, after what earlier lives left half-done was completed or removed. The folder is made if
/// it is missing. A folder in which nothing was left half-done is listed once: a start opens thousands.
fn tidied(dir: &Path) -> Result<Vec<String>, LogError> {
    let mut names = list_or_create(dir)?;
    if swap::complete_swaps(dir, &names)? {
        names = disk::list(dir)?;
    }
    if expired::complete_retention(dir, &names)? {
        names = disk::list(dir)?;
    }
    Ok(tidy(dir, names)?)
}

fn list_or_create(dir: &Path) -> DiskResult<Vec<String>> {
    match disk::list(dir) {
        Err(error) if error.is_not_found() => {
            disk::create_dirs(dir)?;
            dir.parent().map_or(Ok(()), disk::sync_dir)?;
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// Remove what is left of what was never finished, or is on its way out; the names of all other files.
fn tidy(dir: &Path, mut names: Vec<String>) -> DiskResult<Vec<String>> {
    let logs = segment::offsets_of(&names, LOG);
    let indexes = [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];
    let is_junk = |name: &String| {
        LEFTOVERS.iter().any(|leftover| name.ends_with(leftover))
            || segment::parse_name(name)
                .is_some_and(|(offset, extension)| indexes.contains(&extension) && !logs.contains(&offset))
    };
    for name in names.extract_if(.., |name| is_junk(name)) {
        disk::remove(&dir.join(name))?;
    }
    Ok(names)
}

fn remove_segments(dir: &Path, segments: &Segments) -> DiskResult<()> {
    remove_segment_files(dir, segments.active.base_offset)?;
    segments.sealed.keys().rev().try_for_each(|base_offset| remove_segment_files(dir, *base_offset))
}

//! Opening a log: what its files say, and how much of that to believe.
//!
//! After a clean stop everything; after a crash only what lies below the recovery point. What lies above is read and
//! checked, and the log ends before the first batch that is not whole: that is the tail which a crash may tear. Damage
//! below the recovery point is no torn tail: it was on the device, it may have been acknowledged long ago, and it is
//! never cut away but reported. Nor is it where only the process crashed and a whole batch or segment follows: the cluster
//! still counts this log as in sync with all that it held ([`crate::scrub`] mends it). Whole segments that can't stay behind what was
//! cut or lost are put aside.

mod aside;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_batch::{Batch, BatchError, BatchHeader};

use crate::checkpoints::CheckpointError;
use crate::compaction_swap;
use crate::config::LogConfig;
use crate::disk::{self, DiskFile, DiskResult};
use crate::epochs::{self, Epochs};
use crate::files::Files;
use crate::flush::Dirty;
use crate::indexes::Indexes;
use crate::log::{Log, remove_segment_files};
use crate::producers::Producers;
use crate::sealed::Sealed;
use crate::segment::{self, Active, LOG, OFFSET_INDEX, SNAPSHOT, TIME_INDEX, TRANSACTION_INDEX};
use crate::snapshot;
use crate::walk::{LogError, Place, Walk, plausible};

/// Read at once when checking batches.
const CHUNK: u64 = 1 << 20;

/// Marks of files that are on their way out or were never finished.
const LEFTOVERS: [&str; 3] = [".deleted", ".cleaned", ".tmp"];

/// What the directory's checkpoints say of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecoveryHint {
    /// The process or the machine did not crash since the log was closed.
    pub clean: bool,
    /// Everything below is on the device.
    pub recovery_point: i64,
    /// First offset that may be read; segments may begin before it.
    pub log_start: i64,
    /// The machine has not crashed: then no more than a log's last append is torn, and damage before that is none of a crash.
    pub intact: bool,
}

/// What was found when a log was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Bytes that were read and checked.
    pub checked_bytes: u64,
    /// Bytes of the torn tail that was cut off.
    pub cut_bytes: u64,
    /// The folder in which the segments are now that lay behind what was cut or lost.
    pub aside: Option<PathBuf>,
    /// Damage below the recovery point. It is left as it is.
    pub corrupt: Vec<LogError>,
}

/// Offsets before a snapshot in which the latest batches of busy producers lie; few enough to be read at each start.
const LOOK_BACK: i64 = 10_000;

impl Log {
    /// Open the log in `dir`, or create an empty one there.
    pub fn open(
        dir: &Path,
        config: LogConfig,
        hint: RecoveryHint,
        files: &Arc<Files>,
        now_ms: i64,
    ) -> Result<(Log, Opened), LogError> {
        create_if_missing(dir)?;
        compaction_swap::complete_swaps(dir)?;
        let names = tidy(dir)?;
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
            first_dirty: log_start,
            dirty: Dirty::new(if hint.clean { segments.log_end } else { hint.recovery_point.min(segments.log_end) }),
            sealed: segments.sealed,
            active: segments.active,
            epochs: Epochs::default(),
            producers: Producers::default(),
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
        for segment in log.sealed.values().filter(|segment| segment.end_offset > recovery_point) {
            log.dirty.add_path(segment::path(dir, segment.base_offset, LOG));
        }
        log.recover_epochs(&segments.epochs)?;
        log.recover_producers(now_ms)?;
        Ok((log, opened))
    }

    fn recover_epochs(&mut self, found: &Epochs) -> Result<(), LogError> {
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
        self.epochs.extend(found);
        self.epochs.truncate_end(self.log_end);
        self.epochs.truncate_start(self.log_start);
        if stored.unwrap_or_default() != self.epochs {
            self.epochs.store(&self.dir)?;
        }
        Ok(())
    }

    fn epochs_of_batches(&self) -> Result<Epochs, LogError> {
        let mut epochs = Epochs::default();
        self.replay(self.log_start, |batch| epochs.note(batch))?;
        Ok(epochs)
    }

    /// Start from the newest snapshot that is whole and not ahead of the log, and add the batches since. What lies just
    /// before is read too: a snapshot holds one batch of each producer, and a client may send its latest five again.
    pub(crate) fn recover_producers(&mut self, now_ms: i64) -> Result<(), LogError> {
        let names = disk::list(&self.dir)?;
        let mut snapshots: BTreeSet<i64> = offsets_of(&names, SNAPSHOT);
        let mut producers = Producers::default();
        let mut from = self.log_start;
        let mut found = false;
        while let Some(offset) = snapshots.pop_last() {
            let path = segment::path(&self.dir, offset, SNAPSHOT);
            let candidate = if found || offset > self.log_end { None } else { disk::read(&path)? };
            if let Some(read) = candidate.and_then(|bytes| snapshot::decode(&bytes)) {
                (producers, from, found) = (read, offset.saturating_sub(LOOK_BACK).max(self.log_start), true);
                continue;
            }
            // Older ones stay as long as their segments do: truncation may go back to them.
            if !found || !(self.sealed.contains_key(&offset) || self.active.base_offset == offset) {
                disk::remove(&path)?;
            }
        }
        let latest = producers.forget_batches();
        self.replay(from, |batch| producers.note(batch, now_ms))?;
        producers.remember_batches(latest);
        producers.expire(now_ms, self.config.producer_expiration_ms);
        self.producers = producers;
        Ok(())
    }

    /// Show the header of every batch that ends at or after `from`.
    pub(crate) fn replay(&self, from: i64, mut each: impl FnMut(&BatchHeader)) -> Result<(), LogError> {
        let mut each_of = |file: &DiskFile, position: u64, size: u64| {
            let mut walk = Walk::new(file, position, size);
            while let Some(place) = walk.next()? {
                if place.header.last_offset() >= from {
                    each(&place.header);
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

fn create_if_missing(dir: &Path) -> DiskResult<()> {
    match disk::stat(dir) {
        Err(error) if error.is_not_found() => {
            disk::create_dirs(dir)?;
            dir.parent().map_or(Ok(()), disk::sync_dir)
        }
        other => other.map(drop),
    }
}

/// Remove what earlier lives left half-done; names of all other files.
fn tidy(dir: &Path) -> DiskResult<Vec<String>> {
    let mut names = disk::list(dir)?;
    let logs = offsets_of(&names, LOG);
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

fn offsets_of(names: &[String], extension: &str) -> BTreeSet<i64> {
    names.iter().filter_map(|name| segment::parse_name(name)).filter(|(_, e)| *e == extension).map(|(o, _)| o).collect()
}

fn remove_segments(dir: &Path, segments: &Segments) -> DiskResult<()> {
    remove_segment_files(dir, segments.active.base_offset)?;
    segments.sealed.keys().rev().try_for_each(|base_offset| remove_segment_files(dir, *base_offset))
}

struct Segments {
    sealed: BTreeMap<i64, Arc<Sealed>>,
    active: Active,
    log_end: i64,
    /// Of the batches that were checked.
    epochs: Epochs,
    /// The active segment's files were just created.
    is_new: bool,
}

impl Segments {
    fn create(dir: &Path, base_offset: i64, now_ms: i64) -> Result<Segments, LogError> {
        let active = Active::create(dir, base_offset, now_ms)?;
        // Before a segment follows it: of a log that lost its first one nobody could tell that it does not begin with the next.
        disk::sync_dir(dir)?;
        Ok(Segments { sealed: BTreeMap::new(), active, log_end: base_offset, epochs: Epochs::default(), is_new: true })
    }

    fn open(
        dir: &Path,
        names: &[String],
        config: &LogConfig,
        hint: &RecoveryHint,
        files: &Arc<Files>,
        now_ms: i64,
        opened: &mut Opened,
    ) -> Result<Segments, LogError> {
        let bases: Vec<i64> = offsets_of(names, LOG).into_iter().collect();
        let trusted_up_to = if hint.clean { i64::MAX } else { hint.recovery_point };
        let mut sealed = BTreeMap::new();
        let mut epochs = Epochs::default();
        for (i, &base_offset) in bases.iter().enumerate() {
            let end_offset = bases.get(i + 1).copied();
            if let Some(end_offset) = end_offset.filter(|end_offset| *end_offset <= trusted_up_to) {
                let segment = Sealed::open(dir, base_offset, end_offset, config, files)?;
                sealed.insert(base_offset, Arc::new(segment));
                continue;
            }
            if hint.clean {
                match Active::open(dir, base_offset, config, now_ms) {
                    Ok((active, next_offset)) => {
                        return Ok(Segments {
                            sealed,
                            active,
                            log_end: next_offset.unwrap_or(base_offset),
                            epochs,
                            is_new: false,
                        });
                    }
                    Err(LogError::Corrupt { .. }) => {} // not so clean: find out how bad it is
                    Err(error) => return Err(error),
                }
            }
            let mut scan = Scan::run(dir, base_offset, end_offset, config, hint)?;
            opened.checked_bytes += scan.checked_bytes;
            opened.corrupt.append(&mut scan.corrupt);
            epochs.extend(&scan.epochs);
            let later = bases.get(i + 1..).unwrap_or_default();
            match end_offset {
                Some(end_offset) if scan.cut_bytes == 0 && !scan.has_lost_its_end(dir, later, config, hint) => {
                    scan.indexes.finish();
                    segment::write_indexes(dir, base_offset, &scan.indexes, (0, 0))?;
                    let segment = Sealed::open(dir, base_offset, end_offset, config, files)?;
                    sealed.insert(base_offset, Arc::new(segment));
                }
                _ => {
                    opened.cut_bytes += scan.cut_bytes;
                    opened.aside = aside::put_aside(dir, later)?;
                    let Scan { file, size, indexes, next_offset, .. } = scan;
                    let active = Active::recovered(dir, base_offset, file, size, indexes, now_ms)?;
                    return Ok(Segments { sealed, active, log_end: next_offset, epochs, is_new: false });
                }
            }
        }
        Segments::create(dir, hint.log_start, now_ms)
    }
}

/// The outcome of checking a segment's batches.
struct Scan {
    file: Arc<DiskFile>,
    /// Where the last good batch ends.
    size: u64,
    next_offset: i64,
    indexes: Indexes,
    epochs: Epochs,
    checked_bytes: u64,
    cut_bytes: u64,
    corrupt: Vec<LogError>,
}

impl Scan {
    fn run(
        dir: &Path,
        base_offset: i64,
        end_offset: Option<i64>,
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
            checked_bytes: file_size - position,
            cut_bytes: 0,
            corrupt: Vec::new(),
        };
        let max_offset = end_offset.unwrap_or(i64::MAX).min(base_offset.saturating_add(i64::from(i32::MAX) + 1));
        while position < file_size {
            let in_order = |header: &BatchHeader, from: i64| {
                header.base_offset >= from && header.last_offset_delta >= 0 && header.next_offset() <= max_offset
            };
            let reason = match chunk.batch_at(position)? {
                Ok(batch) if in_order(batch.header(), scan.next_offset) => {
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
                // Where the log ends can't be told: giving out offsets anew would overwrite what somebody may still save.
                None => return Err(corrupt),
            }
            scan.corrupt.push(corrupt);
            if scan.size == file_size {
                break;
            }
        }
        Ok(scan)
    }

    /// Whether the machine's crash took this segment's last batches, all that was left of them, and kept the next segment's file.
    /// What such a log said of its length would be wrong, and nobody could read on behind the hole. A compacted log has lawful
    /// holes: there it is one only if nothing follows. Of others nobody can tell here: above what is compacted a leader's own log has
    /// none, but a follower's has those of the log that it copied.
    fn has_lost_its_end(&self, dir: &Path, later: &[i64], config: &LogConfig, hint: &RecoveryHint) -> bool {
        let is_hole = later.first().is_some_and(|next| self.next_offset < *next);
        if !is_hole || hint.intact || self.next_offset < hint.recovery_point {
            return false;
        }
        let is_empty =
            |base_offset: &i64| disk::stat(&segment::path(dir, *base_offset, LOG)).is_ok_and(|(size, _)| size == 0);
        let is_lost = config.compaction.is_none() || later.iter().all(is_empty);
        if !is_lost {
            tracing::warn!(dir = %dir.display(), from = self.next_offset, to = later.first(),
                "the end of a segment is missing: compaction has removed it, or the crash");
        }
        is_lost
    }

    fn take(&mut self, batch: &BatchHeader, len: u64, config: &LogConfig) -> u64 {
        self.indexes.add(batch, self.size, len, config.index_interval_bytes.into());
        self.epochs.note(batch);
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

/// A piece of a segment file in memory.
pub(crate) struct Chunk<'a> {
    file: &'a DiskFile,
    file_size: u64,
    position: u64,
    bytes: Bytes,
}

impl<'a> Chunk<'a> {
    pub fn new(file: &'a DiskFile, file_size: u64) -> Chunk<'a> {
        Chunk { file, file_size, position: 0, bytes: Bytes::new() }
    }

    pub fn batch_at(&mut self, position: u64) -> DiskResult<Result<Batch, BatchError>> {
        loop {
            match Batch::parse(&self.rest(position)) {
                // The chunk ends, not the file.
                Err(BatchError::Truncated { needed, .. }) if needed as u64 <= self.file_size - position => {
                    self.fill(position, CHUNK.max(needed as u64))?;
                }
                other => return Ok(other),
            }
        }
    }

    pub fn header_at(&self, position: u64) -> Option<BatchHeader> {
        BatchHeader::peek(&self.rest(position))
    }

    /// Whether a whole batch follows this one.
    fn goes_on_after(&mut self, place: Option<&Place>) -> DiskResult<bool> {
        let Some(place) = place else { return Ok(false) };
        let next = self.batch_at(place.end())?;
        Ok(next.is_ok_and(|next| next.header().base_offset >= place.header.next_offset()))
    }

    fn rest(&self, position: u64) -> Bytes {
        let start = position.checked_sub(self.position).and_then(|start| usize::try_from(start).ok());
        start.filter(|start| *start <= self.bytes.len()).map_or(Bytes::new(), |start| self.bytes.slice(start..))
    }

    fn fill(&mut self, position: u64, wanted: u64) -> DiskResult<()> {
        let mut bytes = vec![0; wanted.min(self.file_size - position) as usize];
        self.file.read_exact_at(&mut bytes, position)?;
        (self.position, self.bytes) = (position, bytes.into());
        Ok(())
    }
}

//! What is written but not yet on the device, and getting it there without holding the partition's lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, DiskError, DiskFile, DiskResult};
use crate::era::Era;
use crate::failure;
use crate::log::Log;
use crate::segment::{self, Active, SNAPSHOT};
use crate::under_way::{self, DiskOperationKind};

/// What a crash of the machine could take.
#[derive(Debug)]
pub(crate) struct Dirty {
    pub recovery_point: i64,
    /// Appended since the last flush.
    bytes: u64,
    /// Segments sealed since the last flush.
    sealed: Vec<Arc<DiskFile>>,
    /// Indexes, snapshots and leader epochs written since the last flush.
    paths: Vec<PathBuf>,
    /// Counts truncations: a flush that was under way during one has nothing to say about the new tail.
    truncations: u64,
    flushing: bool,
}

impl Dirty {
    pub(crate) fn new(recovery_point: i64) -> Dirty {
        Dirty { recovery_point, bytes: 0, sealed: vec![], paths: vec![], truncations: 0, flushing: false }
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(crate) fn add_sealed(&mut self, segment: &Active) {
        self.sealed.push(segment.file().clone());
        self.add_indexes(segment);
    }

    /// Wait until the segments that were sealed since the last flush are on the device.
    pub(crate) fn sync_sealed(&self) -> DiskResult<()> {
        self.sealed.iter().try_for_each(|file| file.sync())
    }

    pub(crate) fn add_indexes(&mut self, segment: &Active) {
        self.paths.extend(segment.index_paths());
    }

    pub(crate) fn add_path(&mut self, path: PathBuf) {
        // A flush under way has its own list, and takes as many off the front: what comes again must be synced again.
        if self.flushing || !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    pub(crate) fn truncated(&mut self, log_end: i64) {
        self.recovery_point = self.recovery_point.min(log_end);
        self.truncations += 1;
    }
}

/// A flush under way: run it without the lock, then report its end to the log.
#[derive(Debug)]
pub struct Flush {
    dir: PathBuf,
    active: Arc<DiskFile>,
    sealed: Vec<Arc<DiskFile>>,
    paths: Vec<PathBuf>,
    up_to: i64,
    truncations: u64,
}

impl Flush {
    /// Wait for the device. After an error the directory must go offline: what is on the device is unknown. But for one
    /// that [lacks files](DiskError::lacks_files): then it may be tried again.
    pub fn run(&self) -> DiskResult<()> {
        let _waits = under_way::begin(DiskOperationKind::Sync, &self.dir.as_path().into());
        for file in self.sealed.iter().chain([&self.active]) {
            file.sync()?;
        }
        for path in &self.paths {
            sync_if_there(path)?;
        }
        // A new segment always brings a path.
        if self.paths.is_empty() { Ok(()) } else { disk::sync_dir(&self.dir) }
    }
}

/// Retention may have removed a sealed segment's files since.
fn sync_if_there(path: &Path) -> DiskResult<()> {
    match DiskFile::open(path) {
        Ok(file) => file.sync(),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

impl Log {
    /// Every offset below is on the device. Goes into the directory's checkpoint ([`crate::checkpoints`]). It falls
    /// with a truncation, and then the checkpoint must be written before the next append.
    pub fn recovery_point(&self) -> i64 {
        self.dirty.recovery_point
    }

    /// Bytes that were appended since the last flush.
    pub fn unflushed_bytes(&self) -> u64 {
        self.dirty.bytes
    }

    /// Begin to flush everything written so far; none when all is on the device, a flush is under way, or the log takes
    /// no writes any more: after a failed flush another one would prove nothing.
    pub fn start_flush(&mut self) -> DiskResult<Option<Flush>> {
        if self.dirty.flushing || self.failed { Ok(None) } else { self.begin_flush() }
    }

    /// A flush has begun whose end was not reported yet.
    pub fn is_flushing(&self) -> bool {
        self.dirty.flushing
    }

    fn begin_flush(&mut self) -> DiskResult<Option<Flush>> {
        if self.dirty.recovery_point == self.log_end && self.dirty.paths.is_empty() {
            return Ok(None);
        }
        match self.active.write_indexes() {
            Ok(true) => self.dirty.add_indexes(&self.active),
            Ok(false) => {}
            // Without them recovery takes longer, no more.
            Err(error) if error.lacks_room() => {}
            Err(error) => return Err(error),
        }
        let Dirty { bytes, sealed, paths, truncations, flushing, .. } = &mut self.dirty;
        (*bytes, *flushing) = (0, true);
        Ok(Some(Flush {
            dir: self.dir.clone(),
            active: self.active.file().clone(),
            sealed: sealed.clone(),
            paths: paths.clone(),
            up_to: self.log_end,
            truncations: *truncations,
        }))
    }

    /// A flush has succeeded.
    pub fn flushed(&mut self, flush: &Flush) {
        let Dirty { recovery_point, sealed, paths, truncations, flushing, .. } = &mut self.dirty;
        *flushing = false;
        sealed.drain(..flush.sealed.len().min(sealed.len()));
        paths.drain(..flush.paths.len().min(paths.len()));
        if flush.truncations == *truncations {
            *recovery_point = flush.up_to.max(*recovery_point);
        }
    }

    /// All three steps at once, for a caller that may wait.
    pub fn flush(&mut self) -> DiskResult<()> {
        self.check_writable("flush")?;
        let Some(flush) = self.begin_flush()? else { return Ok(()) };
        // An fsync that failed once may succeed later without having written anything.
        flush.run().inspect_err(|error| if error.lacks_files() { self.put_off() } else { self.fail() })?;
        self.flushed(&flush);
        Ok(())
    }

    /// A flush could not be run for want of files, and is to be tried again, however little was appended since.
    pub fn put_off(&mut self) {
        self.dirty.flushing = false;
    }

    /// The disk has failed: take no more writes, never close clean, and say so of the directory ([`crate::failure`]).
    pub fn fail(&mut self) {
        self.failed = true;
        self.dirty.flushing = false;
        failure::note(&self.dir);
    }

    /// The log is about to be opened again, or its folder is gone: this one takes no more writes, and what was read
    /// from it is not sent any more, for it would hear of no later cut.
    pub fn give_up(&mut self) {
        self.failed = true;
        self.dirty.flushing = false;
        Era::cut(&mut self.era, i64::MIN);
    }

    /// Whether nothing has failed yet, and it is not closed.
    pub fn takes_writes(&self) -> bool {
        !self.failed
    }

    fn check_writable(&self, action: &'static str) -> DiskResult<()> {
        let error = |why| Err(DiskError::new(action, &self.dir, io::Error::other(why)));
        if self.failed {
            return error("an earlier write or flush has failed, or the log is closed");
        }
        // Whether that flush succeeds is not known yet, and the kernel reports a failure to nobody else.
        if self.dirty.flushing { error("a flush is under way") } else { Ok(()) }
    }

    /// Flush, take no more writes, and leave behind what lets [`Log::open`] skip recovery once the directory is marked
    /// clean. Gives the recovery point, which is the log's end.
    ///
    /// # Errors
    /// When the disk refuses, or has refused before, or a flush is under way: the thread that runs the flush must first
    /// have reported how it ended.
    pub fn close(&mut self) -> DiskResult<i64> {
        self.check_writable("close")?;
        let as_last_closed = segment::path(&self.dir, self.log_end, SNAPSHOT);
        if self.dirty.recovery_point < self.log_end || disk::stat(&as_last_closed).is_err() {
            self.active.finish()?;
            self.dirty.add_indexes(&self.active);
            self.write_snapshot(self.log_end)?;
        }
        self.flush()?;
        self.failed = true;
        Ok(self.log_end)
    }
}

#[cfg(test)]
mod tests {
    use ottla_batch::{BatchBuilder, Codec, NewRecord};

    use super::*;
    use crate::{Files, LogConfig, RecoveryHint};

    #[test]
    fn an_epoch_is_synced_no_later_than_its_first_record() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let hint = RecoveryHint::default();
            Log::open(dir.path(), LogConfig::default(), hint, &Files::new(4, 1 << 10), 0).unwrap().0
        };
        let brings_epochs = |flush: &Flush| flush.paths.contains(&dir.path().join(crate::epochs::FILE));
        let mut log = open();
        log.flush().unwrap();
        for (epoch, at_a_flush) in [(1, false), (2, true)] {
            let under_way = at_a_flush.then(|| log.start_flush().unwrap().unwrap());
            log.start_epoch(epoch).unwrap();
            let mut batch = BatchBuilder::new(Codec::None);
            batch.push(NewRecord::default());
            log.append(&[batch.build().stamp(log.log_end(), epoch, None)], 0).unwrap();
            if let Some(flush) = under_way {
                flush.run().unwrap();
                log.flushed(&flush);
            }
            let flush = log.start_flush().unwrap().unwrap();
            assert!(brings_epochs(&flush), "epoch {epoch}");
            log.dirty.flushing = false;
        }
        drop(log); // killed: the next process does not know whether the file was synced
        assert!(brings_epochs(&open().start_flush().unwrap().unwrap()));
    }

    #[test]
    fn the_first_flush_of_a_process_brings_what_the_one_before_it_left_in_the_page_cache() {
        let dir = tempfile::tempdir().unwrap();
        let open = |recovery_point| {
            let hint = RecoveryHint { recovery_point, ..RecoveryHint::default() };
            Log::open(dir.path(), LogConfig::default(), hint, &Files::new(4, 1 << 10), 0).unwrap().0
        };
        let mut log = open(0);
        for base_offset in 0..3 {
            let mut batch = BatchBuilder::new(Codec::None);
            batch.push(NewRecord::default());
            log.append(&[batch.build().stamp(base_offset, 0, None)], 0).unwrap();
            log.roll(0).unwrap();
        }
        drop(log); // killed: the segments 0, 1, 2 are sealed, the one at 3 is new, and the checkpoint knows of one record
        // The first was cut there for all that is known, and a loss of power may have brought its tail back.
        let flush = open(1).start_flush().unwrap().unwrap();
        let brings = |base_offset, extension| flush.paths.contains(&segment::path(dir.path(), base_offset, extension));
        let segments = [0, 1, 2].map(|base_offset| brings(base_offset, segment::LOG));
        assert_eq!(segments, [true, true, true]);
        let flush = open(2).start_flush().unwrap().unwrap();
        assert!(!flush.paths.contains(&segment::path(dir.path(), 0, segment::LOG)));
        assert!(brings(3, segment::TIME_INDEX), "so the directory is synced too");
    }

    fn with_a_record(dir: &Path) -> Log {
        let files = Files::new(4, 1 << 10);
        let (mut log, _) = Log::open(dir, LogConfig::default(), RecoveryHint::default(), &files, 0).unwrap();
        log.flush().unwrap();
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(NewRecord::default());
        log.append(&[batch.build().stamp(log.log_end(), 0, None)], 0).unwrap();
        log
    }

    #[cfg(feature = "simulated")]
    #[test]
    fn a_log_whose_flush_has_failed_once_never_closes_clean_and_its_directory_has_failed() {
        use crate::disk::simulated::stand_in_below;

        for extension in [segment::LOG, segment::TIME_INDEX, SNAPSHOT] {
            let dir = tempfile::tempdir().unwrap();
            let failure = failure::Failure::begin(dir.path());
            let mut log = with_a_record(dir.path());
            let failed_once = std::sync::atomic::AtomicBool::new(false);
            // As Linux has it: the second sync succeeds.
            let _disk = stand_in_below(dir.path(), move |change| match change {
                disk::DiskChange::Sync(path) if path.extension().is_some_and(|found| found == extension) => {
                    let is_second = failed_once.swap(true, std::sync::atomic::Ordering::Relaxed);
                    if is_second { Ok(()) } else { Err(io::Error::other("EIO")) }
                }
                _ => Ok(()),
            });
            if log.flush().is_ok() {
                log.close().expect_err("the snapshot is written by a close");
            }
            assert!(failure.is_noted(), "{extension}");
            log.close().expect_err("a second try proves nothing");
            assert!(log.start_flush().unwrap().is_none(), "neither does another flush");
        }
    }

    #[test]
    fn a_log_is_not_closed_while_nobody_knows_how_its_flush_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = with_a_record(dir.path());
        let under_way = log.start_flush().unwrap().unwrap();
        log.close().unwrap_err();
        log.flush().unwrap_err();
        under_way.run().unwrap();
        log.flushed(&under_way);
        assert_eq!(log.close().unwrap(), 1);
        log.close().expect_err("it is closed");
    }
}

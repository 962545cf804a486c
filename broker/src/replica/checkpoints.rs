//! What the data directory says of all logs: recovery points, log starts, high watermarks, first dirty offsets.
//! Kafka's four checkpoint files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use ottla_log::checkpoints::{CheckpointError, PartitionKey};
use ottla_log::checkpoints::{FIRST_DIRTY, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, read_offsets, write_offsets};
use ottla_log::{DiskResult, RecoveryHint};

/// How far one log has got, for its next opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Everything before is on the device.
    pub recovery_point: i64,
    /// The first offset that may be read.
    pub log_start: i64,
    /// Everything before is committed.
    pub high_watermark: i64,
    /// Everything before is compacted; none when the topic is not.
    pub first_dirty: Option<i64>,
}

impl Positions {
    /// What is left of them when the log is about to be cut at `offset`. The log start stays: if the log is not cut
    /// after all, a restart must not bring back what was deleted before it. A log that was cut below begins there,
    /// empty, after a restart.
    pub fn up_to(self, offset: i64) -> Positions {
        let Positions { recovery_point, log_start, high_watermark, first_dirty } = self;
        Positions {
            recovery_point: recovery_point.min(offset),
            log_start,
            high_watermark: high_watermark.min(offset),
            first_dirty: first_dirty.map(|first_dirty| first_dirty.min(offset)),
        }
    }

    /// Whether less of the log is there than was `known`.
    pub fn are_behind(&self, known: &Positions) -> bool {
        self.recovery_point < known.recovery_point || self.high_watermark < known.high_watermark
    }
}

/// The checkpoints of one data directory.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    clean: bool,
    intact: bool,
    positions: BTreeMap<PartitionKey, Positions>,
    /// The files say the same.
    written: bool,
}

impl Checkpoints {
    /// Reads what the last process left; `clean` says whether it closed its logs, `intact` that the machine has not
    /// crashed since.
    ///
    /// # Errors
    /// When a checkpoint can't be read, or is not one.
    pub fn load(dir: &Path, clean: bool, intact: bool) -> Result<Checkpoints, CheckpointError> {
        let mut positions: BTreeMap<PartitionKey, Positions> = BTreeMap::new();
        for (key, offset) in read_offsets(&dir.join(RECOVERY_POINTS))? {
            positions.entry(key).or_default().recovery_point = offset;
        }
        for (key, offset) in read_offsets(&dir.join(LOG_STARTS))? {
            positions.entry(key).or_default().log_start = offset;
        }
        for (key, offset) in read_offsets(&dir.join(HIGH_WATERMARKS))? {
            positions.entry(key).or_default().high_watermark = offset;
        }
        for (key, offset) in read_offsets(&dir.join(FIRST_DIRTY))? {
            positions.entry(key).or_default().first_dirty = Some(offset);
        }
        Ok(Checkpoints { dir: dir.to_owned(), clean, intact, positions, written: true })
    }

    /// How to open a log, and how far it had got.
    pub fn of(&self, topic: &str, partition: i32) -> (RecoveryHint, Positions) {
        let known = self.positions.get(&(topic.to_owned(), partition)).copied().unwrap_or_default();
        // A log that the checkpoints don't name was created after the last of them: it is checked from its beginning.
        let hint = RecoveryHint {
            clean: self.clean,
            recovery_point: known.recovery_point,
            log_start: known.log_start,
            high_watermark: known.high_watermark,
            intact: self.intact,
        };
        (hint, known)
    }

    /// Replaces the files where `now`, the positions of the logs that run, says something new. Logs that don't run keep
    /// theirs.
    ///
    /// # Errors
    /// When a file can't be written; the old one is still there, and the next call tries again.
    pub fn store(&mut self, now: impl IntoIterator<Item = (PartitionKey, Positions)>) -> DiskResult<()> {
        for (key, positions) in now {
            if self.positions.get(&key) != Some(&positions) {
                self.positions.insert(key, positions);
                self.written = false;
            }
        }
        self.write()
    }

    /// Says of a log that has just been opened, or is about to be cut, where it is, if that is behind what was known of
    /// it: records that it lost and copies again must not be trusted up to where they were flushed before.
    ///
    /// # Errors
    /// As [`Checkpoints::store`]. Then nothing may be appended or cut.
    pub fn lower(&mut self, key: PartitionKey, now: Positions) -> DiskResult<()> {
        if self.positions.get(&key).is_some_and(|known| now.are_behind(known)) {
            self.positions.insert(key, now);
            self.written = false;
        }
        self.write()
    }

    /// Forgets a log whose files are gone: another topic may take its name.
    ///
    /// # Errors
    /// As [`Checkpoints::store`].
    pub fn forget(&mut self, topic: &str, partition: i32) -> DiskResult<()> {
        self.forget_all(&[(topic.to_owned(), partition)])
    }

    /// The same, of several: the files are written once.
    ///
    /// # Errors
    /// As [`Checkpoints::store`].
    pub fn forget_all(&mut self, keys: &[PartitionKey]) -> DiskResult<()> {
        for key in keys {
            self.written &= self.positions.remove(key).is_none();
        }
        self.write()
    }

    fn write(&mut self) -> DiskResult<()> {
        if self.written {
            return Ok(());
        }
        let write = |file: &str, offset: fn(&Positions) -> Option<i64>| {
            let offsets = self.positions.iter().filter_map(|(key, positions)| Some((key.clone(), offset(positions)?)));
            let offsets = offsets.collect();
            write_offsets(&self.dir.join(file), &offsets)
        };
        write(LOG_STARTS, |positions| Some(positions.log_start))?;
        write(HIGH_WATERMARKS, |positions| Some(positions.high_watermark))?;
        write(FIRST_DIRTY, |positions| positions.first_dirty)?;
        write(RECOVERY_POINTS, |positions| Some(positions.recovery_point))?;
        self.written = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ottla_log::{Files, Log, LogConfig};

    use super::*;
    use crate::replica::partition::fixtures::batch;

    #[test]
    fn what_was_stored_is_found_again_and_logs_that_do_not_run_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n| Positions {
            recovery_point: 3 * n,
            log_start: n,
            high_watermark: 2 * n,
            first_dirty: (n > 1).then_some(n + 1),
        };
        let key = |topic: &str| (topic.to_owned(), 0);
        let mut first = Checkpoints::load(dir.path(), false, true).unwrap();
        first.store([(key("a"), at(1)), (key("b"), at(2))]).unwrap();
        first.store([(key("a"), at(5))]).unwrap();

        let mut second = Checkpoints::load(dir.path(), true, true).unwrap();
        assert_eq!(second.positions, [(key("a"), at(5)), (key("b"), at(2))].into());
        let (hint, known) = second.of("a", 0);
        assert_eq!((hint.clean, hint.recovery_point, hint.log_start, known.high_watermark), (true, 15, 5, 10));
        second.forget("a", 0).unwrap();
        assert_eq!(Checkpoints::load(dir.path(), true, true).unwrap().of("a", 0).1, Positions::default());
    }

    #[test]
    fn a_log_that_is_behind_what_was_known_of_it_is_not_trusted_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let key = ("a".to_owned(), 0);
        let at = |recovery_point| Positions { recovery_point, ..Positions::default() };
        let stored = || Checkpoints::load(dir.path(), true, true).unwrap().of("a", 0).1.recovery_point;
        let mut checkpoints = Checkpoints::load(dir.path(), false, true).unwrap();
        checkpoints.store([(key.clone(), at(7))]).unwrap();
        for (now, expected) in [(8, 7), (7, 7), (3, 3), (5, 3)] {
            checkpoints.lower(key.clone(), at(now)).unwrap();
            assert_eq!(stored(), expected, "opened at {now}");
        }
        let beside = dir.path().join(format!("{RECOVERY_POINTS}.tmp"));
        std::fs::create_dir(&beside).unwrap();
        for attempt in ["first", "second"] {
            assert!(checkpoints.lower(key.clone(), at(1)).is_err(), "{attempt}");
        }
        std::fs::remove_dir(&beside).unwrap();
        checkpoints.lower(key, at(1)).unwrap();
        assert_eq!(stored(), 1);
    }

    #[test]
    fn what_was_deleted_stays_deleted_when_a_crash_comes_between_the_checkpoints_and_the_cut() {
        let data = tempfile::tempdir().unwrap();
        let (dir, key) = (data.path().join("t-0"), ("t".to_owned(), 0));
        let open = |hint| Log::open(&dir, LogConfig::default(), hint, &Files::new(1, 1 << 10), 0).unwrap().0;
        let mut log = open(RecoveryHint::default());
        for offset in 0..8 {
            log.append(&[batch(b'x', 10).stamp(offset, 0, None)], 0).unwrap();
        }
        log.set_high_watermark(8);
        log.advance_log_start(5);
        let now = Positions { recovery_point: 8, log_start: 5, high_watermark: 8, first_dirty: None };
        let mut checkpoints = Checkpoints::load(data.path(), false, true).unwrap();
        checkpoints.store([(key.clone(), now)]).unwrap();
        checkpoints.lower(key, now.up_to(3)).unwrap();
        let hint = || Checkpoints::load(data.path(), false, true).unwrap().of("t", 0).0;
        drop(log);
        let mut log = open(hint());
        assert_eq!((log.log_start(), log.log_end()), (5, 8), "it was not cut");
        assert_eq!(log.truncate_to(3, 0).unwrap(), 3);
        drop(log);
        let log = open(hint());
        assert_eq!((log.log_start(), log.log_end()), (5, 5), "it was cut: what comes next is the leader's word");
    }

    #[test]
    fn what_could_not_be_written_is_written_by_the_next_call_though_nothing_has_moved() {
        let dir = tempfile::tempdir().unwrap();
        let key = ("a".to_owned(), 0);
        let at = |log_start| (key.clone(), Positions { log_start, ..Positions::default() });
        let stored = || Checkpoints::load(dir.path(), true, true).unwrap().of("a", 0).1;
        let mut checkpoints = Checkpoints::load(dir.path(), false, true).unwrap();
        checkpoints.store([at(1)]).unwrap();
        // The new file is written beside the old one first.
        let beside = dir.path().join(format!("{RECOVERY_POINTS}.tmp"));
        std::fs::create_dir(&beside).unwrap();
        assert!(checkpoints.store([at(2)]).is_err() && checkpoints.store([at(2)]).is_err());
        std::fs::remove_dir(&beside).unwrap();
        checkpoints.store([at(2)]).unwrap();
        assert_eq!(stored().log_start, 2);

        std::fs::create_dir(&beside).unwrap();
        assert!(checkpoints.forget("a", 0).is_err() && checkpoints.forget("a", 0).is_err());
        std::fs::remove_dir(&beside).unwrap();
        checkpoints.forget("a", 0).unwrap();
        assert_eq!(stored(), Positions::default());
    }
}

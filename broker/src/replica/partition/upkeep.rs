//! A partition in the background: flushes, retention, compaction, what is said of it, and its end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_log::compaction::{Cleaned, CompactionError};
use ottla_log::retention::Retired;
use ottla_log::{Compaction, DiskResult};

use super::leadership::Leadership;
use super::{Partition, Role};
use crate::replica::checkpoints::Positions;

/// What metrics and DescribeLogDirs say of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// This broker leads it.
    pub leads: bool,
    /// Its disk or its files failed.
    pub offline: bool,
    /// Led here, with fewer in-sync replicas than replicas.
    pub under_replicated: bool,
    /// Led here, with fewer in-sync replicas than `min.insync.replicas`.
    pub under_min_isr: bool,
    /// Bytes on disk.
    pub size: u64,
    /// First offset.
    pub log_start: i64,
    /// Next offset.
    pub log_end: i64,
}

impl Partition {
    /// Whether unflushed data is older than `age` or more than `bytes`, or than the topic allows.
    pub fn flush_is_due(&self, now_ms: i64, age: Duration, bytes: u64) -> bool {
        let state = self.state.lock();
        let unflushed = state.log.unflushed();
        let age = state.settings.flush_interval.map_or(age, |own| own.min(age));
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        unflushed.bytes >= bytes || unflushed.since_ms.is_some_and(|since| now_ms - since >= age_ms)
    }

    /// True for the first who asks since the last flush began: that one has it run.
    pub fn ask_to_flush(&self) -> bool {
        !self.flush_asked.swap(true, Ordering::SeqCst)
    }

    /// Brings everything appended so far to the device; waits for it outside of the lock. After an error the partition is
    /// offline: what is on the device is unknown, and a second fsync would not tell.
    pub fn flush(&self) {
        self.flush_asked.store(false, Ordering::SeqCst);
        let begun = self.state.lock().log.start_flush();
        let flushed = begun.and_then(|flush| {
            let Some(flush) = flush else { return Ok(()) };
            flush.run()?;
            let mut state = self.state.lock();
            state.log.flushed(&flush);
            self.durable.advance(state.log.recovery_point());
            Ok(())
        });
        if let Err(error) = flushed {
            let mut state = self.state.lock();
            state.log.fail();
            self.take_offline(&mut state, &error);
        }
    }

    /// Takes the segments out of the log that retention no longer wants.
    pub fn apply_retention(&self, now_ms: i64) -> Option<Retired> {
        let high_watermark = self.high_watermark.get();
        match self.state.lock().log.apply_retention(high_watermark, now_ms) {
            Ok(retired) => (retired.segments > 0).then_some(retired),
            Err(error) => {
                tracing::error!(topic = %self.topic, partition = self.number, %error, "failed to apply retention");
                None
            }
        }
    }

    /// What might be compacted: see [`Log::start_compaction`].
    pub fn start_compaction(&self) -> Option<Compaction> {
        // The last stable offset is the same while there are no transactions.
        let up_to = self.high_watermark.get();
        let state = self.state.lock();
        let fit = !state.retired && !matches!(state.role, Role::Offline) && !self.uncleanable.load(Ordering::Relaxed);
        fit.then(|| state.log.start_compaction(up_to)).flatten()
    }

    /// Puts a compacted segment in place of the old ones; none when that is not possible any more.
    ///
    /// # Errors
    /// When the disk refuses half-way: the partition is offline then.
    pub fn swap_in(&self, cleaned: &Cleaned) -> DiskResult<Option<Retired>> {
        let mut state = self.state.lock();
        if state.retired {
            return Ok(None);
        }
        let swapped = state.log.swap_in(cleaned);
        swapped.inspect_err(|error| self.take_offline(&mut state, error))
    }

    /// A compaction has failed: it is not tried again, unless there was only no space.
    pub fn compaction_failed(&self, error: &CompactionError) {
        self.uncleanable.store(!error.is_no_space(), Ordering::Relaxed);
        tracing::error!(topic = %self.topic, partition = self.number, %error, "failed to compact a log");
    }

    /// `file.delete.delay.ms` of the topic.
    pub fn file_delete_delay(&self) -> Duration {
        self.state.lock().settings.file_delete_delay
    }

    /// For the checkpoints.
    pub fn positions(&self) -> Positions {
        let state = self.state.lock();
        Positions {
            recovery_point: state.log.recovery_point(),
            log_start: state.log.log_start(),
            high_watermark: self.high_watermark.get(),
            first_dirty: state.first_dirty(),
        }
    }

    /// What metrics and DescribeLogDirs say of it.
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        let leadership = match &state.role {
            Role::Leader(leadership) => Some(leadership),
            Role::Bystander | Role::Follower(_) | Role::Offline => None,
        };
        Standing {
            leads: leadership.is_some(),
            offline: matches!(state.role, Role::Offline),
            under_replicated: leadership.is_some_and(Leadership::is_under_replicated),
            under_min_isr: leadership.is_some_and(|leadership| !leadership.has_enough_in_sync(&self.look(&state))),
            size: state.log.size(),
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
        }
    }

    /// The epoch of the last record (−1: there is none), and the next offset: how much this replica has.
    pub fn last_epoch_and_end(&self) -> (i32, i64) {
        self.state.lock().last_epoch_and_end()
    }

    /// The replica goes: whoever waits for it learns that it is not here any more.
    pub fn retire(&self) {
        let mut state = self.state.lock();
        state.role = Role::Bystander;
        state.retired = true;
        drop(state);
        self.disturb();
    }

    /// Closes the log: flushed, and fit to be opened without recovery. Nothing is served after.
    ///
    /// # Errors
    /// When the disk refuses: the next start recovers.
    pub fn close(&self) -> DiskResult<Positions> {
        self.retire();
        let mut state = self.state.lock();
        let high_watermark = self.high_watermark.get();
        let (log_start, first_dirty) = (state.log.log_start(), state.first_dirty());
        let recovery_point = state.log.close()?;
        Ok(Positions { recovery_point, log_start, high_watermark, first_dirty })
    }
}

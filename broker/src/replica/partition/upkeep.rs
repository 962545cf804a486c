//! A partition in the background: flushes, retention, compaction, mending, what is said of it, and its end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_batch::Batch;
use ottla_log::compaction::{Cleaned, CompactionError};
use ottla_log::flush::Flush;
use ottla_log::retention::Retired;
use ottla_log::scrub::{Damage, Scrub};
use ottla_log::{Compaction, DiskError, DiskResult};
use parking_lot::{Mutex, MutexGuard};

use super::leadership::Leadership;
use super::role::Role;
use super::{Busy, Extent, Partition, PartitionState};
use crate::env::Instant;
use crate::replica::checkpoints::{Checkpoints, Positions};

/// What metrics and DescribeLogDirs say of a partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionStatus {
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

/// Stores in the checkpoints where these logs are, and informs each partition of the log start that is stored.
///
/// # Errors
/// As [`Checkpoints::store`].
pub fn store(checkpoints: &Mutex<Checkpoints>, partitions: impl FnOnce() -> Vec<Arc<Partition>>) -> DiskResult<()> {
    let mut checkpoints = checkpoints.lock();
    // Under the lock: what was seen before it may be of a log that was cut since, or is gone, and has been stored as
    // such.
    let mut partitions = partitions();
    partitions.retain(|partition| !partition.is_retired());
    let positions: Vec<Positions> = partitions.iter().map(|partition| partition.positions()).collect();
    let key = |partition: &Arc<Partition>| (partition.topic.to_string(), partition.number);
    checkpoints.store(partitions.iter().map(key).zip(positions.iter().copied()))?;
    for (partition, Positions { log_start, .. }) in partitions.iter().zip(positions) {
        partition.keeps_log_start(log_start);
    }
    Ok(())
}

impl Partition {
    /// Whether unflushed data is older than `age` or more than `bytes`, or than the topic allows, or a flush was put
    /// off. Not while the partition is busy: the next look finds it.
    pub fn flush_is_due(&self, now: Instant, age: Duration, bytes: u64) -> bool {
        let Some(state) = self.unless_busy() else { return false };
        let age = state.settings.flush_interval.map_or(age, |own| own.min(age));
        let is_old = |since| now.duration_since(since) >= age;
        state.flush_put_off || state.log.unflushed_bytes() >= bytes || state.unflushed_since.is_some_and(is_old)
    }

    /// Whether so much is not on the device yet that the topic's `flush.messages` asks for a flush.
    pub(super) fn must_flush(&self, state: &PartitionState) -> bool {
        let unflushed = state.log.log_end() - self.durable.get();
        state.settings.flush_messages.is_some_and(|most| unflushed.unsigned_abs() >= most)
    }

    /// True for the first who asks since the last flush began: that one has it run.
    pub fn ask_to_flush(&self) -> bool {
        !self.flush_asked.swap(true, Ordering::SeqCst)
    }

    /// Brings everything appended so far to the device; waits for it outside of the lock. While another flush is under
    /// way, the thread that runs it also flushes for us. After an error the partition is offline: nobody knows what is
    /// on the device, and a second fsync would not show it.
    pub fn flush(&self) {
        self.flush_asked.store(false, Ordering::SeqCst);
        if let Some(flush) = self.begin_flush() {
            self.run_flushes(flush);
        }
    }

    /// Like [`Partition::flush`], and returns when that has ended, no matter which thread runs it: what the log holds
    /// now is on the device, was cut, or nothing more is written to it; or the flush was put off.
    pub fn flush_and_wait(&self) {
        let up_to = self.log_end.get();
        loop {
            self.flush();
            let mut state = self.state.lock();
            let is_written_to = !state.retired && !matches!(state.role, Role::Offline);
            if state.log.recovery_point() >= up_to
                || state.log.log_end() < up_to
                || !is_written_to
                || state.flush_put_off
            {
                return;
            }
            if state.log.is_flushing() {
                self.flush_ended.wait(&mut state);
            }
        }
    }

    /// None when all is on the device, or somebody else is at it.
    pub(super) fn begin_flush(&self) -> Option<Flush> {
        let mut state = self.state.lock();
        if state.retired {
            return None; // its folder may be gone
        }
        if state.log.is_flushing() {
            self.flush_asked.store(true, Ordering::SeqCst);
            return None;
        }
        let begun = state.log.start_flush().unwrap_or_else(|error| {
            self.fail(&mut state, &error);
            None
        });
        if begun.is_some() {
            state.unflushed_since = None;
            state.flush_put_off = false;
        }
        begun
    }

    /// Too many files were open to run a flush: nothing was asked of the device, so that it can be tried again.
    fn put_off(&self, state: &mut PartitionState, error: &DiskError) {
        state.log.put_off();
        state.flush_put_off = true;
        self.note_disk_error(state, error);
    }

    /// Runs a flush, and another while somebody has asked since the last began.
    pub(super) fn run_flushes(&self, flush: Flush) {
        let mut next = Some(flush);
        while let Some(flush) = next {
            let ran = flush.run();
            let mut state = self.state.lock();
            self.flush_ended.notify_all();
            match ran {
                // Its folder went while it was flushed. A sync that failed has been noted where it was.
                Err(error) if state.retired && error.is_not_found() => return state.log.give_up(),
                Err(error) if error.lacks_files() => return self.put_off(&mut state, &error),
                Err(error) => return self.fail(&mut state, &error),
                Ok(()) => {}
            }
            state.log.flushed(&flush);
            self.durable.advance(state.log.recovery_point());
            drop(state);
            next = self.flush_asked.swap(false, Ordering::SeqCst).then(|| self.begin_flush()).flatten();
        }
    }

    /// Takes the segments out of the log that retention no longer wants; `None`: it took none.
    pub fn apply_retention(&self, now_ms: i64) -> Option<Retired> {
        let _span = self.span().entered();
        let high_watermark = self.high_watermark.get();
        let mut state = self.state.lock();
        if state.retired {
            return None;
        }
        match state.log.apply_retention(high_watermark, now_ms) {
            Ok(retired) => {
                self.advance_last_stable(&mut state);
                (retired.segments > 0).then_some(retired)
            }
            Err(error) => {
                tracing::error!(%error, "failed to apply retention");
                None
            }
        }
    }

    /// What might be compacted: see [`Log::start_compaction`]. `None` also while the partition is busy or offline, and
    /// after a compaction has failed.
    pub fn start_compaction(&self) -> Option<Compaction> {
        let up_to = self.last_stable.get();
        let state = self.unless_busy()?;
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
        swapped.inspect_err(|error| {
            self.note_disk_error(&mut state, error);
            self.take_offline(&mut state, error);
        })
    }

    /// The offsets that lie in sealed segments; `None` while the partition is busy.
    pub fn sealed(&self) -> Option<Range<i64>> {
        let state = self.unless_busy()?;
        Some(state.log.log_start()..state.log.sealed_end())
    }

    /// The sealed segment that holds `from`, or the next, to be read; none when there is none, or while the partition
    /// is busy: the next pass reads it.
    pub fn scrub(&self, from: i64) -> Option<Scrub> {
        let state = self.unless_busy()?;
        if state.retired { None } else { state.log.scrub(from) }
    }

    /// Puts another replica's batch in the place of a damaged one; true when it was that one.
    pub fn mend(&self, damage: &Damage, batch: &Batch) -> bool {
        let _span = self.span().entered();
        let mut state = self.state.lock();
        if state.retired {
            return false;
        }
        state.log.mend(damage, batch).unwrap_or_else(|error| {
            self.note_disk_error(&mut state, &error);
            false
        })
    }

    /// A compaction has failed: it is not tried again, unless there was only no room.
    pub fn compaction_failed(&self, error: &CompactionError) {
        self.uncleanable.store(!error.lacks_room(), Ordering::Relaxed);
        let _span = self.span().entered();
        tracing::error!(%error, "failed to compact a log");
    }

    /// `file.delete.delay.ms` of the topic.
    pub fn file_delete_delay(&self) -> Duration {
        self.state.lock().settings.file_delete_delay
    }

    /// For the checkpoints.
    pub fn positions(&self) -> Positions {
        self.positions_in(&self.state.lock())
    }

    pub(super) fn positions_in(&self, state: &PartitionState) -> Positions {
        Positions {
            recovery_point: state.log.recovery_point(),
            log_start: state.log.log_start(),
            high_watermark: self.high_watermark.get(),
            first_dirty: state.first_dirty(),
        }
    }

    /// What metrics and DescribeLogDirs say of it.
    pub fn status(&self) -> PartitionStatus {
        self.standing_in(&self.state.lock())
    }

    /// The same; `None` while the partition is busy.
    pub fn status_unless_busy(&self) -> Option<PartitionStatus> {
        self.unless_busy().map(|state| self.standing_in(&state))
    }

    fn standing_in(&self, state: &PartitionState) -> PartitionStatus {
        let leadership = match &state.role {
            Role::Leader(leadership) => Some(leadership),
            Role::Bystander | Role::Follower(_) | Role::Offline => None,
        };
        PartitionStatus {
            leads: leadership.is_some(),
            offline: matches!(state.role, Role::Offline),
            under_replicated: leadership.is_some_and(Leadership::is_under_replicated),
            under_min_isr: leadership
                .is_some_and(|leadership| !leadership.has_enough_in_sync(&self.leader_snapshot(state))),
            size: state.log.size(),
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
        }
    }

    /// How much this replica has; `None` while the partition is busy.
    pub fn extent_unless_busy(&self) -> Option<Extent> {
        let state = self.unless_busy()?;
        let (last_epoch, log_end) = state.last_epoch_and_end();
        Some(Extent { last_epoch, log_end, log_start: state.deleted_to() })
    }

    /// The replica goes: a task that waits for it learns that it is not here any more.
    pub fn retire(&self) {
        self.retire_in(self.state.lock());
    }

    /// The same, unless the partition is busy.
    ///
    /// # Errors
    /// See [`Busy`]. Then the replica is to be retired on a worker.
    pub fn retire_unless_busy(&self) -> Result<(), Busy> {
        self.unless_busy().ok_or(Busy).map(|state| self.retire_in(state))
    }

    pub(super) fn retire_in(&self, mut state: MutexGuard<'_, PartitionState>) {
        state.role = Role::Bystander;
        state.retired = true;
        drop(state);
        self.disturb();
    }

    /// Whether it has gone.
    pub fn is_retired(&self) -> bool {
        self.state.lock().retired
    }

    /// Closes the log: flushed, and fit to be opened without recovery. Nothing is served after. Waits for a flush that
    /// is under way: the kernel reports the failure of that flush to nobody else.
    ///
    /// # Errors
    /// When the disk refuses, or has refused before: the next start recovers.
    pub fn close(&self) -> DiskResult<Positions> {
        let _span = self.span().entered();
        self.retire();
        let mut state = self.state.lock();
        while state.log.is_flushing() {
            self.flush_ended.wait(&mut state);
        }
        let high_watermark = self.high_watermark.get();
        let (log_start, first_dirty) = (state.log.log_start(), state.first_dirty());
        let took_writes = state.log.takes_writes();
        let closed = state.log.close().and_then(|recovery_point| state.proposal.sync().map(|()| recovery_point));
        let recovery_point = closed.inspect_err(|error| {
            // Whether the directory has failed with a log that ended before was said then.
            if took_writes {
                self.note_disk_error(&mut state, error);
            }
        })?;
        Ok(Positions { recovery_point, log_start, high_watermark, first_dirty })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::rc::Rc;

    use ottla_log::disk::DiskChange;
    use ottla_log::disk::simulated::stand_in;
    use ottla_log::failure::Failure;

    use super::super::fixtures::leading_alone;
    use super::*;
    use crate::env;
    use crate::image::LeaderEpoch;

    fn append(partition: &Partition) {
        append_at(partition, 0);
    }

    fn append_at(partition: &Partition, now_ms: i64) {
        let mut batch = ottla_batch::BatchBuilder::new(ottla_batch::Codec::None);
        batch.push(ottla_batch::NewRecord::default());
        partition.append_own(&batch.build(), LeaderEpoch(0), now_ms).unwrap();
    }

    #[test]
    fn a_flush_is_due_by_age_also_where_the_wall_clock_was_set_back() {
        const AGE: Duration = Duration::from_secs(1);
        let data = tempfile::tempdir().unwrap();
        let partition = leading_alone(data.path());
        let is_due_in = |seconds| partition.flush_is_due(env::now() + Duration::from_secs(seconds), AGE, u64::MAX);
        assert!(!is_due_in(60), "nothing was appended");
        let now_ms = env::wall_clock_ms();
        for written_at in [now_ms, now_ms + 3_600_000] {
            append_at(&partition, written_at);
            assert_eq!((is_due_in(0), is_due_in(60)), (false, true), "written at {written_at}");
            partition.flush();
            assert!(!is_due_in(60), "nothing was appended since");
        }
    }

    #[test]
    fn what_is_appended_during_a_flush_is_flushed_right_after_it() {
        let data = tempfile::tempdir().unwrap();
        let partition = leading_alone(data.path());
        append(&partition);
        let running = partition.begin_flush().unwrap();
        append(&partition);
        partition.flush();
        assert_eq!(partition.durable.get(), 0, "the one that runs is waited for");
        partition.run_flushes(running);
        assert_eq!(partition.durable.get(), 2);
    }

    #[test]
    fn a_folder_that_is_removed_during_a_flush_is_no_failure_of_the_directory() {
        let data = tempfile::tempdir().unwrap();
        let (failure, partition) = (Failure::begin(data.path()), leading_alone(data.path()));
        append(&partition);
        let running = partition.begin_flush().unwrap();
        partition.retire();
        std::fs::rename(data.path().join("t-0"), data.path().join("gone")).unwrap();
        partition.run_flushes(running);
        assert!(!failure.is_noted());
        partition.flush();
        assert!(!failure.is_noted(), "nor is a flush that comes late");
    }

    #[test]
    fn a_log_that_was_torn_for_want_of_room_is_not_closed_clean_and_its_directory_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let (failure, partition) = (Failure::begin(data.path()), leading_alone(data.path()));
        append(&partition);
        stand_in(Some(Box::new(|change| match change {
            DiskChange::Write(_) | DiskChange::Truncate(..) => Err(std::io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        })));
        let mut batch = ottla_batch::BatchBuilder::new(ottla_batch::Codec::None);
        batch.push(ottla_batch::NewRecord::default());
        partition.append_own(&batch.build(), LeaderEpoch(0), 0).unwrap_err();
        stand_in(None);
        partition.close().expect_err("the next start cuts what is torn");
        assert!(!failure.is_noted());
    }

    #[test]
    fn a_flush_for_which_no_file_can_be_opened_is_tried_again_and_its_directory_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let (failure, partition) = (Failure::begin(data.path()), leading_alone(data.path()));
        let is_due = || partition.flush_is_due(env::now(), Duration::MAX, u64::MAX);
        append(&partition);
        stand_in(Some(Box::new(|change| match change {
            DiskChange::Open(_) | DiskChange::Create(_) => Err(rustix::io::Errno::MFILE.into()),
            _ => Ok(()),
        })));
        assert!(!is_due());
        partition.flush_and_wait();
        assert_eq!((failure.is_noted(), partition.durable.get(), is_due()), (false, 0, true));
        append(&partition);
        stand_in(None);
        partition.flush_and_wait();
        assert_eq!((failure.is_noted(), partition.durable.get(), is_due()), (false, 2, false));
        partition.close().unwrap();
    }

    #[test]
    fn a_clean_stop_leaves_nothing_that_the_machines_power_could_take() {
        let data = tempfile::tempdir().unwrap();
        let unsure: Rc<RefCell<BTreeSet<PathBuf>>> = Rc::default();
        let device = unsure.clone();
        stand_in(Some(Box::new(move |change| {
            let mut unsure = device.borrow_mut();
            match change {
                DiskChange::Create(path) | DiskChange::CreateDir(path) | DiskChange::Remove(path) => {
                    unsure.extend([path.to_owned(), path.parent().unwrap().to_owned()]);
                }
                DiskChange::Write(path) | DiskChange::Truncate(path, _) => _ = unsure.insert(path.to_owned()),
                DiskChange::Rename(from, to) => {
                    if unsure.remove(from) {
                        unsure.insert(to.to_owned());
                    }
                    unsure.insert(to.parent().unwrap().to_owned());
                }
                DiskChange::Sync(path) | DiskChange::SyncDir(path) => _ = unsure.remove(path),
                DiskChange::Open(_) => {}
            }
            Ok(())
        })));
        let partition = leading_alone(data.path());
        append(&partition);
        partition.close().unwrap();
        stand_in(None);
        assert_eq!(*unsure.borrow(), BTreeSet::new());
    }
}

//! A partition that copies its leader: where it continues, and what becomes of the leader's answers.
//!
//! Always: what is appended follows the log's end, in the leader epoch in which it was asked for, and is of that epoch
//! or an earlier one (KAFKA-18723); a fetch acknowledges nothing whose flush is due and has not ended; the log is cut
//! only where its epochs part from the leader's (KIP-101, KIP-279), never back to the high watermark. Blocks on the
//! disk: for worker threads.

use bytes::Bytes;
use ottla_batch::{BadBatch, BatchError, Batches, Stamped};
use ottla_log::LogError;
use parking_lot::{Mutex, MutexGuard};

use super::role::Role;
use super::{Busy, Partition, PartitionState};
use crate::env;
use crate::image::{BrokerId, LeaderEpoch};
use crate::replica::checkpoints::Checkpoints;
use crate::replica::throttle::Throttled;

/// Whom a follower copies.
#[derive(Debug)]
pub(super) struct Following {
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// The high watermark that the leader has sent last.
    pub told: i64,
    /// The newest assignment names what our disk holds now in the ISR.
    pub in_sync: bool,
    /// A reassignment adds this replica.
    pub added: bool,
}

/// Where a follower continues: what it asks its leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextFetch {
    /// The leader epoch in which it follows.
    pub leader_epoch: LeaderEpoch,
    /// Its log end.
    pub offset: i64,
    /// The epoch of its last record, which may have been deleted; none: it had no record.
    pub last_epoch: LeaderEpoch,
    /// Its first offset, as the checkpoints have it.
    pub log_start: i64,
    /// The high watermark that the follower received last; −1: none in this epoch.
    pub told_high_watermark: i64,
}

impl NextFetch {
    /// Whether it has everything that was committed when it last heard: it may be about to join.
    pub fn is_caught_up(&self) -> bool {
        self.told_high_watermark >= 0 && self.offset >= self.told_high_watermark
    }
}

/// Records from the leader, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Whole batches; the last one may be cut.
    pub records: Bytes,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// The leader's first offset.
    pub log_start: i64,
}

/// Why a follower could not continue. It tries again later; other partitions continue meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The bytes changed on the way, or the leader's disk did.
    #[error("the leader sent a batch that is damaged: {0}")]
    Corrupt(#[from] BadBatch),
    /// The disk is full or failed, or the batches don't follow the log's end.
    #[error("failed to append what the leader sent: {0}")]
    Append(#[from] ottla_log::LogAppendError),
    /// The leader's log has changed since it was asked: it does not lead in that epoch any more, or never did.
    #[error(
        "the leader sent a batch of epoch {found} at offset {offset}, after epoch {last}, in answer to epoch {asked}"
    )]
    OtherEpoch {
        /// The batch's epoch.
        found: LeaderEpoch,
        /// Its first offset.
        offset: i64,
        /// The epoch of the batch before it.
        last: LeaderEpoch,
        /// The epoch in which this follower asked.
        asked: LeaderEpoch,
    },
    /// The log could not be cut.
    #[error("failed to cut the log: {0}")]
    Cut(#[from] LogError),
    /// The leader says that the logs part, and names an end that is not before ours.
    #[error("the leader's epoch {epoch} ends at {end_offset}: nothing to cut there")]
    NothingToCut {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its end at the leader.
        end_offset: i64,
    },
}

impl Partition {
    /// Whom this broker copies the partition from, and in which leader epoch; `None`: from nobody.
    pub fn follows(&self) -> Option<(BrokerId, LeaderEpoch)> {
        follows_in(&self.state.lock())
    }

    /// The same for a look at every partition.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn follows_unless_busy(&self) -> Result<Option<(BrokerId, LeaderEpoch)>, Busy> {
        self.unless_busy().ok_or(Busy).map(|state| follows_in(&state))
    }

    /// Whether this broker is to throttle its copying of the partition: where its topic says so, or a reassignment adds
    /// it, and never where it is in sync or busy.
    pub fn follows_slowly(&self, throttled: Throttled) -> bool {
        let Some(state) = self.unless_busy() else { return false };
        match &state.role {
            Role::Follower(following) => {
                let is_listed = || state.settings.follower_throttled.contains(self.number, self.me.id.0);
                !following.in_sync && (throttled.added && following.added || throttled.listed && is_listed())
            }
            Role::Bystander | Role::Leader(_) | Role::Offline => false,
        }
    }

    /// Where this broker continues, while it follows in this epoch; none while a flush is due and has not ended, for
    /// the next fetch acknowledges what comes before it, and none while the partition is busy.
    pub fn next_fetch(&self, leader_epoch: LeaderEpoch) -> Option<NextFetch> {
        let state = self.unless_busy().filter(|state| is_following(state, leader_epoch))?;
        if state.log.recovery_point() < state.flush_due.min(state.log.log_end()) {
            return None;
        }
        let Role::Follower(Following { told, .. }) = &state.role else { return None };
        let (last_epoch, offset) = state.last_epoch_and_end();
        let log_start = state.deleted_to();
        Some(NextFetch { leader_epoch, offset, last_epoch, log_start, told_high_watermark: *told })
    }

    /// Appends the very bytes that the leader sent to `asked`, and takes over how far it has got. An answer that comes
    /// too late changes nothing.
    ///
    /// # Errors
    /// See [`FollowError`]; what was good before the error is appended.
    pub fn append_from_leader(&self, asked: &NextFetch, copied: &Copied) -> Result<(), FollowError> {
        let (mut batches, bad) = whole_batches(copied.records.clone());
        let mut bad = bad.map(FollowError::from);
        if let Some((good, error)) = leave_other_epochs(&batches, asked) {
            batches.truncate(good);
            bad = Some(error);
        }
        let Some(mut state) = self.still_asking(asked) else { return Ok(()) };
        if let Some(first) = batches.first().map(Stamped::header) {
            let is_empty = state.log.log_start() == asked.offset;
            if is_empty && first.base_offset < asked.offset && first.last_offset() >= asked.offset {
                // The leader's log begins inside of a batch (DeleteRecords), and a batch comes whole.
                let anew = state.log.truncate_fully_and_start_at(first.base_offset, env::wall_clock_ms());
                anew.inspect_err(|error| self.note_half_cut(&mut state, error))?;
                self.set_back(&mut state);
            }
            let appended = state.log.append(&batches, env::wall_clock_ms());
            let appended = appended.inspect_err(|error| self.note_append_error(&mut state, error))?;
            self.note_room(&mut state);
            state.unflushed_since.get_or_insert_with(env::now);
            self.log_end.advance(appended.log_end);
            self.metrics.replication_in.inc_by(batches.iter().map(|batch| batch.len() as u64).sum());
        }
        if let Role::Follower(following) = &mut state.role {
            following.told = copied.high_watermark;
        }
        let committed = copied.high_watermark.min(state.log.log_end());
        self.high_watermark.advance(committed);
        let log_start = copied.log_start.min(committed);
        state.log.advance_log_start(log_start);
        self.advance_last_stable(&mut state);
        let must_flush = self.must_flush(&state);
        if must_flush {
            state.flush_due = state.log.log_end();
        }
        drop(state);
        if must_flush {
            // The next fetch is the acknowledgement.
            self.flush_and_wait();
        }
        bad.map_or(Ok(()), Err)
    }

    /// Cuts the log where it parts from the leader's, which says where its `epoch` ends; before that the checkpoints
    /// say that it ends there. So after a crash nothing behind that offset is trusted, and after a restart nothing is
    /// missed, as if somebody had shortened the log, although a full disk takes no checkpoints.
    ///
    /// # Errors
    /// See [`FollowError`]. Nothing is cut while the checkpoints can't be written.
    pub fn part_from(
        &self,
        asked: &NextFetch,
        epoch: LeaderEpoch,
        end_offset: i64,
        checkpoints: &Mutex<Checkpoints>,
    ) -> Result<(), FollowError> {
        let _span = self.span().entered();
        // Until the log is cut: another task would store how long it was.
        let mut checkpoints = checkpoints.lock();
        let parts_at = self.still_asking(asked).map(|state| where_to_cut(&state, epoch, end_offset));
        let mut begins_lower = None;
        if let Some(offset) = parts_at {
            let (key, now) = ((self.topic.to_string(), self.number), self.positions());
            checkpoints.lower(key.clone(), now.up_to(offset)).map_err(LogError::from)?;
            begins_lower = (offset < now.log_start).then_some(key);
        }
        self.cut_to_end_of(asked, epoch, end_offset)?;
        // Before the first append: after a restart, a log that begins lower now must begin with the records that the
        // leader sends next, not where the former ones were deleted.
        if let Some(key) = begins_lower {
            checkpoints.store([(key, self.positions())]).map_err(LogError::from)?;
        }
        Ok(())
    }

    pub(super) fn cut_to_end_of(
        &self,
        asked: &NextFetch,
        epoch: LeaderEpoch,
        end_offset: i64,
    ) -> Result<(), FollowError> {
        let Some(mut state) = self.still_asking(asked) else { return Ok(()) };
        let (log_end, offset) = (state.log.log_end(), where_to_cut(&state, epoch, end_offset));
        if offset >= log_end {
            return Err(FollowError::NothingToCut { epoch, end_offset });
        }
        let high_watermark = self.high_watermark.get();
        if offset < high_watermark {
            tracing::error!(offset, high_watermark, %epoch,
                "the new leader lacks committed records: cutting below the high watermark");
        }
        let cut = state.log.truncate_to(offset, env::wall_clock_ms());
        let cut = cut.inspect_err(|error| self.note_half_cut(&mut state, error))?;
        tracing::info!(from = log_end, to = cut, "cut the log where it parts");
        self.set_back(&mut state);
        Ok(())
    }

    /// Removes everything and continues at `log_start`, where the leader's log begins: Kafka's rule for a follower
    /// whose end the leader no longer has. The caller writes the checkpoints before it asks again.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn start_anew(&self, asked: &NextFetch, log_start: i64) -> Result<(), FollowError> {
        let _span = self.span().entered();
        let Some(mut state) = self.still_asking(asked).filter(|_| log_start >= 0) else { return Ok(()) };
        let log_end = state.log.log_end();
        if state.log.log_start() < log_end {
            tracing::warn!(
                log_end,
                log_start,
                "the leader has deleted records beyond this replica's last: the replica removes its own and copies from \
                 the leader's first record on"
            );
        } else {
            // A new replica of a partition whose first records are deleted.
            tracing::debug!(log_start, "copying begins at the leader's first record");
        }
        let anew = state.log.truncate_fully_and_start_at(log_start, env::wall_clock_ms());
        anew.inspect_err(|error| self.note_half_cut(&mut state, error))?;
        self.set_back(&mut state);
        Ok(())
    }

    /// The watermarks follow a log that was cut.
    pub(super) fn set_back(&self, state: &mut PartitionState) {
        let log_end = state.log.log_end();
        // What was due was flushed or is gone: else the next records would seem due.
        state.flush_due = state.flush_due.min(log_end);
        state.kept_log_start = state.deleted_to();
        self.log_end.reset(log_end);
        let high_watermark = self.high_watermark.get().clamp(state.log.log_start(), log_end);
        self.high_watermark.reset(high_watermark);
        state.log.set_high_watermark(high_watermark);
        self.last_stable.reset(state.log.last_stable());
        self.durable.reset(state.log.recovery_point());
    }

    /// The partition's lock, if this broker follows in this epoch.
    fn following(&self, leader_epoch: LeaderEpoch) -> Option<MutexGuard<'_, PartitionState>> {
        Some(self.state.lock()).filter(|state| is_following(state, leader_epoch))
    }

    /// The same, if its log still ends where it did when it asked: an answer that comes too late or twice changes
    /// nothing.
    fn still_asking(&self, asked: &NextFetch) -> Option<MutexGuard<'_, PartitionState>> {
        self.following(asked.leader_epoch).filter(|state| state.log.log_end() == asked.offset)
    }
}

fn is_following(state: &PartitionState, leader_epoch: LeaderEpoch) -> bool {
    matches!(&state.role, Role::Follower(following) if following.leader_epoch == leader_epoch)
}

fn follows_in(state: &PartitionState) -> Option<(BrokerId, LeaderEpoch)> {
    match &state.role {
        Role::Follower(following) => Some((following.leader, following.leader_epoch)),
        Role::Bystander | Role::Leader(_) | Role::Offline => None,
    }
}

/// The whole batches, and what is wrong with the next one. A leader may cut the last: it comes whole with the next
/// answer.
fn whole_batches(records: Bytes) -> (Vec<Stamped>, Option<BadBatch>) {
    let mut batches = Vec::new();
    for batch in Batches::new(records) {
        match batch {
            Ok(batch) => batches.push(batch.in_place()),
            Err(BadBatch { error: BatchError::Truncated { .. }, .. }) if !batches.is_empty() => break,
            Err(bad) => return (batches, Some(bad)),
        }
    }
    (batches, None)
}

/// How many of the batches may follow on what was asked for, and what is wrong with the next one; none when all may. In
/// one log epochs never fall, and nobody but the leader of an epoch writes in it.
fn leave_other_epochs(batches: &[Stamped], asked: &NextFetch) -> Option<(usize, FollowError)> {
    let mut last = asked.last_epoch;
    for (good, header) in batches.iter().map(Stamped::header).enumerate() {
        let found = LeaderEpoch(header.partition_leader_epoch);
        if !(last..=asked.leader_epoch).contains(&found) {
            let (offset, asked) = (header.base_offset, asked.leader_epoch);
            return Some((good, FollowError::OtherEpoch { found, offset, last, asked }));
        }
        last = found;
    }
    None
}

/// Where a log parts from its leader's, whose `epoch` ends at `end_offset`.
fn where_to_cut(state: &PartitionState, epoch: LeaderEpoch, end_offset: i64) -> i64 {
    let log_end = state.log.log_end();
    let own_end = state.end_of_epoch(epoch).map_or(log_end, |(_, end)| end);
    end_offset.min(own_end).max(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{Fixture, batch};
    use super::*;

    /// A batch of one record for each epoch, from offset 0, as a leader sends them.
    fn records(epochs: &[i32]) -> Bytes {
        let stamped = (0..).zip(epochs).map(|(offset, epoch)| batch(b'x', 10).stamp(offset, *epoch, None));
        stamped.flat_map(|batch| batch.slices().map(|slice| slice.to_vec()).concat()).collect()
    }

    #[test]
    fn batches_of_an_epoch_in_which_nobody_asked_are_not_appended() {
        // What a leader of epoch 5 has sent, and how much of it goes into the log.
        let cases: &[(&[i32], i64)] = &[
            (&[3, 5, 5], 3),
            (&[3, 5, 6], 2),
            (&[6, 6, 6], 0),
            // It was cut in between, and has copied what a leader before it had written.
            (&[3, 4, 3], 2),
        ];
        for (epochs, end) in cases {
            let fixture = Fixture::new(&[]);
            fixture.elect(1, 5);
            let asked = fixture.partition.next_fetch(LeaderEpoch(5)).unwrap();
            let copied = Copied { records: records(epochs), high_watermark: 3, log_start: 0 };
            let taken = fixture.partition.append_from_leader(&asked, &copied);
            assert_eq!(fixture.partition.log_end.get(), *end, "{epochs:?}");
            assert_eq!(matches!(taken, Err(FollowError::OtherEpoch { .. })), *end < 3, "{epochs:?}");
            assert_eq!(fixture.partition.high_watermark.get(), *end, "{epochs:?}");
        }
    }

    #[test]
    fn a_follower_acknowledges_nothing_that_is_still_to_be_flushed() {
        let fixture = Fixture::new(&[("flush.messages", "2")]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        let copy_one = || {
            let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
            let batch = batch(b'x', 10).stamp(asked.offset, 0, None);
            let records = batch.slices().map(|slice| slice.to_vec()).concat().into();
            partition.append_from_leader(&asked, &Copied { records, high_watermark: 0, log_start: 0 }).unwrap();
        };
        copy_one();
        assert_eq!(partition.next_fetch(LeaderEpoch(0)).map(|next| next.offset), Some(1), "not due yet");
        // Somebody else flushes while the second record comes.
        let running = partition.begin_flush().unwrap();
        std::thread::scope(|threads| {
            let copying = threads.spawn(copy_one);
            while partition.log_end.get() < 2 {
                std::thread::yield_now();
            }
            for _ in 0..100 {
                assert_eq!(partition.next_fetch(LeaderEpoch(0)), None);
                std::thread::yield_now();
            }
            partition.run_flushes(running);
            copying.join().unwrap();
        });
        assert_eq!(
            (partition.durable.get(), partition.next_fetch(LeaderEpoch(0)).map(|next| next.offset)),
            (2, Some(2))
        );
    }

    #[test]
    fn who_has_led_acknowledges_nothing_that_it_has_not_flushed() {
        let fixture = Fixture::new(&[("flush.messages", "1"), ("min.insync.replicas", "1")]);
        let partition = &fixture.partition;
        let next = || partition.next_fetch(LeaderEpoch(2)).map(|next| next.offset);
        let is_due = || partition.flush_is_due(env::now(), Duration::MAX, u64::MAX);
        fixture.elect(0, 1);
        partition.append_own(&batch(b'x', 10), LeaderEpoch(1), 0).unwrap();
        assert!(!is_due(), "the append asks for the flush itself");
        fixture.elect(1, 2);
        assert_eq!((next(), is_due()), (None, true));
        partition.flush();
        assert_eq!((next(), is_due()), (Some(1), false));
    }

    #[test]
    fn a_follower_whose_log_was_cut_waits_for_no_flush_of_what_is_gone() {
        let fixture = Fixture::new(&[("flush.messages", "3")]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        let copy = |records: &[i32]| {
            let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
            let stamped = (asked.offset..).zip(records).map(|(offset, _)| batch(b'x', 10).stamp(offset, 0, None));
            let records: Vec<u8> =
                stamped.flat_map(|batch| batch.slices().map(|slice| slice.to_vec()).concat()).collect();
            let copied = Copied { records: records.into(), high_watermark: 0, log_start: 0 };
            partition.append_from_leader(&asked, &copied).unwrap();
        };
        copy(&[1, 2, 3]);
        assert_eq!(partition.durable.get(), 3, "the third made it due");
        let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
        partition.cut_to_end_of(&asked, LeaderEpoch(0), 1).unwrap();
        copy(&[4]);
        assert_eq!(partition.next_fetch(LeaderEpoch(0)).map(|next| next.offset), Some(2), "one record is not three");
    }

    /// These checkpoints, once they say where the partition stands.
    fn stored(partition: &Partition, mut checkpoints: Checkpoints) -> Mutex<Checkpoints> {
        checkpoints.store([((partition.topic.to_string(), 0), partition.positions())]).unwrap();
        Mutex::new(checkpoints)
    }

    #[test]
    fn a_log_is_cut_once_the_checkpoints_say_so_and_not_while_the_disk_has_no_room_for_them() {
        let fixture = Fixture::new(&[("flush.messages", "1")]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        for offset in 0..2 {
            let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
            let records = batch(b'x', 10).stamp(offset, 0, None).slices().map(|slice| slice.to_vec()).concat();
            let copied = Copied { records: records.into(), high_watermark: 0, log_start: 0 };
            partition.append_from_leader(&asked, &copied).unwrap();
        }
        let data = tempfile::tempdir().unwrap();
        let load = || Checkpoints::load(data.path(), false, true).unwrap();
        let checkpoints = stored(partition, load());
        let flushed_to = || load().of(&partition.topic, 0).1.recovery_point;
        assert_eq!(flushed_to(), 2);

        // No new file can be written beside the old one.
        let beside = data.path().join(format!("{}.tmp", ottla_log::checkpoints::RECOVERY_POINTS));
        std::fs::create_dir(&beside).unwrap();
        let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
        assert!(partition.part_from(&asked, LeaderEpoch(0), 1, &checkpoints).is_err());
        assert_eq!(partition.log_end.get(), 2, "a restart would miss the second record");
        std::fs::remove_dir(&beside).unwrap();
        partition.part_from(&asked, LeaderEpoch(0), 1, &checkpoints).unwrap();
        assert_eq!((partition.log_end.get(), flushed_to()), (1, 1));
    }

    #[test]
    fn a_log_that_was_cut_below_its_first_record_begins_with_what_is_copied_next_after_a_restart() {
        let fixture = Fixture::new(&[]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
        // The first five of eight were deleted.
        let copied = Copied { records: records(&[0; 8]), high_watermark: 8, log_start: 5 };
        partition.append_from_leader(&asked, &copied).unwrap();
        let data = tempfile::tempdir().unwrap();
        let load = || Checkpoints::load(data.path(), false, true).unwrap();
        let checkpoints = stored(partition, load());
        let log_start = || load().of(&partition.topic, 0).1.log_start;
        assert_eq!(log_start(), 5);
        let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
        partition.part_from(&asked, LeaderEpoch(0), 3, &checkpoints).unwrap();
        assert_eq!((partition.log_end.get(), log_start()), (3, 3));
    }
}

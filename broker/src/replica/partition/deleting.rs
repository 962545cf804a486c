//! DeleteRecords (KIP-107): taking records away at the start of a log, and waiting until no other leader brings them
//! back.
//!
//! Always: the low watermark grows while this broker leads; what lies below is gone from every replica that may lead
//! next, and no restart of any of them brings it back: Kafka's brokers checkpoint a log's start up to a minute later.

use super::role::Role;
use super::{Partition, PartitionState};
use crate::env::{self, Instant};
use crate::image::LeaderEpoch;
use crate::replica::not_served::NotServed;

/// Why records were not deleted, or not everywhere.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Not here, or not now.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// Compaction alone cleans the topic up.
    #[error("cleanup.policy of the topic does not contain delete")]
    Policy,
    /// There is nothing committed up to this offset.
    #[error("the offset is above the high watermark {high_watermark}, or below zero")]
    OutOfRange {
        /// See [`Partition::high_watermark`].
        high_watermark: i64,
    },
    /// The leader has deleted them; an in-sync replica has not said in time that it has, too.
    #[error("not deleted on every in-sync replica within the time-out")]
    TimedOut {
        /// See [`Partition::low_watermark`].
        low_watermark: i64,
    },
}

impl Partition {
    /// Makes everything before `offset` unreadable here (−1: everything committed), and returns that offset. Files go
    /// later. The caller writes the checkpoints, on which the low watermark waits.
    ///
    /// # Errors
    /// See [`DeleteError`], but `TimedOut`.
    pub fn delete_records(&self, offset: i64) -> Result<i64, DeleteError> {
        let mut state = self.leading(LeaderEpoch::NONE)?;
        if state.settings.cleanup_policy.compact && !state.settings.cleanup_policy.delete {
            return Err(DeleteError::Policy);
        }
        let high_watermark = self.high_watermark.get();
        let offset = if offset == -1 { high_watermark } else { offset };
        if !(0..=high_watermark).contains(&offset) {
            return Err(DeleteError::OutOfRange { high_watermark });
        }
        state.log.advance_log_start(offset);
        self.advance_last_stable(&mut state);
        self.advance_low_watermark(&state);
        drop(state);
        // Followers whose fetches wait here learn of the new log start at once.
        self.log_end.disturb();
        Ok(offset)
    }

    /// The checkpoints on disk say that the log begins at `log_start`.
    pub fn keeps_log_start(&self, log_start: i64) {
        let mut state = self.state.lock();
        if state.kept_log_start != log_start {
            state.kept_log_start = log_start;
            self.advance_low_watermark(&state);
        }
    }

    /// Whether they don't say yet where it begins.
    pub fn has_moved_log_start(&self) -> bool {
        let state = self.state.lock();
        !state.retired && state.deleted_to() < state.log.log_start()
    }

    /// Waits until every in-sync replica has deleted what is before `offset`, at most until `deadline`. Returns the low
    /// watermark.
    ///
    /// # Errors
    /// `TimedOut`, or that this broker does not lead any more.
    pub async fn deleted_everywhere(&self, offset: i64, deadline: Instant) -> Result<i64, DeleteError> {
        loop {
            let reached = self.low_watermark.reached(offset);
            drop(self.leading(LeaderEpoch::NONE)?);
            let low_watermark = self.low_watermark.get();
            if low_watermark >= offset {
                return Ok(low_watermark);
            }
            tokio::select! {
                biased;
                () = reached => {}
                () = env::sleep_until(deadline) => return Err(DeleteError::TimedOut { low_watermark }),
            }
        }
    }

    /// After anything that it rests on has changed: positions, the ISR, the log's start.
    pub(super) fn advance_low_watermark(&self, state: &PartitionState) {
        if let Role::Leader(leadership) = &state.role {
            self.low_watermark.advance(leadership.low_watermark(state.deleted_to()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::{Fixture, batch, member};
    use super::super::following::Copied;
    use super::super::reading::{ReadFrom, Reader};
    use super::*;
    use crate::image::IsrMember;

    /// A replica fetches from the log's end, and says where its log begins.
    fn fetch(partition: &Partition, broker: i32, log_start: i64) {
        let IsrMember { broker, incarnation } = member(broker);
        let offset = partition.log_end.get();
        let from =
            ReadFrom { offset, current_leader_epoch: LeaderEpoch(0), last_fetched_epoch: LeaderEpoch::NONE, log_start };
        partition.read(&from, 1, true, 1, Reader::Follower { broker, incarnation, again: false }).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_deleted_once_every_in_sync_replica_says_so() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        partition.append_own(&batch(b'x', 10), LeaderEpoch(0), 0).unwrap();
        for broker in [1, 2] {
            fetch(partition, broker, 0);
        }
        assert_eq!(partition.high_watermark.get(), 1);
        assert_eq!(partition.delete_records(-1).unwrap(), 1);
        fetch(partition, 1, 1);
        partition.keeps_log_start(1);
        let soon = || env::now() + Duration::from_secs(1);
        let error = partition.deleted_everywhere(1, soon()).await.unwrap_err();
        assert!(matches!(error, DeleteError::TimedOut { low_watermark: 0 }), "{error:?}");

        let deleted = partition.deleted_everywhere(1, soon());
        let (deleted, ()) = tokio::join!(deleted, async { fetch(partition, 2, 1) });
        assert_eq!(deleted.unwrap(), 1);

        fixture.elect(1, 1);
        let error = partition.deleted_everywhere(1, soon()).await.unwrap_err();
        assert!(matches!(error, DeleteError::NotServed(NotServed::NotLeader)), "{error:?}");
        fixture.elect(0, 2);
        let error = partition.deleted_everywhere(1, soon()).await.unwrap_err();
        assert!(
            matches!(error, DeleteError::TimedOut { low_watermark: -1 }),
            "nobody has said so in this epoch: {error:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_not_deleted_before_the_checkpoints_say_so() {
        let fixture = Fixture::new(&[]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        partition.append_own(&batch(b'x', 10), LeaderEpoch(0), 0).unwrap();
        for log_start in [0, 1] {
            [1, 2].iter().for_each(|broker| fetch(partition, *broker, log_start));
            assert_eq!(partition.delete_records(-1).unwrap(), 1);
        }
        assert!(partition.has_moved_log_start());
        let soon = || env::now() + Duration::from_secs(1);
        let error = partition.deleted_everywhere(1, soon()).await.unwrap_err();
        assert!(matches!(error, DeleteError::TimedOut { low_watermark: 0 }), "{error:?}");
        partition.keeps_log_start(1);
        assert_eq!(partition.deleted_everywhere(1, soon()).await.unwrap(), 1);
        fixture.elect(1, 1);
        assert_eq!(partition.next_fetch(LeaderEpoch(1)).unwrap().log_start, 1);
    }

    #[test]
    fn a_follower_says_that_records_are_deleted_when_its_checkpoints_do() {
        let fixture = Fixture::new(&[]);
        fixture.elect(1, 0);
        let partition = &fixture.partition;
        let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
        let records = batch(b'x', 10).stamp(0, 0, None).slices().map(|slice| slice.to_vec()).concat().into();
        partition.append_from_leader(&asked, &Copied { records, high_watermark: 1, log_start: 1 }).unwrap();
        assert_eq!((partition.status().log_start, partition.next_fetch(LeaderEpoch(0)).unwrap().log_start), (1, 0));
        partition.keeps_log_start(1);
        assert_eq!(partition.next_fetch(LeaderEpoch(0)).unwrap().log_start, 1);
    }

    #[test]
    fn who_leads_after_a_recovery_deletes_what_the_in_sync_replicas_had_deleted() {
        let fixture = Fixture::new(&[("min.insync.replicas", "2")]);
        fixture.elect(0, 0);
        let partition = &fixture.partition;
        for _ in 0..3 {
            partition.append_verified(&batch(b'x', 10), false, None).unwrap(); // acks=1
        }
        let places = || {
            let status = partition.status();
            (status.log_start, partition.high_watermark.get(), status.log_end)
        };
        assert_eq!(places(), (0, 0, 3));
        fixture.recover(1, 2);
        assert_eq!(places(), (2, 2, 3));
        assert_eq!(
            partition.extent_unless_busy().unwrap().log_start,
            0,
            "a restart would bring them back until the checkpoints say so"
        );
        partition.keeps_log_start(2);
        assert_eq!(partition.extent_unless_busy().unwrap().log_start, 2);
        fixture.recover(2, 1);
        assert_eq!(places(), (2, 2, 3), "more is deleted here");
        fixture.recover(3, 9);
        assert_eq!(places(), (9, 9, 9), "offsets are never used again");
    }

    #[test]
    fn a_refusal_names_the_first_reason_that_kafka_finds() {
        let compacted = Fixture::new(&[("cleanup.policy", "compact")]);
        let delete = |offset| compacted.partition.delete_records(offset);
        compacted.elect(1, 0);
        assert!(matches!(delete(7), Err(DeleteError::NotServed(NotServed::NotLeader))));
        compacted.elect(0, 1);
        assert!(matches!(delete(7), Err(DeleteError::Policy)));
        let fixture = Fixture::new(&[("cleanup.policy", "compact,delete")]);
        fixture.elect(0, 0);
        for offset in [7, -2] {
            let deleted = fixture.partition.delete_records(offset);
            assert!(matches!(deleted, Err(DeleteError::OutOfRange { high_watermark: 0 })), "{offset}");
        }
    }
}

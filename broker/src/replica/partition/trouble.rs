//! A partition's disk: no room, failures, and when it is better not to serve at all.

use ottla_log::{DiskError, LogError};

use super::role::Role;
use super::{Partition, PartitionState};
use crate::replica::checkpoints::Positions;

impl Partition {
    pub(super) fn note_append_error(&self, state: &mut PartitionState, error: &ottla_log::LogAppendError) {
        match error {
            ottla_log::LogAppendError::NoRoom(error) => self.note_disk_error(state, error),
            ottla_log::LogAppendError::OutOfOrder { .. } => {}
            ottla_log::LogAppendError::Disk(error) => {
                self.note_disk_error(state, error);
                if error.lacks_room() {
                    self.take_offline(state, error);
                }
            }
            ottla_log::LogAppendError::Failed => self.take_offline(state, error),
        }
    }

    /// Want of room is no reason to go offline: there may be room again.
    pub(super) fn note_disk_error(&self, state: &mut PartitionState, error: &DiskError) {
        if !error.lacks_room() {
            self.fail(state, error);
        } else if !std::mem::replace(&mut state.full, true) {
            let _span = self.span().entered();
            tracing::error!(%error,
                "there is no room: nothing is written to the partition until there is; nothing of it is lost");
        }
    }

    /// Nobody knows what is on the device, and another try would not show it. The directory is disowned before anything
    /// else happens.
    pub(super) fn fail(&self, state: &mut PartitionState, error: &DiskError) {
        let _span = self.span().entered();
        state.log.fail();
        self.take_offline(state, error);
    }

    /// The log is neither what it was nor what it should be.
    pub(super) fn note_half_cut(&self, state: &mut PartitionState, error: &LogError) {
        if let LogError::Disk(error) = error {
            self.note_disk_error(state, error);
        }
        self.take_offline(state, error);
    }

    /// Whether a full disk has left the log half cut or half written, and nothing else is wrong with it: what a restart
    /// would put right. Not while the partition is busy.
    pub fn is_torn(&self) -> bool {
        self.unless_busy().is_some_and(|state| is_torn_in(&state))
    }

    /// Retires a replica whose log is torn, and is about to be opened again. Gives what the next opening may rest on;
    /// `None` if the log is not torn, and while the partition is busy: housekeeping has it looked at again.
    pub fn give_up_if_torn(&self) -> Option<Positions> {
        let mut state = self.unless_busy().filter(|state| is_torn_in(state))?;
        state.log.give_up();
        let known = self.positions_in(&state);
        self.retire_in(state);
        Some(known)
    }

    pub(super) fn note_room(&self, state: &mut PartitionState) {
        if std::mem::take(&mut state.full) {
            // Not an error, but an operator who read that there is no room has to read when there is again, also on
            // a laptop, which shows no lower level.
            let _span = self.span().entered();
            tracing::warn!("there is room again: the partition is written to");
        }
    }

    pub(super) fn take_offline(&self, state: &mut PartitionState, error: &dyn std::error::Error) {
        let _span = self.span().entered();
        tracing::error!(%error, "partition taken offline");
        state.role = Role::Offline;
        self.disturb();
    }
}

fn is_torn_in(state: &PartitionState) -> bool {
    matches!(state.role, Role::Offline) && state.full && !state.retired
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber, subscriber};

    use super::super::fixtures::Fixture;
    use super::super::role::Role;
    use crate::image::LeaderEpoch;

    /// Hears how loud each event is.
    struct Loudness(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Loudness {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0.lock().push(*event.metadata().level());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn loudness(of: impl FnOnce()) -> Vec<Level> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        subscriber::with_default(Loudness(heard.clone()), of);
        let heard = heard.lock();
        heard.clone()
    }

    /// A replica that follows broker 1 in epoch 0.
    fn following() -> Fixture {
        let fixture = Fixture::new(&[]);
        fixture.elect(1, 0);
        fixture
    }

    #[test]
    fn a_new_replica_begins_where_deleted_records_end_and_warns_of_nothing() {
        let fixture = following();
        let partition = &fixture.partition;
        let begin_at = |log_start| {
            let asked = partition.next_fetch(LeaderEpoch(0)).unwrap();
            loudness(|| partition.start_anew(&asked, log_start).unwrap())
        };
        assert_eq!(begin_at(5), [Level::DEBUG], "it was empty");
        let mut batch = ottla_batch::BatchBuilder::new(ottla_batch::Codec::None);
        batch.push(ottla_batch::NewRecord::default());
        partition.state.lock().log.append(&[batch.build().stamp(5, 0, None)], 0).unwrap();
        assert_eq!(begin_at(9), [Level::WARN], "it had a record");
    }

    #[test]
    fn a_torn_log_is_given_up_once_nobody_waits_for_the_disk_with_its_lock() {
        let fixture = following();
        let partition = &fixture.partition;
        assert_eq!(partition.give_up_if_torn(), None, "it is whole");
        let mut busy = partition.state.lock();
        (busy.role, busy.full) = (Role::Offline, true);
        // On the thread that acts on elections.
        assert_eq!(partition.give_up_if_torn(), None, "somebody has the lock");
        drop(busy);
        assert!(partition.is_torn());
        assert_eq!(partition.give_up_if_torn(), Some(partition.positions()));
        assert!(partition.is_retired() && !partition.is_torn());
        assert_eq!(partition.give_up_if_torn(), None, "it is retired");
    }

    #[test]
    fn a_disk_that_has_room_again_is_no_error() {
        let fixture = following();
        let partition = &fixture.partition;
        let mut state = partition.state.lock();
        state.full = true;
        assert_eq!(loudness(|| partition.note_room(&mut state)), [Level::WARN]);
        assert!(loudness(|| partition.note_room(&mut state)).is_empty(), "said once");
    }
}

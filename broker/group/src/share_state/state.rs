//! What is known of a partition of a share group, and what records make of it. Kafka's `ShareGroupOffset`.

use super::batches::{NO_OFFSET, StateBatch, combine};
use super::record::{Update, Value};

/// What is known of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareGroupState {
    /// Grows with each snapshot.
    pub snapshot_epoch: i32,
    /// Grows each time the partition is initialised.
    pub state_epoch: i32,
    /// Of the leader that reads and writes.
    pub leader_epoch: i32,
    /// The first offset that the group may still deliver; −1 if no leader has chosen one.
    pub start_offset: i64,
    /// How many records from the start offset on are done with; −1 if unknown.
    pub delivery_complete_count: i32,
    /// Wall clock of the first snapshot with this state, in milliseconds; 0 if unknown.
    pub created_ms: i64,
    /// Wall clock of the last snapshot, in milliseconds; 0 if unknown.
    pub written_ms: i64,
    /// Sorted by offset, without overlaps.
    pub batches: Vec<StateBatch>,
}

/// A state, and what its records say beyond that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tracked {
    pub(super) state: ShareGroupState,
    /// Epochs never become smaller, whatever a record says.
    pub(super) leader_epoch: i32,
    pub(super) state_epoch: i32,
    /// How many updates came after the last snapshot.
    pub(super) updates: u32,
    /// The offset of the last snapshot: records before it say nothing that it does not say.
    pub(super) snapshot_at: i64,
}

/// What a partition is after a record; `None`: nothing is known of it.
pub(super) fn apply(before: Option<Tracked>, value: &Value, offset: i64) -> Option<Tracked> {
    match (value, before) {
        (Value::Deleted, _) => None,
        (Value::Snapshot(state), before) => Some(Tracked {
            leader_epoch: before.as_ref().map_or(i32::MIN, |it| it.leader_epoch).max(state.leader_epoch),
            state_epoch: before.as_ref().map_or(i32::MIN, |it| it.state_epoch).max(state.state_epoch),
            state: state.clone(),
            updates: 0,
            snapshot_at: offset,
        }),
        (Value::Update(update), Some(before)) => Some(Tracked {
            leader_epoch: before.leader_epoch.max(update.leader_epoch),
            updates: before.updates.saturating_add(1),
            state: before.state.updated(update),
            ..before
        }),
        // Its snapshot was deleted, which should not be: what is left of it counts.
        (Value::Update(update), None) => Some(Tracked {
            leader_epoch: update.leader_epoch,
            state_epoch: i32::MIN,
            state: ShareGroupState {
                snapshot_epoch: update.snapshot_epoch,
                state_epoch: 0,
                leader_epoch: update.leader_epoch,
                start_offset: update.start_offset,
                delivery_complete_count: update.delivery_complete_count,
                created_ms: 0,
                written_ms: 0,
                batches: combine(&[], &update.batches, update.start_offset),
            },
            updates: 1,
            snapshot_at: offset,
        }),
    }
}

impl ShareGroupState {
    fn updated(self, update: &Update) -> ShareGroupState {
        let start_offset = if update.start_offset == NO_OFFSET { self.start_offset } else { update.start_offset };
        ShareGroupState {
            start_offset,
            leader_epoch: if update.leader_epoch == -1 { self.leader_epoch } else { update.leader_epoch },
            delivery_complete_count: update.delivery_complete_count,
            batches: combine(&self.batches, &update.batches, start_offset),
            ..self
        }
    }
}

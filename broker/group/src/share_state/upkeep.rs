//! What time brings: snapshots of states that rest, so that the records before can be deleted; states of deleted
//! topics. Kafka's `ShareCoordinatorOffsetsManager`, `snapshotColdPartitions` and `maybeCleanupShareState`.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::record::{Record, Value};
use super::shard::{Effects, Shard};
use super::state::ShareGroupState;
use crate::ids::Now;

impl Shard {
    /// When [`Shard::tick`] has something to do, on [`Now::monotonic`]'s scale; `None` before [`Shard::loaded`].
    pub fn next_deadline(&self) -> Option<Duration> {
        self.upkeep_at
    }

    /// Acts on the deadline if it has passed.
    pub fn tick(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        if self.upkeep_at.is_none_or(|due| now.monotonic < due) {
            return effects;
        }
        self.upkeep_at = Some(now.monotonic.saturating_add(self.config.upkeep_interval));
        effects.delete_before = self.deletable_before().filter(|offset| *offset > self.deleted_before);
        self.delete_doomed(&mut effects);
        self.write_resting(now, &mut effects);
        effects
    }

    /// The records before this offset are deleted.
    pub fn deleted(&mut self, before: i64) {
        self.deleted_before = self.deleted_before.max(before);
    }

    /// These topics are deleted: so are the states of their partitions, sooner or later.
    pub fn delete_topics(&mut self, topics: &BTreeSet<Uuid>) -> Effects {
        let doomed = self.partitions.keys().filter(|partition| topics.contains(&partition.topic_id));
        self.doomed.extend(doomed.cloned());
        let mut effects = Effects::default();
        self.delete_doomed(&mut effects);
        effects
    }

    /// Every partition is known from its last snapshot on. `None` while some records may not be committed.
    fn deletable_before(&self) -> Option<i64> {
        let last_snapshots = self.partitions.values().map(|tracked| tracked.snapshot_at);
        self.unsettled.is_empty().then(|| last_snapshots.min().unwrap_or(self.end))
    }

    fn delete_doomed(&mut self, effects: &mut Effects) {
        let partitions = &self.partitions;
        self.doomed.retain(|partition| partitions.contains_key(partition));
        let idle = self.doomed.iter().filter(|partition| self.is_settled(partition) && !self.is_busy(partition));
        let tombstone = |partition: &_| Record { partition: Clone::clone(partition), value: Value::Deleted };
        let tombstones = idle.map(tombstone).collect();
        self.write_in_parts(tombstones, effects);
    }

    /// If all states rest, new snapshots would let nothing be deleted that matters.
    fn write_resting(&mut self, now: Now, effects: &mut Effects) {
        let rests = |state: &ShareGroupState| state.created_ms != state.written_ms;
        if self.partitions.values().all(|tracked| rests(&tracked.state)) {
            return;
        }
        let age = i64::try_from(self.config.upkeep_interval.as_millis()).unwrap_or(i64::MAX);
        let mut snapshots = Vec::new();
        for (partition, tracked) in &self.partitions {
            let state = &tracked.state;
            let is_old = now.wall_ms.saturating_sub(state.written_ms) >= age;
            if is_old && self.is_settled(partition) && !self.is_busy(partition) {
                let value = Value::Snapshot(ShareGroupState {
                    snapshot_epoch: state.snapshot_epoch.saturating_add(1),
                    written_ms: now.wall_ms,
                    ..state.clone()
                });
                snapshots.push(Record { partition: partition.clone(), value });
            }
        }
        self.write_in_parts(snapshots, effects);
    }

    /// Writes records of different partitions, which need not be together.
    fn write_in_parts(&mut self, records: Vec<Record>, effects: &mut Effects) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for record in records {
            let more = record.bytes();
            if bytes + more > self.config.batch_bytes {
                self.write(std::mem::take(&mut part), Vec::new(), effects);
                bytes = 0;
            }
            bytes += more;
            part.push(record);
        }
        self.write(part, Vec::new(), effects);
    }
}

//! Which leader epoch began at which offset (KIP-101): what followers and their leader compare to find where their logs
//! part ways.
//!
//! Values only; [`Epochs::store`] and [`Epochs::load`] move them to and from `leader-epoch-checkpoint`. The log writes
//! them before the first append under a new epoch: a follower that asks in between must learn that the old epoch has
//! ended, or it keeps records that are about to be overwritten. That file is synced with the first records of the
//! epoch, so that a broker that begins to lead many partitions at once need not wait for the device with each. A crash
//! of the machine before that sync may leave the file torn: then the batches show all epochs. The batches of a
//! compacted log can't: there the file is synced at once. Always: epochs ascend strictly, and so do their start
//! offsets.

use std::path::Path;

use ottla_batch::BatchHeader;

use crate::checkpoints::{self, CheckpointError};
use crate::disk::DiskResult;

pub(crate) const FILE: &str = "leader-epoch-checkpoint";

/// An epoch and the first offset that was, or is to be, written under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader epoch.
    pub epoch: i32,
    /// Its first offset.
    pub start_offset: i64,
}

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<EpochStart>,
}

impl Epochs {
    /// Read a partition's checkpoint; none when there is none.
    pub(crate) fn load(dir: &Path) -> Result<Option<Epochs>, CheckpointError> {
        let entries = checkpoints::read_lines(&dir.join(FILE), |line| {
            let [epoch, start_offset] = checkpoints::fields(line)?;
            Some(EpochStart { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? })
        })?;
        Ok(entries.map(|entries| {
            let mut epochs = Epochs::default();
            entries.into_iter().for_each(|e| _ = epochs.assign(e.epoch, e.start_offset));
            epochs
        }))
    }

    /// Make the checkpoint say the same, durably.
    pub(crate) fn store(&self, dir: &Path) -> DiskResult<()> {
        checkpoints::write_lines(&dir.join(FILE), self.lines())
    }

    /// Make the checkpoint say the same; it is to be synced before the recovery point passes records of a new epoch.
    pub(crate) fn store_unsynced(&self, dir: &Path) -> DiskResult<()> {
        checkpoints::write_lines_unsynced(&dir.join(FILE), self.lines())
    }

    fn lines(&self) -> impl ExactSizeIterator<Item = String> {
        self.entries.iter().map(|e| format!("{} {}", e.epoch, e.start_offset))
    }

    /// The latest epoch and its start; none when no epoch is known.
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Note that `epoch` begins at `start_offset`; true when that is news. What it contradicts has been overwritten and
    /// is forgotten.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if self.latest().is_some_and(|latest| latest.epoch >= epoch && latest.start_offset <= start_offset) {
            return false;
        }
        self.entries.retain(|e| e.epoch < epoch && e.start_offset < start_offset);
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// Is there nothing to learn from this batch?
    pub(crate) fn knows(&self, batch: &BatchHeader) -> bool {
        self.latest().map_or(-1, |latest| latest.epoch) >= batch.partition_leader_epoch
    }

    /// Note the epoch of a batch in the log, if it is later than all known.
    pub(crate) fn note(&mut self, batch: &BatchHeader) {
        self.note_later(batch.partition_leader_epoch, batch.base_offset);
    }

    /// A batch of the log, which is right: later epochs begin behind it.
    pub(crate) fn believe(&mut self, batch: &BatchHeader) {
        self.entries.retain(|e| e.epoch <= batch.partition_leader_epoch || e.start_offset > batch.last_offset());
    }

    /// Note what `others` know that is later.
    pub(crate) fn extend(&mut self, others: &Epochs) {
        for other in &others.entries {
            self.note_later(other.epoch, other.start_offset);
        }
    }

    fn note_later(&mut self, epoch: i32, start_offset: i64) {
        if self.latest().map_or(-1, |latest| latest.epoch) < epoch {
            self.assign(epoch, start_offset);
        }
    }

    /// The largest epoch not above `epoch`, and where it ended: the answer to OffsetsForLeaderEpoch. None when `epoch`
    /// is above all that this log knows.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if self.latest()?.epoch == epoch {
            return Some((epoch, log_end));
        }
        let above = self.entries.partition_point(|e| e.epoch <= epoch);
        let end_offset = self.entries.get(above)?.start_offset;
        // Below the first known epoch there is nothing left to part ways in: Kafka names the epoch that was asked for.
        let floor = above.checked_sub(1).map_or(epoch, |floor| self.entries[floor].epoch);
        Some((floor, end_offset))
    }

    /// The epoch that `offset` was written under; none when it is older than the first known epoch.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let above = self.entries.partition_point(|e| e.start_offset <= offset);
        above.checked_sub(1).map(|i| self.entries[i].epoch)
    }

    /// The log now ends at `log_end`; true when an epoch went with its tail.
    pub(crate) fn truncate_end(&mut self, log_end: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.start_offset < log_end);
        self.entries.len() != before
    }

    /// The log now starts at `log_start`. The epoch of the record before stays, and starts with that record (Kafka's
    /// starts at `log_start`): the epoch shows how new a log without records is, for an older log must not count as
    /// longer.
    pub(crate) fn truncate_start(&mut self, log_start: i64) {
        let before = log_start - 1;
        let above = self.entries.partition_point(|e| e.start_offset <= before);
        let Some(floor) = above.checked_sub(1) else { return };
        self.entries.drain(..floor);
        self.entries[0].start_offset = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.entries.iter().map(|e| (e.epoch, e.start_offset)).collect()
    }

    #[test]
    fn a_new_epoch_overrules_what_it_contradicts() {
        for (assigned, expected) in [
            (vec![(0, 0), (2, 10)], vec![(0, 0), (2, 10)]),
            (vec![(0, 0), (0, 5)], vec![(0, 0)]),
            (vec![(3, 5), (2, 10)], vec![(3, 5)]),
            (vec![(0, 0), (2, 10), (3, 10)], vec![(0, 0), (3, 10)]),
            (vec![(0, 0), (2, 10), (3, 4)], vec![(0, 0), (3, 4)]),
            (vec![(0, 0), (2, 10), (1, 4)], vec![(0, 0), (1, 4)]),
        ] {
            assert_eq!(pairs(&epochs(&assigned)), expected, "{assigned:?}");
        }
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs(&[(1, 10), (2, 20), (5, 50)]);
        let cases = [
            (0, Some((0, 10))),
            (1, Some((1, 20))),
            (2, Some((2, 50))),
            (3, Some((2, 50))),
            (5, Some((5, 99))),
            (6, None),
        ];
        for (epoch, expected) in cases {
            assert_eq!(epochs.end_offset_for(epoch, 99), expected, "{epoch}");
        }
        assert_eq!(Epochs::default().end_offset_for(0, 99), None);
    }

    #[test]
    fn an_offset_belongs_to_the_epoch_that_began_last() {
        let epochs = epochs(&[(1, 10), (2, 20)]);
        for (offset, expected) in [(9, None), (10, Some(1)), (19, Some(1)), (20, Some(2)), (99, Some(2))] {
            assert_eq!(epochs.epoch_at(offset), expected, "{offset}");
        }
    }

    #[test]
    fn truncating_the_end_takes_epochs_without_records() {
        for (log_end, expected) in [(21, vec![(1, 10), (2, 20)]), (20, vec![(1, 10)]), (10, vec![]), (0, vec![])] {
            let mut epochs = epochs(&[(1, 10), (2, 20)]);
            assert_eq!(epochs.truncate_end(log_end), log_end <= 20, "{log_end}");
            assert_eq!(pairs(&epochs), expected, "{log_end}");
        }
    }

    #[test]
    fn truncating_the_start_keeps_the_epoch_of_the_record_before() {
        let cases = [
            (9, vec![(1, 10), (2, 20)]),
            (11, vec![(1, 10), (2, 20)]),
            (15, vec![(1, 14), (2, 20)]),
            (20, vec![(1, 19), (2, 20)]),
            (21, vec![(2, 20)]),
            (30, vec![(2, 29)]),
        ];
        for (log_start, expected) in cases {
            let mut epochs = epochs(&[(1, 10), (2, 20)]);
            epochs.truncate_start(log_start);
            assert_eq!(pairs(&epochs), expected, "{log_start}");
        }
    }

    #[test]
    fn epochs_survive_their_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Epochs::load(dir.path()).unwrap(), None);
        let epochs = epochs(&[(0, 0), (2, 10)]);
        epochs.store(dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), b"0\n2\n0 0\n2 10\n", "as Kafka 4.3 wrote it");
        assert_eq!(Epochs::load(dir.path()).unwrap(), Some(epochs));
    }
}

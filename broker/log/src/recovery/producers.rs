//! The producers of a log that is opened or was cut: a snapshot of them, and the batches since. The replay of these
//! batches also finds which transactions were aborted: so it makes transaction indexes that are missing or wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_batch::BatchHeader;

use crate::disk::{self, DiskResult};
use crate::log::Log;
use crate::producers::Producers;
use crate::sealed::Sealed;
use crate::segment::{self, SNAPSHOT, TRANSACTION_INDEX};
use crate::snapshot;
use crate::transactions::index::{AbortedTransaction, TransactionIndex};
use crate::walk::LogError;

/// Offsets before a snapshot in which the latest batches of busy producers lie; few enough to be read at each start.
const LOOK_BACK: i64 = 10_000;

impl Log {
    /// Start from the newest snapshot that is whole and not ahead of the log, and add the batches since. What lies just
    /// before is read too: a snapshot holds one batch of each producer, and a client may send its latest five again.
    ///
    /// A snapshot does not know the transactions that have ended before it, and whose markers are not committed: where
    /// there are markers between the high watermark and the newest snapshot, an older one must do. Segments that are
    /// `unindexed`, named by their bases, get their transaction index. The `snapshots` are those in the log's folder.
    pub(crate) fn recover_producers(
        &mut self,
        mut snapshots: BTreeSet<i64>,
        now_ms: i64,
        unindexed: &BTreeSet<i64>,
    ) -> Result<(), LogError> {
        self.high_watermark = self.high_watermark.min(self.log_end);
        let mut found = self.newest_snapshot(&mut snapshots, self.log_end)?;
        if let Some((newest, _)) = &found {
            self.remove_stray_snapshots(&mut snapshots, *newest)?;
            if self.has_markers_between(self.high_watermark, *newest)? {
                found = self.newest_snapshot(&mut snapshots, self.high_watermark)?;
            }
        }
        // Also what was deleted, but is still there: it may hold a marker that the snapshot lacks.
        let begin = self.first_base();
        let (at, mut producers) = found.unwrap_or((begin, Producers::default()));
        let latest = producers.forget_batches();
        let mut aborted = Vec::new();
        // Of an open transaction its records alone say how long it has been there: `kafka-transactions.sh find-hanging`
        // goes by that. Its producer does not expire; one that has ended its transaction, or has none, was seen now.
        let seen_ms =
            |batch: &BatchHeader| if batch.is_transactional() && !batch.is_control() { i64::MIN } else { now_ms };
        self.replay(at.saturating_sub(LOOK_BACK).max(begin), |batch, marker| {
            if batch.last_offset() < at {
                producers.recall(batch, seen_ms(batch));
            } else if let Some(ended) = producers.note(batch, marker, seen_ms(batch)) {
                aborted.extend(AbortedTransaction::of(&ended));
            }
        })?;
        producers.remember_batches(latest);
        producers.expire(now_ms, self.config.producer_expiration_ms);
        producers.committed(self.high_watermark);
        producers.verify_as(std::mem::take(&mut self.producers));
        self.producers = producers;
        if let Some(first) = unindexed.first().filter(|first| **first < at) {
            aborted = self.aborted_behind(snapshots, *first)?;
        }
        unindexed.iter().try_for_each(|base_offset| self.index_aborted(*base_offset, &aborted))
    }

    /// The offsets of the snapshots in the log's folder.
    pub(crate) fn snapshots(&self) -> DiskResult<BTreeSet<i64>> {
        Ok(segment::offsets_of(&disk::list(&self.dir)?, SNAPSHOT))
    }

    /// The aborted transactions whose markers are at `offset`, where a segment begins, or behind it. Of producers this
    /// learns nothing that is not known: compaction may have removed the marker of a transaction that was open there.
    fn aborted_behind(&self, mut snapshots: BTreeSet<i64>, offset: i64) -> Result<Vec<AbortedTransaction>, LogError> {
        let found = self.newest_snapshot(&mut snapshots, offset)?;
        let (at, mut producers) = found.unwrap_or((self.first_base(), Producers::default()));
        let mut aborted = Vec::new();
        self.replay(at, |batch, marker| {
            let ended = producers.note(batch, marker, 0);
            aborted.extend(ended.as_ref().and_then(AbortedTransaction::of));
        })?;
        Ok(aborted)
    }

    fn first_base(&self) -> i64 {
        *self.sealed.keys().next().unwrap_or(&self.active.base_offset)
    }

    /// Write the transaction index of the segment that begins at `base_offset`.
    fn index_aborted(&mut self, base_offset: i64, aborted: &[AbortedTransaction]) -> Result<(), LogError> {
        let sealed = self.sealed.get(&base_offset).map(|segment| segment.end_offset);
        let offsets = base_offset..sealed.unwrap_or(i64::MAX);
        let index: TransactionIndex =
            aborted.iter().filter(|entry| offsets.contains(&entry.last_offset)).copied().collect();
        let has_aborted = !index.is_empty();
        if let Some(end_offset) = sealed {
            segment::write_aborted(&self.dir, base_offset, &index, 0)?;
            let segment = Sealed::open(&self.dir, base_offset, end_offset, has_aborted, &self.config, &self.files)?;
            self.sealed.insert(base_offset, Arc::new(segment));
        } else {
            self.active.set_aborted(index)?;
        }
        if has_aborted {
            self.dirty.add_path(segment::path(&self.dir, base_offset, TRANSACTION_INDEX));
        }
        Ok(())
    }

    /// The newest of the snapshots up to an offset, and that offset. Removes those that are not whole, or ahead of the
    /// log.
    fn newest_snapshot(&self, all: &mut BTreeSet<i64>, up_to: i64) -> DiskResult<Option<(i64, Producers)>> {
        for offset in all.clone().into_iter().rev() {
            let path = segment::path(&self.dir, offset, SNAPSHOT);
            if offset <= up_to
                && let Some(producers) = disk::read(&path)?.and_then(|bytes| snapshot::decode(&bytes))
            {
                return Ok(Some((offset, producers)));
            }
            if offset <= up_to || offset > self.log_end {
                disk::remove(&path)?;
                all.remove(&offset);
            }
        }
        Ok(None)
    }

    /// Older snapshots stay as long as their segments do: truncation may go back to them.
    fn remove_stray_snapshots(&self, all: &mut BTreeSet<i64>, newest: i64) -> DiskResult<()> {
        let is_stray = |offset: &i64| !(self.sealed.contains_key(offset) || self.active.base_offset == *offset);
        for stray in all.extract_if(..newest, is_stray) {
            disk::remove(&segment::path(&self.dir, stray, SNAPSHOT))?;
        }
        Ok(())
    }

    fn has_markers_between(&self, from: i64, to: i64) -> Result<bool, LogError> {
        let mut found = false;
        if from < to {
            self.replay(from, |batch, _| found |= batch.is_control() && batch.base_offset < to)?;
        }
        Ok(found)
    }
}

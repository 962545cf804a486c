//! Removing the log's tail: for a follower whose log has parted from its leader's, or that starts again elsewhere.
//!
//! The order of steps is such that a crash in between leaves a log that is merely longer than wanted. Always: readers
//! can learn of a cut before the first byte goes, and a byte of a segment file is never written again: what follows a
//! cut goes to a new segment. Else a slice that is being sent would turn into batches of another leader epoch.

use crate::disk::{self, DiskResult};
use crate::epochs::Epochs;
use crate::era::Era;
use crate::expired;
use crate::log::{Log, remove_segment_files};
use crate::producers::Producers;
use crate::segment::{self, Active, LOG, SNAPSHOT};
use crate::walk::{LogError, Walk};

impl Log {
    /// Remove everything from `offset` on; a batch that holds it goes as a whole. Gives the new end, which is where the
    /// last batch that is left ends. The recovery point may have fallen: checkpoint it before the next append, or a
    /// crash would leave the new tail unchecked.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<i64, LogError> {
        if offset >= self.log_end {
            self.forget_epochs_without_records()?;
            return Ok(self.log_end);
        }
        let first = *self.sealed.keys().next().unwrap_or(&self.active.base_offset);
        if offset <= first {
            // The record before the start of the log was deleted: under which epoch it was written is still known.
            let mut epochs = if offset == self.log_start { self.epochs.clone() } else { Epochs::default() };
            epochs.truncate_end(offset);
            self.start_anew(offset, epochs, now_ms)?;
            return Ok(offset);
        }
        Era::cut(&mut self.era, offset);
        let done = self.cut_tail(offset, now_ms);
        // Half-way the log is neither what it was nor what it should be.
        done.inspect_err(|_| self.failed = true)?;
        Ok(self.log_end)
    }

    /// Forget an epoch that began at the log's end: a leader notes its epoch before its first record, and if it never
    /// wrote one, what the next leader writes there belongs to another epoch.
    pub fn forget_epochs_without_records(&mut self) -> DiskResult<()> {
        if self.epochs.truncate_end(self.log_end) { self.epochs.store(&self.dir) } else { Ok(()) }
    }

    fn cut_tail(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        while self.active.base_offset >= offset {
            let Some((base_offset, _)) = self.sealed.pop_last() else { break };
            remove_segment_files(&self.dir, self.active.base_offset)?;
            let (active, next_offset) = Active::open(&self.dir, base_offset, &self.config, now_ms)?;
            self.active = active;
            // Its file may have been longer before an earlier cut.
            self.active.is_cut = true;
            self.log_end = next_offset.unwrap_or(base_offset);
        }
        let file = self.active.file().clone();
        let mut walk = Walk::new(&file, self.active.indexes.offsets.position_before(offset), self.active.size);
        while let Some(place) = walk.next()? {
            if place.header.last_offset() >= offset {
                let next_offset = self.active.truncate(&place, &self.config)?;
                self.log_end = next_offset.unwrap_or(self.active.base_offset);
                if self.active.size == 0 {
                    // Its name leads to another file now.
                    self.dirty.add_path(segment::path(&self.dir, self.active.base_offset, LOG));
                }
                break;
            }
        }
        self.log_start = self.log_start.min(self.log_end);
        self.first_dirty = self.first_dirty.min(self.log_end);
        self.dirty.truncated(self.log_end);
        self.forget_epochs_without_records()?;
        let unindexed = self.active.lacks_aborted.then_some(self.active.base_offset);
        self.recover_producers(self.snapshots()?, now_ms, &unindexed.into_iter().collect())
    }

    /// Remove everything; the next offset is `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        self.start_anew(offset, Epochs::default(), now_ms)
    }

    fn start_anew(&mut self, offset: i64, epochs: Epochs, now_ms: i64) -> Result<(), LogError> {
        Era::cut(&mut self.era, i64::MIN);
        let done = self.replace_all(offset, epochs, now_ms);
        done.inspect_err(|_| self.failed = true)
    }

    fn replace_all(&mut self, offset: i64, epochs: Epochs, now_ms: i64) -> Result<(), LogError> {
        remove_segment_files(&self.dir, self.active.base_offset)?;
        while let Some((base_offset, _)) = self.sealed.pop_last() {
            remove_segment_files(&self.dir, base_offset)?;
        }
        for name in disk::list(&self.dir)? {
            if segment::parse_name(&name).is_some_and(|(_, extension)| extension == SNAPSHOT) {
                disk::remove(&self.dir.join(name))?;
            }
        }
        expired::forget(&self.dir)?;
        self.active = Active::create(&self.dir, offset, now_ms)?;
        (self.log_start, self.log_end, self.first_dirty) = (offset, offset, offset);
        self.high_watermark = offset;
        self.dirty.truncated(offset);
        self.producers = Producers::default();
        self.epochs = epochs;
        // Syncs the folder, too.
        Ok(self.epochs.store(&self.dir)?)
    }
}

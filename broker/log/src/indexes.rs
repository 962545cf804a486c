//! The indexes of a segment as they grow with its batches: the one place that decides which batch gets an entry. What
//! goes into the transaction index is the log's business: it takes more than the segment to know.

use ottla_batch::BatchHeader;

use crate::disk::DiskFile;
use crate::index::{self, OffsetIndex};
use crate::time_index::{self, NO_TIMESTAMP, TimeEntry, TimeIndex};
use crate::transactions::index::{AbortedTransaction, TransactionIndex};
use crate::walk::{LogError, Walk};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    /// The aborted transactions whose markers are in the segment.
    pub aborted: TransactionIndex,
    /// The largest timestamp so far.
    pub largest: TimeEntry,
    bytes_since_entry: u64,
}

impl Indexes {
    pub(crate) fn new(base_offset: i64) -> Indexes {
        Indexes::from_parts(base_offset, OffsetIndex::new(base_offset), TimeIndex::new(base_offset))
    }

    /// Indexes read from files. They cover the segment up to the last offset entry.
    pub(crate) fn from_parts(base_offset: i64, offsets: OffsetIndex, times: TimeIndex) -> Indexes {
        let largest = times.last().unwrap_or(TimeEntry { timestamp: NO_TIMESTAMP, offset: base_offset });
        Indexes { offsets, times, aborted: TransactionIndex::default(), largest, bytes_since_entry: 0 }
    }

    /// Take note of the next batch, which begins at `position`. As in Kafka, a batch gets an entry when more than
    /// `interval` bytes were written since the last one, and not before its timestamp counts.
    pub(crate) fn add(&mut self, batch: &BatchHeader, position: u64, len: u64, interval: u64) {
        if batch.max_timestamp > self.largest.timestamp {
            self.largest = TimeEntry { timestamp: batch.max_timestamp, offset: batch.last_offset() };
        }
        if self.bytes_since_entry > interval {
            self.offsets.push(batch.last_offset(), position);
            self.times.note(self.largest);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += len;
    }

    /// No batch follows for now: the time index must know the largest timestamp of the whole segment.
    pub(crate) fn finish(&mut self) {
        self.times.note(self.largest);
    }

    /// Forget batches from `offset` on; [`Indexes::catch_up`] finds what the last entry doesn't cover.
    pub(crate) fn truncate(&mut self, offset: i64) {
        self.offsets.truncate(offset);
        self.times.truncate(offset);
        self.aborted.truncate(offset);
        self.largest = self.times.last().unwrap_or(TimeEntry { timestamp: NO_TIMESTAMP, offset: self.largest.offset });
        self.bytes_since_entry = 0;
    }

    /// Walk from the last entry to the end of the segment. Gives the offset after its last batch, if it has one.
    pub(crate) fn catch_up(&mut self, file: &DiskFile, size: u64, interval: u64) -> Result<Option<i64>, LogError> {
        // The batch of the last entry comes first: it adds no second entry, for no bytes are counted before it.
        let from = self.offsets.last().map_or(0, |(_, position)| position);
        let mut walk = Walk::new(file, from, size);
        let mut next_offset = None;
        while let Some(place) = walk.next()? {
            self.add(&place.header, place.position, place.len, interval);
            next_offset = Some(place.header.next_offset());
        }
        Ok(next_offset)
    }

    /// How many entries the offset index and the time index have.
    pub(crate) fn entries(&self) -> (usize, usize) {
        (self.offsets.len(), self.times.len())
    }

    /// Bytes it takes in memory, more or less.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Indexes>()
            + self.offsets.len() * index::ENTRY_LEN
            + self.times.len() * size_of::<TimeEntry>()
            + self.aborted.len() * size_of::<AbortedTransaction>()
    }

    /// A segment whose indexes have no more room for an entry each must roll.
    pub(crate) fn are_full(&self, max_bytes: u64) -> bool {
        let full = |entries: usize, entry_len: usize| (entries as u64 + 1) * entry_len as u64 > max_bytes;
        // The time index keeps one entry in reserve for `finish`.
        full(self.offsets.len(), index::ENTRY_LEN) || full(self.times.len() + 1, time_index::ENTRY_LEN)
    }
}

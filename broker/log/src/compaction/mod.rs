//! Compaction (`cleanup.policy=compact`), as in Kafka's cleaner: of a key's records only the last stays.
//!
//! A round has these steps. [`Log::start_compaction`], under the partition's lock, lists the segments that may be
//! compacted. Without the lock, [`Compaction::dirty_ratio`] decides whether to compact them, and [`Compaction::run`]
//! reads the dirty segments, those with records that no round has seen, notes each key's last offset, and rewrites all
//! segments without the superseded records. It hands out each new segment, for [`Log::swap_in`] to take in, under the
//! lock again. Always: compaction leaves the active segment, and what is not committed or not decided, as they are; a
//! reader from the log's start sees each key's last value, and records in their order, before, after and in between.
//!
//! - here: the round; `due`: whether it is time for one
//! - `map`: the last offset of each key; `transactions`: which were aborted; `records`: what stays of a batch
//! - `output`: old segments in, the new one out; `swap`: the new one in their place

mod due;
mod map;
mod output;
mod records;
pub(crate) mod swap;
mod transactions;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_batch::{BatchHeader, RecordsError};

use self::due::{SegmentFacts, decide};
use self::map::{MEMORY, OffsetMap};
use self::output::{Batches, Output};
use self::records::{DECOMPRESSED_MAX, Left, Retention};
pub use self::swap::Cleaned;
use self::transactions::Transactions;
use crate::config::{CompactionConfig, LogConfig};
use crate::disk::{DiskError, DiskFile, DiskResult};
use crate::index;
use crate::log::Log;
use crate::producers::Producer;
use crate::sealed::Sealed;
use crate::segment;
use crate::time_index;
use crate::transactions::AbortedSearch;
use crate::walk::{LogError, Walk};

/// A log can't be compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// It can't be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its records grew, for tombstones' batches count their timestamps from elsewhere.
    #[error("the compacted segment {} would not fit into 2 GiB", .0.display())]
    TooLarge(PathBuf),
}

impl From<DiskError> for CompactionError {
    fn from(error: DiskError) -> CompactionError {
        LogError::from(error).into()
    }
}

impl CompactionError {
    /// The disk is full: when there is space again the log can be compacted.
    pub fn lacks_room(&self) -> bool {
        matches!(self, CompactionError::Log(LogError::Disk(error)) if error.lacks_room())
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionOutcome {
    /// Bytes that the log lost.
    pub removed_bytes: u64,
    /// The round went through: it was not made void by a change of the log.
    pub completed: bool,
}

/// One round, as the log was when the lock was held.
#[derive(Debug)]
pub struct Compaction {
    dir: PathBuf,
    config: LogConfig,
    rules: CompactionConfig,
    first_dirty: i64,
    /// Those that may be compacted, the oldest first.
    segments: Vec<Arc<Sealed>>,
    /// The aborted transactions among them.
    aborted: AbortedSearch,
    /// For each producer the batch or markers that show its state, and must stay.
    lasts: HashMap<i64, LastOfProducer>,
}

/// What the log keeps of a producer, if only as a bare header: without a snapshot nothing else shows where it was.
#[derive(Clone, Copy, Debug)]
enum LastOfProducer {
    /// Its last batch, by the last offset.
    Batch(i64),
    /// Its markers of this epoch: it has no batch since.
    Marker(i16),
}

impl LastOfProducer {
    fn of(producer: &Producer) -> LastOfProducer {
        let last = producer.batches.back().map(|batch| LastOfProducer::Batch(batch.last_offset));
        last.unwrap_or(LastOfProducer::Marker(producer.epoch))
    }

    fn is(self, batch: &BatchHeader) -> bool {
        match self {
            LastOfProducer::Batch(offset) => !batch.is_control() && batch.last_offset() == offset,
            LastOfProducer::Marker(epoch) => batch.is_control() && batch.producer_epoch == epoch,
        }
    }
}

impl Log {
    /// The first offset that no compaction has seen.
    pub fn first_dirty(&self) -> i64 {
        self.first_dirty
    }

    /// Set [`Log::first_dirty`] to what the last process left. Offsets outside of the log are ignored.
    pub fn set_first_dirty(&mut self, offset: i64) {
        if (self.log_start..=self.log_end).contains(&offset) {
            self.first_dirty = offset;
        }
    }

    /// What might be compacted below `up_to`, at most the last stable offset. None when the topic does
    /// not say so, or nothing has been sealed since the last round.
    pub fn start_compaction(&self, up_to: i64) -> Option<Compaction> {
        let rules = self.config.compaction.clone()?;
        let first_dirty = self.first_dirty.max(self.log_start);
        let committed = |segment: &&Arc<Sealed>| segment.end_offset <= up_to;
        let segments: Vec<Arc<Sealed>> = self.sealed.values().take_while(committed).cloned().collect();
        segments.last().filter(|last| last.end_offset > first_dirty)?;
        let begin = segments.first()?.base_offset;
        let lasts = self.producers.iter().map(|(id, producer)| (id, LastOfProducer::of(producer)));
        Some(Compaction {
            dir: self.dir.clone(),
            config: self.config.clone(),
            rules,
            first_dirty,
            segments,
            aborted: self.aborted_from(begin),
            lasts: lasts.collect(),
        })
    }
}

impl Compaction {
    /// The share of bytes that are dirty, if it is time for a round. May wait for the disk.
    pub fn dirty_ratio(&mut self, now_ms: i64) -> Result<Option<f64>, LogError> {
        let facts: Result<Vec<SegmentFacts>, LogError> =
            self.segments.iter().map(|segment| self.facts(segment)).collect();
        let (count, ratio) = decide(&facts?, &self.rules, self.first_dirty, now_ms);
        self.segments.truncate(count);
        Ok(ratio)
    }

    fn facts(&self, segment: &Sealed) -> Result<SegmentFacts, LogError> {
        let Sealed { end_offset, size, .. } = *segment;
        let mut facts = SegmentFacts { end_offset, size, largest: i64::MIN, first: i64::MAX };
        if end_offset > self.first_dirty {
            facts.largest = segment.largest()?.timestamp;
            if self.rules.max_lag_ms.is_some() {
                let first = Walk::new(&*segment.file()?, 0, size).next()?;
                facts.first = first.map_or(i64::MAX, |place| place.header.max_timestamp);
            }
        }
        Ok(facts)
    }

    /// Compact. `swap` is called with each new segment, to have [`Log::swap_in`] take it in under the partition's lock;
    /// false, that it did not, ends the round.
    pub fn run(
        &self,
        now_ms: i64,
        swap: impl FnMut(&Cleaned) -> DiskResult<bool>,
    ) -> Result<CompactionOutcome, CompactionError> {
        self.run_within(MEMORY, now_ms, swap)
    }

    /// [`Compaction::run`] with this much memory for keys. With too little memory the round ends where the memory does,
    /// and another round continues from there.
    pub fn run_within(
        &self,
        memory: usize,
        now_ms: i64,
        swap: impl FnMut(&Cleaned) -> DiskResult<bool>,
    ) -> Result<CompactionOutcome, CompactionError> {
        let mut outcome = CompactionOutcome { removed_bytes: 0, completed: false };
        match self.try_run(memory, now_ms, swap, &mut outcome) {
            // Retention or a truncation has taken a segment meanwhile.
            Err(CompactionError::Log(LogError::Disk(error))) if error.is_not_found() => {}
            done => done?,
        }
        Ok(outcome)
    }

    fn try_run(
        &self,
        memory: usize,
        now_ms: i64,
        mut swap: impl FnMut(&Cleaned) -> DiskResult<bool>,
        outcome: &mut CompactionOutcome,
    ) -> Result<(), CompactionError> {
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else { return Ok(()) };
        let mut transactions = Transactions::new(self.aborted.run(first.base_offset, last.end_offset)?);
        let (keys, end) = self.map_keys(memory, &transactions)?;
        if end == self.first_dirty {
            return Ok(());
        }
        let retention = Retention { keys: &keys, end, now_ms, delete_retention_ms: self.rules.delete_retention_ms };
        let dirty = self.segments.iter().take_while(|segment| segment.base_offset < end).cloned().collect();
        let mut groups = self.group(dirty)?.into_iter().peekable();
        while let Some(replaces) = groups.next() {
            let first_dirty = groups.peek().is_none().then_some(end);
            let mut cleaned = Cleaned { dir: self.dir.clone(), replaces, has_aborted: false, first_dirty };
            let swapped = self.clean(&cleaned, &retention, &mut transactions).and_then(|(left, has_aborted)| {
                cleaned.has_aborted = has_aborted;
                Ok((left, swap(&cleaned)?))
            });
            let Ok((left, true)) = swapped else {
                cleaned.discard()?;
                return swapped.map(drop);
            };
            let before: u64 = cleaned.replaces.iter().map(|old| old.size).sum();
            outcome.removed_bytes += before.saturating_sub(left);
        }
        outcome.completed = true;
        Ok(())
    }

    /// The last offset of every key in the dirty segments, and where the map ends: there, or where memory does.
    fn map_keys(&self, memory: usize, transactions: &Transactions) -> Result<(OffsetMap, i64), LogError> {
        let end = self.segments.last().map_or(self.first_dirty, |last| last.end_offset);
        let mut keys = OffsetMap::new(usize::try_from(end - self.first_dirty).unwrap_or(usize::MAX), memory);
        for segment in self.segments.iter().filter(|segment| segment.end_offset > self.first_dirty) {
            let file = segment.file()?;
            let position = segment.indexes(&file)?.offsets.position_before(self.first_dirty);
            let mut batches = Batches::new(&file, position, segment.size);
            while let Some(batch) = batches.next()? {
                let header = batch.header();
                if header.last_offset() < self.first_dirty || header.is_control() || transactions.is_aborted(header) {
                    continue;
                }
                let position = batches.position;
                let corrupt = |error| corrupt(&file, position, error);
                for record in batch.records(DECOMPRESSED_MAX).map_err(corrupt)? {
                    let record = record.map_err(corrupt)?;
                    let offset = header.base_offset + i64::from(record.offset_delta);
                    let Some(key) = record.key().filter(|_| offset >= self.first_dirty) else { continue };
                    if !keys.put(key, offset) {
                        return Ok((keys, offset));
                    }
                }
            }
        }
        Ok((keys, end))
    }

    /// Neighbours that fit into one segment together, so that segments don't become small and many.
    fn group(&self, segments: Vec<Arc<Sealed>>) -> Result<Vec<Vec<Arc<Sealed>>>, LogError> {
        let mut groups: Vec<Vec<Arc<Sealed>>> = Vec::new();
        let (mut base_offset, mut size, mut offsets, mut times) = (0, 0, 0, 0);
        for segment in segments {
            let indexes = segment.indexes(&*segment.file()?)?;
            size += segment.size;
            offsets += indexes.offsets.len() * index::ENTRY_LEN;
            times += indexes.times.len() * time_index::ENTRY_LEN;
            let index_room = self.config.segment_index_bytes as usize;
            let fits = size <= u64::from(self.config.segment_bytes)
                && offsets.max(times) <= index_room
                && segment::spans(base_offset, segment.end_offset - 1);
            match groups.last_mut().filter(|_| fits) {
                Some(group) => group.push(segment),
                None => {
                    (base_offset, size) = (segment.base_offset, segment.size);
                    offsets = indexes.offsets.len() * index::ENTRY_LEN;
                    times = indexes.times.len() * time_index::ENTRY_LEN;
                    groups.push(vec![segment]);
                }
            }
        }
        Ok(groups)
    }

    /// Write what is left of a group of segments; gives its size, and whether it has aborted transactions.
    fn clean(
        &self,
        cleaned: &Cleaned,
        retention: &Retention<'_>,
        transactions: &mut Transactions,
    ) -> Result<(u64, bool), CompactionError> {
        let mut output = Output::create(&self.dir, cleaned.base_offset(), &self.config)?;
        let last_with_batches = cleaned.replaces.iter().rposition(|segment| segment.size > 0);
        for (i, segment) in cleaned.replaces.iter().enumerate() {
            let file = segment.file()?;
            let mut batches = Batches::new(&file, 0, segment.size);
            while let Some(batch) = batches.next()? {
                let header = batch.header();
                let last_of_producer = self.lasts.get(&header.producer_id);
                // The last of all says where the segment ends: see `swap`.
                let is_last = Some(i) == last_with_batches && batches.position == segment.size;
                let keep_header = is_last || last_of_producer.is_some_and(|last| last.is(header));
                let left = if header.is_control() {
                    let has_batches = transactions.end(header);
                    let aborted = transactions.aborted_by(header).filter(|_| has_batches || retention.leaves(header));
                    aborted.into_iter().for_each(|aborted| output.indexes.aborted.push(aborted));
                    retention.apply_to_marker(&batch, has_batches, keep_header)
                } else {
                    transactions.pass(header);
                    retention.apply(&batch, transactions.is_aborted(header), keep_header)
                };
                match left.map_err(|error| corrupt(&file, batches.position, error))? {
                    Left::Nothing => {}
                    Left::All => output.add(&batch)?,
                    Left::Some(rest) => output.add(&rest)?,
                }
            }
        }
        let last_modified = cleaned.replaces.last().map(|last| last.modified_ms()).transpose()?;
        let has_aborted = !output.indexes.aborted.is_empty();
        let size = output.finish(last_modified.unwrap_or_default(), cleaned.had_aborted())?;
        Ok((size, has_aborted))
    }
}

fn corrupt(file: &DiskFile, position: u64, error: RecordsError) -> LogError {
    LogError::Corrupt { path: file.path().to_owned(), position, reason: error.to_string() }
}

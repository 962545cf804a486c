//! Compaction (`cleanup.policy=compact`), as in Kafka's cleaner: of a key's records only the last stays.
//!
//! One round goes like this. [`Log::start_compaction`], under the partition's lock, tells what might be compacted.
//! Without it, [`Compaction::dirty_ratio`] decides whether to, and [`Compaction::run`] reads the dirty segments, those
//! with records that no round has seen, notes each key's last offset, and writes all segments anew without the records
//! that are superseded. Each new segment is handed out, for [`Log::swap_in`] to take in, under the lock again. Always:
//! the active segment, and what is not committed, stay as they are; whoever reads from the log's start sees each key's
//! last value, and records in their order, before, after and in between.

use std::collections::HashMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_batch::{Batch, RecordsError};

use crate::chunk::Chunk;
use crate::compaction_map::{MEMORY, OffsetMap};
use crate::compaction_records::{Left, Retention, can_judge};
pub use crate::compaction_swap::Cleaned;
use crate::compaction_swap::cleaned_path;
use crate::config::{CompactionConfig, LogConfig};
use crate::disk::{DiskError, DiskFile, DiskResult};
use crate::index;
use crate::indexes::Indexes;
use crate::log::Log;
use crate::sealed::Sealed;
use crate::segment::{LOG, OFFSET_INDEX, TIME_INDEX};
use crate::time_index;
use crate::walk::{LogError, Walk};

/// Written at once.
const WRITE: usize = 1 << 20;

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
    pub fn is_no_space(&self) -> bool {
        matches!(self, CompactionError::Log(LogError::Disk(error)) if error.is_no_space())
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
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
    /// The last offset of each idempotent producer's last batch.
    last_batches: HashMap<i64, i64>,
}

/// What the decision to compact wants to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SegmentFacts {
    end_offset: i64,
    size: u64,
    /// Its largest timestamp.
    largest: i64,
    /// Its first batch's timestamp.
    first: i64,
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

    /// What might be compacted below `up_to`, the high watermark or the last stable offset. None when the topic does
    /// not say so, or nothing has been sealed since the last round.
    pub fn start_compaction(&self, up_to: i64) -> Option<Compaction> {
        let rules = self.config.compaction.clone()?;
        let first_dirty = self.first_dirty.max(self.log_start);
        let committed = |segment: &&Arc<Sealed>| segment.end_offset <= up_to;
        let segments: Vec<Arc<Sealed>> = self.sealed.values().take_while(committed).cloned().collect();
        segments.last().filter(|last| last.end_offset > first_dirty)?;
        let last_batches =
            self.producers.iter().filter_map(|(id, producer)| Some((id, producer.batches.back()?.last_offset)));
        Some(Compaction {
            dir: self.dir.clone(),
            config: self.config.clone(),
            rules,
            first_dirty,
            segments,
            last_batches: last_batches.collect(),
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
    pub fn run(&self, now_ms: i64, swap: impl FnMut(&Cleaned) -> DiskResult<bool>) -> Result<Outcome, CompactionError> {
        self.run_within(MEMORY, now_ms, swap)
    }

    /// [`Compaction::run`] with so much memory for keys. With too little the round ends where the memory does, and
    /// another one goes on from there.
    pub fn run_within(
        &self,
        memory: usize,
        now_ms: i64,
        swap: impl FnMut(&Cleaned) -> DiskResult<bool>,
    ) -> Result<Outcome, CompactionError> {
        let mut outcome = Outcome { removed_bytes: 0, completed: false };
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
        outcome: &mut Outcome,
    ) -> Result<(), CompactionError> {
        let (keys, end) = self.map_keys(memory)?;
        if end == self.first_dirty {
            return Ok(());
        }
        let retention = Retention { keys: &keys, end, now_ms, delete_retention_ms: self.rules.delete_retention_ms };
        let dirty = self.segments.iter().take_while(|segment| segment.base_offset < end).cloned().collect();
        let mut groups = self.group(dirty)?.into_iter().peekable();
        while let Some(replaces) = groups.next() {
            let first_dirty = groups.peek().is_none().then_some(end);
            let cleaned = Cleaned { dir: self.dir.clone(), replaces, first_dirty };
            let swapped = self.clean(&cleaned, &retention).and_then(|left| Ok((left, swap(&cleaned)?)));
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
    fn map_keys(&self, memory: usize) -> Result<(OffsetMap, i64), LogError> {
        let end = self.segments.last().map_or(self.first_dirty, |last| last.end_offset);
        let mut keys = OffsetMap::new(usize::try_from(end - self.first_dirty).unwrap_or(usize::MAX), memory);
        for segment in self.segments.iter().filter(|segment| segment.end_offset > self.first_dirty) {
            let file = segment.file()?;
            let position = segment.indexes(&file)?.offsets.position_before(self.first_dirty);
            let mut batches = Batches::new(&file, position, segment.size);
            while let Some(batch) = batches.next()? {
                let header = batch.header();
                if header.last_offset() < self.first_dirty {
                    continue;
                }
                if !can_judge(header) {
                    return Ok((keys, header.base_offset.max(self.first_dirty)));
                }
                let position = batches.position;
                let corrupt = |error| corrupt(&file, position, error);
                for record in batch.records(crate::compaction_records::DECOMPRESSED_MAX).map_err(corrupt)? {
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
                && segment.end_offset - 1 - base_offset <= i64::from(i32::MAX);
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

    /// Write what is left of a group of segments; gives its size.
    fn clean(&self, cleaned: &Cleaned, retention: &Retention<'_>) -> Result<u64, CompactionError> {
        let mut output = Output::create(&self.dir, cleaned.base_offset(), &self.config)?;
        let last_with_batches = cleaned.replaces.iter().rposition(|segment| segment.size > 0);
        for (i, segment) in cleaned.replaces.iter().enumerate() {
            let file = segment.file()?;
            let mut batches = Batches::new(&file, 0, segment.size);
            while let Some(batch) = batches.next()? {
                let header = batch.header();
                let is_last_of_producer = self.last_batches.get(&header.producer_id) == Some(&header.last_offset());
                // The last of all says where the segment ends: see compaction_swap.
                let is_last = Some(i) == last_with_batches && batches.position == segment.size;
                let left = retention.apply(&batch, is_last_of_producer || is_last);
                match left.map_err(|error| corrupt(&file, batches.position, error))? {
                    Left::Nothing => {}
                    Left::All => output.add(&batch)?,
                    Left::Some(rest) => output.add(&rest)?,
                }
            }
        }
        let last_modified = cleaned.replaces.last().map(|last| last.modified_ms()).transpose()?;
        Ok(output.finish(last_modified.unwrap_or_default())?)
    }
}

/// How many of the segments may be compacted, and the share of their bytes that is dirty if it is time to.
fn decide(
    oldest_first: &[SegmentFacts],
    rules: &CompactionConfig,
    first_dirty: i64,
    now_ms: i64,
) -> (usize, Option<f64>) {
    let is_dirty = |segment: &&SegmentFacts| segment.end_offset > first_dirty;
    let too_young = |segment: &SegmentFacts| {
        rules.min_lag_ms > 0 && is_dirty(&segment) && segment.largest > now_ms.saturating_sub(rules.min_lag_ms)
    };
    let count = oldest_first.iter().position(too_young).unwrap_or(oldest_first.len());
    let cleanable = &oldest_first[..count];
    let dirty: u64 = cleanable.iter().filter(is_dirty).map(|segment| segment.size).sum();
    let total: u64 = cleanable.iter().map(|segment| segment.size).sum();
    let too_old = |segment: &SegmentFacts| {
        rules.max_lag_ms.is_some_and(|lag| (1..now_ms.saturating_sub(lag)).contains(&segment.first))
    };
    let ratio = dirty as f64 / total.max(1) as f64;
    let is_due = dirty > 0 && (ratio > rules.min_dirty_ratio || cleanable.iter().filter(is_dirty).any(too_old));
    (count, is_due.then_some(ratio))
}

fn corrupt(file: &DiskFile, position: u64, error: RecordsError) -> LogError {
    LogError::Corrupt { path: file.path().to_owned(), position, reason: error.to_string() }
}

/// Whole batches of a segment, one after the other, each with its checksum checked.
struct Batches<'a> {
    chunk: Chunk<'a>,
    file: &'a DiskFile,
    /// Where the next one begins.
    position: u64,
    size: u64,
}

impl<'a> Batches<'a> {
    fn new(file: &'a DiskFile, position: u64, size: u64) -> Batches<'a> {
        Batches { chunk: Chunk::new(file, size), file, position, size }
    }

    fn next(&mut self) -> Result<Option<Batch>, LogError> {
        if self.position >= self.size {
            return Ok(None);
        }
        let batch = self.chunk.batch_at(self.position)?.map_err(|error| LogError::Corrupt {
            path: self.file.path().to_owned(),
            position: self.position,
            reason: error.to_string(),
        })?;
        self.position += batch.bytes().len() as u64;
        Ok(Some(batch))
    }
}

/// A new segment's files as they are written.
struct Output<'a> {
    dir: &'a Path,
    base_offset: i64,
    index_interval: u64,
    file: DiskFile,
    /// What is written and what waits in the buffer.
    size: u64,
    buffer: Vec<u8>,
    indexes: Indexes,
}

impl Output<'_> {
    fn create<'a>(dir: &'a Path, base_offset: i64, config: &LogConfig) -> DiskResult<Output<'a>> {
        Ok(Output {
            dir,
            base_offset,
            index_interval: config.index_interval_bytes.into(),
            file: DiskFile::create(&cleaned_path(dir, base_offset, LOG))?,
            size: 0,
            buffer: Vec::new(),
            indexes: Indexes::new(base_offset),
        })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), CompactionError> {
        let len = batch.bytes().len() as u64;
        if self.size + len > i32::MAX as u64 {
            return Err(CompactionError::TooLarge(self.file.path().to_owned()));
        }
        self.indexes.add(batch.header(), self.size, len, self.index_interval);
        self.buffer.extend_from_slice(batch.bytes());
        self.size += len;
        if self.buffer.len() >= WRITE { Ok(self.write()?) } else { Ok(()) }
    }

    fn write(&mut self) -> DiskResult<()> {
        self.file.write_all_at(&mut [IoSlice::new(&self.buffer)], self.size - self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }

    /// Everything is on the device when it returns. The log keeps the time of the last old one's last change, which
    /// tells the age of records without timestamps.
    fn finish(mut self, modified_ms: i64) -> DiskResult<u64> {
        self.write()?;
        self.file.set_modified(modified_ms)?;
        self.file.sync()?;
        self.indexes.finish();
        let Indexes { offsets, times, .. } = &self.indexes;
        for (extension, bytes) in [(OFFSET_INDEX, offsets.bytes_from(0)), (TIME_INDEX, times.bytes_from(0))] {
            let file = DiskFile::create(&cleaned_path(self.dir, self.base_offset, extension))?;
            file.write_all_at(&mut [IoSlice::new(&bytes)], 0)?;
            file.sync()?;
        }
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_compacted_for_its_dirty_share_or_its_age() {
        let facts = |end_offset, first| SegmentFacts { end_offset, size: 100, largest: first + 9, first };
        let segments = [facts(10, 1_000), facts(20, 2_000), facts(30, 3_000), facts(40, 4_000)];
        let ratio = |min_dirty_ratio| CompactionConfig { min_dirty_ratio, ..CompactionConfig::default() };
        let max_lag = |lag| CompactionConfig { max_lag_ms: Some(lag), ..ratio(1.0) };
        let min_lag = |lag| CompactionConfig { min_lag_ms: lag, ..ratio(0.5) };
        for (name, rules, first_dirty, expected) in [
            ("all is dirty", ratio(0.5), 0, (4, Some(1.0))),
            ("more than the share is dirty", ratio(0.49), 20, (4, Some(0.5))),
            ("just the share is dirty", ratio(0.5), 20, (4, None)),
            ("a segment that is dirty in part is dirty", ratio(0.5), 19, (4, Some(0.75))),
            ("nothing is dirty", ratio(0.0), 40, (4, None)),
            ("not old enough", max_lag(3_000), 10, (4, None)),
            ("old enough", max_lag(2_999), 10, (4, Some(0.75))),
            ("only what is dirty ages", max_lag(2_999), 20, (4, None)),
            ("the last two are too young", min_lag(1_992), 0, (2, Some(1.0))),
            ("young, but seen before", min_lag(1_992), 30, (3, None)),
            ("all are too young", min_lag(10_000), 0, (0, None)),
        ] {
            assert_eq!(decide(&segments, &rules, first_dirty, 5_000), expected, "{name}");
        }
    }
}

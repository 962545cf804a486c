//! The segments of a round: batches of the old ones in, the files of a new one out.

use std::io::IoSlice;
use std::path::Path;

use ottla_batch::Batch;

use super::CompactionError;
use super::swap::cleaned_path;
use crate::chunk::Chunk;
use crate::config::LogConfig;
use crate::disk::{DiskFile, DiskResult};
use crate::indexes::Indexes;
use crate::segment::{LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX};
use crate::walk::LogError;

/// Written at once.
const WRITE: usize = 1 << 20;

/// Whole batches of a segment, one after the other, each with its checksum checked.
pub(super) struct Batches<'a> {
    chunk: Chunk<'a>,
    file: &'a DiskFile,
    /// Where the next one begins.
    pub position: u64,
    size: u64,
}

impl<'a> Batches<'a> {
    pub(super) fn new(file: &'a DiskFile, position: u64, size: u64) -> Batches<'a> {
        Batches { chunk: Chunk::new(file, size), file, position, size }
    }

    pub(super) fn next(&mut self) -> Result<Option<Batch>, LogError> {
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
pub(super) struct Output<'a> {
    dir: &'a Path,
    base_offset: i64,
    index_interval: u64,
    file: DiskFile,
    /// What is written and what waits in the buffer.
    size: u64,
    buffer: Vec<u8>,
    pub indexes: Indexes,
}

impl Output<'_> {
    pub(super) fn create<'a>(dir: &'a Path, base_offset: i64, config: &LogConfig) -> DiskResult<Output<'a>> {
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

    pub(super) fn add(&mut self, batch: &Batch) -> Result<(), CompactionError> {
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

    /// Everything is on the device when it returns. The new log file keeps the modification time of the last old one,
    /// which gives the age of records without timestamps.
    /// `had_aborted`: an old one has a transaction index, so the new one gets a file, be it empty: see `swap`.
    pub(super) fn finish(mut self, modified_ms: i64, had_aborted: bool) -> DiskResult<u64> {
        self.write()?;
        self.file.set_modified(modified_ms)?;
        self.file.sync()?;
        self.indexes.finish();
        let Indexes { offsets, times, aborted, .. } = &self.indexes;
        let aborted = had_aborted.then(|| (TRANSACTION_INDEX, aborted.bytes_from(0)));
        let indexes = [(OFFSET_INDEX, offsets.bytes_from(0)), (TIME_INDEX, times.bytes_from(0))];
        for (extension, bytes) in indexes.into_iter().chain(aborted) {
            let file = DiskFile::create(&cleaned_path(self.dir, self.base_offset, extension))?;
            file.write_all_at(&mut [IoSlice::new(&bytes)], 0)?;
            file.sync()?;
        }
        Ok(self.size)
    }
}

//! Step from batch to batch in a segment file, reading headers only.
//!
//! Checks that each header can be one, not that its batch is whole: checksums are for recovery.

use std::path::PathBuf;

use ottla_batch::{BatchHeader, HEADER_LEN};

use crate::disk::{DiskError, DiskFile};

/// Read in one go; small batches share it, large ones waste little of it.
const BUFFER_LEN: u64 = 16 * 1024;

/// A log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes are not what was written.
    #[error("corrupt batch in {} at byte {position}: {reason}", path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where the batch begins.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// A batch's place in its segment file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPlace {
    pub position: u64,
    pub len: u64,
    pub header: BatchHeader,
}

impl BatchPlace {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.len
    }
}

#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a DiskFile,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl<'a> Walk<'a> {
    /// From the batch that begins at `position` up to `end`, which is where one ends.
    pub(crate) fn new(file: &'a DiskFile, position: u64, end: u64) -> Walk<'a> {
        Walk { file, position, end, buffer: Vec::new(), buffer_position: position }
    }

    pub(crate) fn next(&mut self) -> Result<Option<BatchPlace>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let header = self.header()?;
        let place = header.and_then(|header| plausible(header, position, self.end)).ok_or_else(|| {
            LogError::Corrupt { path: self.file.path().to_owned(), position, reason: "no batch begins there".into() }
        })?;
        self.position = place.end();
        Ok(Some(place))
    }

    fn header(&mut self) -> Result<Option<BatchHeader>, DiskError> {
        let buffered = |walk: &Walk<'_>| {
            let start = usize::try_from(walk.position - walk.buffer_position).ok()?;
            walk.buffer.get(start..).and_then(BatchHeader::peek)
        };
        if let Some(header) = buffered(self) {
            return Ok(Some(header));
        }
        let len = BUFFER_LEN.min(self.end - self.position);
        if len < HEADER_LEN as u64 {
            return Ok(None);
        }
        self.buffer.resize(len as usize, 0);
        self.buffer_position = self.position;
        self.file.read_exact_at(&mut self.buffer, self.position)?;
        Ok(buffered(self))
    }
}

/// Can this be the header of a batch at `position` in a file of `file_size` bytes? Gives the place of the batch; none
/// when it can't be.
pub(crate) fn plausible(header: BatchHeader, position: u64, file_size: u64) -> Option<BatchPlace> {
    let len = header.total_len()? as u64;
    let fits = len <= file_size.saturating_sub(position);
    let sane = header.magic == ottla_batch::header::MAGIC && header.base_offset >= 0 && header.last_offset_delta >= 0;
    (fits && sane).then_some(BatchPlace { position, len, header })
}

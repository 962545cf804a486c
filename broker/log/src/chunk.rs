//! Reading a segment file in large pieces, batch by batch.

use bytes::Bytes;
use ottla_batch::{Batch, BatchError, BatchHeader};

use crate::disk::{DiskFile, DiskResult};
use crate::walk::BatchPlace;

/// Read at once when checking batches.
const CHUNK: u64 = 1 << 20;

/// A piece of a segment file in memory.
pub(crate) struct Chunk<'a> {
    file: &'a DiskFile,
    pub file_size: u64,
    position: u64,
    bytes: Bytes,
}

impl<'a> Chunk<'a> {
    pub(crate) fn new(file: &'a DiskFile, file_size: u64) -> Chunk<'a> {
        Chunk { file, file_size, position: 0, bytes: Bytes::new() }
    }

    pub(crate) fn batch_at(&mut self, position: u64) -> DiskResult<Result<Batch, BatchError>> {
        loop {
            match Batch::parse(&self.rest(position)) {
                // The chunk ends, not the file.
                Err(BatchError::Truncated { needed, .. }) if needed as u64 <= self.file_size - position => {
                    self.fill(position, CHUNK.max(needed as u64))?;
                }
                other => return Ok(other),
            }
        }
    }

    /// The header of the batch at `position`; none when it is not in memory.
    pub(crate) fn header_at(&self, position: u64) -> Option<BatchHeader> {
        BatchHeader::peek(&self.rest(position))
    }

    /// Whether a whole batch follows this one.
    pub(crate) fn goes_on_after(&mut self, place: Option<&BatchPlace>) -> DiskResult<bool> {
        let Some(place) = place else { return Ok(false) };
        let next = self.batch_at(place.end())?;
        Ok(next.is_ok_and(|next| next.header().base_offset >= place.header.next_offset()))
    }

    fn rest(&self, position: u64) -> Bytes {
        let start = position.checked_sub(self.position).and_then(|start| usize::try_from(start).ok());
        start.filter(|start| *start <= self.bytes.len()).map_or(Bytes::new(), |start| self.bytes.slice(start..))
    }

    fn fill(&mut self, position: u64, wanted: u64) -> DiskResult<()> {
        let mut bytes = vec![0; wanted.min(self.file_size - position) as usize];
        self.file.read_exact_at(&mut bytes, position)?;
        (self.position, self.bytes) = (position, bytes.into());
        Ok(())
    }
}

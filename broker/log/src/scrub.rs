//! Bit rot in sealed segments: found by reading every batch, mended in place with the same batch from another replica.
//!
//! A sealed segment never changes, so it is read without the log's lock. What is committed is the same on every
//! replica, byte for byte: the batch that another holds fits where the damaged one lies. Always: nothing is cut, and
//! nothing is written but a whole batch over one that is not.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_batch::{Batch, BatchHeader};

use crate::chunk::Chunk;
use crate::disk::DiskResult;
use crate::log::Log;
use crate::sealed::Sealed;
use crate::walk::{LogError, plausible};

/// A sealed segment that is being read.
#[derive(Debug)]
pub struct Scrub {
    segment: Arc<Sealed>,
    position: u64,
    next_offset: i64,
}

/// A batch whose bytes are not what was written.
#[derive(Clone, Debug)]
pub struct Damage {
    segment: Arc<Sealed>,
    position: u64,
    /// As far as it can be believed.
    header: BatchHeader,
    len: u64,
}

impl Damage {
    /// The batch's first offset.
    pub fn offset(&self) -> i64 {
        self.header.base_offset
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    fn is_mended_by(&self, batch: &Batch) -> bool {
        let header = batch.header();
        header.base_offset == self.header.base_offset
            && header.partition_leader_epoch == self.header.partition_leader_epoch
            && batch.bytes().len() as u64 == self.len
    }
}

impl Log {
    /// The sealed segment that holds `from`, or the first after it; none when all sealed segments end before it.
    pub fn scrub(&self, from: i64) -> Option<Scrub> {
        let segment = self.sealed.values().find(|segment| segment.end_offset > from)?;
        Some(Scrub { segment: segment.clone(), position: 0, next_offset: segment.base_offset })
    }

    /// Where the sealed segments end.
    pub fn sealed_end(&self) -> i64 {
        self.active.base_offset
    }

    /// Puts the same batch, whole, in the place of the damaged one; durable when it returns. False when it is another
    /// batch, or the segment is not part of the log any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mend(&self, damage: &Damage, batch: &Batch) -> DiskResult<bool> {
        let current = self.sealed.get(&damage.segment.base_offset);
        if !current.is_some_and(|current| Arc::ptr_eq(current, &damage.segment)) || !damage.is_mended_by(batch) {
            return Ok(false);
        }
        let file = damage.segment.file()?;
        file.write_all_at(&mut [IoSlice::new(batch.bytes())], damage.position)?;
        file.sync()?;
        Ok(true)
    }
}

impl Scrub {
    /// Reads on, about `budget` bytes, and gives what is damaged there.
    ///
    /// # Errors
    /// When the disk refuses, or where no batch begins: then the rest can't be checked.
    pub fn read_on(&mut self, budget: u64) -> Result<Vec<Damage>, LogError> {
        let file = self.segment.file()?;
        let mut chunk = Chunk::new(&file, self.segment.size);
        let (until, mut damaged) = (self.segment.size.min(self.position + budget), Vec::new());
        while self.position < until {
            let position = self.position;
            match chunk.batch_at(position)? {
                Ok(batch) => {
                    self.position += batch.bytes().len() as u64;
                    self.next_offset = batch.header().next_offset();
                }
                Err(error) => {
                    let header = chunk.header_at(position).filter(|header| header.base_offset >= self.next_offset);
                    let Some(place) = header.and_then(|header| plausible(header, position, self.segment.size)) else {
                        let path = file.path().to_owned();
                        return Err(LogError::Corrupt { path, position, reason: error.to_string() });
                    };
                    self.position = place.end();
                    self.next_offset = place.header.base_offset + 1;
                    let segment = self.segment.clone();
                    damaged.push(Damage { segment, position, header: place.header, len: place.len });
                }
            }
        }
        Ok(damaged)
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        self.position >= self.segment.size
    }

    /// The offset after its segment.
    pub fn end(&self) -> i64 {
        self.segment.end_offset
    }
}

//! Reading in two steps: [`Log::window`] finds the segment under the partition's lock, from memory;
//! [`Window::locate`] finds the batches outside of it, where the disk may keep it waiting. Neither copies records: a
//! [`LogSlice`] says where they are. Always: the bytes that a slice names are the batches that were found, or are not
//! there any more (a cut of the log's tail took them: [`LogSlice::is_intact`]). They never become other batches, for a
//! byte of a segment file is written once.

use std::sync::Arc;

use crate::disk::{DiskFile, DiskResult};
use crate::era::Era;
use crate::index::OffsetIndex;
use crate::log::Log;
use crate::sealed::Sealed;
use crate::segment::Active;
use crate::walk::{LogError, Walk};

/// Whole batches in a segment file. It can be read as long as the slice lives, even after retention or compaction has
/// removed the segment; [`LogSlice::is_intact`] says whether the log's tail was cut below the slice's end.
#[derive(Clone, Debug)]
pub struct LogSlice {
    /// The segment file.
    pub file: Arc<DiskFile>,
    /// Where the first batch begins.
    pub position: u64,
    /// Bytes of all batches together.
    pub len: usize,
    /// The first batch's first offset: at or before the one asked for.
    pub base_offset: i64,
    /// The offset after the last batch.
    pub next_offset: i64,
    /// The offset that the next segment begins with; the log's end for the last segment.
    pub segment_end: i64,
    /// When it was found.
    pub(crate) era: Arc<Era>,
}

impl LogSlice {
    /// Read the batches into memory.
    pub fn read(&self) -> DiskResult<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes)
    }

    /// Whether the log still has these batches: its tail was not cut below their end since they were found. Bytes that
    /// were read while this was not so are of no use.
    pub fn is_intact(&self) -> bool {
        self.era.keeps(self.next_offset)
    }
}

/// An offset that the log doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} is not between {log_start} and {log_end}")]
pub struct OutOfRange {
    /// What was asked for.
    pub offset: i64,
    /// First offset there is.
    pub log_start: i64,
    /// The offset that comes next.
    pub log_end: i64,
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log doesn't hold the offset.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadBounds {
    /// The first batch is the one that holds this offset, or the first after it.
    pub from: i64,
    /// No batch with this offset or a later one: the high watermark, or the last stable offset.
    pub up_to: i64,
    /// Most bytes of all batches together…
    pub max_bytes: usize,
    /// … but the first batch is given even if it is larger (KIP-74).
    pub at_least_one: bool,
}

/// One segment as it was when the lock was held.
#[derive(Debug)]
pub struct Window {
    bounds: ReadBounds,
    file: Arc<DiskFile>,
    size: u64,
    end_offset: i64,
    start: Start,
    era: Arc<Era>,
}

#[derive(Debug)]
enum Start {
    Known(Hints),
    AskIndex(Arc<Sealed>),
}

/// Where to start looking for the first batch and for the end of the last.
#[derive(Clone, Copy, Debug)]
struct Hints {
    first: u64,
    last: u64,
}

impl Hints {
    fn find(index: &OffsetIndex, bounds: &ReadBounds) -> Hints {
        let first = index.position_before(bounds.from);
        Hints { first, last: index.last_position(bounds.up_to, first.saturating_add(bounds.max_bytes as u64)) }
    }
}

impl Log {
    /// Find the segment to read from; [`Window::locate`] does the rest without the lock. None when there is nothing to
    /// read: `from` is the end, or at the bound.
    pub fn window(&self, bounds: ReadBounds) -> Result<Option<Window>, ReadError> {
        let ReadBounds { from, up_to, .. } = bounds;
        if from < self.log_start || from > self.log_end {
            let (log_start, log_end) = (self.log_start, self.log_end);
            return Err(OutOfRange { offset: from, log_start, log_end }.into());
        }
        if from >= up_to.min(self.log_end) {
            return Ok(None);
        }
        let holding = self.sealed.range(..=from).next_back().filter(|(_, segment)| from < segment.end_offset);
        // With a gap before the first segment, it is the first that can hold anything.
        let next = || self.sealed.range(from..).next().filter(|_| from < self.active.base_offset);
        Ok(Some(match holding.or_else(next) {
            Some((_, segment)) => Window::sealed(bounds, segment.clone(), &self.era).map_err(LogError::from)?,
            None => {
                let Active { size, indexes, .. } = &self.active;
                Window::active(bounds, self.active.file().clone(), *size, self.log_end, &indexes.offsets, &self.era)
            }
        }))
    }

    /// Both steps of reading at once, for a caller that may wait. None when the bounds leave nothing to read.
    pub fn read(&self, mut bounds: ReadBounds) -> Result<Option<LogSlice>, ReadError> {
        while let Some(window) = self.window(bounds)? {
            if let Some(slice) = window.locate()? {
                return Ok(Some(slice));
            }
            if window.end_offset() >= bounds.up_to.min(self.log_end) || !bounds.at_least_one {
                break;
            }
            bounds.from = window.end_offset();
        }
        Ok(None)
    }
}

impl Window {
    fn active(
        bounds: ReadBounds,
        file: Arc<DiskFile>,
        size: u64,
        end_offset: i64,
        index: &OffsetIndex,
        era: &Arc<Era>,
    ) -> Window {
        Window { bounds, file, size, end_offset, start: Start::Known(Hints::find(index, &bounds)), era: era.clone() }
    }

    fn sealed(bounds: ReadBounds, segment: Arc<Sealed>, era: &Arc<Era>) -> DiskResult<Window> {
        Ok(Window {
            bounds,
            file: segment.file()?,
            size: segment.size,
            end_offset: segment.end_offset,
            start: Start::AskIndex(segment),
            era: era.clone(),
        })
    }

    /// The offset that the next segment begins with. Compaction may leave none of the wanted batches in this one: then
    /// ask for a window from there.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// The log's era when the lock was held.
    pub fn era(&self) -> &Arc<Era> {
        &self.era
    }

    /// Find the batches. None when the bounds leave none of this segment. May wait for the disk.
    pub fn locate(&self) -> Result<Option<LogSlice>, LogError> {
        let ReadBounds { from, up_to, max_bytes, at_least_one } = self.bounds;
        let hints = match &self.start {
            Start::Known(hints) => *hints,
            Start::AskIndex(segment) => Hints::find(&segment.indexes(&self.file)?.offsets, &self.bounds),
        };
        let mut walk = Walk::new(&self.file, hints.first, self.size);
        let first = loop {
            match walk.next()? {
                None => return Ok(None),
                Some(place) if place.header.last_offset() >= from => break place,
                Some(_) => {}
            }
        };
        let limit = first.position.saturating_add(max_bytes as u64);
        if first.header.next_offset() > up_to || (first.end() > limit && !at_least_one) {
            return Ok(None);
        }
        let (mut end, mut next_offset) = (self.size, self.end_offset);
        if next_offset > up_to || end > limit {
            end = hints.last.max(first.end());
            next_offset = first.header.next_offset();
            let mut walk = Walk::new(&self.file, end, self.size);
            while let Some(place) = walk.next()? {
                if place.end() > limit || place.header.next_offset() > up_to {
                    next_offset = place.header.base_offset;
                    break;
                }
                (end, next_offset) = (place.end(), place.header.next_offset());
            }
        }
        Ok(Some(LogSlice {
            file: self.file.clone(),
            position: first.position,
            len: (end - first.position) as usize,
            base_offset: first.header.base_offset,
            next_offset,
            segment_end: self.end_offset,
            era: self.era.clone(),
        }))
    }
}

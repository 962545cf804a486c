//! How much a fetch may acquire, and where: what was read, cut by limits, in pieces.

use super::acquire::Acquire;
use super::share_partition::SharePartition;
use crate::config::Config;
use crate::ids::Offset;

/// A record batch of the log, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogBatch {
    /// Its base offset.
    pub first: Offset,
    /// Its last offset.
    pub last: Offset,
    /// Whether it is data of an aborted transaction, and the group reads committed records only. It is archived instead
    /// of acquired. See [`aborted_batches`](crate::aborted_batches).
    pub aborted: bool,
}

/// What a fetch may acquire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Most records; a batch may go beyond it in the mode `batch_optimized`.
    pub(super) records: i64,
    /// The last offset.
    pub(super) last: Offset,
}

/// Records next to each other that a fetch looks at together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Piece {
    /// In flight, in the batch that begins here.
    Known(Offset),
    /// Unread, or after the end, from the first to the last.
    New(Offset, Offset),
}

impl Piece {
    fn first(&self) -> Offset {
        match self {
            Piece::Known(first) | Piece::New(first, _) => *first,
        }
    }
}

impl SharePartition {
    /// The room that the limit of locks leaves. A full share partition has room for records that were released: up to
    /// its end (`lastOffsetAndMaxRecordsToAcquire`). `None`: there is nothing to acquire.
    pub(super) fn room(&self, config: &Config, request: &Acquire<'_>) -> Option<Room> {
        let last = request.read.last()?.last;
        let wanted = i64::from(request.max_records);
        if wanted <= 0 || last < self.start {
            return None;
        }
        let free = i64::from(config.partition_max_record_locks) - self.records_in_flight();
        if free > 0 {
            Some(Room { records: wanted.min(free), last })
        } else if request.fetch_offset < self.end {
            Some(Room {
                records: wanted.min(self.end - request.fetch_offset.max(self.start)),
                last: last.min(self.end - 1),
            })
        } else {
            None
        }
    }

    /// What is to be looked at between two offsets, in order.
    pub(super) fn pieces(&self, first: Offset, last: Offset) -> Vec<Piece> {
        let known = self.batch_before(first).unwrap_or(first);
        let known = self.batches.range(known..).take_while(|(start, _)| **start <= last);
        let known = known.filter(|(_, batch)| batch.last() >= first).map(|(start, _)| Piece::Known(*start));
        let unread = self.unread.iter().take_while(|(start, _)| **start <= last).filter(|(_, end)| **end >= first);
        let unread = unread.map(|(start, end)| Piece::New(*start.max(&first), *end.min(&last)));
        let tail = first.max(self.end);
        let tail = (tail <= last).then_some(Piece::New(tail, last));
        let mut pieces: Vec<Piece> = known.chain(unread).chain(tail).collect();
        pieces.sort_by_key(Piece::first);
        pieces
    }
}

/// The last offset of the batch that has this offset; the offset itself if it is in none.
pub(super) fn end_of_batch(read: &[LogBatch], offset: Offset) -> Offset {
    let index = read.partition_point(|batch| batch.last < offset);
    read.get(index).filter(|batch| batch.first <= offset).map_or(offset, |batch| batch.last)
}

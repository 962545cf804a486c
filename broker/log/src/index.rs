//! The offset index of one segment: for every few kilobytes of log, a batch's last offset and where it begins.
//!
//! Values only; [`crate::segment`] moves them to and from files. Kafka's format: entries of 8 bytes, the offset
//! relative to the segment's base offset and the position, both big-endian.
//! Always: offsets and positions ascend strictly. An index is a hint: without it, reading starts further ahead.

/// Bytes of an entry on disk.
pub(crate) const ENTRY_LEN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexEntry {
    relative_offset: u32,
    position: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    base_offset: i64,
    entries: Vec<IndexEntry>,
}

impl OffsetIndex {
    pub(crate) fn new(base_offset: i64) -> OffsetIndex {
        OffsetIndex { base_offset, entries: Vec::new() }
    }

    /// Read a file's bytes; none when they can't be the index of a segment of `segment_size` bytes.
    pub(crate) fn parse(base_offset: i64, bytes: &[u8], segment_size: u64) -> Option<OffsetIndex> {
        let (chunks, rest) = bytes.as_chunks::<ENTRY_LEN>();
        let entries: Vec<IndexEntry> = chunks
            .iter()
            .map(|&[a, b, c, d, e, f, g, h]| IndexEntry {
                relative_offset: u32::from_be_bytes([a, b, c, d]),
                position: u32::from_be_bytes([e, f, g, h]),
            })
            .collect();
        let ascending = entries.is_sorted_by(|a, b| a.relative_offset < b.relative_offset && a.position < b.position);
        let inside = entries.last().is_none_or(|last| u64::from(last.position) < segment_size);
        (rest.is_empty() && ascending && inside).then_some(OffsetIndex { base_offset, entries })
    }

    /// The file's bytes from the entry numbered `from` on.
    pub(crate) fn bytes_from(&self, from: usize) -> Vec<u8> {
        let entries = self.entries.get(from..).unwrap_or_default();
        entries.iter().flat_map(|e| [e.relative_offset.to_be_bytes(), e.position.to_be_bytes()]).flatten().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Note that the batch which ends with `last_offset` begins at `position`.
    pub(crate) fn push(&mut self, last_offset: i64, position: u64) {
        let relative_offset = last_offset.checked_sub(self.base_offset).and_then(|r| u32::try_from(r).ok());
        let relative_offset = relative_offset.expect("a segment rolls before an offset is too far from its base");
        let position = u32::try_from(position).expect("a segment rolls before it reaches 2 GiB");
        self.entries.push(IndexEntry { relative_offset, position });
    }

    /// Where to start looking for `offset`: the batch that begins there is at or before it.
    pub(crate) fn position_before(&self, offset: i64) -> u64 {
        let before = self.entries.partition_point(|e| self.offset(e) <= offset);
        before.checked_sub(1).map_or(0, |i| self.entries[i].position.into())
    }

    /// The furthest known begin of a batch up to `position` before which every offset is below `offset`.
    pub(crate) fn last_position(&self, offset: i64, position: u64) -> u64 {
        let before = self.entries.partition_point(|e| self.offset(e) < offset && u64::from(e.position) <= position);
        before.checked_sub(1).map_or(0, |i| self.entries[i].position.into())
    }

    /// The last entry: a batch's last offset and position.
    pub(crate) fn last(&self) -> Option<(i64, u64)> {
        self.entries.last().map(|e| (self.offset(e), e.position.into()))
    }

    /// Forget batches that hold `offset` or a later one.
    pub(crate) fn truncate(&mut self, offset: i64) {
        self.entries.truncate(self.entries.partition_point(|e| self.offset(e) < offset));
    }

    fn offset(&self, entry: &IndexEntry) -> i64 {
        self.base_offset + i64::from(entry.relative_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(i64, u64)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(100);
        entries.iter().for_each(|&(offset, position)| index.push(offset, position));
        index
    }

    #[test]
    fn looking_for_an_offset_starts_at_the_last_entry_not_beyond_it() {
        let index = index(&[(110, 4096), (120, 9000)]);
        for (offset, position) in [(100, 0), (109, 0), (110, 4096), (119, 4096), (120, 9000), (i64::MAX, 9000)] {
            assert_eq!(index.position_before(offset), position, "{offset}");
        }
        assert_eq!(OffsetIndex::new(100).position_before(105), 0);
    }

    #[test]
    fn looking_for_an_end_stays_below_both_limits() {
        let index = index(&[(110, 4096), (120, 9000)]);
        let cases = [(110, 9999, 0), (111, 9999, 4096), (121, 9999, 9000), (121, 8999, 4096), (121, 4095, 0)];
        for (offset, limit, position) in cases {
            assert_eq!(index.last_position(offset, limit), position, "{offset} {limit}");
        }
    }

    #[test]
    fn bytes_are_relative_offset_and_position_in_big_endian() {
        let index = index(&[(101, 2), (0x1_0000 + 100, 0x0102_0304)]);
        let bytes = [0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 1, 2, 3, 4];
        assert_eq!(index.bytes_from(0), bytes);
        assert_eq!(index.bytes_from(1), bytes[8..]);
        assert_eq!(OffsetIndex::parse(100, &bytes, u64::MAX), Some(index));
    }

    #[test]
    fn bytes_that_cannot_be_an_index_are_refused() {
        let good = index(&[(101, 2), (105, 9)]).bytes_from(0);
        assert!(OffsetIndex::parse(100, &good, 10).is_some());
        assert_eq!(OffsetIndex::parse(100, &good, 9), None, "points behind the end");
        assert_eq!(OffsetIndex::parse(100, &good[..15], 10), None, "half an entry");
        assert_eq!(OffsetIndex::parse(100, &[&good[..], &[0; 8]].concat(), 10), None, "not ascending");
    }

    #[test]
    fn truncation_forgets_from_the_offset_on() {
        let mut index = index(&[(110, 4096), (120, 9000)]);
        index.truncate(121);
        assert_eq!(index.last(), Some((120, 9000)));
        index.truncate(120);
        assert_eq!(index.last(), Some((110, 4096)));
        index.truncate(0);
        assert_eq!(index.last(), None);
    }
}

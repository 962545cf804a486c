//! The time index of one segment: how the largest timestamp so far grew along the log.
//!
//! Values only, like [`crate::index`]. Kafka's format: entries of 12 bytes, a timestamp and the last offset, relative
//! to the segment's base offset, of the batch that reached it first; both big-endian. Always: timestamps and offsets
//! ascend strictly.

/// Bytes of an entry on disk.
pub(crate) const ENTRY_LEN: usize = 12;

/// Stands for "none" in batches and answers.
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// A timestamp and the last offset of the first batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    base_offset: i64,
    entries: Vec<TimeEntry>,
}

impl TimeIndex {
    pub(crate) fn new(base_offset: i64) -> TimeIndex {
        TimeIndex { base_offset, entries: Vec::new() }
    }

    /// Read a file's bytes; none when they can't be a time index.
    pub(crate) fn parse(base_offset: i64, bytes: &[u8]) -> Option<TimeIndex> {
        let (chunks, rest) = bytes.as_chunks::<ENTRY_LEN>();
        let entries: Vec<TimeEntry> = chunks.iter().map(|chunk| parse_entry(base_offset, chunk)).collect();
        let ascending = entries.is_sorted_by(|a, b| a.timestamp < b.timestamp && a.offset < b.offset);
        (rest.is_empty() && ascending).then_some(TimeIndex { base_offset, entries })
    }

    /// The file's bytes from the entry numbered `from` on.
    pub(crate) fn bytes_from(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in self.entries.get(from..).unwrap_or_default() {
            bytes.extend(entry.timestamp.to_be_bytes());
            bytes.extend(((entry.offset - self.base_offset) as u32).to_be_bytes());
        }
        bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Note the largest timestamp so far; one that is not larger than the last entry's says nothing new.
    pub(crate) fn note(&mut self, largest: TimeEntry) {
        if largest.timestamp > self.last().map_or(NO_TIMESTAMP, |last| last.timestamp) {
            self.entries.push(largest);
        }
    }

    /// Every batch up to this offset has a smaller timestamp, except perhaps the one that ends with it; none when the
    /// index knows no such offset.
    pub(crate) fn offset_before(&self, timestamp: i64) -> Option<i64> {
        let before = self.entries.partition_point(|e| e.timestamp <= timestamp);
        before.checked_sub(1).map(|i| self.entries[i].offset)
    }

    pub(crate) fn last(&self) -> Option<TimeEntry> {
        self.entries.last().copied()
    }

    /// Forget entries for `offset` and later ones.
    pub(crate) fn truncate(&mut self, offset: i64) {
        self.entries.truncate(self.entries.partition_point(|e| e.offset < offset));
    }
}

/// Read one entry.
pub(crate) fn parse_entry(base_offset: i64, bytes: &[u8; ENTRY_LEN]) -> TimeEntry {
    let &[a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    TimeEntry {
        timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        offset: base_offset + i64::from(u32::from_be_bytes([i, j, k, l])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(timestamp: i64, offset: i64) -> TimeEntry {
        TimeEntry { timestamp, offset }
    }

    fn index(entries: &[(i64, i64)]) -> TimeIndex {
        let mut index = TimeIndex::new(100);
        entries.iter().for_each(|&(timestamp, offset)| index.note(entry(timestamp, offset)));
        index
    }

    #[test]
    fn only_a_larger_timestamp_is_noted() {
        let index = index(&[(NO_TIMESTAMP, 100), (1_000, 101), (1_000, 105), (999, 107), (1_001, 109)]);
        assert_eq!(index.entries, [entry(1_000, 101), entry(1_001, 109)]);
    }

    #[test]
    fn looking_for_a_time_starts_at_the_last_entry_not_beyond_it() {
        let index = index(&[(1_000, 101), (2_000, 109)]);
        let cases = [(999, None), (1_000, Some(101)), (1_999, Some(101)), (2_000, Some(109)), (i64::MAX, Some(109))];
        for (timestamp, offset) in cases {
            assert_eq!(index.offset_before(timestamp), offset, "{timestamp}");
        }
    }

    #[test]
    fn bytes_are_timestamp_and_relative_offset_in_big_endian() {
        let index = index(&[(0x0102, 101), (0x0103, 102)]);
        let bytes = [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 2];
        assert_eq!(index.bytes_from(0), bytes);
        assert_eq!(index.bytes_from(1), bytes[12..]);
        assert_eq!(TimeIndex::parse(100, &bytes), Some(index));
        assert_eq!(TimeIndex::parse(100, &bytes[1..]), None);
        assert_eq!(TimeIndex::parse(100, &[&bytes[12..], &bytes[..12]].concat()), None);
    }

    #[test]
    fn truncation_forgets_from_the_offset_on() {
        let mut index = index(&[(1_000, 101), (2_000, 109)]);
        index.truncate(109);
        assert_eq!(index.last(), Some(entry(1_000, 101)));
    }
}

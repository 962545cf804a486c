//! The transaction index of one segment (`.txnindex`): the aborted transactions whose markers lie in it.
//!
//! Values only. Kafka's format (`AbortedTxn`): entries of 34 bytes, a version, the producer, first and last offset of
//! the transaction, and the last stable offset behind its marker; all big-endian. Only transactions with records have
//! an entry, and a segment without entries has no file. Always: last offsets ascend strictly.

use std::sync::Arc;

use ottla_batch::ControlRecordType;

use super::undecided::Ended;

/// Bytes of an entry on disk.
const ENTRY_LEN: usize = 34;

const VERSION: i16 = 0;

/// A transaction whose records readers with isolation level read_committed must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Of its first record.
    pub first_offset: i64,
    /// Of its marker.
    pub last_offset: i64,
    /// No transaction that ends behind the marker begins before this offset.
    pub last_stable: i64,
}

impl AbortedTransaction {
    /// The entry of a transaction that has ended; `None` unless it was aborted.
    pub(crate) fn of(ended: &Ended) -> Option<AbortedTransaction> {
        let &Ended { producer_id, first_offset, last_offset, outcome, last_stable } = ended;
        let entry = AbortedTransaction { producer_id, first_offset, last_offset, last_stable };
        (outcome == Some(ControlRecordType::Abort)).then_some(entry)
    }

    fn parse(bytes: &[u8; ENTRY_LEN]) -> Option<AbortedTransaction> {
        let (version, fields) = bytes.split_first_chunk()?;
        let ([producer_id, first_offset, last_offset, last_stable], []) = fields.as_chunks::<8>() else { return None };
        let entry = AbortedTransaction {
            producer_id: i64::from_be_bytes(*producer_id),
            first_offset: i64::from_be_bytes(*first_offset),
            last_offset: i64::from_be_bytes(*last_offset),
            last_stable: i64::from_be_bytes(*last_stable),
        };
        let is_plausible = i16::from_be_bytes(*version) == VERSION
            && 0 <= entry.first_offset
            && entry.first_offset < entry.last_offset
            && entry.last_stable <= entry.last_offset.saturating_add(1);
        is_plausible.then_some(entry)
    }
}

/// The entries of one segment. Readers share them with the segment that is written: a clone costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransactionIndex {
    entries: Arc<Vec<AbortedTransaction>>,
}

impl TransactionIndex {
    /// Read a file's bytes; none when they can't be the index of a segment with offsets from `base_offset` up to
    /// `end_offset`.
    pub(crate) fn parse(base_offset: i64, end_offset: i64, bytes: &[u8]) -> Option<TransactionIndex> {
        let (chunks, []) = bytes.as_chunks::<ENTRY_LEN>() else { return None };
        let entries: Vec<AbortedTransaction> = chunks.iter().map(AbortedTransaction::parse).collect::<Option<_>>()?;
        let fits = entries.iter().all(|entry| (base_offset..end_offset).contains(&entry.last_offset))
            && entries.is_sorted_by(|a, b| a.last_offset < b.last_offset);
        fits.then(|| entries.into_iter().collect())
    }

    /// The file's bytes from the entry numbered `from` on.
    pub(crate) fn bytes_from(&self, from: usize) -> Vec<u8> {
        let entries = self.entries.get(from..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_LEN);
        for AbortedTransaction { producer_id, first_offset, last_offset, last_stable } in entries {
            bytes.extend(VERSION.to_be_bytes());
            for field in [producer_id, first_offset, last_offset, last_stable] {
                bytes.extend(field.to_be_bytes());
            }
        }
        bytes
    }

    /// Where the bytes of the entry numbered `entry` begin.
    pub(crate) fn position(entry: usize) -> u64 {
        (entry * ENTRY_LEN) as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn push(&mut self, entry: AbortedTransaction) {
        // Copies them where a reader still has what was there before.
        Arc::make_mut(&mut self.entries).push(entry);
    }

    /// Forget transactions whose markers are at `offset` or behind it.
    pub(crate) fn truncate(&mut self, offset: i64) {
        let kept = self.entries.partition_point(|entry| entry.last_offset < offset);
        if kept < self.entries.len() {
            Arc::make_mut(&mut self.entries).truncate(kept);
        }
    }

    /// Add the entries that overlap offsets from `from` up to `up_to`; true when later segments have no others
    /// (`TransactionIndex.collectAbortedTxns`).
    pub(crate) fn collect(&self, from: i64, up_to: i64, found: &mut Vec<AbortedTransaction>) -> bool {
        let first = self.entries.partition_point(|entry| entry.last_offset < from);
        for entry in &self.entries[first..] {
            if entry.first_offset < up_to {
                found.push(*entry);
            }
            if entry.last_stable >= up_to {
                return true;
            }
        }
        false
    }
}

impl FromIterator<AbortedTransaction> for TransactionIndex {
    fn from_iter<I: IntoIterator<Item = AbortedTransaction>>(entries: I) -> TransactionIndex {
        TransactionIndex { entries: Arc::new(entries.into_iter().collect()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(producer_id: i64, first_offset: i64, last_offset: i64, last_stable: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable }
    }

    fn index(entries: &[AbortedTransaction]) -> TransactionIndex {
        entries.iter().copied().collect()
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let index = index(&[entry(7, 100, 110, 105), entry(0x0102_0304_0506_0708, 105, 120, 121)]);
        let mut bytes = vec![0, 0];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 100]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 110, 0, 0, 0, 0, 0, 0, 0, 105]);
        bytes.extend([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 105]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 120, 0, 0, 0, 0, 0, 0, 0, 121]);
        assert_eq!(index.bytes_from(0), bytes);
        assert_eq!(index.bytes_from(1), bytes[TransactionIndex::position(1) as usize..]);
        assert_eq!(TransactionIndex::parse(108, 121, &bytes), Some(index), "it may begin in an earlier segment");
    }

    #[test]
    fn bytes_that_cannot_be_an_index_are_refused() {
        let good = index(&[entry(7, 100, 110, 105), entry(8, 105, 120, 121)]).bytes_from(0);
        let parse = |base_offset, end_offset, bytes: &[u8]| TransactionIndex::parse(base_offset, end_offset, bytes);
        assert!(parse(100, 121, &good).is_some());
        assert_eq!(parse(100, 121, &good[..67]), None, "half an entry");
        assert_eq!(parse(111, 121, &good), None, "a marker before the segment");
        assert_eq!(parse(100, 120, &good), None, "a marker behind it");
        let mut other_version = good.clone();
        other_version[1] = 1;
        assert_eq!(parse(100, 121, &other_version), None);
        for (why, entries) in [
            ("not ascending", &[entry(8, 105, 120, 121), entry(7, 100, 110, 105)][..]),
            ("a marker before the first record", &[entry(7, 110, 110, 105)]),
            ("stable behind its marker", &[entry(7, 100, 110, 112)]),
            ("before all offsets", &[entry(7, -1, 110, 105)]),
        ] {
            assert_eq!(parse(100, 121, &index(entries).bytes_from(0)), None, "{why}");
        }
    }

    #[test]
    fn a_search_ends_where_no_later_transaction_can_overlap() {
        // The first ends while another one is open from 103 on, the others while none is.
        let index = index(&[entry(7, 100, 110, 103), entry(8, 103, 120, 121), entry(9, 130, 140, 141)]);
        for (from, up_to, expected, ends) in [
            (100, 103, &[7][..], true),
            (100, 104, &[7, 8], true),
            (110, 111, &[7, 8], true),
            (111, 121, &[8], true),
            (121, 130, &[], true),
            (121, 131, &[9], true),
            (121, 142, &[9], false),
            (141, 150, &[], false),
        ] {
            let mut found = Vec::new();
            assert_eq!(index.collect(from, up_to, &mut found), ends, "{from}..{up_to}");
            assert_eq!(found.iter().map(|entry| entry.producer_id).collect::<Vec<_>>(), expected, "{from}..{up_to}");
        }
    }

    #[test]
    fn truncation_forgets_from_the_offset_on() {
        let mut index = index(&[entry(7, 100, 110, 103), entry(8, 103, 120, 121)]);
        let reader = index.clone();
        index.truncate(120);
        assert_eq!((index.len(), reader.len()), (1, 2));
        assert_eq!(index.bytes_from(0), reader.bytes_from(0)[..ENTRY_LEN]);
        index.truncate(110);
        assert!(index.is_empty());
    }
}

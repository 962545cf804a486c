//! What compaction leaves of a batch. Values in, values out.
//!
//! As in Kafka: of a key's records the last stays; a tombstone stays for `delete.retention.ms` after compaction first
//! saw it, which is noted in its batch (KIP-534), so that consumers have that long to learn that the key is gone;
//! records without a key are removed, and those of aborted transactions. A marker stays until all batches of its
//! transaction are gone, and then for that time, too. Offsets never change.

use ottla_batch::{Batch, BatchBuilder, BatchHeader, Codec, Record, RecordsError};

use super::map::OffsetMap;

/// Most bytes that the records of one batch may take once they are decompressed. Compaction holds them all.
pub(crate) const DECOMPRESSED_MAX: usize = 256 << 20;

/// What is asked of each record.
#[derive(Debug)]
pub(crate) struct Retention<'a> {
    pub keys: &'a OffsetMap,
    /// Records from here on are not judged: their keys are not in the map.
    pub end: i64,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// Every byte.
    All,
    Some(Batch),
}

impl Retention<'_> {
    /// Whether a batch lies behind all that is judged.
    pub(super) fn leaves(&self, batch: &BatchHeader) -> bool {
        batch.base_offset >= self.end
    }

    /// With `keep_header` a batch that loses all its records leaves its header, which says where it ended and which
    /// sequence number its producer had come to. Of an aborted transaction it loses them all.
    pub(super) fn apply(&self, batch: &Batch, is_aborted: bool, keep_header: bool) -> Result<Left, RecordsError> {
        let header = batch.header();
        if self.leaves(header) {
            return Ok(Left::All);
        }
        let mut kept = Vec::new();
        if !is_aborted {
            for record in batch.records(DECOMPRESSED_MAX)? {
                let record = record?;
                if self.keeps(header, &record) {
                    kept.push(record);
                }
            }
        }
        if kept.is_empty() {
            return Ok(bare(header, keep_header));
        }
        let has_tombstones = kept.iter().any(|record| record.value().is_none());
        let first_seen = has_tombstones && header.delete_horizon().is_none();
        if !first_seen && kept.len() == header.records_count as usize {
            return Ok(Left::All);
        }
        let mut builder = BatchBuilder::replacing(header, Codec::from(header.compression()?));
        if first_seen {
            builder = builder.delete_horizon(self.horizon());
        }
        for record in &kept {
            builder.push_record(record.offset_delta, record);
        }
        Ok(Left::Some(builder.build()))
    }

    /// A marker stays while its transaction `has_batches`; then its delete horizon is set, and after the horizon the
    /// marker goes. Its header may be all that shows its producer's epoch.
    pub(super) fn apply_to_marker(
        &self,
        batch: &Batch,
        has_batches: bool,
        keep_header: bool,
    ) -> Result<Left, RecordsError> {
        let header = batch.header();
        if self.leaves(header) || has_batches {
            return Ok(Left::All);
        }
        match header.delete_horizon() {
            _ if header.records_count == 0 => Ok(bare(header, keep_header)),
            Some(horizon) if self.now_ms < horizon => Ok(Left::All),
            Some(_) => Ok(bare(header, keep_header)),
            None => {
                let builder = BatchBuilder::replacing(header, Codec::from(header.compression()?));
                let mut builder = builder.delete_horizon(self.horizon());
                for record in batch.records(DECOMPRESSED_MAX)? {
                    let record = record?;
                    builder.push_record(record.offset_delta, &record);
                }
                Ok(Left::Some(builder.build()))
            }
        }
    }

    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }

    fn keeps(&self, batch: &BatchHeader, record: &Record) -> bool {
        let offset = batch.base_offset + i64::from(record.offset_delta);
        if offset >= self.end {
            return true;
        }
        let Some(key) = record.key() else { return false };
        let is_last = self.keys.get(key).is_none_or(|last| offset >= last);
        is_last && (record.value().is_some() || batch.delete_horizon().is_none_or(|horizon| self.now_ms < horizon))
    }
}

/// What is left of a batch without records.
fn bare(header: &BatchHeader, keep_header: bool) -> Left {
    match keep_header {
        true if header.records_count == 0 => Left::All,
        true => Left::Some(BatchBuilder::replacing(header, Codec::None).build()),
        false => Left::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use ottla_batch::NewRecord;
    use ottla_batch::header::NO_TIMESTAMP;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn keys(last: &[(&str, i64)]) -> OffsetMap {
        let mut map = OffsetMap::new(last.len(), usize::MAX);
        assert!(last.iter().all(|(key, offset)| map.put(key.as_bytes(), *offset)));
        map
    }

    /// Records at offsets from 100 on: a key, and whether there is a value.
    fn batch(builder: BatchBuilder, records: &[(Option<&str>, bool)]) -> Batch {
        let mut builder = builder;
        for (i, (key, has_value)) in records.iter().enumerate() {
            let value = has_value.then_some(&b"value"[..]);
            builder.push(NewRecord {
                timestamp: NOW - 100 + i as i64,
                key: key.map(str::as_bytes),
                value,
                headers: &[],
            });
        }
        let batch = builder.build();
        Batch::seal(BatchHeader { base_offset: 100, ..*batch.header() }, &batch.body())
    }

    fn offsets(batch: &Batch) -> Vec<i64> {
        let records = batch.records(1 << 20).unwrap().map(Result::unwrap);
        records.map(|record| batch.header().base_offset + i64::from(record.offset_delta)).collect()
    }

    fn left(batch: &Batch, keys: &OffsetMap, end: i64, now_ms: i64, keep_header: bool) -> Left {
        Retention { keys, end, now_ms, delete_retention_ms: 500 }.apply(batch, false, keep_header).unwrap()
    }

    #[test]
    fn only_the_last_record_of_a_key_stays() {
        let records = [(Some("a"), true), (Some("b"), true), (Some("a"), true), (None, true), (Some("c"), true)];
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd { level: 3 }, Codec::Snappy, Codec::Gzip { level: -1 }] {
            let batch = batch(BatchBuilder::new(codec).producer(7, 1, 40), &records);
            let case = |last: &[(&str, i64)], end| match left(&batch, &keys(last), end, NOW, false) {
                Left::Nothing => vec![],
                Left::All => vec![-1],
                Left::Some(left) => {
                    assert_eq!(left.header().compression(), batch.header().compression());
                    assert_eq!(left.header().last_sequence(), batch.header().last_sequence());
                    offsets(&left)
                }
            };
            assert_eq!(case(&[("a", 102), ("b", 101), ("c", 104)], 105), [101, 102, 104]);
            assert_eq!(case(&[("a", 110), ("b", 101), ("c", 104)], 120), [101, 104]);
            assert_eq!(case(&[("a", 110), ("b", 111), ("c", 112)], 120), [0i64; 0]);
            assert_eq!(case(&[("a", 102)], 103), [101, 102, 103, 104], "the map ends within the batch");
            assert_eq!(case(&[("a", 90)], 100), [-1], "the map ends before the batch");
        }
    }

    #[test]
    fn a_tombstone_stays_for_a_while_after_it_was_first_seen() {
        let sent = batch(BatchBuilder::new(Codec::None), &[(Some("a"), true), (Some("b"), false)]);
        let keys = keys(&[("a", 100), ("b", 101)]);
        let Left::Some(seen) = left(&sent, &keys, 102, NOW, false) else { panic!("its horizon must be noted") };
        assert_eq!((offsets(&seen), seen.header().delete_horizon()), (vec![100, 101], Some(NOW + 500)));
        assert_eq!(left(&seen, &keys, 102, NOW + 499, false), Left::All);
        let Left::Some(gone) = left(&seen, &keys, 102, NOW + 500, false) else { panic!("it must go") };
        assert_eq!(offsets(&gone), [100]);
        let timestamps: Vec<i64> = gone.records(1 << 20).unwrap().map(|record| record.unwrap().timestamp).collect();
        assert_eq!(timestamps, [NOW - 100], "no timestamp has moved");
    }

    #[test]
    fn a_header_that_must_stay_stays_bare() {
        let sent = batch(BatchBuilder::new(Codec::Zstd { level: 3 }).producer(7, 1, 40), &[(Some("a"), true)]);
        let keys = keys(&[("a", 200)]);
        assert_eq!(left(&sent, &keys, 201, NOW, false), Left::Nothing);
        let Left::Some(bare) = left(&sent, &keys, 201, NOW, true) else { panic!("the header must stay") };
        let (header, before) = (bare.header(), sent.header());
        assert_eq!((bare.bytes().len(), header.records_count), (ottla_batch::HEADER_LEN, 0));
        assert_eq!((header.last_offset(), header.last_sequence()), (before.last_offset(), before.last_sequence()));
        assert_eq!((header.base_timestamp, header.max_timestamp), (NO_TIMESTAMP, before.max_timestamp));
        assert_eq!(left(&bare, &keys, 201, NOW, true), Left::All);
        assert_eq!(left(&bare, &keys, 201, NOW, false), Left::Nothing);
    }

    #[test]
    fn records_of_an_aborted_transaction_go_whatever_their_keys() {
        let sent = batch(BatchBuilder::new(Codec::None).producer(7, 1, 0).transactional(), &[(Some("a"), true)]);
        let keys = keys(&[("a", 100)]);
        let apply = |end, keep_header| {
            Retention { keys: &keys, end, now_ms: NOW, delete_retention_ms: 500 }
                .apply(&sent, true, keep_header)
                .unwrap()
        };
        assert_eq!(apply(101, false), Left::Nothing);
        let Left::Some(bare) = apply(101, true) else { panic!("the header must stay") };
        assert!(bare.header().is_transactional() && bare.header().records_count == 0);
        assert_eq!(apply(100, false), Left::All, "the round ends before it");
        assert_eq!(left(&sent, &keys, 101, NOW, false), Left::All, "that one was committed");
    }

    #[test]
    fn a_marker_goes_some_time_after_the_batches_of_its_transaction() {
        let marker = ottla_batch::Marker { outcome: ottla_batch::ControlRecordType::Abort, coordinator_epoch: 5 };
        let sent = ottla_batch::marker_batch(7, 1, marker, NOW - 100);
        let keys = keys(&[]);
        let apply = |batch: &Batch, now_ms, has_batches, keep_header| {
            let retention = Retention { keys: &keys, end: 101, now_ms, delete_retention_ms: 500 };
            retention.apply_to_marker(batch, has_batches, keep_header).unwrap()
        };
        assert_eq!(apply(&sent, NOW, true, false), Left::All);
        let Left::Some(seen) = apply(&sent, NOW, false, false) else { panic!("its horizon must be noted") };
        assert_eq!(seen.header().delete_horizon(), Some(NOW + 500));
        assert_eq!(ottla_batch::Marker::of(&seen).unwrap(), Some(marker));
        assert_eq!(seen.header().max_timestamp, sent.header().max_timestamp);
        assert_eq!(apply(&seen, NOW + 499, false, false), Left::All);
        assert_eq!(apply(&seen, NOW + 500, false, false), Left::Nothing);
        let Left::Some(bare) = apply(&seen, NOW + 500, false, true) else { panic!("the header must stay") };
        assert!(bare.header().is_control() && bare.header().records_count == 0);
        assert_eq!(bare.header().producer_epoch, 1);
        assert_eq!(apply(&bare, NOW + 500, false, true), Left::All);
        assert_eq!(apply(&bare, NOW + 500, false, false), Left::Nothing);
        let behind = Batch::seal(BatchHeader { base_offset: 101, ..*sent.header() }, &sent.body());
        assert_eq!(apply(&behind, NOW, false, false), Left::All, "the round ends before it");
    }
}

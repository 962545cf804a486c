//! Make batches: a coordinator's records, transaction markers, what compaction keeps, other codecs, tests.
//!
//! Records are compressed as they come: what is held is what will be sent, and a block of the codec.

use crate::batch::Batch;
use crate::compress::{Codec, Encoder};
use crate::control::Marker;
use crate::header::{
    BatchHeader, COMPRESSION_MASK, CONTROL_BIT, DELETE_HORIZON_BIT, HEADER_LEN, MAGIC, NO_EPOCH, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL_BIT, TimestampType,
};
use crate::records::{Front, Header, Record};
use crate::varint::{VARINT_MAX, put_varint, put_varlong};

/// A record to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key; `None`: the record has none.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in their order.
    pub headers: &'a [Header<'a>],
}

/// Collects records and makes one batch of them. The caller keeps it below 2 GiB.
#[derive(Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    /// Set when the offsets are those of an older batch, and some may be missing.
    keeps_offsets: bool,
    delete_horizon: Option<i64>,
    records: Encoder,
    records_len: usize,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// A batch of a leader's own: base offset 0, no producer.
    pub fn new(codec: Codec) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            length: 0,
            partition_leader_epoch: NO_EPOCH,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_EPOCH as i16,
            base_sequence: NO_SEQUENCE,
            records_count: 0,
        };
        BatchBuilder::with_header(header, codec, false)
    }

    /// A batch that takes the place of another: its offsets, its producer and its kind stay, though records may go.
    pub fn replacing(header: &BatchHeader, codec: Codec) -> BatchBuilder {
        BatchBuilder::with_header(BatchHeader { records_count: 0, ..*header }, codec, true)
    }

    fn with_header(mut header: BatchHeader, codec: Codec, keeps_offsets: bool) -> BatchBuilder {
        header.attributes = header.attributes & !COMPRESSION_MASK | codec.compression() as i16;
        let delete_horizon = header.delete_horizon();
        BatchBuilder {
            header,
            keeps_offsets,
            delete_horizon,
            records: Encoder::new(codec),
            records_len: 0,
            scratch: Vec::new(),
        }
    }

    /// Send as an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> BatchBuilder {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Send within a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.header.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// From when on compaction may drop the batch's tombstones and markers (KIP-534). Set before the first record.
    pub fn delete_horizon(mut self, timestamp: i64) -> BatchBuilder {
        assert!(self.is_empty(), "the timestamps of records count from the delete horizon");
        self.header.attributes |= DELETE_HORIZON_BIT;
        self.delete_horizon = Some(timestamp);
        self
    }

    /// No record yet.
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes of the records so far, before compression.
    pub fn records_len(&self) -> usize {
        self.records_len
    }

    /// Bytes of the batch so far: it will have as many at least.
    pub(crate) fn least_len(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// Append a record behind the others.
    pub fn push(&mut self, record: NewRecord<'_>) {
        self.begin(self.header.records_count, record.timestamp);
        put_nullable(&mut self.scratch, record.key);
        put_nullable(&mut self.scratch, record.value);
        put_len(&mut self.scratch, record.headers.len());
        for header in record.headers {
            put_nullable(&mut self.scratch, Some(header.key));
            put_nullable(&mut self.scratch, header.value);
        }
        self.finish();
    }

    /// Append a record of another batch, at an offset that may differ from the one it had there.
    pub fn push_record(&mut self, offset_delta: i32, record: &Record) {
        self.begin(offset_delta, record.timestamp);
        self.scratch.extend_from_slice(record.payload());
        self.finish();
    }

    /// Append a record of another batch, of which so far only the front is known: [`BatchBuilder::extend`] takes the
    /// rest.
    pub(crate) fn push_front(&mut self, offset_delta: i32, front: &Front) {
        self.begin(offset_delta, front.timestamp);
        self.finish_with(front.payload_len);
    }

    /// More of the record whose front was appended last.
    pub(crate) fn extend(&mut self, payload: &[u8]) {
        self.records.write(payload);
    }

    fn begin(&mut self, offset_delta: i32, timestamp: i64) {
        if self.is_empty() {
            self.header.base_timestamp = self.delete_horizon.unwrap_or(timestamp);
            if self.header.timestamp_type() == TimestampType::CreateTime {
                self.header.max_timestamp = NO_TIMESTAMP;
            }
        }
        if self.header.timestamp_type() == TimestampType::CreateTime {
            self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        }
        self.scratch.clear();
        self.scratch.push(0);
        put_varlong(&mut self.scratch, timestamp.wrapping_sub(self.header.base_timestamp));
        put_varint(&mut self.scratch, offset_delta);
    }

    fn finish(&mut self) {
        self.finish_with(0);
    }

    /// What was prepared, and so many bytes that follow.
    fn finish_with(&mut self, more: usize) {
        let len = self.scratch.len() + more;
        let mut prefix = Vec::with_capacity(VARINT_MAX);
        put_len(&mut prefix, len);
        self.records.write(&prefix);
        self.records.write(&self.scratch);
        self.records_len += prefix.len() + len;
        self.header.records_count += 1;
    }

    /// The batch. Without records it is a bare header, which compaction keeps for the producer's sequence.
    pub fn build(mut self) -> Batch {
        if !self.keeps_offsets {
            self.header.last_offset_delta = self.header.records_count - 1;
        }
        if self.is_empty() {
            self.header.base_timestamp = self.delete_horizon.unwrap_or(NO_TIMESTAMP);
        }
        Batch::seal(self.header, &self.records.finish())
    }
}

/// The batch that ends a transaction of a producer in one partition.
pub fn marker_batch(producer_id: i64, producer_epoch: i16, marker: Marker, timestamp: i64) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer_id, producer_epoch, NO_SEQUENCE).transactional();
    builder.header.attributes |= CONTROL_BIT;
    let (key, value) = marker.to_record();
    builder.push(NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] });
    builder.build()
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, i32::try_from(len).expect("a builder's caller keeps it below 2 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::LOG_APPEND_TIME_BIT;

    const CAP: usize = 1 << 20;

    fn sent() -> Batch {
        let mut builder = BatchBuilder::new(Codec::Lz4).producer(7, 1, 40).transactional();
        for (timestamp, key) in [(100, b"a"), (300, b"b"), (200, b"c")] {
            builder.push(NewRecord { timestamp, key: Some(key), ..NewRecord::default() });
        }
        let batch = builder.build();
        Batch::seal(BatchHeader { base_offset: 1000, partition_leader_epoch: 5, ..*batch.header() }, &batch.body())
    }

    fn compacted(batch: &Batch, keep: impl Fn(&Record) -> bool, delete_horizon: Option<i64>) -> Batch {
        let mut builder = BatchBuilder::replacing(batch.header(), Codec::Lz4);
        if let Some(timestamp) = delete_horizon {
            builder = builder.delete_horizon(timestamp);
        }
        for record in batch.records(CAP).unwrap().map(Result::unwrap).filter(keep) {
            builder.push_record(record.offset_delta, &record);
        }
        builder.build()
    }

    fn offsets_and_timestamps(batch: &Batch) -> Vec<(i32, i64)> {
        batch.records(CAP).unwrap().map(Result::unwrap).map(|r| (r.offset_delta, r.timestamp)).collect()
    }

    #[test]
    fn a_batch_that_loses_records_keeps_offsets_and_sequences() {
        let kept = compacted(&sent(), |record| record.key() != Some(b"b"), None);
        assert_eq!(offsets_and_timestamps(&kept), [(0, 100), (2, 200)]);
        let header = kept.header();
        assert_eq!((header.base_offset, header.last_offset(), header.partition_leader_epoch), (1000, 1002, 5));
        assert_eq!((header.producer_id, header.base_sequence, header.last_sequence()), (7, 40, 42));
        assert_eq!((header.base_timestamp, header.max_timestamp, header.records_count), (100, 200, 2));
        assert!(header.is_transactional());
    }

    #[test]
    fn a_batch_that_loses_all_records_still_says_where_its_producer_stood() {
        let kept = compacted(&sent(), |_| false, None);
        assert_eq!(offsets_and_timestamps(&kept), []);
        let header = kept.header();
        assert_eq!((header.last_offset(), header.last_sequence(), header.records_count), (1002, 42, 0));
        assert_eq!((header.base_timestamp, header.max_timestamp), (NO_TIMESTAMP, 300));
    }

    #[test]
    fn a_delete_horizon_moves_no_timestamp_and_outlives_the_next_compaction() {
        let once = compacted(&sent(), |_| true, Some(5000));
        let twice = compacted(&once, |record| record.key() != Some(b"a"), None);
        assert_eq!(offsets_and_timestamps(&once), [(0, 100), (1, 300), (2, 200)]);
        assert_eq!(offsets_and_timestamps(&twice), [(1, 300), (2, 200)]);
        assert_eq!(once.header().delete_horizon(), Some(5000));
        assert_eq!(twice.header().delete_horizon(), Some(5000));
    }

    #[test]
    fn the_leaders_timestamp_outlives_compaction() {
        let sent = sent();
        let attributes = sent.header().attributes | LOG_APPEND_TIME_BIT;
        let appended = Batch::seal(BatchHeader { attributes, max_timestamp: 900, ..*sent.header() }, &sent.body());
        let kept = compacted(&appended, |record| record.key() == Some(b"c"), None);
        assert_eq!(offsets_and_timestamps(&kept), [(2, 900)]);
        assert_eq!(kept.header().timestamp_type(), TimestampType::LogAppendTime);
    }
}

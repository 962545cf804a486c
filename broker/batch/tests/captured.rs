//! Batches that Apache Kafka wrote; see `fixtures/README.md`.

use bytes::Bytes;
use ottla_batch::builder::marker_batch;
use ottla_batch::{
    Batch, BatchBuilder, Batches, Codec, Compression, ControlRecordType, Header, Marker, NewRecord, ProduceRules,
    Record, TimestampType, validate,
};

const TIME: i64 = 1_700_000_000_000; // as in Capture.java
const CAP: usize = 1 << 20;

const CAPTURED: [(Compression, &[u8]); 5] = [
    (Compression::None, include_bytes!("fixtures/none.batch")),
    (Compression::Gzip, include_bytes!("fixtures/gzip.batch")),
    (Compression::Snappy, include_bytes!("fixtures/snappy.batch")),
    (Compression::Lz4, include_bytes!("fixtures/lz4.batch")),
    (Compression::Zstd, include_bytes!("fixtures/zstd.batch")),
];

fn read(batch: &Batch) -> Vec<Record> {
    batch.records(CAP).expect("a known codec").collect::<Result<_, _>>().expect("whole records")
}

/// What Capture.java sends, in a batch of ours.
fn same_records(codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    let headers = [
        Header { key: b"a", value: Some(b"1") },
        Header { key: b"a", value: Some(b"2") },
        Header { key: b"b", value: None },
    ];
    builder.push(NewRecord { timestamp: TIME, key: Some(b"k0"), value: Some(b"v0"), headers: &headers });
    builder.push(NewRecord { timestamp: TIME + 5, key: None, value: Some(b""), headers: &[] });
    builder.push(NewRecord { timestamp: TIME - 3, key: Some(b"k2"), value: None, headers: &[] });
    for i in 0..if codec == Codec::None { 0 } else { 400 } {
        let (key, value) = (format!("key-{i}"), format!("value-{i} ").repeat(24));
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        builder.push(NewRecord { timestamp: TIME + i, key, value, headers: &[] });
    }
    builder.build()
}

#[test]
fn we_read_what_kafka_wrote() {
    for (compression, bytes) in CAPTURED {
        let batch = Batch::parse(&Bytes::from_static(bytes)).unwrap();
        assert_eq!(batch.bytes().len(), bytes.len(), "{compression:?}");
        let ours = same_records(compression.into());
        let header = batch.header();
        assert_eq!(header.compression(), Ok(compression));
        assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(header.base_timestamp, TIME);
        assert_eq!(header.max_timestamp, ours.header().max_timestamp);
        assert_eq!(header.records_count, ours.header().records_count);
        assert_eq!(header.last_offset(), i64::from(header.records_count) - 1);
        assert_eq!(read(&batch), read(&ours), "{compression:?}");
    }
}

#[test]
fn uncompressed_records_are_written_as_kafka_writes_them() {
    let kafka = Batch::parse(&Bytes::from_static(CAPTURED[0].1)).unwrap();
    let header = kafka.header();
    let mut ours = BatchBuilder::new(Codec::None).producer(header.producer_id, header.producer_epoch, 0);
    for (index, record) in (0..).zip(read(&kafka)) {
        ours.push_record(index, &record);
    }
    assert_eq!(ours.build().stamp(0, 0, None).header(), *header, "down to the checksum");
}

#[test]
fn a_topics_codec_keeps_records_and_producer() {
    for (from, bytes) in CAPTURED {
        for (to, _) in CAPTURED {
            let rules = ProduceRules {
                max_message_bytes: CAP,
                timestamp_type: TimestampType::CreateTime,
                timestamp_before_max_ms: i64::MAX,
                timestamp_after_max_ms: 3_600_000,
                compacted: false,
                codec: Some(to.into()),
                strict: true,
                max_decompressed_bytes: CAP,
            };
            let sent = Batch::parse(&Bytes::from_static(bytes)).unwrap();
            let kept = validate(sent.bytes(), &rules, TIME).unwrap();
            assert_eq!(kept.header().compression(), Ok(to));
            assert_eq!(read(&kept), read(&sent), "{from:?} to {to:?}");
            assert_eq!(kept.header().producer_id, sent.header().producer_id);
            assert_eq!(kept.header().last_sequence(), sent.header().last_sequence());
            assert_eq!(kept.bytes() == sent.bytes(), from == to, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_commit_marker_is_read_and_written_as_kafka_does() {
    let bytes = Bytes::from_static(include_bytes!("fixtures/transaction.batches"));
    let batches: Vec<Batch> = Batches::new(bytes).collect::<Result<_, _>>().unwrap();
    let [data, marker] = &batches[..] else { panic!("{} batches", batches.len()) };
    assert!(data.header().is_transactional() && !data.header().is_control());
    assert_eq!(Marker::of(data).unwrap(), None);

    let header = marker.header();
    let commit = Marker { outcome: ControlRecordType::Commit, coordinator_epoch: 0 };
    assert_eq!(Marker::of(marker).unwrap(), Some(commit));
    let ours = marker_batch(header.producer_id, header.producer_epoch, commit, header.max_timestamp);
    assert_eq!(ours.stamp(1, 0, None).header(), *header, "down to the checksum");
}

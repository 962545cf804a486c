//! What holds for every batch, and that no bytes make us panic.

use bytes::Bytes;
use ottla_batch::header::position;
use ottla_batch::{
    Batch, BatchBuilder, BatchHeader, Batches, Codec, HEADER_LEN, Header, Marker, NewRecord, ProduceRules, Record,
    TimestampType, validate,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const CAP: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Sent {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn sent() -> impl Strategy<Value = Sent> {
    let headers = vec((bytes(10), option::of(bytes(10))), 0..4);
    (any::<i64>(), option::of(bytes(20)), option::of(bytes(2000)), headers)
        .prop_map(|(timestamp, key, value, headers)| Sent { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![
        Just(Codec::None),
        (-1..=9).prop_map(|level| Codec::Gzip { level }),
        Just(Codec::Snappy),
        Just(Codec::Lz4),
        (-5..=5).prop_map(|level| Codec::Zstd { level }),
    ]
}

fn build(codec: Codec, records: &[Sent]) -> Batch {
    let mut builder = BatchBuilder::new(codec).producer(1, 2, 3);
    for Sent { timestamp, key, value, headers } in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let (key, value) = (key.as_deref(), value.as_deref());
        builder.push(NewRecord { timestamp: *timestamp, key, value, headers: &headers });
    }
    builder.build()
}

fn read(batch: &Batch) -> Vec<Record> {
    batch.records(CAP).expect("a known codec").collect::<Result<_, _>>().expect("whole records")
}

fn rules(codec: Option<Codec>) -> ProduceRules {
    ProduceRules {
        max_message_bytes: CAP,
        timestamp_type: TimestampType::LogAppendTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        codec,
        strict: true,
        max_decompressed_bytes: CAP,
    }
}

/// Everything that is ever done with bytes from outside.
fn use_all(bytes: &Bytes) {
    for codec in [None, Some(Codec::None)] {
        let _ = validate(bytes, &rules(codec), 0);
    }
    for batch in Batches::new(bytes.clone()).flatten() {
        let header = batch.header();
        let _ = (header.last_offset(), header.next_offset(), header.next_sequence(), Marker::of(&batch));
        for record in batch.records(CAP).into_iter().flatten().flatten() {
            let _ = (record.key(), record.value(), record.headers().count());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_is_read(codec in codec(), records in vec(sent(), 1..40)) {
        let batch = Batch::parse(build(codec, &records).bytes()).unwrap();
        let found = read(&batch);
        prop_assert_eq!(found.len(), records.len());
        for (index, (found, sent)) in found.iter().zip(&records).enumerate() {
            prop_assert_eq!(found.offset_delta as usize, index);
            prop_assert_eq!(found.timestamp, sent.timestamp);
            prop_assert_eq!(found.key(), sent.key.as_deref());
            prop_assert_eq!(found.value(), sent.value.as_deref());
            let headers: Vec<_> = found.headers().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&headers, &sent.headers);
        }
    }

    #[test]
    fn another_codec_keeps_the_records(from in codec(), to in codec(), records in vec(sent(), 1..40)) {
        let sent = build(from, &records);
        let kept = validate(sent.bytes(), &rules(Some(to)), 0).unwrap();
        prop_assert_eq!(kept.header().compression(), Ok(to.compression()));
        prop_assert_eq!(read(&kept), read(&sent));
        prop_assert_eq!(kept.header().last_sequence(), sent.header().last_sequence());
    }

    #[test]
    fn changed_bytes_never_panic(
        codec in codec(),
        records in vec(sent(), 1..10),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(codec, &records).bytes().to_vec();
        let whole = Bytes::from(bytes.clone());
        use_all(&whole.slice(..cut.index(whole.len())));
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        use_all(&Bytes::from(bytes.clone()));

        // The same changes under a right checksum reach what is behind it.
        let header = BatchHeader::peek(&bytes).unwrap();
        use_all(Batch::seal(header, &bytes[HEADER_LEN..]).bytes());
        let attributes = whole[position::ATTRIBUTES..position::LAST_OFFSET_DELTA].try_into().unwrap();
        let header = BatchHeader { attributes: i16::from_be_bytes(attributes), ..header };
        use_all(Batch::seal(header, &bytes[HEADER_LEN..]).bytes());
    }

    #[test]
    fn noise_never_panics(noise in bytes(300), codec in codec()) {
        use_all(&Bytes::from(noise.clone()));
        let header = *build(codec, &[]).header();
        let header = BatchHeader { records_count: 3, last_offset_delta: 2, ..header };
        use_all(Batch::seal(header, &noise).bytes());
    }
}

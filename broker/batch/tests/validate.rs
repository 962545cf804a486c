//! The leader's rules, each with a batch that keeps it and one that doesn't.

use bytes::Bytes;
use ottla_batch::validate::RecordError;
use ottla_batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, Codec, Compression, InvalidBatch, NewRecord, ProduceRules,
    RecordsError, TimestampType, validate,
};

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const LZ4: Codec = Codec::Lz4;

/// Kafka's defaults.
fn rules() -> ProduceRules {
    ProduceRules {
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: HOUR,
        compacted: false,
        codec: None,
        strict: false,
        max_decompressed_bytes: 1 << 20,
    }
}

fn batch(codec: Codec, timestamps: &[i64]) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    for &timestamp in timestamps {
        builder.push(NewRecord { timestamp, key: Some(b"key"), value: Some(&[7; 500]), headers: &[] });
    }
    builder.build()
}

/// A batch whose producer lies in the header, with the checksum that the lie needs.
fn lying(batch: &Batch, lie: impl FnOnce(&mut BatchHeader)) -> Batch {
    let mut header = *batch.header();
    lie(&mut header);
    Batch::seal(header, &batch.body())
}

fn check(batch: &Batch, rules: &ProduceRules) -> Result<Batch, InvalidBatch> {
    validate(batch.bytes(), rules, NOW)
}

#[test]
fn a_good_batch_is_kept_as_it_came() {
    for codec in [Codec::None, LZ4] {
        let sent = batch(codec, &[NOW, NOW + 5, NOW - 3]);
        let kept = check(&sent, &rules()).unwrap();
        assert_eq!(kept.bytes().as_ptr(), sent.bytes().as_ptr(), "not even copied");
    }
}

#[test]
fn there_must_be_one_whole_batch() {
    let bytes = batch(Codec::None, &[NOW]).bytes().clone();
    let two = Bytes::from([&bytes[..], &bytes].concat());
    let mut flipped = bytes.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let validate = |bytes: Bytes| validate(&bytes, &rules(), NOW).unwrap_err();
    assert!(matches!(validate(Bytes::new()), InvalidBatch::NoBatch));
    assert!(matches!(validate(two), InvalidBatch::SeveralBatches));
    assert!(matches!(validate(flipped.into()), InvalidBatch::Bytes(BatchError::Corrupt { .. })));
    assert!(matches!(validate(bytes.slice(..70)), InvalidBatch::Bytes(BatchError::Truncated { .. })));
}

#[test]
fn headers_that_clients_may_not_send() {
    type Case = (&'static str, fn(&mut BatchHeader), fn(&InvalidBatch) -> bool);
    let cases: [Case; 9] = [
        ("base offset", |h| h.base_offset = 1, |e| matches!(e, InvalidBatch::BaseOffset(1))),
        ("no records", |h| h.records_count = 0, |e| matches!(e, InvalidBatch::Count { .. })),
        ("records below zero", |h| h.records_count = i32::MIN, |e| matches!(e, InvalidBatch::Count { .. })),
        ("offsets", |h| h.last_offset_delta = 5, |e| matches!(e, InvalidBatch::Count { .. })),
        ("more offsets", |h| h.last_offset_delta = i32::MAX, |e| matches!(e, InvalidBatch::Count { .. })),
        ("control", |h| h.attributes |= 0x20, |e| matches!(e, InvalidBatch::Control)),
        (
            "sequence",
            |h| h.producer_id = 5,
            |e| matches!(e, InvalidBatch::Sequence { producer_id: 5, base_sequence: -1 }),
        ),
        ("codec", |h| h.attributes |= 7, |e| matches!(e, InvalidBatch::UnknownCompression(_))),
        (
            "too few records",
            |h| (h.records_count, h.last_offset_delta) = (1, 0),
            |e| matches!(e, InvalidBatch::Unreadable(_)),
        ),
    ];
    for (name, lie, expected) in cases {
        let error = check(&lying(&batch(Codec::None, &[NOW, NOW]), lie), &rules()).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
    }
}

#[test]
fn the_topic_decides_whose_timestamp_a_batch_has() {
    let sent = lying(&batch(Codec::None, &[NOW, NOW + 1]), |h| h.attributes |= 8);
    let taken = check(&sent, &rules()).unwrap();
    assert_eq!(taken.header().timestamp_type(), TimestampType::CreateTime);
    assert_eq!(Batch::parse(taken.bytes()).as_ref(), Ok(&taken));
}

#[test]
fn size_counts_the_whole_batch_and_comes_before_the_checksum() {
    let sent = batch(Codec::None, &[NOW]);
    let size = sent.bytes().len();
    assert!(check(&sent, &ProduceRules { max_message_bytes: size, ..rules() }).is_ok());
    let mut corrupt = sent.bytes().to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let error = validate(&corrupt.into(), &ProduceRules { max_message_bytes: size - 1, ..rules() }, NOW).unwrap_err();
    assert!(matches!(error, InvalidBatch::TooLarge { size: s, limit } if (s, limit) == (size, size - 1)));
}

#[test]
fn size_is_checked_again_when_the_topics_codec_makes_a_batch_larger() {
    let sent = batch(LZ4, &[NOW; 10]);
    let rules = ProduceRules { max_message_bytes: 1000, codec: Some(Codec::None), ..rules() };
    assert!(sent.bytes().len() < 1000);
    assert!(matches!(check(&sent, &rules), Err(InvalidBatch::TooLarge { size, limit: 1000 }) if size > 1000));
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    for codec in [Codec::None, LZ4] {
        let mut builder = BatchBuilder::new(codec);
        for key in [Some(&b"key"[..]), None, Some(b""), None] {
            builder.push(NewRecord { timestamp: NOW, key, ..NewRecord::default() });
        }
        let sent = builder.build();
        assert!(check(&sent, &rules()).is_ok(), "other topics do");
        match check(&sent, &ProduceRules { compacted: true, ..rules() }) {
            Err(InvalidBatch::Records { timestamp: false, errors }) => {
                assert_eq!(errors.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 3]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn timestamps_out_of_bounds_are_named() {
    let bounded = ProduceRules { timestamp_before_max_ms: HOUR, ..rules() };
    let append_time = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..bounded.clone() };
    let none: &[i32] = &[];
    for (name, rules, timestamps, faulty) in [
        ("at the bounds", &bounded, [NOW, NOW + HOUR, NOW - HOUR], none),
        ("too late", &bounded, [NOW, NOW + HOUR + 1, NOW], &[1]),
        ("too early", &bounded, [NOW, NOW, NOW - HOUR - 1], &[2]),
        ("both", &bounded, [0, NOW, i64::MAX], &[0, 2]),
        ("no timestamp", &bounded, [-1, -1, -1], none),
        ("early is fine by default", &rules(), [0, 1, NOW], none),
        ("late is not", &rules(), [i64::MAX, 1, NOW], &[0]),
        ("the leader's clock counts", &append_time, [0, NOW, i64::MAX], none),
    ] {
        for codec in [Codec::None, LZ4] {
            let found = match check(&batch(codec, &timestamps), rules) {
                Ok(_) => vec![],
                Err(InvalidBatch::Records { timestamp: true, errors }) => errors,
                Err(other) => panic!("{name}: {other}"),
            };
            assert_eq!(found.iter().map(|e| e.index).collect::<Vec<_>>(), faulty, "{name}, {codec:?}");
        }
    }
}

#[test]
fn the_maximum_timestamp_is_not_taken_on_trust() {
    for (codec, strict) in [(Codec::None, false), (LZ4, true)] {
        let honest = batch(codec, &[NOW, NOW + 5, NOW - 3]);
        let sent = lying(&honest, |header| header.max_timestamp = NOW + 1000);
        let kept = check(&sent, &ProduceRules { strict, ..rules() }).unwrap();
        assert_eq!(kept, honest, "{codec:?}");
    }
    let sent = lying(&batch(LZ4, &[NOW]), |header| header.max_timestamp = NOW - 1);
    assert_eq!(check(&sent, &rules()).unwrap().header().max_timestamp, NOW, "a header that contradicts itself");
}

#[test]
fn compressed_records_of_an_ordinary_topic_are_read_only_by_the_strict() {
    let broken = Batch::seal(*batch(LZ4, &[NOW]).header(), b"not lz4");
    assert!(check(&broken, &rules()).is_ok());
    for rules in [
        ProduceRules { strict: true, ..rules() },
        ProduceRules { compacted: true, ..rules() },
        ProduceRules { codec: Some(Codec::Snappy), ..rules() },
        ProduceRules { timestamp_before_max_ms: HOUR, ..rules() },
    ] {
        assert!(matches!(check(&broken, &rules), Err(InvalidBatch::Unreadable(RecordsError::Decompress(_)))));
    }

    // As many offsets as there could be records, and no more: 70 bytes must not use up two thousand million.
    let many = lying(&batch(LZ4, &[NOW]), |h| (h.records_count, h.last_offset_delta) = (500, 499));
    assert!(check(&many, &rules()).is_ok(), "believed");
    let too_many = lying(&many, |h| (h.records_count, h.last_offset_delta) = (1 << 17, (1 << 17) - 1));
    assert!(matches!(check(&too_many, &rules()), Err(InvalidBatch::Count { .. })));
}

#[test]
fn offsets_that_do_not_count_up_are_put_right() {
    for codec in [Codec::None, LZ4] {
        let honest = batch(codec, &[NOW, NOW + 1]);
        let mut builder = BatchBuilder::new(codec);
        for record in honest.records(1 << 20).unwrap() {
            builder.push_record(0, &record.unwrap());
        }
        let kept = check(&builder.build(), &ProduceRules { strict: true, ..rules() }).unwrap();
        assert_eq!(kept, honest, "{codec:?}");
    }
}

#[test]
fn what_a_batch_may_become_is_bounded() {
    let sent = batch(Codec::Zstd { level: 3 }, &[NOW; 1000]);
    let rules = ProduceRules { strict: true, max_decompressed_bytes: 100_000, ..rules() };
    assert!(matches!(check(&sent, &rules), Err(InvalidBatch::Unreadable(RecordsError::TooLarge))));
}

#[test]
fn a_batch_that_becomes_a_thousand_times_as_large_is_taken_and_encoded_again() {
    let zeros = vec![0; 1 << 20];
    let mut builder = BatchBuilder::new(Codec::Zstd { level: 3 });
    for _ in 0..4 {
        builder.push(NewRecord { timestamp: NOW, key: Some(b"k"), value: Some(&zeros), ..NewRecord::default() });
    }
    let sent = builder.build();
    assert!(sent.bytes().len() < 10 << 10);
    let strict = ProduceRules { strict: true, max_message_bytes: 64 << 10, max_decompressed_bytes: 1 << 30, ..rules() };
    assert_eq!(check(&sent, &strict).unwrap(), sent);
    for (codec, fits) in [(Codec::Gzip { level: 6 }, true), (LZ4, true), (Codec::Snappy, false), (Codec::None, false)] {
        let checked = check(&sent, &ProduceRules { codec: Some(codec), ..strict.clone() });
        match checked {
            Ok(batch) => assert!(fits && batch.bytes().len() <= 64 << 10, "{codec:?}"),
            Err(error) => assert!(!fits && matches!(error, InvalidBatch::TooLarge { .. }), "{codec:?}: {error}"),
        }
    }
}

#[test]
fn an_answer_names_a_thousand_records_at_most() {
    let sent = batch(Codec::Zstd { level: 3 }, &[NOW + 2 * HOUR; 1500]);
    let Err(InvalidBatch::Records { errors, .. }) = check(&sent, &rules()) else { panic!("too late") };
    let last = errors.last().map(|RecordError { index, .. }| *index);
    assert_eq!((errors.len(), last), (1000, Some(999)));
}

#[test]
fn a_topics_codec_leaves_a_batch_that_has_it_alone() {
    let sent = batch(Codec::Zstd { level: 1 }, &[NOW; 10]);
    let kept = check(&sent, &ProduceRules { codec: Some(Codec::Zstd { level: 19 }), ..rules() }).unwrap();
    assert_eq!(kept, sent);
    let kept = check(&sent, &ProduceRules { codec: Some(Codec::Gzip { level: 1 }), ..rules() }).unwrap();
    assert_eq!(kept.header().compression(), Ok(Compression::Gzip));
}

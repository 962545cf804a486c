//! Bytes that the classes of Kafka 4.3.1 wrote for these values.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::record::tests::hex;

fn words() -> Uuid {
    Uuid::parse_str("17a77f18-7318-4826-9b63-fc6503a1ef3e").expect("an id")
}

fn partitions(numbers: &[i32]) -> Partitions {
    [(words(), numbers.iter().copied().collect())].into()
}

fn shared(numbers: &[i32]) -> SharedTopics {
    let partitions: BTreeSet<i32> = numbers.iter().copied().collect();
    [(words(), SharedTopic { name: "words".into(), partitions })].into()
}

/// Key, value and what they mean.
fn captured() -> Vec<(&'static str, Option<&'static str>, ShareRecord)> {
    let member = MemberId::from("m-1");
    let reader = ShareMemberValue {
        rack: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        topics: ["letters".into(), "words".into()].into(),
    };
    let idle = ShareMemberValue { rack: None, topics: BTreeSet::new(), ..reader.clone() };
    let current = ShareCurrentValue { epoch: 7, previous_epoch: 6, assigned: partitions(&[0, 2]) };
    let all = SharedPartitions {
        initializing: shared(&[1]),
        initialized: shared(&[0, 2]),
        deleting: [(Uuid::from_u128(9), "letters".into())].into(),
    };
    vec![
        (
            "000a0005776f72647300036d2d31",
            Some("0000027202630b2f3132372e302e302e3103086c65747465727306776f72647300"),
            ShareRecord::Member(member.clone(), Some(Box::new(reader))),
        ),
        (
            "000a0005776f72647300036d2d31",
            Some("00000002630b2f3132372e302e302e310100"),
            ShareRecord::Member(member.clone(), Some(Box::new(idle))),
        ),
        (
            "000b0005776f726473",
            Some("000000000007eeddef0b82167eeb00"),
            ShareRecord::Group(Some(ShareGroupValue { epoch: 7, metadata_hash: -1_234_567_890_123_456_789 })),
        ),
        (
            "000c0005776f726473",
            Some("000000000007010008000001a1fc518f4e"),
            ShareRecord::Target(Some(TargetValue { epoch: 7, computed_ms: Some(1_795_234_565_966) })),
        ),
        (
            "000c0005776f726473",
            Some("00000000000700"),
            ShareRecord::Target(Some(TargetValue { epoch: 7, computed_ms: None })),
        ),
        (
            "000d0005776f72647300036d2d31",
            Some("00000217a77f18731848269b63fc6503a1ef3e0300000000000000020000"),
            ShareRecord::TargetMember(member.clone(), Some(partitions(&[0, 2]))),
        ),
        (
            "000e0005776f72647300036d2d31",
            Some("00000000000700000006000217a77f18731848269b63fc6503a1ef3e0300000000000000020000"),
            ShareRecord::Current(member.clone(), Some(current)),
        ),
        ("000e0005776f72647300036d2d31", None, ShareRecord::Current(member, None)),
        (
            "000f0005776f726473",
            Some(
                "00000217a77f18731848269b63fc6503a1ef3e06776f7264730200000001000217a77f18731848269b63fc6503a1ef3e\
                 06776f726473030000000000000002000200000000000000000000000000000009086c6574746572730000",
            ),
            ShareRecord::Partitions(Some(Box::new(all))),
        ),
    ]
}

#[test]
fn what_kafka_wrote_is_read_and_written_alike() {
    for (key, value, record) in captured() {
        let record = Record::Share { group: "words".into(), record };
        let (key, value) = (hex(key), value.map(hex));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(record.clone()));
        assert_eq!(record.encode(), Ok(Encoded { key: key.into(), value: value.map(Bytes::from) }), "{record:?}");
    }
}

/// The size decides only how many records share a batch, but it must not be far too small.
#[test]
fn sizes_are_about_right() {
    for (_, _, record) in captured() {
        let record = Record::Share { group: "words".into(), record };
        let encoded = record.encode().expect("it fits");
        let bytes = encoded.key.len() + encoded.value.map_or(0, |value| value.len());
        assert!((bytes..bytes + 150).contains(&record.size()), "{bytes} {} {record:?}", record.size());
    }
}

proptest! {
    #[test]
    fn garbage_is_no_panic(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..80),
        number in 9u8..17,
    ) {
        let key = [&[0, number][..], &key].concat();
        let _ = Record::decode(&key, Some(&value));
        for (key, _, _) in captured() {
            let _ = Record::decode(&hex(key), Some(&value));
        }
    }
}

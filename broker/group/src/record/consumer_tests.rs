//! Bytes that the classes of Kafka 4.3.1 wrote for these values.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::record::tests::hex;

fn words() -> Uuid {
    Uuid::parse_str("17a77f18-7318-4826-9b63-fc6503a1ef3e").expect("an id")
}

fn assigned(partitions: &[(i32, i32)]) -> Assigned {
    [(words(), partitions.iter().copied().collect())].into()
}

fn names(names: &[&str]) -> BTreeSet<TopicName> {
    names.iter().map(|name| TopicName::from(*name)).collect()
}

/// Key, value and what they mean.
fn captured() -> Vec<(&'static str, Option<&'static str>, ConsumerRecord)> {
    let reader = ConsumerMemberValue {
        instance: Some("shelf-1".into()),
        rack: None,
        client_id: "console-consumer".into(),
        client_host: "/127.0.0.1".into(),
        topics: names(&["letters", "words"]),
        pattern: Some("w.*".into()),
        rebalance_timeout_ms: 300_000,
        assignor: Some("uniform".into()),
        classic: None,
    };
    let protocol = Protocol { name: "range".into(), metadata: Bytes::from_static(b"\x00\x03") };
    let classic = ConsumerMemberValue {
        instance: None,
        rack: Some("r".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topics: names(&["words"]),
        pattern: None,
        rebalance_timeout_ms: -1,
        assignor: None,
        classic: Some(ClassicMember { session_timeout_ms: 45_000, protocols: vec![protocol] }),
    };
    let member = MemberId::from("m-1");
    let of_member = "00077265616465727300036d2d31";
    assert_eq!(of_member.len(), 28);
    let current = CurrentValue {
        epoch: 7,
        previous_epoch: 6,
        state: MemberState::Unrevoked,
        assigned: assigned(&[(0, 5), (2, 7)]),
        revoking: assigned(&[(1, 4)]),
    };
    let target = [(words(), BTreeSet::from([0, 2]))].into();
    let pattern = PatternValue { topics: names(&["words"]), version: 3, resolved_ms: 1_795_234_565_966 };
    vec![
        (
            "0003000772656164657273",
            Some("000000000007010008eeddef0b82167eeb"),
            ConsumerRecord::Group(Some(ConsumerGroupValue { epoch: 7, metadata_hash: -1_234_567_890_123_456_789 })),
        ),
        ("0004000772656164657273", None, ConsumerRecord::Partitions { is_tombstone: true }),
        (
            "000500077265616465727300036d2d31",
            Some(
                "0000087368656c662d310011636f6e736f6c652d636f6e73756d65720b2f3132372e302e302e3103086c657474657273\
                 06776f72647304772e2a000493e008756e69666f726d00",
            ),
            ConsumerRecord::Member(member.clone(), Some(reader.into())),
        ),
        (
            "000500077265616465727300036d2d32",
            Some(
                "000000027202630b2f3132372e302e302e310206776f72647300ffffffff00010011010000afc8020672616e6765030003\
                 0000",
            ),
            ConsumerRecord::Member("m-2".into(), Some(classic.into())),
        ),
        (
            "0006000772656164657273",
            Some("000000000007010008000001a1fc518f4e"),
            ConsumerRecord::Target(Some(TargetValue { epoch: 7, computed_ms: Some(1_795_234_565_966) })),
        ),
        (
            "000700077265616465727300036d2d31",
            Some("00000217a77f18731848269b63fc6503a1ef3e0300000000000000020000"),
            ConsumerRecord::TargetMember(member.clone(), Some(target)),
        ),
        (
            "000800077265616465727300036d2d31",
            Some(
                "00000000000700000006010217a77f18731848269b63fc6503a1ef3e0300000000000000020100090300000005000000\
                 070217a77f18731848269b63fc6503a1ef3e0200000001010005020000000400",
            ),
            ConsumerRecord::Current(member.clone(), Some(current)),
        ),
        ("000800077265616465727300036d2d31", None, ConsumerRecord::Current(member, None)),
        (
            "00100007726561646572730003772e2a",
            Some("00000206776f7264730000000000000003000001a1fc518f4e00"),
            ConsumerRecord::Pattern("w.*".into(), Some(pattern)),
        ),
    ]
}

#[test]
fn what_kafka_wrote_is_read_and_written_alike() {
    for (key, value, record) in captured() {
        let record = Record::Consumer { group: "readers".into(), record };
        let (key, value) = (hex(key), value.map(hex));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(record.clone()));
        assert_eq!(record.encode(), Ok(Encoded { key: key.into(), value: value.map(Bytes::from) }), "{record:?}");
    }
}

#[test]
fn partitions_without_epochs_count_as_assigned_in_the_members() {
    let (key, value) = (
        "000800077265616465727300036d2d31",
        "00000000000700000006000217a77f18731848269b63fc6503a1ef3e030000000000000002000100",
    );
    let current = CurrentValue {
        epoch: 7,
        previous_epoch: 6,
        state: MemberState::Stable,
        assigned: assigned(&[(0, 7), (2, 7)]),
        revoking: Assigned::new(),
    };
    let record = ConsumerRecord::Current("m-1".into(), Some(current));
    let expected = Record::Consumer { group: "readers".into(), record };
    assert_eq!(Record::decode(&hex(key), Some(&hex(value))), Ok(expected));
}

#[test]
fn what_kafka_before_4_1_left_is_seen() {
    let record = ConsumerRecord::Partitions { is_tombstone: false };
    let decoded = Record::decode(&hex("0004000772656164657273"), Some(b"\x00\x00anything"));
    assert_eq!(decoded, Ok(Record::Consumer { group: "readers".into(), record }));
}

proptest! {
    #[test]
    fn garbage_is_no_panic(key in proptest::collection::vec(any::<u8>(), 0..40), value in proptest::collection::vec(any::<u8>(), 0..80), number in 3u8..17) {
        let key = [&[0, number][..], &key].concat();
        let _ = Record::decode(&key, Some(&value));
        for (key, _, _) in captured() {
            let _ = Record::decode(&hex(key), Some(&value));
        }
    }
}

#[test]
fn a_member_on_its_way_to_a_target_has_no_more_bytes_than_said() {
    for (topics, partitions) in [(1, 1), (1, 2), (50, 1), (50, 2), (50, 3), (3, 1000)] {
        let target: Partitions = (0..topics).map(|topic| (Uuid::from_u128(topic), (0..partitions).collect())).collect();
        for kept in [0, 1, partitions / 2, partitions] {
            let some = |range: std::ops::Range<i32>| -> Assigned {
                let topics = target.keys().filter(|_| !range.is_empty());
                topics.map(|topic| (*topic, range.clone().map(|partition| (partition, i32::MAX)).collect())).collect()
            };
            let state = MemberState::Unrevoked;
            let (assigned, revoking) = (some(0..kept), some(kept..partitions));
            let value = CurrentValue { epoch: 7, previous_epoch: 6, state, assigned, revoking };
            let record = ConsumerRecord::Current("m".into(), Some(value));
            let encoded = Record::Consumer { group: "g".into(), record }.encode().expect("it fits");
            let bytes = encoded.value.map_or(0, |value| value.len());
            assert!(
                bytes <= CurrentValue::most_bytes(&target),
                "{topics} topics, {partitions} partitions, {kept} kept"
            );
        }
    }
}

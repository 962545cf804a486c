//! Bytes from the log of a real Kafka 4.3.1, after sessions of its console tools and of raw requests; what they say is
//! what `kafka-console-consumer` printed with `OffsetsMessageFormatter` and `GroupMetadataMessageFormatter`.

use proptest::prelude::*;

use super::*;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn offset_key(group: &str, partition: i32) -> OffsetKey {
    OffsetKey { group: group.into(), topic: "words".into(), partition }
}

/// Key, value and what they mean.
fn captured() -> Vec<(&'static str, Option<&'static str>, Record)> {
    let words = Uuid::parse_str("17a77f18-7318-4826-9b63-fc6503a1ef3e").expect("an id");
    let group = |value| Record::GroupMetadata { group: "readers".into(), value };
    let blank = GroupValue {
        protocol_type: String::new(),
        generation: 0,
        protocol: None,
        leader: None,
        since_ms: Some(1_795_234_565_966),
        members: vec![],
    };
    let reader = MemberValue {
        member: "shelf-1-531f8250-411d-4384-a571-07adc1a37036".into(),
        instance: Some("shelf-1".into()),
        client_id: "console-consumer".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: hex("0003000000010005776f726473ffffffff00000000ffffffffffff").into(),
        assignment: hex("0003000000010005776f726473000000020000000000000001ffffffff").into(),
    };
    vec![
        (
            "0001000a70656e643439343639390005776f72647300000000",
            Some("00040000000000000009000000030468c3a9000001a1fc52e37701001017a77f18731848269b63fc6503a1ef3e"),
            Record::OffsetCommit {
                key: offset_key("pend494699", 0),
                value: Some(OffsetValue {
                    offset: 9,
                    leader_epoch: 3,
                    metadata: "hé".into(),
                    commit_timestamp_ms: 1_795_234_653_047,
                    expire_timestamp_ms: None,
                    topic_id: Some(words),
                }),
            },
        ),
        (
            "00010007756e35343431390005776f72647300000001",
            Some("000100000000000000050000000001a1fc52ea18000001a201794618"),
            Record::OffsetCommit {
                key: offset_key("un54419", 1),
                value: Some(OffsetValue {
                    offset: 5,
                    leader_epoch: -1,
                    metadata: String::new(),
                    commit_timestamp_ms: 1_795_234_654_744,
                    expire_timestamp_ms: Some(1_795_321_054_744),
                    topic_id: None,
                }),
            },
        ),
        (
            "00010007756e35343431390005776f72647300000001",
            None,
            Record::OffsetCommit { key: offset_key("un54419", 1), value: None },
        ),
        (
            "0002000772656164657273",
            Some("0003000000000000ffffffff000001a1fc518f4e00000000"),
            group(Some(blank.clone())),
        ),
        (
            "0002000772656164657273",
            Some(
                "00030008636f6e73756d657200000001000572616e6765002c7368656c662d312d35333166383235302d343131642d34\
                 3338342d613537312d303761646331613337303336000001a1fc518f7100000001002c7368656c662d312d3533316638\
                 3235302d343131642d343338342d613537312d30376164633161333730333600077368656c662d310010636f6e736f6c\
                 652d636f6e73756d6572000a2f3132372e302e302e31000493e00000afc80000001b0003000000010005776f726473ff\
                 ffffff00000000ffffffffffff0000001d0003000000010005776f726473000000020000000000000001ffffffff",
            ),
            group(Some(GroupValue {
                protocol_type: "consumer".into(),
                generation: 1,
                protocol: Some("range".into()),
                leader: Some(reader.member.clone()),
                since_ms: Some(1_795_234_566_001),
                members: vec![reader],
            })),
        ),
        (
            "0002000772656164657273",
            Some("00030008636f6e73756d657200000002ffffffff000001a1fc5240c400000000"),
            group(Some(GroupValue {
                protocol_type: "consumer".into(),
                generation: 2,
                since_ms: Some(1_795_234_611_396),
                ..blank
            })),
        ),
        ("0002000772656164657273", None, group(None)),
    ]
}

#[test]
fn kafkas_records_are_read_and_written_byte_for_byte() {
    for (key, value, record) in captured() {
        let (key, value) = (hex(key), value.map(hex));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(record.clone()));
        let encoded = record.encode().expect("it fits");
        assert_eq!((&encoded.key[..], encoded.value.as_deref()), (&key[..], value.as_deref()), "{record:?}");
    }
}

#[test]
fn records_of_older_kafkas_are_read() {
    // Put together from the schemas: versions 0 to 3 of the offset, and 0 to 2 of the group, say less and less.
    let expected = |leader_epoch| OffsetValue {
        offset: 5,
        leader_epoch,
        metadata: "m".into(),
        commit_timestamp_ms: 7,
        expire_timestamp_ms: None,
        topic_id: None,
    };
    for (value, leader_epoch) in [
        ("0000000000000000000500016d0000000000000007", -1),
        ("0001000000000000000500016d0000000000000007ffffffffffffffff", -1),
        ("0002000000000000000500016d0000000000000007", -1),
        ("000300000000000000050000000900016d0000000000000007", 9),
        ("0004000000000000000500000009026d000000000000000700", 9),
    ] {
        let record = Record::decode(&hex("00000001670005776f72647300000001"), Some(&hex(value)));
        let (key, value) = (offset_key("g", 1), Some(expected(leader_epoch)));
        assert_eq!(record, Ok(Record::OffsetCommit { key, value }));
    }
    let (named, patience, rest) = ("000141000163000168", "0000001e", "0000000a000000016d0000000161");
    let group = "0001630000000300017200014100000001"; // type c, generation 3, protocol r, leader A; one member
    let versions = [
        format!("0000{group}{named}{rest}"),
        format!("0001{group}{named}{patience}{rest}"),
        format!("0002{}000000000000000700000001{named}{patience}{rest}", &group[..26]),
    ];
    for (version, value) in versions.iter().enumerate() {
        let record = Record::decode(&hex("0002000167"), Some(&hex(value)));
        let Ok(Record::GroupMetadata { value: Some(group), .. }) = record else { panic!("{version}: {record:?}") };
        let since = if version == 2 { Some(7) } else { None };
        assert_eq!((group.generation, group.since_ms, group.members.len()), (3, since, 1));
        let rebalance_timeout_ms = if version == 0 { 10 } else { 30 };
        assert_eq!(group.members[0].rebalance_timeout_ms, rebalance_timeout_ms);
        assert_eq!((&group.members[0].subscription[..], &group.members[0].assignment[..]), (&b"m"[..], &b"a"[..]));
    }
}

#[test]
fn records_of_unknown_types_keep_their_bytes_and_name_their_group() {
    // Of member "m" of group "g".
    let key = hex("006300016700016d");
    for value in [Some(&b"whatever"[..]), None] {
        let expected =
            Record::Opaque { group: "g".into(), key: key.clone().into(), value: value.map(Bytes::copy_from_slice) };
        assert_eq!(Record::decode(&key, value), Ok(expected.clone()));
        let encoded = expected.encode().expect("it fits");
        assert_eq!((&encoded.key[..], encoded.value.as_deref()), (&key[..], value));
    }
    assert_eq!(Record::decode(&hex("00630009"), None), Err(Malformed), "no group");
}

#[test]
fn what_does_not_fit_the_format_is_refused() {
    let record = Record::GroupMetadata { group: "g".repeat(40_000).as_str().into(), value: None };
    assert_eq!(record.encode(), Err(TooLong));
}

proptest! {
    #[test]
    fn broken_records_are_malformed_or_another_record(which in 0usize..5, at in 0usize..400, byte: u8, cut: bool) {
        let (key, value, _) = captured().swap_remove(which);
        let (mut key, mut value) = (hex(key), value.map(hex).unwrap_or_default());
        for bytes in [&mut key, &mut value] {
            if cut {
                bytes.truncate(at);
            } else if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        let _ = Record::decode(&key, Some(&value));
    }

    #[test]
    fn offsets_come_back(offset: i64, leader_epoch: i32, metadata in ".{0,300}", time: i64, id: Option<u128>) {
        let value = OffsetValue {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms: time,
            expire_timestamp_ms: None,
            topic_id: id.map(Uuid::from_u128),
        };
        let record = Record::OffsetCommit { key: offset_key("g", 3), value: Some(value) };
        let encoded = record.encode().expect("it fits");
        prop_assert_eq!(Record::decode(&encoded.key, encoded.value.as_deref()), Ok(record));
    }
}

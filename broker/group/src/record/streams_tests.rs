//! Bytes that the classes of Kafka 4.3.1 wrote for these values.

use proptest::prelude::*;

use super::*;
use crate::record::tests::hex;

fn tasks(id: &str, partitions: &[i32]) -> Tasks {
    [(id.to_owned(), partitions.iter().copied().collect())].into()
}

fn active(id: &str, partitions: &[(i32, i32)]) -> TasksWithEpochs {
    [(id.to_owned(), partitions.iter().copied().collect())].into()
}

fn topology() -> Topology {
    let part = |id: &str, source: &str| Subtopology {
        id: id.to_owned(),
        sources: vec![source.into()],
        source_patterns: Vec::new(),
        changelogs: Vec::new(),
        repartition_sinks: Vec::new(),
        repartition_sources: Vec::new(),
        copartitions: Vec::new(),
    };
    let writes = Subtopology {
        source_patterns: vec!["w.*".to_owned()],
        repartition_sinks: vec!["app-r".into()],
        ..part("0", "words")
    };
    let changelog = InternalTopic {
        name: "app-c".into(),
        partitions: 0,
        replication_factor: 3,
        configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    };
    let repartition = InternalTopic { name: "app-r".into(), partitions: 4, replication_factor: 0, configs: Vec::new() };
    let reads = Subtopology {
        changelogs: vec![changelog],
        repartition_sources: vec![repartition],
        copartitions: vec![Copartition { sources: vec![0], source_patterns: Vec::new(), repartition_sources: vec![0] }],
        ..part("1", "letters")
    };
    Topology::new(3, vec![reads, writes])
}

/// Key, value and what they mean.
fn captured() -> Vec<(&'static str, Option<&'static str>, StreamsRecord)> {
    let member = MemberId::from("m-1");
    let group = StreamsGroupValue {
        epoch: 7,
        metadata_hash: -1_234_567_890_123_456_789,
        validated_epoch: 3,
        configs: [("num.standby.replicas".to_owned(), "1".to_owned())].into(),
    };
    let unready = StreamsGroupValue { epoch: 2, metadata_hash: 0, validated_epoch: -1, configs: BTreeMap::new() };
    let about = StreamsMemberValue {
        instance: None,
        rack: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: 300_000,
        topology_epoch: 3,
        process: "p-1".to_owned(),
        endpoint: Some(Endpoint { host: "h".to_owned(), port: 60_000 }),
        client_tags: [("zone".to_owned(), "z".to_owned())].into(),
    };
    let target = StreamsTasks { active: tasks("0", &[0, 2]), standby: tasks("1", &[1]), warmup: Tasks::new() };
    let current = StreamsCurrentValue {
        epoch: 7,
        previous_epoch: 6,
        state: MemberState::Unrevoked,
        assigned: StreamsAssigned {
            active: active("0", &[(0, 5), (2, 7)]),
            standby: tasks("1", &[1]),
            warmup: Tasks::new(),
        },
        revoking: StreamsAssigned { active: active("0", &[(1, 4)]), standby: Tasks::new(), warmup: tasks("1", &[0]) },
    };
    let target_value = TargetValue { epoch: 7, computed_ms: Some(1_795_234_565_966) };
    vec![
        (
            "00110005776f726473",
            Some(
                "000000000007eeddef0b82167eeb02000400000003011902156e756d2e7374616e6462792e7265706c696361730231\
                 00",
            ),
            StreamsRecord::Group(Some(group)),
        ),
        ("00110005776f726473", Some("000000000002000000000000000000"), StreamsRecord::Group(Some(unready))),
        (
            "00130005776f72647300036d2d31",
            Some("000000027202630b2f3132372e302e302e31000493e00000000304702d31010268ea600002057a6f6e65027a0000"),
            StreamsRecord::Member(member.clone(), Some(about.into())),
        ),
        ("00140005776f726473", Some("000000000007010008000001a1fc518f4e"), StreamsRecord::Target(Some(target_value))),
        (
            "00150005776f72647300036d2d31",
            Some("0000020230030000000000000002000202310200000001000100"),
            StreamsRecord::TargetMember(member.clone(), Some(target)),
        ),
        (
            "00160005776f72647300036d2d31",
            Some(
                "000000000007000000060102023003000000000000000201000903000000050000000702023102000000010001020230\
                 020000000101000502000000040102023102000000000000",
            ),
            StreamsRecord::Current(member.clone(), Some(current)),
        ),
        ("00160005776f72647300036d2d31", None, StreamsRecord::Current(member, None)),
        (
            "00170005776f726473",
            Some(
                "0000000000030302300206776f7264730204772e2a0102066170702d72010100023102086c6574746572730102066170\
                 702d63000000000003020f636c65616e75702e706f6c69637908636f6d7061637400000102066170702d720000000400\
                 0001000202000001020000000000",
            ),
            StreamsRecord::Topology(Some(topology().into())),
        ),
    ]
}

#[test]
fn what_kafka_wrote_is_read_and_written_alike() {
    for (key, value, record) in captured() {
        let record = Record::Streams { group: "words".into(), record };
        let (key, value) = (hex(key), value.map(hex));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(record.clone()));
        assert_eq!(record.encode(), Ok(Encoded { key: key.into(), value: value.map(Bytes::from) }), "{record:?}");
    }
}

#[test]
fn tasks_without_epochs_count_as_assigned_in_the_members() {
    let value = "000000000007000000060002023003000000000000000200010101010100";
    let current = StreamsCurrentValue {
        epoch: 7,
        previous_epoch: 6,
        state: MemberState::Stable,
        assigned: StreamsAssigned { active: active("0", &[(0, 7), (2, 7)]), ..StreamsAssigned::default() },
        revoking: StreamsAssigned::default(),
    };
    let record = StreamsRecord::Current("m-1".into(), Some(current));
    let expected = Record::Streams { group: "words".into(), record };
    assert_eq!(Record::decode(&hex("00160005776f72647300036d2d31"), Some(&hex(value))), Ok(expected));
}

/// The size decides only how many records share a batch, but it must not be far too small.
#[test]
fn sizes_are_about_right() {
    for (_, _, record) in captured() {
        let record = Record::Streams { group: "words".into(), record };
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
        number in 17u8..25,
    ) {
        let key = [&[0, number][..], &key].concat();
        let _ = Record::decode(&key, Some(&value));
        for (key, _, _) in captured() {
            let _ = Record::decode(&hex(key), Some(&value));
        }
    }
}

#[test]
fn a_member_on_its_way_to_a_target_has_no_more_bytes_than_said() {
    for count in [1, 2, 3, 1000] {
        let all: Vec<i32> = (0..count).collect();
        let target = StreamsTasks { active: tasks("some", &all), standby: tasks("copies", &all), warmup: Tasks::new() };
        for kept in [0, 1, all.len() / 2, all.len()] {
            let some = |range: &[i32]| {
                if range.is_empty() {
                    return StreamsAssigned::default();
                }
                let with_epochs: Vec<(i32, i32)> = range.iter().map(|partition| (*partition, i32::MAX)).collect();
                let standby = tasks("copies", range);
                StreamsAssigned { active: active("some", &with_epochs), standby, warmup: Tasks::new() }
            };
            let (assigned, revoking) = (some(&all[..kept]), some(&all[kept..]));
            let state = MemberState::Unrevoked;
            let value = StreamsCurrentValue { epoch: 7, previous_epoch: 6, state, assigned, revoking };
            let record = StreamsRecord::Current("m".into(), Some(value));
            let encoded = Record::Streams { group: "g".into(), record }.encode().expect("it fits");
            let bytes = encoded.value.map_or(0, |value| value.len());
            assert!(bytes <= StreamsCurrentValue::most_bytes(&target), "{count} tasks, {kept} kept");
        }
    }
}

//! Messages of streams groups, which the kafka-protocol crate does not have: bytes that the classes of Kafka 4.3.1
//! wrote are read and written alike.

use ottla_wire::codec::{Message, Version};
use ottla_wire::coordinator_records::encode_value;
use ottla_wire::m88_streams_group_heartbeat::{
    StreamsGroupCopartitionGroup, StreamsGroupEndpoint, StreamsGroupKeyValue, StreamsGroupTopicInfo,
};
use ottla_wire::*;

fn captured<M: Message + PartialEq + std::fmt::Debug>(hex: &str) -> M {
    let digits: Vec<u8> = hex.bytes().map(|digit| char::from(digit).to_digit(16).expect("a hex digit") as u8).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let mut decoder = Decoder::new(bytes.clone().into());
    let message = M::decode(&mut decoder, Version::of::<M>(0)).expect("a message");
    decoder.finish().expect("nothing after it");
    let with_version = encode_value(0, &message);
    assert_eq!(&with_version[2..], bytes, "{message:?}");
    message
}

#[test]
fn a_heartbeat() {
    let request: StreamsGroupHeartbeatRequest = captured(
        "06776f726473046d2d310000000000000002000272000493e001000000030202300206776f7264730204772e2a02066170702d630000\
         00000003020f636c65616e75702e706f6c69637908636f6d70616374000002066170702d7302066170702d7200000004000001000202\
         000002000002000000000002023003000000000000000200010004702d31010268ea600002057a6f6e65027a00020230000000010000\
         00000000004d00000100"
            .replace(' ', "")
            .as_str(),
    );
    assert_eq!((&*request.group_id, &*request.member_id, request.member_epoch), ("words", "m-1", 0));
    assert_eq!((request.endpoint_information_epoch, request.rebalance_timeout_ms), (2, 300_000));
    let topology = request.topology.expect("a topology");
    let part = &topology.subtopologies[0];
    assert_eq!((topology.epoch, &*part.subtopology_id, &*part.source_topics[0]), (3, "0", "words"));
    let changelog = StreamsGroupTopicInfo {
        name: "app-c".into(),
        partitions: 0,
        replication_factor: 3,
        topic_configs: vec![StreamsGroupKeyValue { key: "cleanup.policy".into(), value: "compact".into() }],
    };
    assert_eq!(part.state_changelog_topics, [changelog]);
    assert_eq!((&*part.repartition_source_topics[0].name, &*part.repartition_sink_topics[0]), ("app-r", "app-s"));
    let copartition = StreamsGroupCopartitionGroup {
        source_topics: vec![0],
        source_topic_regex: vec![0],
        repartition_source_topics: vec![0],
    };
    assert_eq!(part.copartition_groups, [copartition]);
    assert_eq!(request.active_tasks.expect("tasks")[0].partitions, [0, 2]);
    assert_eq!((request.standby_tasks, request.warmup_tasks), (Some(Vec::new()), None));
    assert_eq!(request.user_endpoint, Some(StreamsGroupEndpoint { host: "h".into(), port: 60_000 }));
    assert_eq!(request.task_offsets.expect("offsets")[0].offset, 77);
    assert!(request.shutdown_application);
}

#[test]
fn the_answer_to_a_heartbeat() {
    let response: StreamsGroupHeartbeatResponse = captured(
        "00000001006e036e6f046d2d310000000700001388000027100000ea6002030264000202300300000000000000020001000000000202\
         0268ea60000206776f72647303000000000000000200010000"
            .replace(' ', "")
            .as_str(),
    );
    assert_eq!((response.error_code, &*response.member_id), (ErrorCode::FENCED_MEMBER_EPOCH, "m-1"));
    assert_eq!((response.acceptable_recovery_lag, response.task_offset_interval_ms), (10_000, 60_000));
    assert_eq!(response.status.expect("a status")[0].status_code, 3);
    let endpoint = &response.partitions_by_user_endpoint.expect("an endpoint")[0];
    assert_eq!((&*endpoint.active_partitions[0].topic, endpoint.user_endpoint.port), ("words", 60_000));
}

#[test]
fn a_description() {
    let request: StreamsGroupDescribeRequest = captured("0206776f7264730100");
    assert_eq!((&*request.group_ids[0], request.include_authorized_operations), ("words", true));
    let response: StreamsGroupDescribeResponse = captured(
        "000000010200000006776f72647307537461626c65000000070000000601000000030202300206776f72647302066170702d73020661\
         70702d6300000003000302057a6f6e65027a000001000002046d2d310000000702690002630b2f3132372e302e302e31000000030470\
         2d31010268ea600002057a6f6e65027a0002023000000001000000000000004d00010202300300000000000000020001010001020230\
         0300000000000000020001000000000001480000"
            .replace(' ', "")
            .as_str(),
    );
    let group = &response.groups[0];
    assert_eq!((&*group.group_state, group.group_epoch, group.assignment_epoch), ("Stable", 7, 6));
    let topology = group.topology.as_ref().and_then(|topology| topology.subtopologies.as_ref()).expect("a topology");
    assert_eq!(topology[0].state_changelog_topics[0].partitions, 3);
    let member = &group.members[0];
    assert_eq!((&*member.process_id, member.topology_epoch, member.task_offsets[0].offset), ("p-1", 3, 77));
    assert_eq!(member.assignment.active_tasks[0].partitions, [0, 2]);
    assert_eq!(member.target_assignment.standby_tasks[0].partitions, [0, 2]);
    assert_eq!(group.authorized_operations, 328);
}

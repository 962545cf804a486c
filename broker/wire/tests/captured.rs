//! Bytes from real software: see the head of `captured/java_4_3_1.txt`. What was read from them is written back to the
//! same bytes, and says what the client or the broker meant.

mod common;

use common::flatten;
use ottla_wire::codec::Version;
use ottla_wire::consumer_protocol::{self, ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::coordinator_records::{
    CoordinatorKey, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, decode_value,
    encode_value,
};
use ottla_wire::*;

const SESSION: &str = include_str!("captured/java_4_3_1.txt");

const ORDERS: &str = "0c120d44-d868-4355-9911-01f231baa6af";

/// The exchange of this API in this version, after checking that both messages come out again as they went in.
fn captured<R: RequestMessage>(version: i16) -> (R, R::Response) {
    let title = format!("# {:?} {version}", R::KEY);
    let mut lines = SESSION.lines().skip_while(|line| *line != title).skip(1);
    let mut line =
        |mark: &str| bytes(lines.next().and_then(|line| line.strip_prefix(mark)).expect("see the file's form"));
    let (sent, answered) = (line("> "), line("< "));

    let mut decoder = Decoder::new(sent.clone());
    let header = RequestHeader::decode(&mut decoder).expect("a header");
    assert_eq!((header.api_key, header.api_version), (R::KEY, version));
    let request = R::decode(&mut decoder, Version::of::<R>(version)).expect("a request");
    decoder.finish().expect("nothing after it");
    let again = encode_request(header.correlation_id, header.client_id.as_ref(), version, &request);
    assert_eq!(flatten(again), sent, "{title}");

    let (correlation_id, response) = decode_response::<R>(version, answered.clone()).expect("a response");
    assert_eq!(correlation_id, header.correlation_id);
    assert_eq!(flatten(encode_response(version, correlation_id, &response).expect("it fits")), answered, "{title}");
    (request, response)
}

fn bytes(hex: &str) -> Bytes {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hexadecimal digits") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn api_versions() {
    let (request, response) = captured::<ApiVersionsRequest>(4);
    assert_eq!((&*request.client_software_name, &*request.client_software_version), ("apache-kafka-java", "4.3.1"));
    assert!(response.error_code.is_none());
    assert_eq!(response.finalized_features_epoch, 1574);
    let transactions = response.finalized_features.iter().find(|feature| &*feature.name == "transaction.version");
    assert_eq!(transactions.map(|feature| feature.max_version_level), Some(2));
    assert!(response.supported_features.iter().any(|feature| (feature.min_version, feature.max_version) == (7, 30)));
}

#[test]
fn what_we_advertise_is_what_kafka_advertises() {
    let (_, kafka) = captured::<ApiVersionsRequest>(4);
    for key in ApiKey::ALL {
        let ours = ottla_wire::m18_api_versions::ApiVersion::of(*key);
        let theirs = kafka.api_keys.iter().find(|theirs| theirs.api_key == ours.api_key);
        assert_eq!(theirs, Some(&ours), "{key:?}");
    }
}

#[test]
fn the_compatibility_table_is_right_about_kafka() {
    let (_, kafka) = captured::<ApiVersionsRequest>(4);
    let mut apis: Vec<_> = kafka.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    apis.sort();
    let table = compatibility::KAFKA_4_3.iter().map(|(key, _, first, last)| (*key, *first, *last));
    assert_eq!(table.collect::<Vec<_>>(), apis);
}

#[test]
fn metadata_by_name() {
    let (request, response) = captured::<MetadataRequest>(13);
    let topics = request.topics.expect("one topic, not all");
    assert_eq!(topics[0].name.as_deref(), Some("orders"));
    assert!(request.allow_auto_topic_creation);
    assert_eq!((&*response.brokers[0].host, response.brokers[0].rack.as_deref()), ("127.0.0.1", Some("rack1")));
    assert_eq!(response.topics[0].topic_id.to_string(), ORDERS);
    assert_eq!(response.topics[0].partitions.len(), 2);
    assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);

    let (old_request, old_response) = captured::<MetadataRequest>(1);
    assert_eq!(
        old_request.topics,
        Some(vec![m03_metadata::MetadataRequestTopic { name: Some("orders".into()), ..Default::default() }])
    );
    assert_eq!(old_response.topics[0].partitions.len(), 2);
    assert_eq!(old_response.cluster_id, None, "unknown to version 1");
}

#[test]
fn produce_to_a_topic_id() {
    let (request, response) = captured::<ProduceRequest>(13);
    assert_eq!((request.acks, request.timeout_ms, &request.transactional_id), (-1, 1500, &None));
    let topic = &request.topic_data[0];
    assert_eq!((topic.topic_id.to_string().as_str(), &*topic.name), (ORDERS, ""));
    let records: Vec<_> = topic.partition_data.iter().map(|data| (data.index, data.records.as_ref())).collect();
    let lengths =
        records.iter().map(|(index, records)| (*index, records.and_then(|records| records.as_bytes()).map(Bytes::len)));
    assert_eq!(lengths.collect::<Vec<_>>(), [(0, Some(70)), (1, Some(70))]);
    let appended = response.responses[0].partition_responses.iter().map(|partition| partition.log_append_time_ms);
    assert_eq!(appended.collect::<Vec<_>>(), [-1, -1], "the client's timestamps were kept");
}

#[test]
fn fetch_in_a_session() {
    let (request, response) = captured::<FetchRequest>(18);
    assert_eq!((request.replica_id, request.max_wait_ms, request.isolation_level), (-1, 500, 0));
    assert_eq!((request.session_id, request.session_epoch), (0, 0), "a full fetch that opens a session");
    assert_eq!(request.topics[0].partitions[0].high_watermark, i64::MAX, "not sent by a consumer");
    assert_ne!(response.session_id, 0);
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.aborted_transactions, None);
    assert_eq!((partition.diverging_epoch.epoch, partition.current_leader.leader_id), (-1, -1), "tags left out");
    assert!(partition.records.as_ref().is_some_and(|records| !records.is_empty()));

    let (_, old_response) = captured::<FetchRequest>(4);
    let partition = &old_response.responses[0].partitions[0];
    assert_eq!(partition.records.as_ref().map(Records::len), Some(88));
    assert_eq!((partition.high_watermark, partition.last_stable_offset), (3, 3));
}

#[test]
fn a_consumer_group() {
    let (find, found) = captured::<FindCoordinatorRequest>(6);
    assert_eq!((&*find.coordinator_keys[0], found.coordinators[0].port), ("readers2", 29391));
    let (join, joined) = captured::<JoinGroupRequest>(9);
    assert_eq!(&*join.protocol_type, "consumer");
    assert_eq!(joined.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let wants: ConsumerProtocolSubscription =
        consumer_protocol::decode(join.protocols[0].metadata.clone()).expect("one");
    assert_eq!((wants.topics, wants.generation_id), (vec![Str::from_static("orders")], -1));
    let (sync, synced) = captured::<SyncGroupRequest>(5);
    assert_eq!(sync.assignments[0].assignment, synced.assignment);
    let gets: ConsumerProtocolAssignment = consumer_protocol::decode(synced.assignment).expect("one");
    assert_eq!(gets.assigned_partitions[0].partitions, [0, 1]);
    let (fetch, fetched) = captured::<OffsetFetchRequest>(9);
    assert!(fetch.require_stable);
    assert_eq!(fetched.groups[0].topics[0].partitions[0].committed_offset, -1);
    let (commit, _) = captured::<OffsetCommitRequest>(9);
    assert_eq!(commit.topics[0].partitions[0].committed_metadata.as_deref(), Some(""));
    captured::<ListOffsetsRequest>(11);
    captured::<LeaveGroupRequest>(5);
    let (_, producer) = captured::<InitProducerIdRequest>(5);
    assert_eq!(producer.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, "the broker had just started");
}

/// Keys and values of `__consumer_offsets`, as the broker wrote them after the group `readers` had read `orders`.
#[test]
fn records_of_consumer_offsets() {
    let group = CoordinatorKey::GroupMetadata(GroupMetadataKey { group: "readers".into() });
    let key = bytes("0002000772656164657273");
    assert_eq!((CoordinatorKey::decode(key.clone()), group.encode()), (Ok(group), key));

    let value = bytes(concat!(
        "00030008636f6e73756d657200000001000572616e67650035636f6e736f6c652d636f6e73756d65722d36323134333337322d30",
        "3836642d346165342d383831652d336164363033303166323235000001a1fc4f8211000000010035636f6e736f6c652d636f6e73",
        "756d65722d36323134333337322d303836642d346165342d383831652d336164363033303166323235ffff0010636f6e736f6c65",
        "2d636f6e73756d6572000a2f3132372e302e302e31000493e00000afc80000001c00030000000100066f7264657273ffffffff00",
        "000000ffffffffffff0000001e00030000000100066f7264657273000000020000000000000001ffffffff"
    ));
    let generation: GroupMetadataValue = decode_value(value.clone()).expect("a generation");
    assert_eq!(encode_value(3, &generation), value);
    assert_eq!((generation.generation, generation.protocol.as_deref()), (1, Some("range")));
    assert_eq!((&*generation.members[0].client_host, generation.members[0].session_timeout), ("/127.0.0.1", 45000));

    let key = bytes("000100077265616465727300066f726465727300000000");
    let offset = OffsetCommitKey { group: "readers".into(), topic: "orders".into(), partition: 0 };
    let offset = CoordinatorKey::OffsetCommit(offset);
    assert_eq!((CoordinatorKey::decode(key.clone()), offset.encode()), (Ok(offset), key));

    let value = bytes("000400000000000000030000000001000001a1fc4f83470100100c120d44d8684355991101f231baa6af");
    let commit: OffsetCommitValue = decode_value(value.clone()).expect("a commit");
    assert_eq!(encode_value(4, &commit), value);
    assert_eq!((commit.offset, commit.leader_epoch, commit.topic_id.to_string().as_str()), (3, 0, ORDERS));
}

//! One broker, real sockets, a client that speaks bytes: the journey of a Produce and back.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, ME, OneBroker, batch, broker_settings, topic, until, values};
use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_broker::ask::Ask;
use ottla_broker::image::{BrokerId, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch, Topic};
use ottla_config::TopicSettings;
use ottla_log::disk::simulated::stand_in_below;
use ottla_log::folder::stray_name;
use ottla_rules::assignment::{LiveBroker, RecoveryReport};
use ottla_wire::m00_produce::{PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::m03_metadata::MetadataRequest;
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::m60_describe_cluster::DescribeClusterRequest;
use ottla_wire::m75_describe_topic_partitions::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use ottla_wire::{ErrorCode, FetchResponse, ListOffsetsRequest, ProduceResponse, Records};

fn produce(topic: &Topic, acks: i16, records: Records) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            topic_id: topic.id,
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records) }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn produced(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

fn fetch(topic: &Topic, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetched(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

#[tokio::test]
async fn what_is_produced_is_fetched_from_any_offset_inside_a_batch() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;

    let records = Records::from(batch(&["a", "b", "c"]).bytes().clone());
    let response = client.call(13, &produce(&t, -1, records.clone())).await;
    assert_eq!((produced(&response).error_code, produced(&response).base_offset), (ErrorCode::NONE, 0));
    let response = client.call(13, &produce(&t, 1, records)).await;
    assert_eq!(produced(&response).base_offset, 3);

    let response = client.call(18, &fetch(&t, 4, 0)).await;
    let partition = fetched(&response);
    assert_eq!((partition.error_code, partition.high_watermark), (ErrorCode::NONE, 6));
    assert_eq!(values(partition.records.as_ref().unwrap()), ["a", "b", "c"], "the whole batch that holds offset 4");

    let response = client.call(18, &fetch(&t, 7, 0)).await;
    assert_eq!(fetched(&response).error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert!(one.broker.stop().await);
}

#[tokio::test]
async fn the_strict_setting_refuses_compressed_records_that_their_codec_cannot_read() {
    let data = tempfile::tempdir().unwrap();
    let (trusting, mut strict) = (topic("trusting", &[]), topic("strict", &[]));
    let brokers = broker_settings(&[("ottla.produce.strict.validation", "true")]);
    strict.settings = TopicSettings::resolve(&strict.config, &brokers).into();
    let one = OneBroker::start(data.path(), false, vec![trusting.clone(), strict.clone()]).await;
    one.led(&trusting).await;
    one.led(&strict).await;
    let mut client = Client::connect(one.port).await;

    let mut builder = BatchBuilder::new(Codec::Zstd { level: 3 });
    builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(b"value"), ..NewRecord::default() });
    let good = builder.build();
    // The checksum is that of the damaged bytes: only the codec shows it.
    let corrupt = Batch::seal(*good.header(), &[0; 40]);
    for (topic, batch, expected) in [
        (&trusting, &corrupt, ErrorCode::NONE),
        (&strict, &corrupt, ErrorCode::INVALID_RECORD),
        (&strict, &good, ErrorCode::NONE),
    ] {
        let response = client.call(13, &produce(topic, -1, batch.bytes().clone().into())).await;
        assert_eq!(produced(&response).error_code, expected, "{}", topic.name);
    }

    // What nobody can read is found by its header.
    let partitions = vec![ListOffsetsPartition { timestamp: 1_600_000_000_000, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: trusting.name.clone(), partitions }];
    let response = client.call(7, &ListOffsetsRequest { topics, ..Default::default() }).await;
    let found = &response.topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset, found.timestamp), (ErrorCode::NONE, 0, 1_700_000_000_000));
    assert!(one.broker.stop().await);
}

#[tokio::test]
async fn what_waits_for_followers_holds_nothing_of_the_budget_for_requests() {
    let data = tempfile::tempdir().unwrap();
    let mut t = topic("t", &[]);
    t.partitions[0].replicas.push(BrokerId(1));
    t.partitions[0].isr.push(IsrMember { broker: BrokerId(1), incarnation: Incarnation(8) });
    let settings = [("queued.max.request.bytes", "3000000"), ("socket.request.max.bytes", "2000000")];
    let one = OneBroker::start_with(data.path(), false, vec![t.clone()], &settings).await;
    one.led(&t).await;
    let partition = one.broker.replicas().all().remove(0);

    let mut client = Client::connect(one.port).await;
    let large = "x".repeat(900_000);
    let produced = async {
        for _ in 0..10 {
            client.send(13, &produce(&t, -1, batch(&[&large]).bytes().clone().into())).await;
        }
        while partition.log_end.get() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), produced).await.expect("9 MB find no room in a budget of 3 MB");
    assert_eq!(partition.high_watermark.get(), 0, "the follower has not come yet");
    assert!(one.broker.stop().await);
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let (mut consumer, mut producer) = (Client::connect(one.port).await, Client::connect(one.port).await);

    consumer.send(18, &fetch(&t, 0, 60_000)).await;
    let records = Records::from(batch(&["late"]).bytes().clone());
    producer.call(13, &produce(&t, -1, records)).await;
    let (_, response) = consumer.receive::<FetchRequest>(18).await;
    assert_eq!(values(fetched(&response).records.as_ref().unwrap()), ["late"]);
    one.broker.stop().await;
}

#[tokio::test]
async fn replies_leave_in_the_order_of_requests() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    for _ in 0..50 {
        client.send(13, &produce(&t, -1, batch(&["x"]).bytes().clone().into())).await;
        client.send(18, &fetch(&t, 0, 0)).await;
    }
    for n in 0..50 {
        let (id, response) = client.receive::<ProduceRequest>(13).await;
        assert_eq!((id, produced(&response).base_offset), (2 * n, i64::from(n)));
        let (id, response) = client.receive::<FetchRequest>(18).await;
        assert_eq!((id, fetched(&response).high_watermark), (2 * n + 1, i64::from(n) + 1));
    }
    one.broker.stop().await;
}

#[tokio::test]
async fn records_survive_a_stop_and_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    for (round, clean) in [(0, false), (1, true), (2, true)] {
        let one = OneBroker::start(data.path(), clean, vec![t.clone()]).await;
        one.led(&t).await;
        let mut client = Client::connect(one.port).await;
        let response = client.call(13, &produce(&t, -1, batch(&["x", "y"]).bytes().clone().into())).await;
        assert_eq!(produced(&response).base_offset, 2 * round);
        assert!(one.broker.stop().await);
    }
    // What a kill leaves: no checkpoint says how far the logs go.
    std::fs::remove_file(data.path().join("recovery-point-offset-checkpoint")).unwrap();
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    let response = client.call(18, &fetch(&t, 0, 0)).await;
    assert_eq!(values(fetched(&response).records.as_ref().unwrap()), ["x", "y"].repeat(3));
    one.broker.stop().await;
}

#[tokio::test]
async fn a_failed_disk_is_reported_and_answered_as_such() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[("segment.ms", "1")]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    // The next segment can't be created; in a folder that is only being emptied it still could.
    let gone = data.path().join("gone");
    std::fs::rename(data.path().join("t-0"), &gone).unwrap();
    std::fs::remove_dir_all(gone).unwrap();
    loop {
        let response = client.call(13, &produce(&t, -1, batch(&["x"]).bytes().clone().into())).await;
        match produced(&response).error_code {
            ErrorCode::NONE => {}
            code => break assert_eq!(code, ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }
    one.broker.replicas().disk_failed().await;
    assert!(!one.broker.stop().await, "no start may take its logs for closed");
}

#[tokio::test]
async fn a_disk_that_hangs_makes_a_broker_unready_and_is_no_reason_to_restart_it() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let health = one.broker.health(tokio::sync::watch::channel(false).1);
    health.is_ready().unwrap();
    let (hanging, hang) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (is_hanging, hangs) = (hanging.clone(), hang.clone());
    let _disk = stand_in_below(data.path(), move |_| {
        is_hanging.store(true, Ordering::SeqCst);
        while hangs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(())
    });
    // Made again in another life: its folder is claimed on a worker.
    let new = topic("new", &[]);
    one.images.send_replace(Arc::new(common::image(one.port, vec![t.clone(), new], &[])));
    common::until("a worker hangs", || hanging.load(Ordering::SeqCst)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    health.lives().await.expect("reactors answer, and that is what a restart mends");
    let not_ready = health.is_ready().unwrap_err().to_string();
    assert!(not_ready.contains("the disk hangs"), "{not_ready}");
    hang.store(false, Ordering::SeqCst);
    common::until("the disk continues", || health.is_ready().is_ok()).await;
    one.broker.stop().await;
}

#[tokio::test]
async fn the_addresses_that_clients_get_are_described_as_set_and_not_as_a_default() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    let keys = Some(vec!["advertised.listeners".into()]);
    let broker = DescribeConfigsResource { resource_type: 4, resource_name: "0".into(), configuration_keys: keys };
    let request = DescribeConfigsRequest { resources: vec![broker], include_synonyms: true, ..Default::default() };
    let response = client.call(4, &request).await;
    let [described] = &response.results[0].configs[..] else { panic!("{:?}", response.results) };
    let expected = format!("INTERNAL://127.0.0.1:{}", one.port);
    // 4: Kafka's STATIC_BROKER_CONFIG.
    assert_eq!((described.value.as_deref(), described.config_source), (Some(&*expected), 4));
    assert!(one.broker.stop().await);
}

#[tokio::test]
async fn a_version_of_api_versions_from_the_future_is_answered_in_version_0() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    let mut frame = ottla_wire::encode_request(9, None, 4, &ApiVersionsRequest::default()).into_chunks();
    let ottla_wire::Chunk::Bytes(bytes) = frame.remove(0) else { panic!("a request is memory") };
    let mut bytes = bytes.to_vec();
    bytes[7] = 99;
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, &bytes).await.unwrap();
    let (id, response) = client.receive::<ApiVersionsRequest>(0).await;
    assert_eq!((id, response.error_code), (9, ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(response.api_keys.len(), 1);
    one.broker.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_close_the_connection_and_no_other() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut good = Client::connect(one.port).await;
    let hostile: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64], &[0, 0, 0, 8, 0x7f, 0xff, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 2, 0, 0]];
    for bytes in hostile {
        let mut client = Client::connect(one.port).await;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes).await.unwrap();
        assert!(client.frame().await.is_err(), "{bytes:x?}");
        let response = good.call(13, &produce(&t, -1, batch(&["x"]).bytes().clone().into())).await;
        assert_eq!(produced(&response).error_code, ErrorCode::NONE);
    }
    one.broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_looks_dead_to_the_operator_still_names_itself_to_clients() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, Vec::new()).await;
    one.images.send_modify(|image| {
        Arc::make_mut(image).brokers.values_mut().for_each(|broker| broker.alive = false);
    });
    let mut client = Client::connect(one.port).await;
    let metadata = client.call(12, &MetadataRequest::default()).await;
    assert_eq!(metadata.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>(), [0]);
    let described = client.call(2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await;
    assert_eq!(described.brokers.iter().map(|broker| broker.broker_id).collect::<Vec<_>>(), [0]);
    assert!(!described.brokers[0].is_fenced);
    one.broker.stop().await;
}

#[tokio::test]
async fn a_disk_that_is_not_what_it_was_reports_what_is_left_and_leads_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    client.call(13, &produce(&t, -1, batch(&["x", "y"]).bytes().clone().into())).await;
    one.broker.stop().await;

    t.partitions[0].leader = None;
    (t.partitions[0].leader_epoch, t.partitions[0].partition_epoch) = (LeaderEpoch(4), PartitionEpoch(4));
    t.partitions[0].isr[0].incarnation = ottla_broker::image::Incarnation(6);
    let mut again = OneBroker::start(data.path(), true, vec![t.clone()]).await;
    let asked = again.asks.recv().await;
    let Some(Ask::Report { topic_id, partition, leader_epoch, last_epoch, log_end, log_start }) = asked else {
        panic!("a report");
    };
    assert_eq!((topic_id, partition, leader_epoch), (t.id, 0, LeaderEpoch(4)));
    assert_eq!((last_epoch, log_end, log_start), (LeaderEpoch(0), 2, 0));
    let mut client = Client::connect(again.port).await;
    let response = client.call(13, &produce(&t, -1, batch(&["z"]).bytes().clone().into())).await;
    assert_eq!(produced(&response).error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    again.broker.stop().await;
}

#[tokio::test]
async fn a_fetch_that_can_hold_no_more_does_not_wait_for_more() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    let sent = batch(&["x"]);
    for _ in 0..3 {
        client.call(13, &produce(&t, -1, sent.bytes().clone().into())).await;
    }
    let size = i32::try_from(sent.bytes().len()).unwrap();
    // Two batches fit, and a part of the third; then all three.
    for (limit, min_bytes, batches) in
        [(3 * size - 1, 3 * size - 1, 2), (size - 1, size - 1, 1), (1 << 20, 3 * size, 3)]
    {
        let mut request = fetch(&t, 0, 600_000);
        request.min_bytes = min_bytes;
        request.topics[0].partitions[0].partition_max_bytes = limit;
        let answered = tokio::time::timeout(Duration::from_secs(60), client.call(13, &request)).await;
        let answered = answered.expect("no answer would hold more");
        assert_eq!(values(fetched(&answered).records.as_ref().unwrap()).len(), batches, "{limit}");
    }
    // More than there is.
    let mut request = fetch(&t, 0, 100);
    request.min_bytes = 3 * size + 1;
    let began = tokio::time::Instant::now();
    client.call(13, &request).await;
    assert!(began.elapsed() >= Duration::from_millis(100));
    one.broker.stop().await;
}

#[tokio::test]
async fn a_batch_that_no_segment_can_hold_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[("segment.bytes", "1048576"), ("max.message.bytes", "4194304")]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    let value = "x".repeat(1 << 20);
    for (value, code) in [(&value[..], ErrorCode::RECORD_LIST_TOO_LARGE), (&value[..1 << 19], ErrorCode::NONE)] {
        let response = client.call(13, &produce(&t, -1, batch(&[value]).bytes().clone().into())).await;
        assert_eq!(produced(&response).error_code, code);
    }
    one.broker.stop().await;
}

#[tokio::test]
async fn a_batch_that_was_compressed_to_a_thousandth_is_taken() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[("compression.type", "gzip")]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let zeros = vec![0; 1 << 20];
    let mut sent = BatchBuilder::new(Codec::Zstd { level: 3 });
    for _ in 0..34 {
        sent.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(&zeros), ..NewRecord::default() });
    }
    let mut client = Client::connect(one.port).await;
    let response = client.call(13, &produce(&t, -1, sent.build().bytes().clone().into())).await;
    assert_eq!((produced(&response).error_code, produced(&response).base_offset), (ErrorCode::NONE, 0));
    one.broker.stop().await;
}

#[tokio::test]
async fn a_cursor_points_at_a_topic_that_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let topics = ["a", "b", "c"].map(|name| topic(name, &[]));
    let one = OneBroker::start(data.path(), false, topics.to_vec()).await;
    one.led(&topics[0]).await;
    let mut client = Client::connect(one.port).await;
    let (none, refused) = (ErrorCode::NONE, ErrorCode::INVALID_REQUEST);
    for (asked, cursor, code, answered) in [
        (&["a", "c"][..], ("c", 0), none, &["c"][..]),
        (&["a", "c"], ("b", 0), refused, &["a", "c"]),
        (&["a"], ("a", -1), refused, &["a"]),
        (&[], ("b", 0), none, &["b", "c"]),
        (&[], ("bb", 0), none, &["c"]),
        (&[], ("a", -1), none, &[]),
    ] {
        let request = DescribeTopicPartitionsRequest {
            topics: asked.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: 10,
            cursor: Some(Cursor { topic_name: cursor.0.into(), partition_index: cursor.1 }),
        };
        let described = client.call(0, &request).await.topics;
        let names: Vec<_> = described.iter().map(|topic| topic.name.as_deref().unwrap()).collect();
        assert_eq!(names, answered, "{cursor:?} in {asked:?}");
        assert!(described.iter().all(|topic| topic.error_code == code), "{cursor:?} in {asked:?}");
    }
    one.broker.stop().await;
}

#[tokio::test]
async fn a_log_whose_records_were_all_deleted_loses_against_no_stale_one() {
    let data = tempfile::tempdir().unwrap();
    let (mut t, other) = (topic("t", &[]), BrokerId(1));
    t.partitions[0].replicas.push(other);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    client.call(13, &produce(&t, -1, batch(&["x", "y"]).bytes().clone().into())).await;
    let partition = one.broker.replicas().all().remove(0);
    assert_eq!(partition.delete_records(-1).unwrap(), 2);
    // Who follows forgets epochs without records.
    let entry = &mut t.partitions[0];
    (entry.leader, entry.leader_epoch, entry.partition_epoch) = (Some(other), LeaderEpoch(1), PartitionEpoch(1));
    one.images.send_modify(|image| Arc::make_mut(image).topics = [(t.id, Arc::new(t.clone()))].into_iter().collect());
    until("it follows", || partition.follows().is_some()).await;
    assert_eq!(partition.next_fetch(LeaderEpoch(1)).unwrap().last_epoch, LeaderEpoch(0));
    drop(partition);
    assert!(one.broker.stop().await);

    let entry = &mut t.partitions[0];
    (entry.leader, entry.leader_epoch, entry.partition_epoch) = (None, LeaderEpoch(2), PartitionEpoch(2));
    t.partitions[0].isr[0].incarnation = Incarnation(6);
    let mut again = OneBroker::start(data.path(), true, vec![t.clone()]).await;
    let Some(Ask::Report { last_epoch, log_end, .. }) = again.asks.recv().await else { panic!("a report") };
    let report = |broker, last_epoch, log_end| {
        let (incarnation, log_start) = (ME.incarnation, Some(0));
        RecoveryReport { broker, incarnation, last_epoch, log_end, log_start }
    };
    let reported = t.partitions[0].report(LeaderEpoch(2), report(other, LeaderEpoch(0), 1)).unwrap();
    let reported = reported.report(LeaderEpoch(2), report(ME.id, last_epoch, log_end)).unwrap();
    let live = [ME.id, other].map(|id| (id, LiveBroker { incarnation: ME.incarnation, draining: false })).into();
    assert_eq!(reported.recover(&live).unwrap().leader, Some(ME.id), "{last_epoch} {log_end}");
    again.broker.stop().await;
}

#[tokio::test]
async fn a_folder_that_could_not_be_quarantined_is_tried_again() {
    let data = tempfile::tempdir().unwrap();
    let [mut moved, mut other] = ["moved", "other"].map(|name| topic(name, &[]));
    let one = OneBroker::start(data.path(), false, vec![moved.clone(), other.clone()]).await;
    // What is still being opened is not closed cleanly.
    one.led(&moved).await;
    one.led(&other).await;
    assert!(one.broker.stop().await);
    let (folder, aside) = (data.path().join("moved-0"), data.path().join(stray_name("moved", 0, moved.id)));
    let unreadable = folder.join("isr-proposal");
    _ = std::fs::remove_file(&unreadable);
    std::fs::create_dir(&unreadable).unwrap();

    for topic in [&mut moved, &mut other] {
        let entry = &mut topic.partitions[0];
        (entry.replicas, entry.leader) = (vec![BrokerId(1)], Some(BrokerId(1)));
        (entry.leader_epoch, entry.partition_epoch) = (LeaderEpoch(6), PartitionEpoch(6));
    }
    let mut one = OneBroker::start(data.path(), true, vec![moved.clone(), other.clone()]).await;
    one.moved_away().await.send(()).unwrap();
    // Both are tried in one go.
    until("the other is quarantined", || data.path().join(stray_name("other", 0, other.id)).exists()).await;
    assert!(folder.exists());
    std::fs::remove_dir(&unreadable).unwrap();
    until("it is quarantined", || aside.exists()).await;
    assert!(!folder.exists());
    one.broker.stop().await;
}

#[tokio::test]
async fn only_partitions_that_moved_away_while_the_broker_was_down_are_quarantined() {
    let data = tempfile::tempdir().unwrap();
    let [mut moved, missing, mut older, stays] = ["moved", "missing", "older", "stays"].map(|name| topic(name, &[]));
    (older.partitions[0].leader_epoch, older.partitions[0].partition_epoch) = (LeaderEpoch(7), PartitionEpoch(7));
    let all = [&moved, &missing, &older, &stays];
    let one = OneBroker::start(data.path(), false, all.map(Topic::clone).to_vec()).await;
    let mut client = Client::connect(one.port).await;
    for topic in all {
        one.led(topic).await;
        client.call(13, &produce(topic, -1, batch(&["x"]).bytes().clone().into())).await;
    }
    assert!(one.broker.stop().await);

    for topic in [&mut moved, &mut older] {
        let entry = &mut topic.partitions[0];
        (entry.replicas, entry.leader) = (vec![BrokerId(1)], Some(BrokerId(1)));
        (entry.leader_epoch, entry.partition_epoch) = (LeaderEpoch(6), PartitionEpoch(6));
    }
    let mut one = OneBroker::start(data.path(), true, vec![moved.clone(), older.clone(), stays.clone()]).await;
    one.led(&stays).await;
    let (folder, aside) = (data.path().join("moved-0"), data.path().join(stray_name("moved", 0, moved.id)));
    assert!(folder.exists(), "the copy on disk may not know yet that the assignment names others");
    one.moved_away().await.send(()).unwrap();
    until("it is quarantined", || aside.exists()).await;
    assert!(!folder.exists(), "the assignment names others");
    let checkpoint = data.path().join("recovery-point-offset-checkpoint");
    let names_it = || std::fs::read_to_string(&checkpoint).unwrap().contains("moved");
    until("the checkpoints do not name it", || !names_it()).await;
    assert!(aside.join("00000000000000000000.log").metadata().unwrap().len() > 0);
    assert!(one.broker.stop().await);
    for topic in ["missing", "older", "stays"] {
        let log = data.path().join(format!("{topic}-0/00000000000000000000.log"));
        assert!(log.metadata().unwrap().len() > 0, "{topic}");
    }
    let checkpoint = std::fs::read_to_string(&checkpoint).unwrap();
    let known: Vec<&str> = checkpoint.lines().skip(2).collect();
    assert_eq!(known, ["missing 0 1", "older 0 1", "stays 0 1"], "another topic may take its name");
}

#[tokio::test]
async fn a_producer_gets_a_retriable_error_while_the_cluster_has_no_producer_ids() {
    let data = tempfile::tempdir().unwrap();
    // Nobody answers what this broker asks of the cluster.
    let one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    let init = InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..Default::default() };
    let answer = client.call(5, &init).await;
    assert_eq!(answer.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    one.broker.stop().await;
}

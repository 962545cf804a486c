//! Quotas over sockets: clients that use too much are answered at once, with a throttle time for which nothing is read.
//!
//! Nothing here waits for a time: an answer that had to wait is compared with the time that passed, which may be
//! longer.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Client, ME, OneBroker, batch, topic, until};
use ottla_access::Access;
use ottla_access::quotas::{Entity, Name, QuotaRules, Quotas};
use ottla_broker::ask::Ask;
use ottla_broker::image::{Broker, BrokerId, Endpoint, Topic};
use ottla_crds::names;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::{ErrorCode, Records, Str};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Fewer windows than Kafka's default: two whole ones, so that what has to wait does not wait for long.
const THREE_WINDOWS: (&str, &str) = ("quota.window.num", "3");

/// What the clients of `common`, whose client id is `test`, may do.
fn may(quotas: Quotas) -> QuotaRules {
    let mut rules = QuotaRules::default();
    rules.set(Entity::Client(Name::Is("test".into())), quotas);
    rules
}

fn rule(one: &OneBroker, rules: QuotaRules) {
    one.images.send_modify(|image| {
        let mut next = (**image).clone();
        next.access = Arc::new(Access { quotas: rules, ..(*next.access).clone() });
        *image = Arc::new(next);
    });
}

fn produce(topic: &Topic, acks: i16, bytes: usize) -> ProduceRequest {
    let records = Records::from(batch(&[&"x".repeat(bytes)]).bytes().clone());
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

fn fetch(topic: &Topic, offset: i64) -> FetchRequest {
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 20,
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

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).expect("a time is not negative"))
}

fn scraped(one: &OneBroker, line: &str) -> bool {
    one.metrics.scrape().lines().any(|scraped| scraped == line)
}

/// Whether the broker closes the connection without a word.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_producer_is_answered_at_once_and_then_not_read() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[("max.message.bytes", "2000000")]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    assert_eq!(client.call(13, &produce(&t, -1, 1_100_000)).await.throttle_time_ms, 0, "without rules");

    // 1,030,000 bytes in ten seconds are 3 % too many: 300 ms of 10 s.
    rule(&one, may(Quotas { producer_byte_rate: Some(100_000.0), ..Quotas::default() }));
    let started = Instant::now();
    let response = client.call(13, &produce(&t, -1, 1_030_000)).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    let throttle = millis(response.throttle_time_ms);
    assert!((1..=320).contains(&response.throttle_time_ms), "{throttle:?}");
    let response = client.call(2, &ApiVersionsRequest::default()).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "it was read before: {:?}", started.elapsed());
    assert_eq!(response.throttle_time_ms, 0, "there is no quota on that");

    // The client id has one bucket for all of its connections.
    let mut another = Client::connect(one.port).await;
    let response = another.call(13, &produce(&t, 1, 1_030_000)).await;
    assert!(response.throttle_time_ms > 1000, "{}", response.throttle_time_ms);
    assert!(scraped(&one, "ottla_throttled_total{quota=\"producer_byte_rate\"} 2"), "{}", one.metrics.scrape());
    rule(&one, QuotaRules::default());
    assert_eq!(client.call(13, &produce(&t, -1, 100)).await.throttle_time_ms, 0, "without rules");
}

#[tokio::test]
async fn a_producer_that_wants_no_answer_is_not_read_either() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[("max.message.bytes", "2000000")]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    // Its time does not count, or it would be throttled for a whole window.
    let request_percentage = Some(1e-9);
    rule(&one, may(Quotas { producer_byte_rate: Some(100_000.0), request_percentage, ..Quotas::default() }));
    let (started, mut client) = (Instant::now(), Client::connect(one.port).await);
    client.send(13, &produce(&t, 0, 1_030_000)).await;
    client.send(2, &ApiVersionsRequest::default()).await;
    client.receive::<ApiVersionsRequest>(2).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    let quotas = ["producer_byte_rate", "request_percentage"];
    let counted = quotas.map(|quota| scraped(&one, &format!("ottla_throttled_total{{quota=\"{quota}\"}} 1")));
    assert_eq!(counted, [true; 2], "once each: {}", one.metrics.scrape());
}

#[tokio::test]
async fn a_consumer_gets_nothing_while_it_is_over_its_quota_and_keeps_its_session() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start_with(data.path(), false, vec![t.clone()], &[THREE_WINDOWS]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    for _ in 0..3 {
        client.call(13, &produce(&t, -1, 90_000)).await;
    }
    // At most 200,000 bytes fit into two windows: two batches, not three.
    rule(&one, may(Quotas { consumer_byte_rate: Some(100_000.0), ..Quotas::default() }));
    let started = Instant::now();
    let response = client.call(17, &FetchRequest { session_epoch: 0, ..fetch(&t, 0) }).await;
    let len = |response: &ottla_wire::FetchResponse| {
        let partition = response.responses.first().and_then(|topic| topic.partitions.first());
        partition.and_then(|partition| Some(partition.records.as_ref()?.len())).unwrap_or(0)
    };
    assert_eq!((response.throttle_time_ms, len(&response) / 90_000), (0, 2));
    let session_id = response.session_id;
    assert_ne!(session_id, 0);

    let mut epoch = 0;
    let mut throttled = Duration::ZERO;
    loop {
        epoch += 1;
        let next = FetchRequest { session_id, session_epoch: epoch, ..fetch(&t, 2) };
        let response = client.call(17, &next).await;
        assert_eq!((response.error_code, response.session_id), (ErrorCode::NONE, session_id));
        if response.throttle_time_ms == 0 {
            assert_eq!(len(&response) / 90_000, 1);
            break;
        }
        assert_eq!(response.responses.len(), 0, "a throttled client gets nothing");
        throttled += millis(response.throttle_time_ms);
    }
    assert!(!throttled.is_zero(), "270,000 bytes in {:?}", started.elapsed());
    assert!(started.elapsed() + Duration::from_millis(u64::try_from(epoch).unwrap()) >= throttled, "{throttled:?}");
}

#[tokio::test]
async fn a_new_session_of_a_throttled_consumer_is_not_kept() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    let mut client = Client::connect(one.port).await;
    client.call(13, &produce(&t, -1, 90_000)).await;
    // Less than a batch, of which there is always one.
    rule(&one, may(Quotas { consumer_byte_rate: Some(8_000.0), ..Quotas::default() }));
    let response = client.call(17, &FetchRequest { session_epoch: 0, ..fetch(&t, 0) }).await;
    assert!(response.throttle_time_ms > 0);
    assert_eq!((response.session_id, response.responses.len()), (0, 0));
}

#[tokio::test]
async fn brokers_are_not_throttled_and_who_only_says_that_it_is_one_is() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let one = OneBroker::start(data.path(), false, vec![t.clone()]).await;
    one.led(&t).await;
    rule(&one, may(Quotas { request_percentage: Some(1e-9), ..Quotas::default() }));
    let follower = FetchRequest { replica_id: 1, ..fetch(&t, 0) };
    let mut client = Client::connect(one.port).await;
    assert!(client.call(13, &follower).await.throttle_time_ms > 0, "there is no other broker");
    let show_another = |has_certificate: bool| {
        one.images.send_modify(|image| {
            let image = Arc::make_mut(image);
            let mut other = Broker { id: BrokerId(1), ..image.brokers[&ME.id].clone() };
            if has_certificate {
                let secure = Endpoint { host: "127.0.0.1".into(), port: 9091 };
                image.brokers.values_mut().chain([&mut other]).for_each(|broker| {
                    broker.endpoints.insert(names::REPLICATION_LISTENER.into(), secure.clone());
                });
            }
            image.brokers.insert(other.id, other);
        });
    };
    show_another(false);
    let mut broker = Client::connect(one.port).await;
    for _ in 0..3 {
        assert_eq!(broker.call(13, &follower).await.throttle_time_ms, 0, "brokers have no certificates");
    }
    show_another(true);
    assert!(broker.call(13, &follower).await.throttle_time_ms > 0, "brokers have certificates");
}

#[tokio::test]
async fn the_time_of_requests_is_limited_to_a_window_of_waiting() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, vec![]).await;
    rule(&one, may(Quotas { request_percentage: Some(1e-9), ..Quotas::default() }));
    let (started, mut client) = (Instant::now(), Client::connect(one.port).await);
    let first = client.call(12, &MetadataRequest::default()).await.throttle_time_ms;
    assert!((1..=1000).contains(&first), "{first}");
    client.call(12, &MetadataRequest::default()).await;
    assert!(started.elapsed() + Duration::from_millis(1) >= millis(first), "{:?}", started.elapsed());
    rule(&one, QuotaRules::default());
    assert_eq!(client.call(12, &MetadataRequest::default()).await.throttle_time_ms, 0, "the quota is gone");
}

#[tokio::test]
async fn changes_of_partitions_are_refused_or_for_old_clients_owed() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let settings = [("controller.quota.window.num", "3")];
    let one = OneBroker::start_with(data.path(), false, vec![t.clone()], &settings).await;
    // A token in a hundred seconds, and three hundredths fit: each change leaves the bucket owing.
    rule(&one, may(Quotas { controller_mutation_rate: Some(0.01), ..Quotas::default() }));
    let create = |name: &str| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        validate_only: true,
    };
    let mut client = Client::connect(one.port).await;
    let response = client.call(7, &create("a")).await;
    assert_eq!((response.topics[0].error_code, response.throttle_time_ms), (ErrorCode::NONE, 0), "none were owed");
    let response = client.call(7, &create("b")).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    assert_eq!(response.topics[0].error_message.as_deref(), Some("The throttling quota has been exceeded."));
    // 1.97 are owed, at a hundredth a second.
    assert!((150_000..=197_000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);

    let mut another = Client::connect(one.port).await;
    let grow = CreatePartitionsTopic { name: "t".into(), count: 3, ..Default::default() };
    let grow = CreatePartitionsRequest { topics: vec![grow], timeout_ms: 10_000, validate_only: true };
    let response = another.call(3, &grow).await;
    assert_eq!(response.results[0].error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    let mut another = Client::connect(one.port).await;
    let delete = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![delete], timeout_ms: 10_000, ..Default::default() };
    let response = another.call(6, &delete).await;
    assert_eq!(response.responses[0].error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    assert!(response.throttle_time_ms > 0);

    let mut old = Client::connect(one.port).await;
    let response = old.call(5, &create("c")).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "an old client does not know the refusal");
    assert!((350_000..=397_000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_it_may_have() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "127.0.0.1:2, 10.0.0.1:7")];
    let one = OneBroker::start_with(data.path(), false, vec![], &settings).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(one.port).await;
        client.call(2, &ApiVersionsRequest::default()).await;
        clients.push(client);
    }
    assert!(is_closed(&mut TcpStream::connect(("127.0.0.1", one.port)).await.unwrap()).await);
    assert!(scraped(&one, "ottla_connections_refused_total{reason=\"too_many_of_address\"} 1"));

    drop(clients.pop());
    until("the connection that was closed has ended", || scraped(&one, "ottla_connections 1")).await;
    let mut again = Client::connect(one.port).await;
    again.call(2, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn a_broker_that_has_all_the_connections_it_may_have_takes_the_next_when_one_ends() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start_with(data.path(), false, vec![], &[("max.connections", "1")]).await;
    let mut first = Client::connect(one.port).await;
    first.call(2, &ApiVersionsRequest::default()).await;
    let mut second = Client::connect(one.port).await;
    let request = ApiVersionsRequest::default();
    let early = tokio::time::timeout(Duration::from_millis(50), second.call(2, &request)).await;
    assert!(early.is_err(), "it should wait");
    drop(first);
    assert_eq!(second.receive::<ApiVersionsRequest>(2).await.1.error_code, ErrorCode::NONE);
    // A higher limit is obeyed at once.
    let mut third = Client::connect(one.port).await;
    let early = tokio::time::timeout(Duration::from_millis(50), third.call(2, &request)).await;
    assert!(early.is_err(), "it should wait");
    one.images.send_modify(|image| {
        let mut next = (**image).clone();
        next.settings = Arc::new(common::broker_settings(&[("max.connections", "2")]));
        *image = Arc::new(next);
    });
    assert_eq!(third.receive::<ApiVersionsRequest>(2).await.1.error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn a_listener_may_have_fewer_connections_than_its_broker() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("max.connections", "9"), ("listener.name.internal.max.connections", "1")];
    let one = OneBroker::start_with(data.path(), false, vec![], &settings).await;
    let mut first = Client::connect(one.port).await;
    first.call(2, &ApiVersionsRequest::default()).await;
    let mut second = Client::connect(one.port).await;
    let early = tokio::time::timeout(Duration::from_millis(50), second.call(2, &ApiVersionsRequest::default())).await;
    assert!(early.is_err(), "it should wait");
    drop(first);
    assert_eq!(second.receive::<ApiVersionsRequest>(2).await.1.error_code, ErrorCode::NONE);
}

#[test]
fn the_limits_of_the_broker_spare_the_listener_to_which_brokers_connect() {
    let image = common::image(1, vec![], &[]);
    let names: [Str; 3] = ["internal", "apps", names::REPLICATION_LISTENER].map(Str::from_static);
    let of_brokers = |listeners: &[Str]| names.clone().map(|name| image.is_of_brokers(&name, listeners));
    assert_eq!(of_brokers(&names[..2])[..2], [true, false]);
    assert_eq!(of_brokers(&names), [false, false, true], "clients alone use the inter-broker listener");
}

#[tokio::test]
async fn connections_that_come_too_fast_are_held_and_closed_or_wait() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("quota.window.num", "2"), ("quota.window.size.seconds", "3600")];
    let one = OneBroker::start_with(data.path(), false, vec![], &settings).await;
    // Two in an hour.
    let mut rules = QuotaRules::default();
    rules.set_connection_rate(Some("127.0.0.1".parse().unwrap()), 2.0 / 3600.0);
    rule(&one, rules);
    for _ in 0..2 {
        Client::connect(one.port).await.call(2, &ApiVersionsRequest::default()).await;
    }
    let mut third = Client::connect(one.port).await;
    let request = ApiVersionsRequest::default();
    let early = tokio::time::timeout(Duration::from_millis(50), third.call(2, &request)).await;
    assert!(early.is_err(), "it should be held");
    assert!(scraped(&one, "ottla_connections_refused_total{reason=\"too_fast_of_address\"} 1"));
    assert!(scraped(&one, "ottla_throttled_total{quota=\"connection_creation_rate\"} 1"));
    rule(&one, QuotaRules::default());
    Client::connect(one.port).await.call(2, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn connections_that_come_too_fast_to_the_broker_wait() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("quota.window.num", "2"), ("max.connection.creation.rate", "2")];
    let one = OneBroker::start_with(data.path(), false, vec![], &settings).await;
    let started = Instant::now();
    for _ in 0..3 {
        Client::connect(one.port).await.call(2, &ApiVersionsRequest::default()).await;
    }
    // Three in a second are one too many, which is half of two a second.
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());
}

#[tokio::test]
async fn topics_on_first_use_need_tokens_and_throttle_nobody() {
    let data = tempfile::tempdir().unwrap();
    let mut one = OneBroker::start(data.path(), false, vec![]).await;
    // A tenth of a token fits: the first topic takes it, and owes the rest for a minute and a half.
    rule(&one, may(Quotas { controller_mutation_rate: Some(0.01), ..Quotas::default() }));
    let mut client = Client::connect(one.port).await;
    let ask = |name: &str| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    for name in ["a", "b", "__consumer_offsets", "c"] {
        let response = client.call(12, &ask(name)).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(response.throttle_time_ms, 0, "{name}");
    }
    let mut asked = Vec::new();
    while let Ok(ask) = one.asks.try_recv() {
        if let Ask::CreateTopic { topic, .. } = ask {
            asked.push(topic.name.to_string());
        }
    }
    assert_eq!(asked, ["a", "__consumer_offsets"], "an internal topic is on nobody's quota");
}

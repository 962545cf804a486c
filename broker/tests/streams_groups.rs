//! Streams groups on one broker, over real sockets: when they are served, and how their topics are created.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{Client, OneBroker, topic};
use ottla_broker::ask::{Answer, Ask, AskRefusal, NewTopic};
use ottla_broker::image::CONSUMER_OFFSETS;
use ottla_rules::features::{Features, STREAMS_VERSION};
use ottla_wire::m88_streams_group_heartbeat::{
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, StreamsGroupKeyValue, StreamsGroupSubtopology,
    StreamsGroupTopicInfo, StreamsGroupTopology,
};
use ottla_wire::m89_streams_group_describe::StreamsGroupDescribeRequest;
use ottla_wire::{ErrorCode, Uuid};
use tokio::time::timeout;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(120);
const MISSING_INTERNAL_TOPICS: i8 = 3;
/// A broker that assigns at once, and tries what has failed again after two short intervals.
const SETTINGS: &[(&str, &str)] = &[
    ("default.replication.factor", "1"),
    ("group.streams.initial.rebalance.delay.ms", "0"),
    ("group.streams.assignment.interval.ms", "0"),
    ("group.streams.min.heartbeat.interval.ms", "1"),
    ("group.streams.heartbeat.interval.ms", "50"),
];

/// A member joins, whose application keeps what it reads from `t` in two topics of its own.
fn join() -> StreamsGroupHeartbeatRequest {
    let own = |name: &str, replication_factor| StreamsGroupTopicInfo {
        name: name.into(),
        replication_factor,
        topic_configs: vec![StreamsGroupKeyValue { key: "cleanup.policy".into(), value: "compact".into() }],
        ..Default::default()
    };
    let part = StreamsGroupSubtopology {
        subtopology_id: "0".into(),
        source_topics: vec!["t".into()],
        state_changelog_topics: vec![own("counts", 0), own("sums", 1)],
        ..Default::default()
    };
    StreamsGroupHeartbeatRequest {
        group_id: "application".into(),
        member_id: "member".into(),
        rebalance_timeout_ms: 30_000,
        topology: Some(StreamsGroupTopology { epoch: 0, subtopologies: vec![part] }),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("process".into()),
        client_tags: Some(Vec::new()),
        ..Default::default()
    }
}

/// What the answer says about missing topics.
fn missing(answer: &StreamsGroupHeartbeatResponse) -> &str {
    let status = answer.status.iter().flatten().find(|status| status.status_code == MISSING_INTERNAL_TOPICS);
    &status.unwrap().status_detail
}

/// The next topic that is to be created.
async fn creation(one: &mut OneBroker) -> (NewTopic, Answer<Uuid>) {
    let next = async {
        loop {
            if let Ask::CreateTopic { topic, answer } = one.asks.recv().await.unwrap() {
                return (topic, answer);
            }
        }
    };
    timeout(LIMIT, next).await.unwrap()
}

/// Beats until the answer is this one.
async fn beat_until(client: &mut Client, is_it: impl Fn(&StreamsGroupHeartbeatResponse) -> bool) {
    let beating = async {
        loop {
            let answer = client.call(0, &join()).await;
            if is_it(&answer) {
                return;
            }
        }
    };
    timeout(LIMIT, beating).await.unwrap();
}

#[tokio::test]
async fn topics_are_created_once_and_again_after_a_failure() {
    let data = tempfile::tempdir().unwrap();
    let (offsets, t) = (topic(CONSUMER_OFFSETS, &[("cleanup.policy", "compact")]), topic("t", &[]));
    let mut one = OneBroker::start_with(data.path(), false, vec![offsets.clone(), t], SETTINGS).await;
    one.coordinates(&offsets).await;
    let mut client = Client::connect(one.port).await;

    assert_eq!(client.call(0, &join()).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
    let describe = StreamsGroupDescribeRequest { group_ids: vec!["application".into()], ..Default::default() };
    let described = client.call(0, &describe).await;
    assert_eq!(described.groups[0].error_code, ErrorCode::UNSUPPORTED_VERSION);

    let levels = [(STREAMS_VERSION.to_owned(), 1)].into();
    one.images.send_modify(|image| Arc::make_mut(image).features = Features { epoch: 1, levels });
    beat_until(&mut client, |answer| answer.error_code.is_none()).await;
    let mut created = [creation(&mut one).await, creation(&mut one).await];
    created.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let [(counts, to_counts), (sums, to_sums)] = created;
    assert_eq!((&*counts.name, counts.partitions, counts.replication_factor), ("counts", Some(1), None));
    assert_eq!((&*sums.name, sums.partitions, sums.replication_factor), ("sums", Some(1), Some(1)));
    assert_eq!(counts.config["cleanup.policy"], "compact");

    let answer = client.call(0, &join()).await;
    assert_eq!(missing(&answer), "Internal topics are missing: counts, sums");
    while let Ok(ask) = one.asks.try_recv() {
        assert!(!matches!(ask, Ask::CreateTopic { .. }), "both are under way: {ask:?}");
    }
    for answer in [to_counts, to_sums] {
        answer.send(Err(AskRefusal::new(ErrorCode::POLICY_VIOLATION, "no room"))).unwrap();
    }
    let failed = "Internal topics are missing: counts, sums; Creation failed: counts (no room), sums (no room).";
    beat_until(&mut client, |answer| missing(answer) == failed).await;
    // Each failure is forgotten in its time, and the next heartbeat tries again.
    let mut again = BTreeSet::new();
    let trying = async {
        while again.len() < 2 {
            client.call(0, &join()).await;
            while let Ok(ask) = one.asks.try_recv() {
                if let Ask::CreateTopic { topic, .. } = ask {
                    again.insert(topic.name);
                }
            }
        }
    };
    timeout(LIMIT, trying).await.unwrap();
    assert_eq!(again, BTreeSet::from([counts.name, sums.name]));
    one.broker.stop().await;
}

//! Share groups on one broker, over real sockets: records are with one member at a time, and come again when a
//! connection ends, a leader changes, or the time is over.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, OneBroker, topic};
use ottla_broker::image::{SHARE_GROUP_STATE, Topic};
use ottla_rules::features::{Features, SHARE_VERSION};
use ottla_wire::m78_share_fetch::{
    AcknowledgementBatch, ShareFetchPartition, ShareFetchPartitionData, ShareFetchRequest, ShareFetchTopic,
};
use ottla_wire::m79_share_acknowledge::{AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest};
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeStateData, InitializeStatePartition,
};
use ottla_wire::m84_read_share_group_state::{ReadShareGroupStateRequest, ReadStateData, ReadStatePartition};
use ottla_wire::{ErrorCode, Uuid};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(120);
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const GROUP: &str = "g";

/// A broker that leads a topic of five records and keeps the state of a group that begins with the first of them.
struct Setup {
    one: OneBroker,
    topic: Topic,
    _data: TempDir,
}

impl Setup {
    async fn start(settings: &[(&str, &str)]) -> Setup {
        let data = tempfile::tempdir().unwrap();
        let (t, states) = (topic("t", &[]), topic(SHARE_GROUP_STATE, &[("cleanup.policy", "delete")]));
        let one = OneBroker::start_with(data.path(), false, vec![t.clone(), states.clone()], settings).await;
        let levels = [(SHARE_VERSION.to_owned(), 1)].into();
        one.images.send_modify(|image| Arc::make_mut(image).features = Features { epoch: 1, levels });
        one.led(&t).await;
        one.led(&states).await;
        let partition = one.broker.replicas().get(&t, 0).unwrap();
        let batch = common::batch(&["a", "b", "c", "d", "e"]);
        partition.append_from_client(batch.bytes(), false, None).unwrap();
        let setup = Setup { one, topic: t, _data: data };
        setup.initialize(1).await;
        setup
    }

    /// As a group's coordinator does before it assigns the partition.
    async fn initialize(&self, state_epoch: i32) {
        let partition = InitializeStatePartition { partition: 0, state_epoch, start_offset: 0 };
        let topic = InitializeStateData { topic_id: self.topic.id, partitions: vec![partition] };
        let request = InitializeShareGroupStateRequest { group_id: GROUP.into(), topics: vec![topic] };
        let mut client = self.client().await;
        let initialized = async {
            while !client.call(0, &request).await.results[0].partitions[0].error_code.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, initialized).await.unwrap();
    }

    async fn client(&self) -> Client {
        Client::connect(self.one.port).await
    }

    async fn member(&self, id: &'static str) -> Member {
        Member { client: self.client().await, id, topic: self.topic.id, epoch: 0 }
    }

    /// Up to where the group is done with everything, as it is stored.
    async fn stored_start(&self) -> i64 {
        let partition = ReadStatePartition { partition: 0, leader_epoch: -1 };
        let topic = ReadStateData { topic_id: self.topic.id, partitions: vec![partition] };
        let request = ReadShareGroupStateRequest { group_id: GROUP.into(), topics: vec![topic] };
        self.client().await.call(0, &request).await.results[0].partitions[0].start_offset
    }
}

/// A member with a connection and a share session.
struct Member {
    client: Client,
    id: &'static str,
    topic: Uuid,
    epoch: i32,
}

impl Member {
    fn fetch_request(&self, max_wait_ms: i32) -> ShareFetchRequest {
        let partition = ShareFetchPartition { partition_index: 0, ..Default::default() };
        ShareFetchRequest {
            group_id: Some(GROUP.into()),
            member_id: Some(self.id.into()),
            share_session_epoch: self.epoch,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 100,
            batch_size: 100,
            topics: vec![ShareFetchTopic { topic_id: self.topic, partitions: vec![partition] }],
            ..Default::default()
        }
    }

    async fn fetch(&mut self, max_wait_ms: i32) -> Option<ShareFetchPartitionData> {
        let request = self.fetch_request(max_wait_ms);
        self.epoch += 1;
        let mut answer = self.client.call(2, &request).await;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        answer.responses.pop().map(|mut topic| topic.partitions.remove(0))
    }

    /// Fetches until there is something: what it gets, and how often that was delivered.
    async fn gets(&mut self) -> Vec<(i64, i64, i16)> {
        let fetched = async {
            loop {
                let found = self.fetch(10_000).await;
                let acquired = found.map(|found| found.acquired_records).unwrap_or_default();
                if !acquired.is_empty() {
                    return acquired
                        .iter()
                        .map(|run| (run.first_offset, run.last_offset, run.delivery_count))
                        .collect();
                }
            }
        };
        timeout(LIMIT, fetched).await.unwrap()
    }

    async fn acknowledge(&mut self, first_offset: i64, last_offset: i64, kind: i8) -> ErrorCode {
        let batch = AcknowledgementBatch { first_offset, last_offset, acknowledge_types: vec![kind] };
        let partition = AcknowledgePartition { partition_index: 0, acknowledgement_batches: vec![batch] };
        let request = ShareAcknowledgeRequest {
            group_id: Some(GROUP.into()),
            member_id: Some(self.id.into()),
            share_session_epoch: self.epoch,
            topics: vec![AcknowledgeTopic { topic_id: self.topic, partitions: vec![partition] }],
            ..Default::default()
        };
        self.epoch += 1;
        self.client.call(2, &request).await.responses[0].partitions[0].error_code
    }
}

#[tokio::test]
async fn nothing_is_served_before_every_broker_knows_share_groups() {
    let data = tempfile::tempdir().unwrap();
    let one = OneBroker::start(data.path(), false, vec![topic("t", &[])]).await;
    let mut client = Client::connect(one.port).await;
    let fetch = ShareFetchRequest { group_id: Some(GROUP.into()), member_id: Some("m".into()), ..Default::default() };
    assert_eq!(client.call(2, &fetch).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
    let acknowledge = ShareAcknowledgeRequest { group_id: fetch.group_id, ..Default::default() };
    assert_eq!(client.call(2, &acknowledge).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
    one.broker.stop().await;
}

#[tokio::test]
async fn a_record_is_with_one_member_until_its_connection_ends() {
    let setup = Setup::start(&[]).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    assert!(two.fetch(0).await.is_none_or(|found| found.acquired_records.is_empty()), "the other one has them");
    assert_eq!(one.acknowledge(0, 1, ACCEPT).await, ErrorCode::NONE);
    assert_eq!(two.acknowledge(2, 2, ACCEPT).await, ErrorCode::INVALID_RECORD_STATE);
    // Nobody says that it leaves.
    drop(one);
    assert_eq!(two.gets().await, [(2, 4, 2)]);
    assert_eq!(two.acknowledge(2, 4, ACCEPT).await, ErrorCode::NONE);
    assert!(setup.stored_start().await >= 0);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn a_fetch_that_waits_gets_what_another_member_releases() {
    let setup = Setup::start(&[]).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    two.fetch(0).await;
    let waiting = tokio::spawn(async move { two.gets().await });
    assert_eq!(one.acknowledge(3, 4, RELEASE).await, ErrorCode::NONE);
    assert_eq!(timeout(LIMIT, waiting).await.unwrap().unwrap(), [(3, 4, 2)]);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn records_come_again_when_the_last_member_has_gone() {
    let setup = Setup::start(&[("group.share.delivery.count.limit", "10")]).await;
    for round in 1..=4 {
        let mut member = setup.member("one").await;
        assert_eq!(member.gets().await, [(0, 4, round)]);
    }
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn of_many_members_that_wait_one_gets_a_record() {
    let setup = Setup::start(&[]).await;
    let mut first = setup.member("first").await;
    assert_eq!(first.gets().await, [(0, 4, 1)]);
    let ids: Vec<&'static str> =
        (0..20).map(|number| &*Box::leak(format!("member-{number}").into_boxed_str())).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for id in ids {
        let mut member = setup.member(id).await;
        member.fetch(0).await;
        waiting.spawn(async move { (member.gets().await, member) });
    }
    let partition = setup.one.broker.replicas().get(&setup.topic, 0).unwrap();
    let mut members = Vec::new(); // whose records come to others when their connections end
    for offset in 5..8 {
        partition.append_from_client(common::batch(&["f"]).bytes(), false, None).unwrap();
        let (got, member) = timeout(LIMIT, waiting.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(got, [(offset, offset, 1)]);
        members.push(member);
    }
    drop(waiting);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn a_lock_ends_in_time() {
    let settings =
        [("group.share.min.record.lock.duration.ms", "1000"), ("group.share.record.lock.duration.ms", "1000")];
    let setup = Setup::start(&settings).await;
    let (mut one, mut two) = (setup.member("one").await, setup.member("two").await);
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    assert_eq!(two.gets().await, [(0, 4, 2)]);
    assert_eq!(one.acknowledge(0, 4, ACCEPT).await, ErrorCode::INVALID_RECORD_STATE);
    assert_eq!(two.acknowledge(0, 4, ACCEPT).await, ErrorCode::NONE);
    setup.one.broker.stop().await;
}

#[tokio::test]
async fn altered_offsets_take_the_partition_from_its_members() {
    let setup = Setup::start(&[]).await;
    let mut one = setup.member("one").await;
    assert_eq!(one.gets().await, [(0, 4, 1)]);
    setup.initialize(2).await;
    assert_eq!(one.acknowledge(0, 4, ACCEPT).await, ErrorCode::NOT_LEADER_OR_FOLLOWER, "its state is another one");
    assert_eq!(one.gets().await, [(0, 4, 1)], "from the beginning again");
    setup.one.broker.stop().await;
}

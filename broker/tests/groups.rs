//! Consumer groups on one broker, over real sockets: members, offsets, restarts, and the loss of leadership.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Client, ME, OneBroker, topic};
use ottla_broker::ask::Ask;
use ottla_broker::image::{
    BrokerId, CONSUMER_OFFSETS, ClusterImage, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch, Topic,
};
use ottla_broker::replica::partition::Partition;
use ottla_rules::features::{Features, GROUP_VERSION};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::m08_offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m13_leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::m14_sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::m15_describe_groups::{DescribeGroupsRequest, DescribedGroup};
use ottla_wire::m16_list_groups::ListGroupsRequest;
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::{Bytes, ErrorCode, Str, Uuid};

const GROUP: &str = "g";
/// A subscription of the consumer protocol to the topic `t`.
const SUBSCRIPTION: &[u8] = b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff";

/// How long a test waits for what does not come.
const SHORT_TIMEOUT: &[(&str, &str)] = &[("offsets.commit.timeout.ms", "100")];

struct Cluster {
    one: OneBroker,
    offsets: Topic,
    t: Topic,
}

impl Cluster {
    fn topics() -> (Topic, Topic) {
        (topic(CONSUMER_OFFSETS, &[("cleanup.policy", "compact")]), topic("t", &[]))
    }

    async fn start(data: &Path, topics: (Topic, Topic)) -> Cluster {
        Cluster::start_with(data, topics, &[]).await
    }

    async fn start_with(data: &Path, (offsets, t): (Topic, Topic), settings: &[(&str, &str)]) -> Cluster {
        let one = OneBroker::start_with(data, false, vec![offsets.clone(), t.clone()], settings).await;
        let cluster = Cluster { one, offsets, t };
        cluster.one.coordinates(&cluster.offsets).await;
        cluster.one.led(&cluster.t).await;
        cluster
    }

    async fn client(&self) -> Client {
        Client::connect(self.one.port).await
    }

    fn change(&self, change: impl FnOnce(&mut ClusterImage)) {
        self.one.images.send_modify(|image| change(Arc::make_mut(image)));
    }

    fn change_offsets_topic(&self, change: impl FnOnce(&mut Topic)) {
        self.change(|image| change(Arc::make_mut(image.topics.get_mut(&self.offsets.id).unwrap())));
    }

    fn only_this_broker_is_in_sync(&self) {
        self.only_this_broker_is_in_sync_at(1);
    }

    fn only_this_broker_is_in_sync_at(&self, partition_epoch: i32) {
        self.change_offsets_topic(|topic| {
            topic.partitions[0].isr.truncate(1);
            topic.partitions[0].partition_epoch = PartitionEpoch(partition_epoch);
        });
    }

    fn log(&self) -> Arc<Partition> {
        self.one.broker.replicas().get(&self.offsets, 0).unwrap()
    }
}

/// The topics, with a second replica of the offsets, which is in sync and does not fetch.
fn topics_of_two_in_sync() -> (Topic, Topic) {
    let (mut offsets, t) = Cluster::topics();
    let partition = &mut offsets.partitions[0];
    partition.replicas.push(BrokerId(1));
    partition.isr.push(IsrMember { broker: BrokerId(1), incarnation: Incarnation(8) });
    (offsets, t)
}

fn join(member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 120_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(SUBSCRIPTION) }],
        ..Default::default()
    }
}

fn sync(member: &str, generation: i32, assignments: &[(&str, &'static [u8])]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member, assignment)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::from_static(assignment),
    });
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

/// The first member of the group: joins as new clients do, and leads generation 1.
async fn first_member(client: &mut Client) -> Str {
    let sent_away = client.call(9, &join("")).await;
    assert_eq!(sent_away.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let joined: JoinGroupResponse = client.call(9, &join(&sent_away.member_id)).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    let synced = client.call(5, &sync(&joined.member_id, 1, &[(&joined.member_id, b"all of t")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"all of t"[..]));
    joined.member_id
}

async fn heartbeat(client: &mut Client, member: &Str, generation: i32) -> ErrorCode {
    let beat = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: member.clone(),
        ..Default::default()
    };
    client.call(4, &beat).await.error_code
}

fn commit_of(member: &str, generation: i32, topic: Uuid, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset)| OffsetCommitRequestPartition {
        partition_index: *partition,
        committed_offset: *offset,
        committed_leader_epoch: 3,
        committed_metadata: Some("note".into()),
    });
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic {
            topic_id: topic,
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn codes(response: &OffsetCommitResponse) -> Vec<ErrorCode> {
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
}

/// Asks for partition 0 of `t`.
fn fetch_committed() -> OffsetFetchRequest {
    fetch_committed_of(GROUP, "t")
}

fn fetch_committed_of(group: &str, topic: &str) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

/// The committed offset of partition 0 of a topic.
async fn committed_in(client: &mut Client, topic: &str) -> i64 {
    let response = client.call(9, &fetch_committed_of(GROUP, topic)).await;
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    response.groups[0].topics[0].partitions[0].committed_offset
}

/// The committed offset of partition 0 of `t`: offset, leader epoch and metadata.
async fn committed(client: &mut Client) -> (i64, i32, Str) {
    let response = client.call(9, &fetch_committed()).await;
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    let partition = response.groups[0].topics[0].partitions[0].clone();
    (partition.committed_offset, partition.committed_leader_epoch, partition.metadata.unwrap())
}

async fn describe(client: &mut Client) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() };
    client.call(6, &request).await.groups.remove(0)
}

#[tokio::test]
async fn a_restart_finds_generation_members_and_offsets_again() {
    let data = tempfile::tempdir().unwrap();
    let topics = Cluster::topics();
    let cluster = Cluster::start(data.path(), topics.clone()).await;
    let mut client = cluster.client().await;
    let member = first_member(&mut client).await;
    let commit = commit_of(&member, 1, cluster.t.id, &[(0, 42), (1, 7)]);
    let expected = [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    assert_eq!(codes(&client.call(10, &commit).await), expected);
    let nowhere = commit_of(&member, 1, Uuid::from_u128(99), &[(0, 1)]);
    assert_eq!(codes(&client.call(10, &nowhere).await), [ErrorCode::UNKNOWN_TOPIC_ID]);
    assert!(cluster.one.broker.stop().await);

    let cluster = Cluster::start(data.path(), topics).await;
    let mut client = cluster.client().await;
    assert_eq!(committed(&mut client).await, (42, 3, "note".into()));
    let group = describe(&mut client).await;
    assert_eq!((&*group.group_state, &*group.protocol_data), ("Stable", "range"));
    assert_eq!((&group.members[0].member_id, &group.members[0].member_assignment[..]), (&member, &b"all of t"[..]));
    assert_eq!(&*group.members[0].client_host, "/127.0.0.1");
    assert_eq!(heartbeat(&mut client, &member, 1).await, ErrorCode::NONE);
    assert_eq!(heartbeat(&mut client, &member, 2).await, ErrorCode::ILLEGAL_GENERATION);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn who_waits_when_leadership_is_lost_must_look_for_the_new_coordinator() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let (mut a, mut b) = (cluster.client().await, cluster.client().await);
    let member = first_member(&mut a).await;
    let commit = commit_of(&member, 1, cluster.t.id, &[(0, 42)]);
    assert_eq!(codes(&a.call(10, &commit).await), [ErrorCode::NONE]);
    b.send(3, &join("")).await;
    while heartbeat(&mut a, &member, 1).await != ErrorCode::REBALANCE_IN_PROGRESS {}

    cluster.change_offsets_topic(|topic| {
        topic.partitions[0].leader = Some(BrokerId(1));
        (topic.partitions[0].leader_epoch, topic.partitions[0].partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    });
    let (_, response) = b.receive::<JoinGroupRequest>(3).await;
    assert_eq!(response.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(heartbeat(&mut a, &member, 1).await, ErrorCode::NOT_COORDINATOR);
    assert_eq!(codes(&a.call(10, &commit).await), [ErrorCode::NOT_COORDINATOR]);
    assert_eq!(a.call(9, &join(&member)).await.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(a.call(9, &fetch_committed()).await.groups[0].error_code, ErrorCode::NOT_COORDINATOR);

    // It comes back in another epoch: read from the log again.
    cluster.change_offsets_topic(|topic| {
        topic.partitions[0].leader = Some(ME.id);
        (topic.partitions[0].leader_epoch, topic.partitions[0].partition_epoch) = (LeaderEpoch(2), PartitionEpoch(2));
    });
    while describe(&mut a).await.error_code != ErrorCode::NONE {}
    assert_eq!(describe(&mut a).await.group_state, "Stable");
    assert_eq!(committed(&mut a).await.0, 42);
    assert_eq!(heartbeat(&mut a, &member, 1).await, ErrorCode::NONE);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn members_notice_nothing_of_a_new_leader_epoch_under_the_same_leader() {
    let data = tempfile::tempdir().unwrap();
    let topics = Cluster::topics();
    let cluster = Cluster::start(data.path(), topics.clone()).await;
    let (mut a, mut b) = (cluster.client().await, cluster.client().await);
    let member = first_member(&mut a).await;
    let sent_away = b.call(9, &join("")).await;
    b.send(9, &join(&sent_away.member_id)).await;
    while heartbeat(&mut a, &member, 1).await != ErrorCode::REBALANCE_IN_PROGRESS {}

    // A replica has left.
    cluster.change_offsets_topic(|topic| {
        (topic.partitions[0].leader_epoch, topic.partitions[0].partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    });
    common::until("the epoch begins", || cluster.log().leader_epoch() == Some(LeaderEpoch(1))).await;
    assert_eq!(heartbeat(&mut a, &member, 1).await, ErrorCode::REBALANCE_IN_PROGRESS);
    let joined = a.call(9, &join(&member)).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 2));
    let (_, joined) = b.receive::<JoinGroupRequest>(9).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 2), "it waited all the time");
    let synced = a.call(5, &sync(&member, 2, &[(&member, b"half of t")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"half of t"[..]));
    assert_eq!(codes(&a.call(10, &commit_of(&member, 2, cluster.t.id, &[(0, 42)])).await), [ErrorCode::NONE]);
    assert_eq!(committed(&mut a).await.0, 42);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_commit_is_answered_once_the_in_sync_replicas_have_it() {
    let data = tempfile::tempdir().unwrap();
    let patience = [("offsets.commit.timeout.ms", "120000")];
    let cluster = Cluster::start_with(data.path(), topics_of_two_in_sync(), &patience).await;
    let (mut client, mut other) = (cluster.client().await, cluster.client().await);

    let before = cluster.log().log_end.get();
    client.send(10, &commit_of("", -1, cluster.t.id, &[(0, 42)])).await;
    cluster.log().log_end.reached(before + 1).await;
    assert_eq!(committed(&mut other).await.0, -1, "not there before it is safe");
    let unanswered = client.stream.try_read(&mut [0]).unwrap_err();
    assert_eq!(unanswered.kind(), std::io::ErrorKind::WouldBlock);

    // The follower falls out of the in-sync replicas: nothing is missing any more.
    cluster.only_this_broker_is_in_sync();
    let (_, response) = client.receive::<OffsetCommitRequest>(10).await;
    assert_eq!(codes(&response), [ErrorCode::NONE]);
    assert_eq!(committed(&mut other).await.0, 42);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_commit_that_is_replicated_too_late_is_refused_and_there_in_the_end() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(data.path(), topics_of_two_in_sync(), SHORT_TIMEOUT).await;
    let (mut a, mut b) = (cluster.client().await, cluster.client().await);
    let late = ErrorCode::COORDINATOR_NOT_AVAILABLE;

    // The replica does not fetch. Each is late by its own clock, also behind another that is late already.
    a.send(10, &commit_of("", -1, cluster.t.id, &[(0, 42)])).await;
    assert_eq!(codes(&a.receive::<OffsetCommitRequest>(10).await.1), [late]);
    assert_eq!(codes(&b.call(10, &commit_of("", -1, cluster.t.id, &[(0, 43)])).await), [late]);
    assert_eq!(committed(&mut a).await.0, -1, "not there before it is safe");

    cluster.only_this_broker_is_in_sync();
    while committed(&mut a).await.0 != 43 {}
    assert_eq!(codes(&b.call(10, &commit_of("", -1, cluster.t.id, &[(0, 44)])).await), [ErrorCode::NONE]);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn an_assignment_that_is_replicated_too_late_is_refused_and_made_again() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(data.path(), topics_of_two_in_sync(), SHORT_TIMEOUT).await;
    let mut client = cluster.client().await;
    let sent_away = client.call(9, &join("")).await;
    let member = sent_away.member_id;
    let joined = client.call(9, &join(&member)).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
    let refused = client.call(5, &sync(&member, 1, &[(&member, b"late")])).await;
    assert_eq!(refused.error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(heartbeat(&mut client, &member, 1).await, ErrorCode::REBALANCE_IN_PROGRESS);

    cluster.only_this_broker_is_in_sync();
    cluster.log().high_watermark.reached(cluster.log().log_end.get()).await;
    let joined = client.call(9, &join(&member)).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 2));
    let synced = client.call(5, &sync(&member, 2, &[(&member, b"in time")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"in time"[..]));
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn the_offsets_of_a_deleted_topic_are_not_those_of_the_next_of_its_name() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let mut client = cluster.client().await;
    let response = client.call(10, &commit_of("", -1, cluster.t.id, &[(0, 42)])).await;
    assert_eq!(codes(&response), [ErrorCode::NONE]);
    let before = cluster.log().log_end.get();

    let again = topic("t", &[]);
    cluster.change(|image| {
        let gone = image.topics.remove(&cluster.t.id).unwrap();
        image.deleted.insert(gone.id, gone);
        image.topic_names.insert("t".into(), again.id);
        image.topics.insert(again.id, Arc::new(again.clone()));
    });
    while committed(&mut client).await.0 == 42 {}
    cluster.log().high_watermark.reached(before + 1).await;
    let response = client.call(10, &commit_of("", -1, again.id, &[(0, 5)])).await;
    assert_eq!(codes(&response), [ErrorCode::NONE]);
    assert_eq!(committed(&mut client).await.0, 5);
    let mut names = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        !names.any(|name| name.to_string_lossy().ends_with("-stray")),
        "the old topic's files are gone, not quarantined"
    );
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn offsets_of_a_topic_that_is_not_seen_stay_until_its_tombstone_or_another_of_its_name() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let others = ["u", "v", "w"].map(|name| topic(name, &[]));
    cluster.change(|image| others.iter().for_each(|topic| add(image, topic)));
    for topic in others.iter().chain([&cluster.t]) {
        cluster.one.led(topic).await;
    }
    let mut client = cluster.client().await;
    for topic in others.iter().chain([&cluster.t]) {
        let response = client.call(10, &commit_of("", -1, topic.id, &[(0, 42)])).await;
        assert_eq!(codes(&response), [ErrorCode::NONE]);
    }
    let before = cluster.log().log_end.get();

    // Objects are lost, and a list shows it; another topic is really deleted.
    let [u, v, w] = &others;
    cluster.change(|image| {
        remove(image, &cluster.t);
        remove(image, v);
        bury(image, u);
    });
    while committed_in(&mut client, "u").await == 42 {}
    assert_eq!((committed_in(&mut client, "t").await, committed_in(&mut client, "v").await), (42, 42));
    // What was lost is found again; in the place of the other stands a new one, whose deletion nobody saw.
    let again = topic("v", &[]);
    cluster.change(|image| {
        add(image, &cluster.t);
        add(image, &again);
        bury(image, w);
    });
    while committed_in(&mut client, "w").await == 42 {}
    assert_eq!((committed_in(&mut client, "t").await, committed_in(&mut client, "v").await), (42, -1));
    cluster.log().high_watermark.reached(before + 3).await;
    assert_eq!(cluster.log().log_end.get(), before + 3, "a tombstone for u, v and w each, and none for t");
    cluster.one.broker.stop().await;
}

fn add(image: &mut ClusterImage, topic: &Topic) {
    image.topic_names.insert(topic.name.clone(), topic.id);
    image.topics.insert(topic.id, Arc::new(topic.clone()));
}

fn remove(image: &mut ClusterImage, topic: &Topic) {
    image.topic_names.remove(&topic.name);
    image.topics.remove(&topic.id);
}

fn bury(image: &mut ClusterImage, topic: &Topic) {
    remove(image, topic);
    image.deleted.insert(topic.id, Arc::new(topic.clone()));
}

#[tokio::test]
async fn who_is_cut_off_and_deserted_coordinates_nothing_until_a_follower_comes_or_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("replica.lag.time.max.ms", "500"), ("offsets.commit.timeout.ms", "120000")];
    let cluster = Cluster::start_with(data.path(), Cluster::topics(), &settings).await;
    let (mut a, mut b) = (cluster.client().await, cluster.client().await);
    let member = first_member(&mut a).await;
    let commit = |offset| commit_of(&member, 1, cluster.t.id, &[(0, offset)]);
    assert_eq!(codes(&a.call(10, &commit(42)).await), [ErrorCode::NONE]);
    // Another member of the ISR, of which nothing is heard.
    cluster.change_offsets_topic(|topic| {
        topic.partitions[0].replicas.push(BrokerId(1));
        topic.partitions[0].isr.push(IsrMember { broker: BrokerId(1), incarnation: Incarnation(8) });
        topic.partitions[0].partition_epoch = PartitionEpoch(1);
    });
    let before = cluster.log().log_end.get();
    // Answered at once while the image is not acted on yet.
    let mut end = before;
    loop {
        b.send(10, &commit(43)).await;
        end += 1;
        cluster.log().log_end.reached(end).await;
        tokio::task::yield_now().await;
        if cluster.log().high_watermark.get() < end {
            break;
        }
        assert_eq!(codes(&b.receive::<OffsetCommitRequest>(10).await.1), [ErrorCode::NONE]);
    }

    let cut_off = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_cut_off = cut_off.clone();
    let is_cut_off = move || is_cut_off.load(std::sync::atomic::Ordering::SeqCst);
    let giving_way = tokio::spawn(cluster.one.broker.replicas().clone().give_way(is_cut_off));
    assert_eq!(codes(&b.receive::<OffsetCommitRequest>(10).await.1), [ErrorCode::NOT_COORDINATOR]);
    assert_eq!(a.call(9, &fetch_committed()).await.groups[0].error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(heartbeat(&mut a, &member, 1).await, ErrorCode::NOT_COORDINATOR);
    assert_eq!(describe(&mut a).await.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(a.call(9, &join(&member)).await.error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(a.call(5, &ListGroupsRequest::default()).await.groups, []);

    // Nobody else led meanwhile: what was appended before is committed after all, and known.
    cut_off.store(false, std::sync::atomic::Ordering::SeqCst);
    cluster.only_this_broker_is_in_sync_at(2);
    while describe(&mut a).await.error_code != ErrorCode::NONE {}
    assert_eq!(committed(&mut a).await.0, 43);
    assert_eq!(heartbeat(&mut a, &member, 1).await, ErrorCode::NONE);
    giving_way.abort();
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_tail_that_is_not_committed_keeps_only_its_own_groups_waiting() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(data.path(), Cluster::topics(), SHORT_TIMEOUT).await;
    let mut client = cluster.client().await;
    let other = OffsetCommitRequest { group_id: "other".into(), ..commit_of("", -1, cluster.t.id, &[(0, 7)]) };
    assert_eq!(codes(&client.call(10, &commit_of("", -1, cluster.t.id, &[(0, 42)])).await), [ErrorCode::NONE]);
    assert_eq!(codes(&client.call(10, &other).await), [ErrorCode::NONE]);
    // Another member of the ISR does not fetch: what is written now is not committed, and its fate not known after the
    // fail-over.
    cluster.change_offsets_topic(|topic| {
        topic.partitions[0].replicas.push(BrokerId(1));
        topic.partitions[0].isr.push(IsrMember { broker: BrokerId(1), incarnation: Incarnation(8) });
        topic.partitions[0].partition_epoch = PartitionEpoch(1);
    });
    let commit = commit_of("", -1, cluster.t.id, &[(0, 43)]);
    while codes(&client.call(10, &commit).await) != [ErrorCode::COORDINATOR_NOT_AVAILABLE] {}
    for (epoch, leader) in [(1, BrokerId(1)), (2, ME.id)] {
        cluster.change_offsets_topic(|topic| {
            topic.partitions[0].leader = Some(leader);
            (topic.partitions[0].leader_epoch, topic.partitions[0].partition_epoch) =
                (LeaderEpoch(epoch), PartitionEpoch(epoch));
            topic.partitions[0].partition_epoch.0 += 1;
        });
        let led = || cluster.log().leader_epoch() == (leader == ME.id).then_some(LeaderEpoch(epoch));
        common::until("the role is taken", led).await;
    }

    let fetch = |group| fetch_committed_of(group, "t");
    let answered = async { while client.call(9, &fetch("other")).await.groups[0].error_code != ErrorCode::NONE {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), answered).await.expect("it is not of the tail");
    let code = client.call(9, &fetch(GROUP)).await.groups[0].error_code;
    assert_eq!(code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, "42 may be too old, and 43 may be lost");
    let listed = client.call(5, &ListGroupsRequest::default()).await;
    assert_eq!((listed.error_code, listed.groups.len()), (ErrorCode::NONE, 2));

    cluster.only_this_broker_is_in_sync_at(4);
    while client.call(9, &fetch(GROUP)).await.groups[0].error_code != ErrorCode::NONE {}
    assert_eq!(committed(&mut client).await.0, 43);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let mut client = cluster.client().await;
    let member = first_member(&mut client).await;

    for (states, types, expected) in [
        (&[][..], &[][..], 1),
        (&["stable"], &[], 1),
        (&["Empty"], &[], 0),
        (&[], &["CLASSIC"], 1),
        (&["stable", "empty"], &["consumer"], 0),
    ] {
        let filter = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
        let request = ListGroupsRequest { states_filter: filter(states), types_filter: filter(types) };
        assert_eq!(client.call(5, &request).await.groups.len(), expected, "{states:?} {types:?}");
    }
    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.into(), "none".into()] };
    let code = |response: &ottla_wire::DeleteGroupsResponse, n: usize| response.results[n].error_code;
    let response = client.call(2, &delete).await;
    assert_eq!((code(&response, 0), code(&response, 1)), (ErrorCode::NON_EMPTY_GROUP, ErrorCode::GROUP_ID_NOT_FOUND));

    let leave = LeaveGroupRequest {
        group_id: GROUP.into(),
        members: vec![MemberIdentity { member_id: member, ..Default::default() }],
        ..Default::default()
    };
    let left = client.call(5, &leave).await;
    assert_eq!((left.error_code, left.members[0].error_code), (ErrorCode::NONE, ErrorCode::NONE));
    assert_eq!(describe(&mut client).await.group_state, "Empty");
    assert_eq!(code(&client.call(2, &delete).await, 0), ErrorCode::NONE);
    let gone = describe(&mut client).await;
    assert_eq!((gone.error_code, &*gone.group_state), (ErrorCode::GROUP_ID_NOT_FOUND, "Dead"));
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_group_is_deleted_in_batches_that_the_topic_accepts() {
    let data = tempfile::tempdir().unwrap();
    let offsets = topic(CONSUMER_OFFSETS, &[("cleanup.policy", "compact"), ("max.message.bytes", "2000")]);
    let cluster = Cluster::start(data.path(), (offsets, topic("t", &[]))).await;
    let mut client = cluster.client().await;
    // Its two tombstones have more than 2,000 bytes.
    let group: Str = "g".repeat(1200).into();
    let commit = OffsetCommitRequest { group_id: group.clone(), ..commit_of("", -1, cluster.t.id, &[(0, 42)]) };
    assert_eq!(codes(&client.call(10, &commit).await), [ErrorCode::NONE]);
    let delete = DeleteGroupsRequest { groups_names: vec![group] };
    assert_eq!(client.call(2, &delete).await.results[0].error_code, ErrorCode::NONE);
    assert_eq!(client.call(5, &ListGroupsRequest::default()).await.groups, []);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_member_that_names_too_many_topics_is_refused_and_the_next_one_joins() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let levels = [(GROUP_VERSION.to_owned(), 1)].into();
    cluster.change(|image| image.features = Features { epoch: 1, levels });
    let joining = |member: &str, topics: Vec<Str>| ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics),
        topic_partitions: Some(vec![]),
        ..Default::default()
    };
    let mut client = cluster.client().await;
    assert_eq!(client.call(1, &joining("first", vec!["t".into()])).await.error_code, ErrorCode::NONE);
    // 1.2 MB in one record.
    let many = (0..6000).map(|number| format!("{number:0>200}").into()).collect();
    assert_eq!(client.call(1, &joining("greedy", many)).await.error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
    assert_eq!(client.call(1, &joining("second", vec!["t".into()])).await.error_code, ErrorCode::NONE);
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn a_classic_member_that_says_too_much_is_refused_and_the_group_continues_without() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path(), Cluster::topics()).await;
    let mut client = cluster.client().await;
    let sent_away = client.call(9, &join("")).await;
    let metadata = Bytes::from(vec![0; 1_200_000]);
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata }];
    let joined = client.call(9, &JoinGroupRequest { protocols, ..join(&sent_away.member_id) }).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
    let synced = client.call(5, &sync(&joined.member_id, 1, &[(&joined.member_id, b"all of t")])).await;
    assert_eq!(synced.error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
    let joined = client.call(9, &join(&joined.member_id)).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 2));
    let synced = client.call(5, &sync(&joined.member_id, 2, &[(&joined.member_id, b"all of t")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"all of t"[..]));
    cluster.one.broker.stop().await;
}

#[tokio::test]
async fn the_first_question_for_a_coordinator_makes_the_topic() {
    let data = tempfile::tempdir().unwrap();
    let mut one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    let find = FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..Default::default() };
    let response = client.call(4, &find).await;
    assert_eq!(response.coordinators[0].error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let Some(Ask::CreateTopic { topic: asked, .. }) = one.asks.recv().await else { panic!("another ask") };
    assert_eq!((&*asked.name, asked.partitions, asked.replication_factor), (CONSUMER_OFFSETS, Some(50), Some(1)));
    let config: Vec<_> = asked.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        config,
        [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "104857600")]
    );

    let made = topic(CONSUMER_OFFSETS, &[]);
    one.images.send_modify(|image| {
        let image = Arc::make_mut(image);
        image.topic_names.insert(CONSUMER_OFFSETS.into(), made.id);
        image.topics.insert(made.id, Arc::new(made));
    });
    let response = client.call(4, &find).await;
    let coordinator = &response.coordinators[0];
    assert_eq!(coordinator.error_code, ErrorCode::NONE);
    assert_eq!((coordinator.node_id, coordinator.port), (ME.id.0, i32::from(one.port)));
    one.broker.stop().await;
}

#[tokio::test]
async fn an_internal_topic_that_is_made_by_its_name_has_its_own_shape() {
    let data = tempfile::tempdir().unwrap();
    let mut one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    for (name, cleanup) in
        [(CONSUMER_OFFSETS, "compact"), ("__transaction_state", "compact"), ("__share_group_state", "delete")]
    {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request =
            MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() };
        let answer = client.call(12, &request).await;
        assert!(answer.topics[0].is_internal, "{name}");
        let Some(Ask::CreateTopic { topic: asked, .. }) = one.asks.recv().await else { panic!("another ask") };
        assert_eq!((&*asked.name, asked.partitions), (name, Some(50)));
        assert_eq!(asked.config.get("cleanup.policy").map(String::as_str), Some(cleanup), "{name}");
    }
    one.broker.stop().await;
}

#[tokio::test]
async fn the_first_question_for_a_transaction_coordinator_makes_the_topic() {
    let data = tempfile::tempdir().unwrap();
    let mut one = OneBroker::start(data.path(), false, vec![]).await;
    let mut client = Client::connect(one.port).await;
    let not_yet = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["tx".into()], ..Default::default() };
    let coordinator = client.call(6, &find).await.coordinators.remove(0);
    assert_eq!((coordinator.error_code, coordinator.node_id), (not_yet, -1));
    let Some(Ask::CreateTopic { topic, .. }) = one.asks.recv().await else { panic!("another ask") };
    assert_eq!(
        (&*topic.name, topic.partitions, topic.config.get("cleanup.policy").map(String::as_str)),
        ("__transaction_state", Some(50), Some("compact"))
    );
    let init = InitProducerIdRequest {
        transactional_id: Some("tx".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    assert_eq!(client.call(5, &init).await.error_code, ErrorCode::NOT_COORDINATOR);
    one.broker.stop().await;
}

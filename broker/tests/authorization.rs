//! What clients may do, over real sockets: every refusal as Kafka's clients know it, and nothing else said about what a
//! client may not see. Everybody on a plain listener is `User:ANONYMOUS`, so the rules are about that principal.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::sync::Arc;

use common::{Client, ME, OneBroker, topic};
use ottla_access::{
    Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, ResourceType,
};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_broker::image::{Assignment, Broker, BrokerId, CONSUMER_OFFSETS, Endpoint, IsrMember};
use ottla_crds::names;
use ottla_rules::features::{Features, GROUP_VERSION};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::m11_join_group::JoinGroupRequest;
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::m35_describe_log_dirs::DescribeLogDirsRequest;
use ottla_wire::m43_elect_leaders::ElectLeadersRequest;
use ottla_wire::m46_list_partition_reassignments::ListPartitionReassignmentsRequest;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::{ErrorCode, Str, Uuid};
use tempfile::TempDir;

/// A broker that leads the topic `t`, with rules.
struct Setup {
    one: OneBroker,
    id: Uuid,
    _data: TempDir,
}

impl Setup {
    async fn start() -> Setup {
        let data = tempfile::tempdir().unwrap();
        let t = topic("t", &[]);
        let one = OneBroker::start_with(data.path(), false, vec![t.clone()], &[]).await;
        one.led(&t).await;
        let setup = Setup { one, id: t.id, _data: data };
        setup.allow(&[]);
        setup
    }

    /// From now on everybody may do everything.
    fn lift(&self) {
        self.set(None);
    }

    /// From now on everybody may do just this.
    fn allow(&self, grants: &[(Operation, ResourceType, &str)]) {
        let acl = |(operation, kind, name): &(Operation, ResourceType, &str)| Acl {
            kind: *kind,
            principal: Principal::ANONYMOUS,
            pattern: PatternType::Literal,
            name: Str::from(*name),
            host: AclHost::new("*"),
            operation: AclOperation::One(*operation),
            permission: Permission::Allow,
        };
        self.set(Some(Arc::new(Authorizer::new([], false, grants.iter().map(acl)))));
    }

    fn set(&self, authorizer: Option<Arc<Authorizer>>) {
        self.one.images.send_modify(|image| {
            let image = Arc::make_mut(image);
            let mut access = (*image.access).clone();
            access.authorizer = authorizer;
            image.access = Arc::new(access);
        });
    }

    /// Shows a second broker, live or not, with or without certificates, and other entries of the partition of `t`.
    fn show(&self, alive: bool, has_certificate: bool, change: impl FnOnce(&mut Assignment)) {
        self.one.images.send_modify(|image| {
            let image = Arc::make_mut(image);
            let mut me = image.brokers[&ME.id].clone();
            let secure = Endpoint { host: "127.0.0.1".into(), port: 9091 };
            me.endpoints.insert(names::REPLICATION_LISTENER.into(), secure.clone());
            let mut other = Broker { id: BrokerId(1), alive, ..me.clone() };
            if !has_certificate {
                other.endpoints.remove(names::REPLICATION_LISTENER);
            }
            image.brokers.extend([(ME.id, me), (other.id, other)]);
            change(&mut Arc::make_mut(image.topics.get_mut(&self.id).unwrap()).partitions[0]);
            image.plain_in_sync = image.counts_on_dead_plain_broker();
        });
    }

    async fn client(&self) -> Client {
        Client::connect(self.one.port).await
    }

    /// The codes of Metadata for a name, and the names in an answer about all topics.
    async fn metadata(&self, name: &str) -> (ErrorCode, bool, Vec<Str>) {
        let mut client = self.client().await;
        let wanted = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![wanted]), ..Default::default() };
        let named = client.call(12, &request).await.topics.remove(0);
        let all = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await.topics;
        (named.error_code, !named.topic_id.is_nil(), all.into_iter().filter_map(|topic| topic.name).collect())
    }

    async fn fetch(&self, replica_id: i32, topic_id: Uuid) -> ErrorCode {
        let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
        let topics = vec![FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { replica_id, session_epoch: -1, max_bytes: 1 << 20, topics, ..Default::default() };
        self.client().await.call(13, &request).await.responses[0].partitions[0].error_code
    }

    async fn list_offsets(&self, name: &str) -> ErrorCode {
        let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: name.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        self.client().await.call(7, &request).await.topics[0].partitions[0].error_code
    }
}

const NONE: ErrorCode = ErrorCode::NONE;
const DENIED_TOPIC: ErrorCode = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
const UNKNOWN: ErrorCode = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_a_client_may_not_describe_look_like_topics_that_do_not_exist() {
    let setup = Setup::start().await;
    for name in ["t", "missing"] {
        assert_eq!(setup.metadata(name).await, (DENIED_TOPIC, false, vec![]), "{name}");
        assert_eq!(setup.list_offsets(name).await, DENIED_TOPIC, "{name}");
    }
    let describe = |name| (Operation::Describe, ResourceType::Topic, name);
    setup.allow(&[describe("t"), describe("missing")]);
    assert_eq!(setup.metadata("t").await, (NONE, true, vec!["t".into()]));
    assert_eq!(setup.list_offsets("t").await, NONE);
    assert_eq!(setup.list_offsets("missing").await, UNKNOWN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_for_those_who_may_read_them_and_followers_must_be_brokers() {
    let setup = Setup::start().await;
    let unknown = Uuid::from_u128(7);
    assert_eq!(setup.fetch(-1, setup.id).await, DENIED_TOPIC);
    assert_eq!(setup.fetch(-1, unknown).await, ErrorCode::UNKNOWN_TOPIC_ID, "ids are no secret");
    setup.allow(&[(Operation::Read, ResourceType::Topic, "t")]);
    assert_eq!(setup.fetch(-1, setup.id).await, NONE);
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "who reads is no broker");
    assert_eq!(setup.list_offsets("t").await, NONE, "Read implies Describe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactional_batch_is_denied_once() {
    let setup = Setup::start().await;
    let mut builder = BatchBuilder::new(Codec::None).producer(7, 0, 0).transactional();
    builder.push(NewRecord { timestamp: 1_700_000_000_000, value: Some(b"a"), ..NewRecord::default() });
    let partition = PartitionProduceData { index: 0, records: Some(builder.build().bytes().clone().into()) };
    let request = ProduceRequest {
        transactional_id: Some("x".into()),
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() }],
    };
    let write = |kind, name| (Operation::Write, kind, name);
    let denied = || {
        let scraped = setup.one.metrics.scrape();
        let line = scraped.lines().find_map(|l| l.strip_prefix("ottla_authorization_denied_total{api=\"Produce\"} "));
        line.map(str::to_owned)
    };
    for (grants, code, all) in [
        (vec![], ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "1"),
        (vec![write(ResourceType::TransactionalId, "x")], DENIED_TOPIC, "2"),
    ] {
        setup.allow(&grants);
        let answer = setup.client().await.call(12, &request).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code);
        assert_eq!(denied().as_deref(), Some(all));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_live_brokers_without_certificates_keep_the_plain_way_between_brokers_open() {
    let setup = Setup::start().await;
    let show = |alive, has_certificate| setup.show(alive, has_certificate, |_| {});
    show(true, false);
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it was not restarted yet");
    show(false, false);
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it is dead");
    show(true, false);
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it is live again, and still without");
    assert_eq!(setup.fetch(-1, setup.id).await, DENIED_TOPIC, "a consumer is no broker");
    show(true, true);
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "brokers have certificates");
    // Also where everybody may do everything else.
    setup.lift();
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "brokers have certificates");
    assert_eq!(setup.fetch(-1, setup.id).await, NONE);
    show(true, false);
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "without a certificate, and without authorization");
}

/// An API server that was away for long, or an operator that woke up from a pause, can show all of them dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_broker_has_certificates_the_plain_way_is_open_even_if_all_look_dead() {
    let setup = Setup::start().await;
    setup.one.images.send_modify(|image| {
        let brokers = &mut Arc::make_mut(image).brokers;
        let other = Broker { id: BrokerId(1), ..brokers[&ME.id].clone() };
        brokers.insert(other.id, other);
        brokers.values_mut().for_each(|broker| broker.alive = false);
    });
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "there is no other way");
    assert_eq!(setup.fetch(-1, setup.id).await, DENIED_TOPIC, "a consumer is no broker");
}

/// While the API server is away, a broker that came back still looks dead, and acks=all waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_broker_without_certificates_that_others_count_on_keeps_the_plain_way_open() {
    let setup = Setup::start().await;
    let member = |id| IsrMember { broker: BrokerId(id), incarnation: ME.incarnation };
    let isr = |alive, has_certificate, isr: &[i32], leader: Option<i32>| {
        setup.show(alive, has_certificate, |entry| {
            entry.replicas = vec![ME.id, BrokerId(1)];
            entry.isr = isr.iter().map(|id| member(*id)).collect();
            entry.leader = leader.map(BrokerId);
            entry.partition_epoch = entry.partition_epoch.next().unwrap();
        });
    };
    isr(false, false, &[0], Some(0));
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it left the ISR");
    isr(false, false, &[0, 1], Some(0));
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it is in sync");
    isr(false, false, &[0, 1], Some(1));
    assert_ne!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it leads, and others follow");
    isr(false, false, &[1], Some(1));
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "nobody waits for it");
    isr(false, false, &[0, 1], None);
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "nobody serves the partition");
    isr(false, true, &[0, 1], Some(0));
    assert_eq!(setup.fetch(1, setup.id).await, DENIED_TOPIC, "it has a certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_needs_describe_to_learn_that_a_topic_exists() {
    let setup = Setup::start().await;
    let delete = async |name: Option<&str>, topic_id| {
        let wanted = DeleteTopicState { name: name.map(Str::from), topic_id };
        let request = DeleteTopicsRequest { topics: vec![wanted], timeout_ms: 1000, ..Default::default() };
        let answer = setup.client().await.call(6, &request).await.responses.remove(0);
        (answer.error_code, answer.name.is_some(), !answer.topic_id.is_nil())
    };
    assert_eq!(delete(Some("t"), Uuid::nil()).await, (DENIED_TOPIC, true, false));
    assert_eq!(delete(Some("missing"), Uuid::nil()).await, (DENIED_TOPIC, true, false));
    assert_eq!(delete(None, setup.id).await, (DENIED_TOPIC, false, true));
    setup.allow(&[(Operation::Describe, ResourceType::Topic, "t")]);
    assert_eq!(delete(Some("t"), Uuid::nil()).await, (DENIED_TOPIC, true, false));
    assert_eq!(delete(None, setup.id).await, (DENIED_TOPIC, true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_ids_and_the_cluster_have_codes_of_their_own() {
    let setup = Setup::start().await;
    let mut client = setup.client().await;
    let join = JoinGroupRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(client.call(5, &join).await.error_code, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    let beat = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(client.call(3, &beat).await.error_code, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    let end = EndTxnRequest { transactional_id: "x".into(), ..Default::default() };
    assert_eq!(client.call(3, &end).await.error_code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    let cluster = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    let init = InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..Default::default() };
    assert_eq!(client.call(4, &init).await.error_code, cluster);
    let init = InitProducerIdRequest { transactional_id: Some("x".into()), ..init };
    assert_eq!(client.call(4, &init).await.error_code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(client.call(4, &DescribeLogDirsRequest::default()).await.error_code, cluster);
    assert_eq!(client.call(2, &ElectLeadersRequest::default()).await.error_code, cluster);
    assert_eq!(client.call(0, &ListPartitionReassignmentsRequest::default()).await.error_code, cluster);

    setup.allow(&[
        (Operation::Read, ResourceType::Group, "g"),
        (Operation::Describe, ResourceType::Cluster, ResourceType::CLUSTER_NAME),
    ]);
    assert_ne!(client.call(3, &beat).await.error_code, ErrorCode::GROUP_AUTHORIZATION_FAILED);
    assert_eq!(client.call(4, &DescribeLogDirsRequest::default()).await.error_code, NONE);
    assert_eq!(client.call(2, &ElectLeadersRequest::default()).await.error_code, cluster);
}

/// A member of the consumer protocol subscribes to `.*`: what it is assigned. Waits until it has something, for as long
/// as a test may.
async fn assigned_by_expression(setup: &Setup, group: &str) -> Vec<Uuid> {
    let mut client = setup.client().await;
    let mut request = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: Uuid::new_v4().to_string().into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![]),
        subscribed_topic_regex: Some(".*".into()),
        topic_partitions: Some(vec![]),
        ..Default::default()
    };
    loop {
        let answer = client.call(1, &request).await;
        assert_eq!(answer.error_code, NONE);
        request.member_epoch = answer.member_epoch;
        let assigned = answer.assignment.map(|assignment| assignment.topic_partitions).unwrap_or_default();
        if !assigned.is_empty() {
            return assigned.into_iter().map(|topic| topic.topic_id).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_stands_only_for_topics_that_the_member_may_describe() {
    let data = tempfile::tempdir().unwrap();
    let (t, hidden, offsets) = (topic("t", &[]), topic("hidden", &[]), topic(CONSUMER_OFFSETS, &[]));
    let one = OneBroker::start_with(data.path(), false, vec![t.clone(), hidden, offsets.clone()], &[]).await;
    let levels = [(GROUP_VERSION.to_owned(), 1)].into();
    one.images.send_modify(|image| Arc::make_mut(image).features = Features { epoch: 1, levels });
    one.led(&t).await;
    one.coordinates(&offsets).await;
    let setup = Setup { one, id: t.id, _data: data };
    setup.allow(&[(Operation::Read, ResourceType::Group, "g"), (Operation::Describe, ResourceType::Topic, "t")]);
    assert_eq!(assigned_by_expression(&setup, "g").await, [setup.id]);
}

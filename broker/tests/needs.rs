//! What each API needs, as a table: without these rights it is refused, with them it is not, and an API without a row
//! fails. The principal is `User:ANONYMOUS`; the topic `t` exists and is led here, everything else does not exist.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use common::{Client, OneBroker, topic};
use ottla_access::{
    Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, ResourceType,
};
use ottla_rules::features::{Features, GROUP_VERSION, SHARE_VERSION, STREAMS_VERSION};
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m11_join_group::JoinGroupRequest;
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m13_leave_group::LeaveGroupRequest;
use ottla_wire::m14_sync_group::SyncGroupRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m23_offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::m24_add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTransaction};
use ottla_wire::m25_add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla_wire::m26_end_txn::EndTxnRequest;
use ottla_wire::m27_write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use ottla_wire::m28_txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::m29_describe_acls::DescribeAclsRequest;
use ottla_wire::m30_create_acls::{AclCreation, CreateAclsRequest};
use ottla_wire::m31_delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_wire::m32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResource};
use ottla_wire::m35_describe_log_dirs::DescribeLogDirsRequest;
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m43_elect_leaders::ElectLeadersRequest;
use ottla_wire::m44_incremental_alter_configs::{
    AlterConfigsResource as IncrementalResource, IncrementalAlterConfigsRequest,
};
use ottla_wire::m45_alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use ottla_wire::m46_list_partition_reassignments::ListPartitionReassignmentsRequest;
use ottla_wire::m47_offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::m48_describe_client_quotas::{DescribeClientQuotasRequest, QuotaEntity};
use ottla_wire::m49_alter_client_quotas::{AlterClientQuotasRequest, QuotaAlteration, QuotaOp};
use ottla_wire::m50_describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, ScramUserName};
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialDeletion};
use ottla_wire::m61_describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::m69_consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_wire::m74_list_config_resources::ListConfigResourcesRequest;
use ottla_wire::m75_describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicRequest};
use ottla_wire::m76_share_group_heartbeat::ShareGroupHeartbeatRequest;
use ottla_wire::m77_share_group_describe::ShareGroupDescribeRequest;
use ottla_wire::m78_share_fetch::ShareFetchRequest;
use ottla_wire::m79_share_acknowledge::ShareAcknowledgeRequest;
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeStateData, InitializeStatePartition,
};
use ottla_wire::m84_read_share_group_state::{ReadShareGroupStateRequest, ReadStateData, ReadStatePartition};
use ottla_wire::m85_write_share_group_state::{WriteShareGroupStateRequest, WriteStateData, WriteStatePartition};
use ottla_wire::m86_delete_share_group_state::{DeleteShareGroupStateRequest, DeleteStateData, DeleteStatePartition};
use ottla_wire::m87_read_share_group_state_summary::{
    ReadShareGroupStateSummaryRequest, ReadSummaryStateData, ReadSummaryStatePartition,
};
use ottla_wire::m88_streams_group_heartbeat::StreamsGroupHeartbeatRequest;
use ottla_wire::m89_streams_group_describe::StreamsGroupDescribeRequest;
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup,
};
use ottla_wire::m91_alter_share_group_offsets::AlterShareGroupOffsetsRequest;
use ottla_wire::m92_delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic};
use ottla_wire::{ApiKey, RequestMessage, Str, Uuid};

type Right = (Operation, ResourceType, &'static str);
type Answer = Pin<Box<dyn Future<Output = String>>>;

/// An API, what it needs, and with which error it is refused otherwise.
struct Row {
    api: ApiKey,
    needs: Vec<Right>,
    otherwise: &'static str,
    ask: Box<dyn Fn(u16) -> Answer>,
}

const TOPIC: &str = "TOPIC_AUTHORIZATION_FAILED";
const GROUP: &str = "GROUP_AUTHORIZATION_FAILED";
const CLUSTER: &str = "CLUSTER_AUTHORIZATION_FAILED";
const TRANSACTION: &str = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";

/// APIs that refuse nobody: some serve everybody, some leave out what a client may not see.
const OPEN: [ApiKey; 10] = [
    ApiKey::ListGroups,
    ApiKey::SaslHandshake,
    ApiKey::ApiVersions,
    ApiKey::SaslAuthenticate,
    // Without their secrets nobody makes or finds one.
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::DescribeDelegationToken,
    ApiKey::DescribeCluster,
    ApiKey::ListTransactions,
];

fn row<R>(needs: &[Right], otherwise: &'static str, request: R) -> Row
where
    R: RequestMessage<Response: Debug> + Clone + 'static,
{
    let version = *R::KEY.versions().end();
    let ask = move |port| -> Answer {
        let request = request.clone();
        Box::pin(async move {
            let answer = Client::connect(port).await.try_call(version, &request).await;
            format!("{answer:?}")
        })
    };
    Row { api: R::KEY, needs: needs.to_vec(), otherwise, ask: Box::new(ask) }
}

fn s(text: &'static str) -> Str {
    Str::from_static(text)
}

/// The table of what needs what, with the same requests for a topic that exists and for one that does not.
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn table(t: Uuid) -> Vec<Row> {
    use Operation::{
        Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write,
    };
    let on_topic = |operation| (operation, ResourceType::Topic, "t");
    let on_group = |operation| (operation, ResourceType::Group, "g");
    let on_cluster = |operation| (operation, ResourceType::Cluster, "kafka-cluster");
    let on_x = |operation| (operation, ResourceType::TransactionalId, "x");
    let partitions = vec![0];
    let topic_resource = 2;
    vec![
        row(
            &[on_topic(Write)],
            TOPIC,
            ProduceRequest {
                acks: 1,
                topic_data: vec![TopicProduceData {
                    topic_id: t,
                    partition_data: vec![PartitionProduceData::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_topic(Read)],
            TOPIC,
            FetchRequest {
                session_epoch: -1,
                topics: vec![FetchTopic {
                    topic_id: t,
                    partitions: vec![FetchPartition::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_topic(Describe)],
            TOPIC,
            ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic { name: s("t"), partitions: vec![ListOffsetsPartition::default()] }],
                ..Default::default()
            },
        ),
        row(
            &[on_topic(Describe)],
            TOPIC,
            MetadataRequest {
                topics: Some(vec![MetadataRequestTopic { name: Some(s("t")), ..Default::default() }]),
                ..Default::default()
            },
        ),
        row(
            &[on_group(Read), on_topic(Read)],
            GROUP,
            OffsetCommitRequest {
                group_id: s("g"),
                topics: vec![OffsetCommitRequestTopic {
                    topic_id: t,
                    partitions: vec![OffsetCommitRequestPartition::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_group(Describe)],
            GROUP,
            OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    group_id: s("g"),
                    topics: Some(vec![OffsetFetchRequestTopics {
                        topic_id: t,
                        partition_indexes: partitions.clone(),
                        ..Default::default()
                    }]),
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_group(Describe)],
            GROUP,
            FindCoordinatorRequest { coordinator_keys: vec![s("g")], ..Default::default() },
        ),
        row(
            &[on_x(Describe)],
            TRANSACTION,
            FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![s("x")], ..Default::default() },
        ),
        row(&[on_group(Read)], GROUP, JoinGroupRequest { group_id: s("g"), ..Default::default() }),
        row(&[on_group(Read)], GROUP, HeartbeatRequest { group_id: s("g"), ..Default::default() }),
        row(&[on_group(Read)], GROUP, LeaveGroupRequest { group_id: s("g"), ..Default::default() }),
        row(
            &[on_group(Read)],
            GROUP,
            SyncGroupRequest {
                group_id: s("g"),
                protocol_type: Some(s("consumer")),
                protocol_name: Some(s("range")),
                ..Default::default()
            },
        ),
        row(&[on_group(Describe)], GROUP, DescribeGroupsRequest { groups: vec![s("g")], ..Default::default() }),
        row(
            &[(Create, ResourceType::Topic, "new")],
            TOPIC,
            CreateTopicsRequest {
                topics: vec![CreatableTopic {
                    name: s("new"),
                    num_partitions: 1,
                    replication_factor: 1,
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_topic(Delete)],
            TOPIC,
            DeleteTopicsRequest {
                topics: vec![DeleteTopicState { name: Some(s("t")), ..Default::default() }],
                timeout_ms: 1000,
                ..Default::default()
            },
        ),
        row(
            &[on_topic(Delete)],
            TOPIC,
            DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic { name: s("t"), partitions: vec![DeleteRecordsPartition::default()] }],
                timeout_ms: 1000,
            },
        ),
        row(
            &[on_x(Write)],
            TRANSACTION,
            InitProducerIdRequest {
                transactional_id: Some(s("x")),
                transaction_timeout_ms: 1000,
                ..Default::default()
            },
        ),
        row(&[on_cluster(IdempotentWrite)], CLUSTER, InitProducerIdRequest::default()),
        row(
            &[on_topic(Describe)],
            TOPIC,
            OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: s("t"),
                    partitions: vec![OffsetForLeaderPartition::default()],
                }],
            },
        ),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            AddPartitionsToTxnRequest {
                transactions: vec![AddPartitionsToTxnTransaction { transactional_id: s("x"), ..Default::default() }],
                ..Default::default()
            },
        ),
        row(
            &[on_x(Write), on_group(Read)],
            TRANSACTION,
            AddOffsetsToTxnRequest { transactional_id: s("x"), group_id: s("g"), ..Default::default() },
        ),
        row(&[on_x(Write)], TRANSACTION, EndTxnRequest { transactional_id: s("x"), ..Default::default() }),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            WriteTxnMarkersRequest {
                markers: vec![WritableTxnMarker {
                    topics: vec![WritableTxnMarkerTopic { name: s("t"), partition_indexes: partitions.clone() }],
                    ..Default::default()
                }],
            },
        ),
        row(
            &[on_x(Write), on_group(Read), on_topic(Read)],
            TRANSACTION,
            TxnOffsetCommitRequest {
                transactional_id: s("x"),
                group_id: s("g"),
                topics: vec![TxnOffsetCommitRequestTopic {
                    name: s("t"),
                    partitions: vec![TxnOffsetCommitRequestPartition::default()],
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_cluster(Describe)],
            CLUSTER,
            DescribeAclsRequest {
                resource_type_filter: 1,
                pattern_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            },
        ),
        row(
            &[on_cluster(Alter)],
            CLUSTER,
            CreateAclsRequest {
                creations: vec![AclCreation {
                    resource_type: topic_resource,
                    resource_name: s("t"),
                    resource_pattern_type: 3,
                    principal: s("User:x"),
                    host: s("*"),
                    operation: 3,
                    permission_type: 3,
                }],
            },
        ),
        row(
            &[on_cluster(Alter)],
            CLUSTER,
            DeleteAclsRequest {
                filters: vec![DeleteAclsFilter {
                    resource_type_filter: 1,
                    pattern_type_filter: 1,
                    operation: 1,
                    permission_type: 1,
                    ..Default::default()
                }],
            },
        ),
        row(&[on_cluster(DescribeConfigs)], CLUSTER, DescribeClientQuotasRequest::default()),
        row(
            &[on_cluster(AlterConfigs)],
            CLUSTER,
            AlterClientQuotasRequest {
                entries: vec![QuotaAlteration {
                    entity: vec![QuotaEntity { entity_type: s("user"), entity_name: None }],
                    ops: vec![QuotaOp { key: s("producer_byte_rate"), value: 1.0, remove: false }],
                }],
                validate_only: true,
            },
        ),
        row(
            &[on_cluster(Describe)],
            CLUSTER,
            DescribeUserScramCredentialsRequest { users: Some(vec![ScramUserName { name: s("x") }]) },
        ),
        row(
            &[on_cluster(Alter)],
            CLUSTER,
            AlterUserScramCredentialsRequest {
                deletions: vec![ScramCredentialDeletion { name: s("x"), mechanism: 1 }],
                upsertions: Vec::new(),
            },
        ),
        row(
            &[on_topic(DescribeConfigs)],
            TOPIC,
            DescribeConfigsRequest {
                resources: vec![DescribeConfigsResource {
                    resource_type: topic_resource,
                    resource_name: s("t"),
                    configuration_keys: None,
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_topic(AlterConfigs)],
            TOPIC,
            AlterConfigsRequest {
                resources: vec![AlterConfigsResource {
                    resource_type: topic_resource,
                    resource_name: s("t"),
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(&[on_cluster(Describe)], CLUSTER, DescribeLogDirsRequest::default()),
        row(
            &[on_topic(Alter)],
            TOPIC,
            CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic { name: s("t"), count: 2, assignments: None }],
                timeout_ms: 1000,
                ..Default::default()
            },
        ),
        row(&[on_group(Delete)], GROUP, DeleteGroupsRequest { groups_names: vec![s("g")] }),
        row(&[on_cluster(Alter)], CLUSTER, ElectLeadersRequest { timeout_ms: 1000, ..Default::default() }),
        row(
            &[on_topic(AlterConfigs)],
            TOPIC,
            IncrementalAlterConfigsRequest {
                resources: vec![IncrementalResource {
                    resource_type: topic_resource,
                    resource_name: s("t"),
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        row(
            &[on_cluster(Alter)],
            CLUSTER,
            AlterPartitionReassignmentsRequest { timeout_ms: 1000, ..Default::default() },
        ),
        row(&[on_cluster(Describe)], CLUSTER, ListPartitionReassignmentsRequest::default()),
        // As in Kafka, that there is no such group is said before what of the topics is denied.
        row(
            &[on_group(Delete)],
            GROUP,
            OffsetDeleteRequest {
                group_id: s("g"),
                topics: vec![OffsetDeleteRequestTopic {
                    name: s("t"),
                    partitions: vec![OffsetDeleteRequestPartition::default()],
                }],
            },
        ),
        row(
            &[on_topic(Read)],
            TOPIC,
            DescribeProducersRequest {
                topics: vec![DescribeProducersTopic { name: s("t"), partition_indexes: partitions }],
            },
        ),
        row(&[on_x(Describe)], TRANSACTION, DescribeTransactionsRequest { transactional_ids: vec![s("x")] }),
        row(&[on_group(Read)], GROUP, ConsumerGroupHeartbeatRequest { group_id: s("g"), ..Default::default() }),
        row(
            &[on_group(Read), on_topic(Describe)],
            GROUP,
            ConsumerGroupHeartbeatRequest {
                group_id: s("g"),
                subscribed_topic_names: Some(vec![s("t")]),
                ..Default::default()
            },
        ),
        row(
            &[on_group(Describe)],
            GROUP,
            ConsumerGroupDescribeRequest { group_ids: vec![s("g")], ..Default::default() },
        ),
        row(&[on_cluster(DescribeConfigs)], CLUSTER, ListConfigResourcesRequest::default()),
        row(
            &[on_topic(Describe)],
            TOPIC,
            DescribeTopicPartitionsRequest { topics: vec![TopicRequest { name: s("t") }], ..Default::default() },
        ),
        row(&[on_group(Read)], GROUP, ShareGroupHeartbeatRequest { group_id: s("g"), ..Default::default() }),
        row(&[on_group(Describe)], GROUP, ShareGroupDescribeRequest { group_ids: vec![s("g")], ..Default::default() }),
        row(&[on_group(Read)], GROUP, ShareFetchRequest { group_id: Some(s("g")), ..Default::default() }),
        row(&[on_group(Read)], GROUP, ShareAcknowledgeRequest { group_id: Some(s("g")), ..Default::default() }),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            InitializeShareGroupStateRequest {
                group_id: s("g"),
                topics: vec![InitializeStateData {
                    topic_id: t,
                    partitions: vec![InitializeStatePartition::default()],
                }],
            },
        ),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            ReadShareGroupStateRequest {
                group_id: s("g"),
                topics: vec![ReadStateData { topic_id: t, partitions: vec![ReadStatePartition::default()] }],
            },
        ),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            WriteShareGroupStateRequest {
                group_id: s("g"),
                topics: vec![WriteStateData { topic_id: t, partitions: vec![WriteStatePartition::default()] }],
            },
        ),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            DeleteShareGroupStateRequest {
                group_id: s("g"),
                topics: vec![DeleteStateData { topic_id: t, partitions: vec![DeleteStatePartition::default()] }],
            },
        ),
        row(
            &[on_cluster(ClusterAction)],
            CLUSTER,
            ReadShareGroupStateSummaryRequest {
                group_id: s("g"),
                topics: vec![ReadSummaryStateData {
                    topic_id: t,
                    partitions: vec![ReadSummaryStatePartition::default()],
                }],
            },
        ),
        row(&[on_group(Read)], GROUP, StreamsGroupHeartbeatRequest { group_id: s("g"), ..Default::default() }),
        row(
            &[on_group(Describe)],
            GROUP,
            StreamsGroupDescribeRequest { group_ids: vec![s("g")], ..Default::default() },
        ),
        row(
            &[on_group(Describe)],
            GROUP,
            DescribeShareGroupOffsetsRequest {
                groups: vec![DescribeShareGroupOffsetsRequestGroup { group_id: s("g"), topics: Some(Vec::new()) }],
            },
        ),
        row(&[on_group(Read)], GROUP, AlterShareGroupOffsetsRequest { group_id: s("g"), ..Default::default() }),
        // The same.
        row(
            &[on_group(Delete)],
            GROUP,
            DeleteShareGroupOffsetsRequest {
                group_id: s("g"),
                topics: vec![DeleteShareGroupOffsetsRequestTopic { topic_name: s("t") }],
            },
        ),
    ]
}

/// From now on the client may do just this.
fn allow(one: &OneBroker, rights: &[Right]) {
    let acl = |(operation, kind, name): &Right| Acl {
        kind: *kind,
        principal: Principal::ANONYMOUS,
        pattern: PatternType::Literal,
        name: s(name),
        host: AclHost::new("*"),
        operation: AclOperation::One(*operation),
        permission: Permission::Allow,
    };
    let authorizer = Some(Arc::new(Authorizer::new([], false, rights.iter().map(acl))));
    one.images.send_modify(|image| Arc::make_mut(&mut Arc::make_mut(image).access).authorizer = authorizer);
}

#[tokio::test]
async fn every_api_needs_what_its_row_says_and_is_refused_otherwise() {
    let data = tempfile::tempdir().unwrap();
    let t = topic("t", &[]);
    let mut one = OneBroker::start_with(data.path(), false, vec![t.clone()], &[]).await;
    one.led(&t).await;
    let levels = [GROUP_VERSION, SHARE_VERSION, STREAMS_VERSION].map(|feature| (feature.to_owned(), 1));
    one.images.send_modify(|image| Arc::make_mut(image).features = Features { epoch: 1, levels: levels.into() });
    // Changes that are allowed fail at once: there is no API server.
    one.asks.close();
    let table = table(t.id);
    let with_rows: BTreeSet<ApiKey> = table.iter().map(|row| row.api).chain(OPEN).collect();
    let without: Vec<&ApiKey> = ApiKey::ALL.iter().filter(|api| !with_rows.contains(api)).collect();
    assert!(without.is_empty(), "APIs without a row: {without:?}");
    let mut wrong = Vec::new();
    for row in &table {
        let Row { api, needs, otherwise, ask } = row;
        allow(&one, &[]);
        let answer = ask(one.port).await;
        if !answer.contains(otherwise) {
            wrong.push(format!("{api:?} without any right is not refused with {otherwise}: {answer}"));
        }
        for left_out in needs {
            let others: Vec<Right> = needs.iter().filter(|need| *need != left_out).copied().collect();
            allow(&one, &others);
            let answer = ask(one.port).await;
            if !answer.contains("AUTHORIZATION_FAILED") {
                wrong.push(format!("{api:?} without {left_out:?} is not refused: {answer}"));
            }
        }
        allow(&one, needs);
        let answer = ask(one.port).await;
        if !answer.starts_with("Ok(") || answer.contains("AUTHORIZATION_FAILED") {
            wrong.push(format!("{api:?} with {needs:?} is refused: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

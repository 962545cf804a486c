//! The requests: each API with a topic, a group and a transactional id of the principal's own, and with a topic that
//! does not exist. Rows change what later rows see, for each principal its own resources alone.

use std::fmt::Debug;

use anyhow::{Context, Result};
use ottla_batch::{BatchBuilder, Codec, NewRecord};
use ottla_e2e::raw::Connection;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::m03_metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m09_offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m13_leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::m14_sync_group::SyncGroupRequest;
use ottla_wire::m15_describe_groups::DescribeGroupsRequest;
use ottla_wire::m16_list_groups::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::m17_sasl_handshake::SaslHandshakeRequest;
use ottla_wire::m18_api_versions::ApiVersionsRequest;
use ottla_wire::m19_create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::m20_delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::m21_delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::m23_offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
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
use ottla_wire::m33_alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use ottla_wire::m35_describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateRequest;
use ottla_wire::m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::m38_create_delegation_token::{CreatableRenewers, CreateDelegationTokenRequest};
use ottla_wire::m39_renew_delegation_token::RenewDelegationTokenRequest;
use ottla_wire::m40_expire_delegation_token::ExpireDelegationTokenRequest;
use ottla_wire::m41_describe_delegation_token::{DescribeDelegationTokenOwner, DescribeDelegationTokenRequest};
use ottla_wire::m42_delete_groups::DeleteGroupsRequest;
use ottla_wire::m43_elect_leaders::{ElectLeadersRequest, ElectLeadersTopic};
use ottla_wire::m44_incremental_alter_configs as incremental;
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::m46_list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use ottla_wire::m47_offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::m48_describe_client_quotas::{DescribeClientQuotasRequest, QuotaComponent, QuotaEntity};
use ottla_wire::m49_alter_client_quotas::{AlterClientQuotasRequest, QuotaAlteration, QuotaOp};
use ottla_wire::m50_describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, ScramUserName};
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, ScramCredentialDeletion};
use ottla_wire::m60_describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::m61_describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use ottla_wire::m65_describe_transactions::DescribeTransactionsRequest;
use ottla_wire::m66_list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla_wire::m69_consumer_group_describe::ConsumerGroupDescribeRequest;
use ottla_wire::m74_list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use ottla_wire::m75_describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicRequest};
use ottla_wire::m76_share_group_heartbeat::ShareGroupHeartbeatRequest;
use ottla_wire::m77_share_group_describe::ShareGroupDescribeRequest;
use ottla_wire::m78_share_fetch::{ShareFetchPartition, ShareFetchRequest, ShareFetchTopic};
use ottla_wire::m79_share_acknowledge::ShareAcknowledgeRequest;
use ottla_wire::m83_initialize_share_group_state::InitializeShareGroupStateRequest;
use ottla_wire::m84_read_share_group_state::ReadShareGroupStateRequest;
use ottla_wire::m85_write_share_group_state::WriteShareGroupStateRequest;
use ottla_wire::m86_delete_share_group_state::DeleteShareGroupStateRequest;
use ottla_wire::m87_read_share_group_state_summary::ReadShareGroupStateSummaryRequest;
use ottla_wire::m88_streams_group_heartbeat::StreamsGroupHeartbeatRequest;
use ottla_wire::m89_streams_group_describe::StreamsGroupDescribeRequest;
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use ottla_wire::m91_alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use ottla_wire::m92_delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic};
use ottla_wire::{Records, RequestMessage, Str, Uuid};

use crate::bed::Me;

/// What a principal is answered; `None`: the broker closed the connection.
type Ask = Box<dyn Fn(&mut Connection, &Me) -> Result<Option<String>>>;

/// A request and how its answer is read.
pub struct Row {
    pub title: String,
    pub ask: Ask,
}

/// `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const GROUP: i8 = 32;

fn latest<R: RequestMessage<Response: Debug> + 'static>(note: &str, request: impl Fn(&Me) -> R + 'static) -> Row {
    row(note, *R::KEY.versions().end(), request, |_, _| {})
}

fn at<R: RequestMessage<Response: Debug> + 'static>(
    version: i16,
    note: &str,
    request: impl Fn(&Me) -> R + 'static,
) -> Row {
    row(note, version, request, |_, _| {})
}

fn tidied<R: RequestMessage<Response: Debug> + 'static>(
    note: &str,
    request: impl Fn(&Me) -> R + 'static,
    tidy: impl Fn(&Me, &mut R::Response) + 'static,
) -> Row {
    row(note, *R::KEY.versions().end(), request, tidy)
}

fn row<R: RequestMessage<Response: Debug> + 'static>(
    note: &str,
    version: i16,
    request: impl Fn(&Me) -> R + 'static,
    tidy: impl Fn(&Me, &mut R::Response) + 'static,
) -> Row {
    let title = format!("{:?} {version}: {note}", R::KEY);
    let context = title.clone();
    let ask = move |connection: &mut Connection, me: &Me| {
        let answer = connection.ask(version, &request(me)).with_context(|| format!("{context} by {}", me.name))?;
        Ok(answer.map(|mut answer| {
            tidy(me, &mut answer);
            format!("{answer:?}")
        }))
    };
    Row { title, ask: Box::new(ask) }
}

fn names(me: &Me) -> [Str; 2] {
    [me.topic(), me.missing()]
}

fn ids(me: &Me) -> [Uuid; 2] {
    [me.topic_id, me.missing_id()]
}

/// A batch with one record; of a transaction with these numbers of its producer, or of none.
fn batch(transaction: bool) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NewRecord { timestamp: 1_600_000_000_000, key: None, value: Some(b"value"), headers: &[] });
    let batch = builder.build();
    if !transaction {
        return batch.bytes().clone().into();
    }
    let mut header = *batch.header();
    (header.producer_id, header.producer_epoch, header.base_sequence) = (1_000_000, 0, 0);
    header.attributes |= 16; // of a transaction
    ottla_batch::Batch::seal(header, &batch.body()).bytes().clone().into()
}

fn produce(topics: Vec<(Str, Uuid)>, transactional_id: Option<Str>, acks: i16) -> ProduceRequest {
    let transaction = transactional_id.is_some();
    let topic = |(name, topic_id)| TopicProduceData {
        name,
        topic_id,
        partition_data: vec![PartitionProduceData { index: 0, records: Some(batch(transaction)) }],
    };
    ProduceRequest { transactional_id, acks, timeout_ms: 60_000, topic_data: topics.into_iter().map(topic).collect() }
}

fn by_name(me: &Me) -> Vec<(Str, Uuid)> {
    names(me).map(|name| (name, Uuid::nil())).into()
}

fn by_id(me: &Me) -> Vec<(Str, Uuid)> {
    ids(me).map(|id| (Str::default(), id)).into()
}

fn fetch(topics: Vec<(Str, Uuid)>) -> FetchRequest {
    let topic = |(topic, topic_id)| {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        FetchTopic { topic, topic_id, partitions: vec![partition] }
    };
    FetchRequest { session_epoch: -1, topics: topics.into_iter().map(topic).collect(), ..Default::default() }
}

/// What was produced is compared elsewhere.
fn without_records(_: &Me, answer: &mut ottla_wire::m01_fetch::FetchResponse) {
    for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.records = Default::default();
    }
}

fn metadata(topics: Vec<(Option<Str>, Uuid)>, create: bool) -> MetadataRequest {
    let topic = |(name, topic_id)| MetadataRequestTopic { name, topic_id };
    MetadataRequest {
        topics: Some(topics.into_iter().map(topic).collect()),
        allow_auto_topic_creation: create,
        include_topic_authorized_operations: true,
        ..Default::default()
    }
}

fn named(me: &Me) -> Vec<(Option<Str>, Uuid)> {
    names(me).map(|name| (Some(name), Uuid::nil())).into()
}

fn tidy_metadata(me: &Me, answer: &mut MetadataResponse) {
    answer.brokers.clear();
    (answer.cluster_id, answer.controller_id) = (None, -1);
    answer.topics.retain(|topic| topic.name.as_ref().is_none_or(|name| name.ends_with(me.name)));
    for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.leader_epoch = 0;
    }
}

fn clients() -> Vec<Row> {
    vec![
        latest("anybody", |_| ApiVersionsRequest::default()).only_whether(),
        at(12, "by name", |me| produce(by_name(me), None, -1)),
        latest("by id", |me| produce(by_id(me), None, -1)),
        latest("in a transaction", |me| produce(by_id(me), Some(me.x()), -1)),
        Row {
            title: "Produce 12: without acknowledgement".into(),
            ask: Box::new(|connection, me| {
                connection.send(12, &produce(vec![(me.topic(), Uuid::nil())], None, 0))?;
                // Answered if the connection is still there.
                let next = connection.ask(0, &ApiVersionsRequest::default())?;
                Ok(next.map(|_| "the connection stays".to_owned()))
            }),
        },
        row("by name", 12, |me| fetch(by_name(me)), without_records),
        tidied("by id", |me| fetch(by_id(me)), without_records),
        tidied(
            "as a follower",
            |me| FetchRequest { replica_state: ReplicaState { replica_id: 7, replica_epoch: -1 }, ..fetch(by_id(me)) },
            without_records,
        ),
        latest("earliest", |me| ListOffsetsRequest {
            replica_id: -1,
            topics: names(me)
                .map(|name| ListOffsetsTopic {
                    name,
                    partitions: vec![ListOffsetsPartition { timestamp: -2, ..Default::default() }],
                })
                .into(),
            ..Default::default()
        }),
        tidied("by name", |me| metadata(named(me), false), tidy_metadata),
        tidied("by id", |me| metadata(ids(me).map(|id| (None, id)).into(), false), tidy_metadata),
        tidied(
            "everything",
            |_| MetadataRequest { topics: None, include_topic_authorized_operations: true, ..Default::default() },
            tidy_metadata,
        ),
        row(
            "with the cluster's operations",
            10,
            |_| MetadataRequest {
                topics: Some(Vec::new()),
                include_cluster_authorized_operations: true,
                ..Default::default()
            },
            tidy_metadata,
        ),
        latest("some", |me| DescribeTopicPartitionsRequest {
            topics: names(me).map(|name| TopicRequest { name }).into(),
            response_partition_limit: 10,
            ..Default::default()
        }),
        tidied(
            "with operations",
            |_| DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() },
            |_, answer: &mut DescribeClusterResponse| answer.brokers.clear(),
        ),
        latest("of a leader", |me| OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: names(me)
                .map(|topic| OffsetForLeaderTopic {
                    topic,
                    partitions: vec![OffsetForLeaderPartition { current_leader_epoch: -1, ..Default::default() }],
                })
                .into(),
        }),
    ]
}

fn find(key_type: i8, key: Str) -> FindCoordinatorRequest {
    FindCoordinatorRequest { key_type, coordinator_keys: vec![key], ..Default::default() }
}

fn commit(topics: Vec<(Str, Uuid)>, group: Str) -> OffsetCommitRequest {
    let topic = |(name, topic_id)| OffsetCommitRequestTopic {
        name,
        topic_id,
        partitions: vec![OffsetCommitRequestPartition::default()],
    };
    OffsetCommitRequest { group_id: group, topics: topics.into_iter().map(topic).collect(), ..Default::default() }
}

fn offsets(group: Str, topics: Option<Vec<(Str, Uuid)>>) -> OffsetFetchRequest {
    let topic = |(name, topic_id)| OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![0] };
    let topics = topics.map(|topics| topics.into_iter().map(topic).collect());
    let groups = vec![OffsetFetchRequestGroup { group_id: group, topics, ..Default::default() }];
    OffsetFetchRequest { groups, ..Default::default() }
}

fn groups() -> Vec<Row> {
    let share = |me: &Me| ShareFetchRequest {
        group_id: Some(me.group()),
        member_id: Some("kAAAAAAAAAAAAAAAAAAAAA".into()),
        max_bytes: 1 << 20,
        max_records: 100,
        batch_size: 100,
        topics: vec![ShareFetchTopic { topic_id: me.topic_id, partitions: vec![ShareFetchPartition::default()] }],
        ..Default::default()
    };
    let consumer = |me: &Me| ConsumerGroupHeartbeatRequest {
        group_id: me.group(),
        member_id: "m".into(),
        rebalance_timeout_ms: 1000,
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    vec![
        latest("a group's", |me| find(0, me.group())),
        latest("a transactional id's", |me| find(1, me.x())),
        latest("a share partition's", |me| find(2, format!("{}:{}:0", me.group(), me.topic_id).into())).only_whether(),
        at(9, "by name", |me| commit(by_name(me), me.group())),
        latest("by id", |me| commit(by_id(me), me.group())),
        at(9, "by name", |me| offsets(me.group(), Some(by_name(me)))),
        latest("by id", |me| offsets(me.group(), Some(by_id(me)))),
        at(9, "all", |me| offsets(me.group(), None)),
        latest("with operations", |me| DescribeGroupsRequest {
            groups: vec![me.group()],
            include_authorized_operations: true,
        }),
        tidied(
            "all",
            |_| ListGroupsRequest::default(),
            |me, answer: &mut ListGroupsResponse| {
                answer.groups.retain(|group| group.group_id.ends_with(me.name));
            },
        ),
        latest("the first time", |me| JoinGroupRequest {
            group_id: me.group(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Default::default() }],
            ..Default::default()
        }),
        latest("of nobody", |me| HeartbeatRequest {
            group_id: me.group(),
            member_id: "m".into(),
            ..Default::default()
        }),
        latest("of nobody", |me| SyncGroupRequest {
            group_id: me.group(),
            member_id: "m".into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..Default::default()
        }),
        latest("of nobody", |me| LeaveGroupRequest {
            group_id: me.group(),
            members: vec![MemberIdentity { member_id: "m".into(), ..Default::default() }],
            ..Default::default()
        }),
        latest("one topic and one that there is not", |me| OffsetDeleteRequest {
            group_id: me.group(),
            topics: names(me)
                .map(|name| OffsetDeleteRequestTopic {
                    name,
                    partitions: vec![OffsetDeleteRequestPartition::default()],
                })
                .into(),
        }),
        latest("a group", |me| DeleteGroupsRequest { groups_names: vec![me.group()] }),
        latest("which topics it names", move |me| ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(names(me).into()),
            ..consumer(me)
        }),
        latest("an expression", move |me| ConsumerGroupHeartbeatRequest {
            group_id: format!("r{}", me.group()).into(),
            subscribed_topic_regex: Some(format!("[tn].*[.]{}", me.name).into()),
            ..consumer(me)
        }),
        latest("a group", |me| ConsumerGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
        latest("a member that leaves", move |me| ConsumerGroupHeartbeatRequest { member_epoch: -1, ..consumer(me) }),
        latest("which topics it names", |me| ShareGroupHeartbeatRequest {
            group_id: format!("s{}", me.group()).into(),
            member_id: "kAAAAAAAAAAAAAAAAAAAAA".into(),
            subscribed_topic_names: Some(names(me).into()),
            ..Default::default()
        }),
        latest("a group", |me| ShareGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
        latest("before a heartbeat", share).only_whether(),
        latest("before a fetch", |me| ShareAcknowledgeRequest {
            group_id: Some(me.group()),
            member_id: Some("kAAAAAAAAAAAAAAAAAAAAA".into()),
            share_session_epoch: 1,
            ..Default::default()
        }),
        latest("a group without", |me| DescribeShareGroupOffsetsRequest {
            groups: vec![DescribeShareGroupOffsetsRequestGroup {
                group_id: me.group(),
                topics: Some(
                    names(me)
                        .map(|topic_name| DescribeShareGroupOffsetsRequestTopic { topic_name, partitions: vec![0] })
                        .into(),
                ),
            }],
        }),
        latest("a group without", |me| AlterShareGroupOffsetsRequest {
            group_id: me.group(),
            topics: names(me)
                .map(|topic_name| AlterShareGroupOffsetsRequestTopic {
                    topic_name,
                    partitions: vec![AlterShareGroupOffsetsRequestPartition::default()],
                })
                .into(),
        }),
        latest("a group without", |me| DeleteShareGroupOffsetsRequest {
            group_id: me.group(),
            topics: names(me).map(|topic_name| DeleteShareGroupOffsetsRequestTopic { topic_name }).into(),
        }),
        latest("without a topology", |me| StreamsGroupHeartbeatRequest {
            group_id: me.group(),
            member_id: "m".into(),
            member_epoch: 1,
            ..Default::default()
        }),
        latest("a group", |me| StreamsGroupDescribeRequest {
            group_ids: vec![me.group()],
            include_authorized_operations: true,
        }),
    ]
}

fn transactions() -> Vec<Row> {
    let add_topics =
        |me: &Me| -> Vec<_> { names(me).map(|name| AddPartitionsToTxnTopic { name, partitions: vec![0] }).into() };
    vec![
        latest("of a transactional id", |me| InitProducerIdRequest {
            transactional_id: Some(me.x()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        }),
        latest("of none", |_| InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() }),
        at(3, "of a client", move |me| AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: me.x(),
            v3_and_below_producer_id: 1_000_000,
            v3_and_below_topics: add_topics(me),
            ..Default::default()
        }),
        latest("of a broker", move |me| AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: me.x(),
                producer_id: 1_000_000,
                topics: vec![AddPartitionsToTxnTopic { name: me.topic(), partitions: vec![0] }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        at(3, "of a client", |me| AddOffsetsToTxnRequest {
            transactional_id: me.x(),
            producer_id: 1_000_000,
            group_id: me.group(),
            ..Default::default()
        }),
        at(3, "of a client", |me| TxnOffsetCommitRequest {
            transactional_id: me.x(),
            group_id: me.group(),
            producer_id: 1_000_000,
            generation_id: -1,
            topics: names(me)
                .map(|name| TxnOffsetCommitRequestTopic {
                    name,
                    partitions: vec![TxnOffsetCommitRequestPartition::default()],
                })
                .into(),
            ..Default::default()
        }),
        at(3, "of another producer", |me| EndTxnRequest {
            transactional_id: me.x(),
            producer_id: 1_000_000,
            committed: true,
            ..Default::default()
        }),
        latest("of no transaction", |me| WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: 1_000_000,
                topics: names(me).map(|name| WritableTxnMarkerTopic { name, partition_indexes: vec![0] }).into(),
                ..Default::default()
            }],
        })
        .only_whether(),
        latest("of two topics", |me| DescribeProducersRequest {
            topics: names(me).map(|name| DescribeProducersTopic { name, partition_indexes: vec![0] }).into(),
        })
        .only_whether(),
        latest("one, and one that there is not", |me| DescribeTransactionsRequest {
            transactional_ids: vec![me.x(), me.y()],
        }),
        tidied(
            "all",
            |_| ListTransactionsRequest::default(),
            |me, answer: &mut ListTransactionsResponse| {
                answer.transaction_states.retain(|state| state.transactional_id.ends_with(me.name));
            },
        ),
    ]
}

/// To create an ACL of this operation for oneself.
fn create_acl(me: &Me, operation: i8) -> CreateAclsRequest {
    let creation = AclCreation {
        resource_type: TOPIC,
        resource_name: "of.acls".into(),
        resource_pattern_type: 3,
        principal: format!("User:{}", me.name).into(),
        host: "*".into(),
        operation,
        permission_type: 3,
    };
    CreateAclsRequest { creations: vec![creation] }
}

fn describe_configs(resource_type: i8, names: Vec<Str>, key: &str) -> DescribeConfigsRequest {
    let resource = |resource_name| DescribeConfigsResource {
        resource_type,
        resource_name,
        configuration_keys: Some(vec![key.into()]),
    };
    DescribeConfigsRequest { resources: names.into_iter().map(resource).collect(), ..Default::default() }
}

fn alter_configs(
    resource_type: i8,
    names: Vec<Str>,
    key: &str,
    value: &str,
) -> incremental::IncrementalAlterConfigsRequest {
    let resource = |resource_name| incremental::AlterConfigsResource {
        resource_type,
        resource_name,
        configs: vec![incremental::AlterableConfig {
            name: key.into(),
            config_operation: 0,
            value: Some(value.into()),
        }],
    };
    incremental::IncrementalAlterConfigsRequest {
        resources: names.into_iter().map(resource).collect(),
        validate_only: true,
    }
}

fn of_the_cluster() -> Vec<Row> {
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    vec![
        latest("of a topic without", move |_| DescribeAclsRequest {
            resource_name_filter: Some("without".into()),
            pattern_type_filter: 3,
            ..any.clone()
        }),
        latest("one", |me| create_acl(me, 3)),
        tidied(
            "that one",
            |me| DeleteAclsRequest {
                filters: vec![DeleteAclsFilter {
                    resource_type_filter: TOPIC,
                    resource_name_filter: Some("of.acls".into()),
                    pattern_type_filter: 3,
                    principal_filter: Some(format!("User:{}", me.name).into()),
                    operation: 1,
                    permission_type: 1,
                    ..Default::default()
                }],
            },
            |me, answer: &mut ottla_wire::m31_delete_acls::DeleteAclsResponse| {
                for acl in answer.filter_results.iter_mut().flat_map(|result| &mut result.matching_acls) {
                    acl.principal = acl.principal.replace(me.name, "ME").into();
                }
            },
        ),
        latest("of nobody", |_| DescribeClientQuotasRequest {
            components: vec![QuotaComponent {
                entity_type: "user".into(),
                match_type: 0,
                match_name: Some("x".into()),
            }],
            strict: true,
        }),
        latest("validated only", |_| AlterClientQuotasRequest {
            entries: vec![QuotaAlteration {
                entity: vec![QuotaEntity { entity_type: "user".into(), entity_name: Some("x".into()) }],
                ops: vec![QuotaOp { key: "producer_byte_rate".into(), value: 1000.0, remove: false }],
            }],
            validate_only: true,
        }),
        latest("of one and of nobody", |me| DescribeUserScramCredentialsRequest {
            users: Some(vec![ScramUserName { name: me.name.into() }, ScramUserName { name: "x".into() }]),
        })
        .without_own_name(),
        latest("of nobody", |_| AlterUserScramCredentialsRequest {
            deletions: vec![ScramCredentialDeletion { name: "x".into(), mechanism: 1 }],
            upsertions: Vec::new(),
        }),
        tidied(
            "of two topics",
            |me| DescribeLogDirsRequest {
                topics: Some(names(me).map(|topic| DescribableLogDirTopic { topic, partitions: vec![0] }).into()),
            },
            |_, answer: &mut DescribeLogDirsResponse| {
                for dir in &mut answer.results {
                    (dir.log_dir, dir.total_bytes, dir.usable_bytes) = ("DIR".into(), 0, 0);
                    for partition in dir.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                        partition.partition_size = 0;
                    }
                }
            },
        ),
        latest("of two topics", |me| ElectLeadersRequest {
            topic_partitions: Some(names(me).map(|topic| ElectLeadersTopic { topic, partitions: vec![0] }).into()),
            timeout_ms: 60_000,
            ..Default::default()
        }),
        latest("of a topic that there is not", |me| AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: me.missing(),
                partitions: vec![ReassignablePartition { partition_index: 0, replicas: Some(vec![0]) }],
            }],
            ..Default::default()
        }),
        latest("of two topics", |me| ListPartitionReassignmentsRequest {
            topics: Some(
                names(me).map(|name| ListPartitionReassignmentsTopics { name, partition_indexes: vec![0] }).into(),
            ),
            ..Default::default()
        }),
        latest("of two topics", |me| describe_configs(TOPIC, names(me).into(), "retention.ms")),
        latest("of a broker", |_| describe_configs(BROKER, vec!["0".into()], "log.retention.hours")).only_whether(),
        latest("of a logger", |_| describe_configs(LOGGER, vec!["0".into()], "ROOT")).only_whether(),
        latest("of a group", |me| describe_configs(GROUP, vec![me.group()], "consumer.session.timeout.ms")),
        latest("of two topics", |me| AlterConfigsRequest {
            resources: names(me)
                .map(|resource_name| AlterConfigsResource {
                    resource_type: TOPIC,
                    resource_name,
                    configs: vec![AlterableConfig { name: "retention.ms".into(), value: Some("1000".into()) }],
                })
                .into(),
            validate_only: true,
        }),
        latest("of two topics", |me| alter_configs(TOPIC, names(me).into(), "retention.ms", "1000")),
        latest("of two topics, an unknown setting", |me| alter_configs(TOPIC, names(me).into(), "no.such", "1000")),
        latest("of a topic, an unknown operation", |me| {
            let mut request = alter_configs(TOPIC, vec![me.topic()], "retention.ms", "1000");
            request.resources[0].configs[0].config_operation = 9;
            request
        }),
        latest("of two topics, a setting twice", |me| {
            let mut request = alter_configs(TOPIC, names(me).into(), "retention.ms", "1000");
            for resource in &mut request.resources {
                resource.configs.push(resource.configs[0].clone());
            }
            request
        }),
        latest("of a topic, without a value", |me| {
            let mut request = alter_configs(TOPIC, vec![me.topic()], "retention.ms", "1000");
            request.resources[0].configs[0].value = None;
            request
        }),
        latest("of a kind that there is not", |_| alter_configs(9, vec!["x".into()], "retention.ms", "1000")),
        latest("of the brokers", |_| alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "1000012")),
        latest("of the brokers, an unknown operation", |_| {
            let mut request = alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "1000012");
            request.resources[0].configs[0].config_operation = 9;
            request
        }),
        latest("of the brokers, no valid value", |_| {
            alter_configs(BROKER, vec!["0".into()], "message.max.bytes", "many")
        }),
        latest("of another broker", |_| alter_configs(BROKER, vec!["7".into()], "message.max.bytes", "1000012")),
        latest("of a logger, no level", |_| alter_configs(LOGGER, vec!["0".into()], "ROOT", "LOUD")),
        latest("of the brokers, no valid value", |_| AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: BROKER,
                resource_name: "0".into(),
                configs: vec![AlterableConfig { name: "message.max.bytes".into(), value: Some("many".into()) }],
            }],
            validate_only: true,
        }),
        latest("of a group", |me| alter_configs(GROUP, vec![me.group()], "consumer.session.timeout.ms", "50000")),
        tidied(
            "groups",
            |_| ListConfigResourcesRequest { resource_types: vec![GROUP] },
            |me, answer: &mut ListConfigResourcesResponse| {
                answer.config_resources.retain(|resource| resource.resource_name.ends_with(me.name));
            },
        ),
    ]
}

/// What only brokers ask each other: who may is answered something, how is compared by other scripts.
fn of_brokers() -> Vec<Row> {
    vec![
        latest("a share group", |me| InitializeShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| ReadShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| WriteShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| DeleteShareGroupStateRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
        latest("a share group", |me| ReadShareGroupStateSummaryRequest { group_id: me.group(), ..Default::default() })
            .only_whether(),
    ]
}

/// What is wrong for everybody: whether the client's rights come first.
fn malformed() -> Vec<Row> {
    vec![
        latest("of a transactional id, without time", |me| InitProducerIdRequest {
            transactional_id: Some(me.x()),
            transaction_timeout_ms: 0,
            ..Default::default()
        }),
        latest("a kind that there is not", |me| find(9, me.group())),
        latest("of a kind that there is not", |_| describe_configs(9, vec!["x".into()], "retention.ms")),
        latest("of a kind that there is not", |me| ElectLeadersRequest {
            election_type: 9,
            topic_partitions: Some(vec![ElectLeadersTopic { topic: me.topic(), partitions: vec![0] }]),
            timeout_ms: 60_000,
        }),
        latest("an operation that there is not", |me| create_acl(me, 77)),
        latest("of a mechanism that there is not", |_| AlterUserScramCredentialsRequest {
            deletions: vec![ScramCredentialDeletion { name: "x".into(), mechanism: 9 }],
            upsertions: Vec::new(),
        }),
        latest("a name that no topic can have", |_| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: "a/b".into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 60_000,
            ..Default::default()
        }),
    ]
}

/// Delegation tokens, which are off here and there.
fn of_tokens() -> Vec<Row> {
    let of = |kind: Option<&'static str>, name: Str, renewer: &'static str| CreateDelegationTokenRequest {
        owner_principal_type: kind.map(Str::from_static),
        owner_principal_name: Some(name),
        renewers: vec![CreatableRenewers { principal_type: renewer.into(), principal_name: "x".into() }],
        max_lifetime_ms: -1,
    };
    vec![
        at(2, "before owners had names", |_| CreateDelegationTokenRequest::default()).without_own_name(),
        latest("its own", |_| CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() })
            .without_own_name(),
        latest("its own, by name", move |me| of(Some("User"), me.name.into(), "User")).without_own_name(),
        latest("its own, renewed by a group", move |me| of(Some("User"), me.name.into(), "Group")).without_own_name(),
        latest("another's", move |_| of(Some("User"), "x".into(), "User")).without_own_name(),
        latest("another's, renewed by a group", move |_| of(Some("User"), "x".into(), "Group")).without_own_name(),
        latest("a group's", move |_| of(Some("Group"), "x".into(), "User")).without_own_name(),
        latest("of no type", move |_| of(None, "x".into(), "User")).only_whether(),
        latest("one that there is not", |_| RenewDelegationTokenRequest::default()),
        latest("one that there is not", |_| ExpireDelegationTokenRequest::default()),
        latest("all", |_| DescribeDelegationTokenRequest { owners: None }),
        latest("of nobody", |_| DescribeDelegationTokenRequest { owners: Some(Vec::new()) }),
        latest("of one", |me| DescribeDelegationTokenRequest {
            owners: Some(vec![DescribeDelegationTokenOwner {
                principal_type: "User".into(),
                principal_name: me.name.into(),
            }]),
        }),
    ]
}

fn of_topics() -> Vec<Row> {
    let delete = |topics: Vec<(Option<Str>, Uuid)>| {
        let topic = |(name, topic_id)| DeleteTopicState { name, topic_id };
        DeleteTopicsRequest {
            topics: topics.into_iter().map(topic).collect(),
            timeout_ms: 60_000,
            ..Default::default()
        }
    };
    let creations = |me: &Me| -> Vec<_> {
        [me.new_topic(), me.topic()]
            .map(|name| CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() })
            .into()
    };
    vec![
        tidied(
            "a new one and one that there is",
            move |me| CreateTopicsRequest { topics: creations(me), timeout_ms: 60_000, ..Default::default() },
            |_, answer: &mut ottla_wire::m19_create_topics::CreateTopicsResponse| {
                for topic in &mut answer.topics {
                    if let Some(configs) = &mut topic.configs {
                        configs.retain(|config| config.name == "retention.ms");
                    }
                }
            },
        ),
        latest("of two topics", |me| CreatePartitionsRequest {
            topics: names(me).map(|name| CreatePartitionsTopic { name, count: 2, assignments: None }).into(),
            timeout_ms: 60_000,
            validate_only: true,
        }),
        // Retention may have come before.
        tidied(
            "of two topics",
            |me| DeleteRecordsRequest {
                topics: names(me)
                    .map(|name| DeleteRecordsTopic { name, partitions: vec![DeleteRecordsPartition::default()] })
                    .into(),
                timeout_ms: 60_000,
            },
            |_, answer: &mut ottla_wire::m21_delete_records::DeleteRecordsResponse| {
                for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.low_watermark = partition.low_watermark.min(0);
                }
            },
        ),
        latest("one that there is not", move |me| delete(vec![(Some(me.missing()), Uuid::nil())])),
        latest("by id, one that there is not", move |me| delete(vec![(None, me.missing_id())])),
        latest("by name", move |me| delete(vec![(Some(me.new_topic()), Uuid::nil())])),
        latest("by id", move |me| delete(vec![(None, me.topic_id)])),
        latest("that are gone", move |me| delete(named(me))),
        at(1, "after the login", |_| SaslHandshakeRequest { mechanism: "SCRAM-SHA-256".into() }),
        latest("after the login", |_| SaslAuthenticateRequest { auth_bytes: "n,,n=x,r=y".into() }),
    ]
}

/// All rows.
pub fn table() -> Vec<Row> {
    let parts =
        [clients(), transactions(), groups(), of_the_cluster(), of_brokers(), malformed(), of_tokens(), of_topics()];
    parts.into_iter().flatten().collect()
}

impl Row {
    /// Of a long answer, only which errors it has.
    fn only_whether(self) -> Row {
        let Row { title, ask } = self;
        let errors = regex::Regex::new(r"\b[A-Z]+_[A-Z_]+\b").expect("a regular expression");
        let ask: Ask = Box::new(move |connection, me| {
            let answer = ask(connection, me)?;
            Ok(answer.map(|answer| {
                let found: Vec<&str> = errors.find_iter(&answer).map(|found| found.as_str()).collect();
                if found.is_empty() { "no error".to_owned() } else { found.join(", ") }
            }))
        });
        Row { title, ask }
    }

    /// Where the principal's own name stands in the answer.
    fn without_own_name(self) -> Row {
        let Row { title, ask } = self;
        let ask: Ask = Box::new(move |connection, me| {
            Ok(ask(connection, me)?.map(|answer| answer.replace(&format!("{:?}", me.name), "\"ME\"")))
        });
        Row { title, ask }
    }
}

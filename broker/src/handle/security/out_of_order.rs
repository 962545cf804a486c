//! What is answered to a request that comes where a token of SASL is expected: ILLEGAL_SASL_STATE in the format of its
//! API, as Kafka's `getErrorResponse` makes it. A client knows from it that it is not let in, whatever it asked.

use std::collections::BTreeSet;

use ottla_access::Principal;
use ottla_wire::m00_produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use ottla_wire::m01_fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::m02_list_offsets::{ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse};
use ottla_wire::m03_metadata::{MetadataResponse, MetadataResponseTopic};
use ottla_wire::m08_offset_commit::{OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_wire::m09_offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use ottla_wire::m10_find_coordinator::{Coordinator, FindCoordinatorResponse};
use ottla_wire::m11_join_group::JoinGroupResponse;
use ottla_wire::m12_heartbeat::HeartbeatResponse;
use ottla_wire::m13_leave_group::LeaveGroupResponse;
use ottla_wire::m14_sync_group::SyncGroupResponse;
use ottla_wire::m15_describe_groups::{DescribeGroupsResponse, DescribedGroup};
use ottla_wire::m16_list_groups::ListGroupsResponse;
use ottla_wire::m17_sasl_handshake::SaslHandshakeResponse;
use ottla_wire::m18_api_versions::ApiVersionsResponse;
use ottla_wire::m19_create_topics::{CreatableTopicResult, CreateTopicsResponse};
use ottla_wire::m20_delete_topics::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_wire::m21_delete_records::{DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult};
use ottla_wire::m22_init_producer_id::InitProducerIdResponse;
use ottla_wire::m23_offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use ottla_wire::m25_add_offsets_to_txn::AddOffsetsToTxnResponse;
use ottla_wire::m26_end_txn::EndTxnResponse;
use ottla_wire::m27_write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult, WriteTxnMarkersResponse,
};
use ottla_wire::m28_txn_offset_commit::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_wire::m29_describe_acls::DescribeAclsResponse;
use ottla_wire::m30_create_acls::{AclCreationResult, CreateAclsResponse};
use ottla_wire::m31_delete_acls::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_wire::m32_describe_configs::{DescribeConfigsResponse, DescribeConfigsResult};
use ottla_wire::m33_alter_configs::AlterConfigsResponse;
use ottla_wire::m35_describe_log_dirs::DescribeLogDirsResponse;
use ottla_wire::m36_sasl_authenticate::SaslAuthenticateResponse;
use ottla_wire::m37_create_partitions::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use ottla_wire::m38_create_delegation_token::CreateDelegationTokenResponse;
use ottla_wire::m39_renew_delegation_token::RenewDelegationTokenResponse;
use ottla_wire::m40_expire_delegation_token::ExpireDelegationTokenResponse;
use ottla_wire::m41_describe_delegation_token::DescribeDelegationTokenResponse;
use ottla_wire::m42_delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use ottla_wire::m43_elect_leaders::{ElectLeadersResponse, ElectionResult, ReplicaElectionResult};
use ottla_wire::m44_incremental_alter_configs::IncrementalAlterConfigsResponse;
use ottla_wire::m45_alter_partition_reassignments::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_wire::m46_list_partition_reassignments::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_wire::m47_offset_delete::OffsetDeleteResponse;
use ottla_wire::m48_describe_client_quotas::DescribeClientQuotasResponse;
use ottla_wire::m49_alter_client_quotas::{AlterClientQuotasResponse, QuotaAlterationResult};
use ottla_wire::m50_describe_user_scram_credentials::{DescribeUserScramCredentialsResponse, ScramUserDescription};
use ottla_wire::m51_alter_user_scram_credentials::{AlterUserScramCredentialsResponse, ScramAlterationResult};
use ottla_wire::m60_describe_cluster::DescribeClusterResponse;
use ottla_wire::m61_describe_producers::{
    DescribeProducersPartitionResult, DescribeProducersResponse, DescribeProducersTopicResult,
};
use ottla_wire::m65_describe_transactions::{DescribeTransactionsResponse, DescribedTransactionState};
use ottla_wire::m66_list_transactions::ListTransactionsResponse;
use ottla_wire::m68_consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use ottla_wire::m69_consumer_group_describe::{ConsumerGroupDescribeResponse, DescribedConsumerGroup};
use ottla_wire::m74_list_config_resources::ListConfigResourcesResponse;
use ottla_wire::m75_describe_topic_partitions::{
    DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::m76_share_group_heartbeat::ShareGroupHeartbeatResponse;
use ottla_wire::m77_share_group_describe::{DescribedShareGroup, ShareGroupDescribeResponse};
use ottla_wire::m78_share_fetch::ShareFetchResponse;
use ottla_wire::m79_share_acknowledge::ShareAcknowledgeResponse;
use ottla_wire::m83_initialize_share_group_state::{
    InitializeShareGroupStateResponse, InitializeStatePartitionResult, InitializeStateResult,
};
use ottla_wire::m84_read_share_group_state::{ReadShareGroupStateResponse, ReadStatePartitionResult, ReadStateResult};
use ottla_wire::m85_write_share_group_state::{
    WriteShareGroupStateResponse, WriteStatePartitionResult, WriteStateResult,
};
use ottla_wire::m86_delete_share_group_state::{
    DeleteShareGroupStateResponse, DeleteStatePartitionResult, DeleteStateResult,
};
use ottla_wire::m87_read_share_group_state_summary::{
    ReadShareGroupStateSummaryResponse, ReadSummaryStatePartitionResult, ReadSummaryStateResult,
};
use ottla_wire::m88_streams_group_heartbeat::StreamsGroupHeartbeatResponse;
use ottla_wire::m89_streams_group_describe::{DescribedStreamsGroup, StreamsGroupDescribeResponse};
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsResponse, DescribeShareGroupOffsetsResponseGroup,
};
use ottla_wire::m91_alter_share_group_offsets::AlterShareGroupOffsetsResponse;
use ottla_wire::m92_delete_share_group_offsets::DeleteShareGroupOffsetsResponse;
use ottla_wire::{
    ErrorCode, Frame, Request, ResponseMessage, Str, Uuid, encode_response, m33_alter_configs,
    m44_incremental_alter_configs,
};

use crate::handle::context::Context;

/// Kafka's message.
const MESSAGE: &str = "Request is not valid given the current SASL state.";
/// The version of Fetch from which on an error stands for all partitions.
const ERROR_OF_FETCH: i16 = 13;
/// The same of OffsetFetch.
const ERROR_OF_OFFSET_FETCH: i16 = 2;
/// The version of JoinGroup from which on there may be no protocol.
const NULL_PROTOCOL: i16 = 7;

fn each<T, U>(list: Vec<T>, each: impl Fn(T) -> U) -> Vec<U> {
    list.into_iter().map(each).collect()
}

/// The request that is answered.
struct Answer {
    version: i16,
    correlation_id: i32,
}

impl Answer {
    fn of<R: ResponseMessage>(&self, response: &R) -> Option<Frame> {
        encode_response(self.version, self.correlation_id, response).ok()
    }
}

/// The answer; `None`: the client wants none, or it would be too large.
#[allow(clippy::too_many_lines, reason = "an arm for each API")]
pub(super) fn refusal(context: &Context, request: Request) -> Option<Frame> {
    use Request as R;
    let error_code = ErrorCode::ILLEGAL_SASL_STATE;
    let error_message = Some(Str::from_static(MESSAGE));
    let answer = Answer { version: context.version, correlation_id: context.correlation_id };
    match request {
        R::Heartbeat(_) => answer.of(&HeartbeatResponse { error_code, ..Default::default() }),
        R::LeaveGroup(_) => answer.of(&LeaveGroupResponse { error_code, ..Default::default() }),
        R::ListGroups(_) => answer.of(&ListGroupsResponse { error_code, ..Default::default() }),
        R::SaslHandshake(_) => answer.of(&SaslHandshakeResponse { error_code, ..Default::default() }),
        R::ApiVersions(_) => answer.of(&ApiVersionsResponse { error_code, ..Default::default() }),
        R::AddOffsetsToTxn(_) => answer.of(&AddOffsetsToTxnResponse { error_code, ..Default::default() }),
        R::EndTxn(_) => answer.of(&EndTxnResponse { error_code, ..Default::default() }),
        R::DescribeLogDirs(_) => answer.of(&DescribeLogDirsResponse { error_code, ..Default::default() }),
        R::OffsetDelete(_) => answer.of(&OffsetDeleteResponse { error_code, ..Default::default() }),
        R::ListTransactions(_) => answer.of(&ListTransactionsResponse { error_code, ..Default::default() }),
        R::ConsumerGroupHeartbeat(_) => answer.of(&ConsumerGroupHeartbeatResponse { error_code, ..Default::default() }),
        R::ListConfigResources(_) => answer.of(&ListConfigResourcesResponse { error_code, ..Default::default() }),
        R::ShareGroupHeartbeat(_) => answer.of(&ShareGroupHeartbeatResponse { error_code, ..Default::default() }),
        R::ShareFetch(_) => answer.of(&ShareFetchResponse { error_code, ..Default::default() }),
        R::ShareAcknowledge(_) => answer.of(&ShareAcknowledgeResponse { error_code, ..Default::default() }),
        R::StreamsGroupHeartbeat(_) => {
            let status = Some(Vec::new());
            answer.of(&StreamsGroupHeartbeatResponse { error_code, status, ..Default::default() })
        }
        R::SyncGroup(_) => answer.of(&SyncGroupResponse { error_code, ..Default::default() }),
        R::DescribeDelegationToken(_) => {
            answer.of(&DescribeDelegationTokenResponse { error_code, ..Default::default() })
        }
        R::RenewDelegationToken(_) => answer.of(&RenewDelegationTokenResponse { error_code, ..Default::default() }),
        R::ExpireDelegationToken(_) => answer.of(&ExpireDelegationTokenResponse { error_code, ..Default::default() }),
        R::DescribeAcls(_) => answer.of(&DescribeAclsResponse { error_code, error_message, ..Default::default() }),
        R::DescribeClientQuotas(_) => {
            answer.of(&DescribeClientQuotasResponse { error_code, error_message, ..Default::default() })
        }
        R::DescribeUserScramCredentials(request) => answer.of(&DescribeUserScramCredentialsResponse {
            error_code,
            error_message: error_message.clone(),
            results: each(request.users.unwrap_or_default(), |_| ScramUserDescription {
                error_code,
                error_message: error_message.clone(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::DescribeCluster(_) => {
            answer.of(&DescribeClusterResponse { error_code, error_message, ..Default::default() })
        }
        R::AlterShareGroupOffsets(_) => {
            answer.of(&AlterShareGroupOffsetsResponse { error_code, error_message, ..Default::default() })
        }
        R::DeleteShareGroupOffsets(_) => {
            answer.of(&DeleteShareGroupOffsetsResponse { error_code, error_message, ..Default::default() })
        }
        R::SaslAuthenticate(_) => {
            answer.of(&SaslAuthenticateResponse { error_code, error_message, ..Default::default() })
        }
        R::Produce(request) => match request.acks {
            // It wants no answer.
            0 => None,
            _ => answer.of(&ProduceResponse {
                responses: each(request.topic_data, |topic| TopicProduceResponse {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    partition_responses: each(topic.partition_data, |partition| PartitionProduceResponse {
                        index: partition.index,
                        error_code,
                        error_message: error_message.clone(),
                        base_offset: -1,
                        ..Default::default()
                    }),
                }),
                ..Default::default()
            }),
        },
        R::Fetch(request) => {
            let topics = if context.version < ERROR_OF_FETCH { request.topics } else { Vec::new() };
            answer.of(&FetchResponse {
                error_code,
                session_id: request.session_id,
                responses: each(topics, |topic| FetchableTopicResponse {
                    topic: topic.topic,
                    topic_id: topic.topic_id,
                    partitions: each(topic.partitions, |partition| PartitionData {
                        partition_index: partition.partition,
                        error_code,
                        high_watermark: -1,
                        aborted_transactions: Some(Vec::new()),
                        ..Default::default()
                    }),
                }),
                ..Default::default()
            })
        }
        R::ListOffsets(request) => answer.of(&ListOffsetsResponse {
            topics: each(request.topics, |topic| ListOffsetsTopicResponse {
                name: topic.name,
                partitions: each(topic.partitions, |partition| ListOffsetsPartitionResponse {
                    partition_index: partition.partition_index,
                    error_code,
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        R::Metadata(request) => answer.of(&MetadataResponse {
            error_code,
            topics: each(request.topics.unwrap_or_default(), |topic| MetadataResponseTopic {
                error_code,
                name: Some(topic.name.unwrap_or_default()),
                topic_id: topic.topic_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::OffsetCommit(request) => answer.of(&OffsetCommitResponse {
            topics: each(request.topics, |topic| OffsetCommitResponseTopic {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code,
                }),
            }),
            ..Default::default()
        }),
        R::OffsetFetch(request) => {
            let topics = if context.version < ERROR_OF_OFFSET_FETCH { request.topics } else { None };
            answer.of(&OffsetFetchResponse {
                error_code,
                topics: each(topics.unwrap_or_default(), |topic| OffsetFetchResponseTopic {
                    name: topic.name,
                    partitions: each(topic.partition_indexes, |partition_index| OffsetFetchResponsePartition {
                        partition_index,
                        committed_offset: -1,
                        metadata: Some(Str::new()),
                        error_code,
                        ..Default::default()
                    }),
                }),
                groups: each(request.groups, |group| OffsetFetchResponseGroup {
                    group_id: group.group_id,
                    error_code,
                    ..Default::default()
                }),
                ..Default::default()
            })
        }
        R::FindCoordinator(request) => answer.of(&FindCoordinatorResponse {
            error_code,
            error_message: error_message.clone(),
            node_id: -1,
            port: -1,
            coordinators: each(request.coordinator_keys, |key| Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code,
                error_message: error_message.clone(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::JoinGroup(_) => {
            let protocol_name = (context.version < NULL_PROTOCOL).then(Str::new);
            answer.of(&JoinGroupResponse { error_code, protocol_name, ..Default::default() })
        }
        R::DescribeGroups(request) => answer.of(&DescribeGroupsResponse {
            groups: each(request.groups, |group_id| DescribedGroup { error_code, group_id, ..Default::default() }),
            ..Default::default()
        }),
        R::ConsumerGroupDescribe(request) => answer.of(&ConsumerGroupDescribeResponse {
            groups: each(request.group_ids, |group_id| DescribedConsumerGroup {
                error_code,
                group_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::ShareGroupDescribe(request) => answer.of(&ShareGroupDescribeResponse {
            groups: each(request.group_ids, |group_id| DescribedShareGroup {
                error_code,
                group_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::StreamsGroupDescribe(request) => answer.of(&StreamsGroupDescribeResponse {
            groups: each(request.group_ids, |group_id| DescribedStreamsGroup {
                error_code,
                group_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::CreateTopics(request) => answer.of(&CreateTopicsResponse {
            topics: each(request.topics, |topic| CreatableTopicResult {
                name: topic.name,
                error_code,
                error_message: error_message.clone(),
                configs: Some(Vec::new()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::DeleteTopics(request) => {
            let named = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
            let topics = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).chain(named);
            let result = |(name, topic_id)| DeletableTopicResult { name, topic_id, error_code, error_message: None };
            answer.of(&DeleteTopicsResponse { responses: topics.map(result).collect(), ..Default::default() })
        }
        R::DeleteRecords(request) => answer.of(&DeleteRecordsResponse {
            topics: each(request.topics, |topic| DeleteRecordsTopicResult {
                name: topic.name,
                partitions: each(topic.partitions, |partition| DeleteRecordsPartitionResult {
                    partition_index: partition.partition_index,
                    low_watermark: -1,
                    error_code,
                }),
            }),
            ..Default::default()
        }),
        R::InitProducerId(_) => {
            answer.of(&InitProducerIdResponse { error_code, producer_id: -1, producer_epoch: -1, ..Default::default() })
        }
        R::OffsetForLeaderEpoch(request) => answer.of(&OffsetForLeaderEpochResponse {
            topics: each(request.topics, |topic| OffsetForLeaderTopicResult {
                topic: topic.topic,
                partitions: each(topic.partitions, |partition| EpochEndOffset {
                    error_code,
                    partition: partition.partition,
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        R::AddPartitionsToTxn(request) => answer.of(&AddPartitionsToTxnResponse {
            error_code,
            results_by_topic_v3_and_below: each(request.v3_and_below_topics, |topic| AddPartitionsToTxnTopicResult {
                name: topic.name,
                results_by_partition: each(topic.partitions, |partition_index| AddPartitionsToTxnPartitionResult {
                    partition_index,
                    partition_error_code: error_code,
                }),
            }),
            ..Default::default()
        }),
        R::WriteTxnMarkers(request) => answer.of(&WriteTxnMarkersResponse {
            markers: each(request.markers, |marker| WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: each(marker.topics, |topic| WritableTxnMarkerTopicResult {
                    name: topic.name,
                    partitions: each(topic.partition_indexes, |partition_index| WritableTxnMarkerPartitionResult {
                        partition_index,
                        error_code,
                    }),
                }),
            }),
        }),
        R::TxnOffsetCommit(request) => answer.of(&TxnOffsetCommitResponse {
            topics: each(request.topics, |topic| TxnOffsetCommitResponseTopic {
                name: topic.name,
                partitions: each(topic.partitions, |partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code,
                }),
            }),
            ..Default::default()
        }),
        R::CreateAcls(request) => answer.of(&CreateAclsResponse {
            results: each(request.creations, |_| AclCreationResult {
                error_code,
                error_message: error_message.clone(),
            }),
            ..Default::default()
        }),
        R::DeleteAcls(request) => answer.of(&DeleteAclsResponse {
            filter_results: each(request.filters, |_| DeleteAclsFilterResult {
                error_code,
                error_message: error_message.clone(),
                matching_acls: Vec::new(),
            }),
            ..Default::default()
        }),
        R::DescribeConfigs(request) => answer.of(&DescribeConfigsResponse {
            results: each(request.resources, |resource| DescribeConfigsResult {
                error_code,
                error_message: error_message.clone(),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs: Vec::new(),
            }),
            ..Default::default()
        }),
        R::AlterConfigs(request) => answer.of(&AlterConfigsResponse {
            responses: each(request.resources, |resource| m33_alter_configs::AlterConfigsResourceResponse {
                error_code,
                error_message: error_message.clone(),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
            }),
            ..Default::default()
        }),
        R::IncrementalAlterConfigs(request) => answer.of(&IncrementalAlterConfigsResponse {
            responses: each(request.resources, |resource| {
                m44_incremental_alter_configs::AlterConfigsResourceResponse {
                    error_code,
                    error_message: error_message.clone(),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name,
                }
            }),
            ..Default::default()
        }),
        R::CreatePartitions(request) => answer.of(&CreatePartitionsResponse {
            results: each(request.topics, |topic| CreatePartitionsTopicResult {
                name: topic.name,
                error_code,
                error_message: error_message.clone(),
            }),
            ..Default::default()
        }),
        R::CreateDelegationToken(_) => {
            let nobody = Str::from_static("ANONYMOUS");
            answer.of(&CreateDelegationTokenResponse {
                error_code,
                principal_type: Str::from_static(Principal::TYPE),
                principal_name: nobody.clone(),
                token_requester_principal_type: Str::from_static(Principal::TYPE),
                token_requester_principal_name: nobody,
                issue_timestamp_ms: -1,
                expiry_timestamp_ms: -1,
                max_timestamp_ms: -1,
                ..Default::default()
            })
        }
        R::DeleteGroups(request) => answer.of(&DeleteGroupsResponse {
            results: each(request.groups_names, |group_id| DeletableGroupResult { group_id, error_code }),
            ..Default::default()
        }),
        R::ElectLeaders(request) => answer.of(&ElectLeadersResponse {
            error_code,
            replica_election_results: each(request.topic_partitions.unwrap_or_default(), |topic| {
                ReplicaElectionResult {
                    topic: topic.topic,
                    partition_result: each(topic.partitions, |partition_id| ElectionResult {
                        partition_id,
                        error_code,
                        error_message: error_message.clone(),
                    }),
                }
            }),
            ..Default::default()
        }),
        R::AlterPartitionReassignments(request) => answer.of(&AlterPartitionReassignmentsResponse {
            error_code,
            error_message: error_message.clone(),
            responses: each(request.topics, |topic| ReassignableTopicResponse {
                name: topic.name,
                partitions: each(topic.partitions, |partition| ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code,
                    error_message: error_message.clone(),
                }),
            }),
            ..Default::default()
        }),
        R::ListPartitionReassignments(request) => answer.of(&ListPartitionReassignmentsResponse {
            error_code,
            error_message,
            topics: each(request.topics.unwrap_or_default(), |topic| OngoingTopicReassignment {
                name: topic.name,
                partitions: each(topic.partition_indexes, |partition_index| OngoingPartitionReassignment {
                    partition_index,
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        R::AlterClientQuotas(request) => answer.of(&AlterClientQuotasResponse {
            entries: each(request.entries, |entry| QuotaAlterationResult {
                error_code,
                error_message: error_message.clone(),
                entity: entry.entity,
            }),
            ..Default::default()
        }),
        R::AlterUserScramCredentials(request) => {
            let deleted = request.deletions.into_iter().map(|deletion| deletion.name);
            let upserted = request.upsertions.into_iter().map(|upsertion| upsertion.name);
            let users: BTreeSet<Str> = deleted.chain(upserted).collect();
            answer.of(&AlterUserScramCredentialsResponse {
                results: each(users.into_iter().collect(), |user| ScramAlterationResult {
                    user,
                    error_code,
                    error_message: error_message.clone(),
                }),
                ..Default::default()
            })
        }
        R::DescribeProducers(request) => answer.of(&DescribeProducersResponse {
            topics: each(request.topics, |topic| DescribeProducersTopicResult {
                name: topic.name,
                partitions: each(topic.partition_indexes, |partition_index| DescribeProducersPartitionResult {
                    partition_index,
                    error_code,
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        R::DescribeTransactions(request) => answer.of(&DescribeTransactionsResponse {
            transaction_states: each(request.transactional_ids, |transactional_id| DescribedTransactionState {
                error_code,
                transactional_id,
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::DescribeTopicPartitions(request) => answer.of(&DescribeTopicPartitionsResponse {
            topics: each(request.topics, |topic| DescribeTopicPartitionsResponseTopic {
                error_code,
                name: Some(topic.name),
                ..Default::default()
            }),
            ..Default::default()
        }),
        R::InitializeShareGroupState(request) => answer.of(&InitializeShareGroupStateResponse {
            results: each(request.topics, |topic| InitializeStateResult {
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| InitializeStatePartitionResult {
                    partition: partition.partition,
                    error_code,
                    error_message: error_message.clone(),
                }),
            }),
        }),
        R::ReadShareGroupState(request) => answer.of(&ReadShareGroupStateResponse {
            results: each(request.topics, |topic| ReadStateResult {
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| ReadStatePartitionResult {
                    partition: partition.partition,
                    error_code,
                    error_message: error_message.clone(),
                    ..Default::default()
                }),
            }),
        }),
        R::WriteShareGroupState(request) => answer.of(&WriteShareGroupStateResponse {
            results: each(request.topics, |topic| WriteStateResult {
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| WriteStatePartitionResult {
                    partition: partition.partition,
                    error_code,
                    error_message: error_message.clone(),
                }),
            }),
        }),
        R::DeleteShareGroupState(request) => answer.of(&DeleteShareGroupStateResponse {
            results: each(request.topics, |topic| DeleteStateResult {
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| DeleteStatePartitionResult {
                    partition: partition.partition,
                    error_code,
                    error_message: error_message.clone(),
                }),
            }),
        }),
        R::ReadShareGroupStateSummary(request) => answer.of(&ReadShareGroupStateSummaryResponse {
            results: each(request.topics, |topic| ReadSummaryStateResult {
                topic_id: topic.topic_id,
                partitions: each(topic.partitions, |partition| ReadSummaryStatePartitionResult {
                    partition: partition.partition,
                    error_code,
                    error_message: error_message.clone(),
                    ..Default::default()
                }),
            }),
        }),
        R::DescribeShareGroupOffsets(request) => answer.of(&DescribeShareGroupOffsetsResponse {
            groups: each(request.groups, |group| DescribeShareGroupOffsetsResponseGroup {
                group_id: group.group_id,
                error_code,
                error_message: error_message.clone(),
                topics: Vec::new(),
            }),
            ..Default::default()
        }),
    }
}

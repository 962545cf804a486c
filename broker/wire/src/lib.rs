//! Kafka's messages as data: one file an API.
//!
//! A message is a plain struct with Kafka's names; `#[derive(Message)]` makes its codec from what stands beside each
//! field. Both ways, for a broker is also a client: of the leaders that it follows.
//!
//! | module | its job |
//! |---|---|
//! | `mNN_…` | request and response of the API with that key |
//! | [`message`] | headers, whole requests and responses, the list of the APIs that we serve |
//! | [`coordinator_records`] | keys and values of `__consumer_offsets` |
//! | [`consumer_group_records`] | the values of consumer groups there |
//! | [`streams_group_records`] | the values of streams groups there |
//! | [`share_group_records`] | the values of share groups there |
//! | [`share_state_records`] | keys and values of `__share_group_state` |
//! | [`transaction_records`] | keys and values of `__transaction_state` |
//! | [`consumer_protocol`] | what consumers say to each other in a classic group |
//! | [`leader`] | who leads a partition, for the APIs that say so beside something else |
//! | [`TopicIdPartition`] | how rooms name a partition |
//! | [`codec`] | how a value reads and writes itself |
//! | [`decoder`], [`encoder`] | from and to bytes; no trust in the ones that come in |
//! | [`frame`] | what is sent: pieces of memory and of files |
//! | [`compatibility`] | our versions beside Kafka's, as a table |
//! | [`error_code`] | Kafka's error codes by name |
//!
//! The versions are those of Kafka 4.3. What `versions = "7+"` and the like mean: see [`ottla_wire_derive`].

#![warn(unreachable_pub)]
// A message's field has Kafka's name and, if the name does not suffice, a comment. Other modules ask for every line.
#![allow(missing_docs)]

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
pub mod codec;
pub mod compatibility;
pub mod consumer_group_records;
pub mod consumer_protocol;
pub mod coordinator_records;
pub mod decoder;
pub mod encoder;
mod error_code;
mod frame;
mod leader;
mod message;
pub mod share_group_records;
pub mod share_state_records;
pub mod streams_group_records;
pub mod transaction_records;

pub mod m00_produce;
pub mod m01_fetch;
pub mod m02_list_offsets;
pub mod m03_metadata;
pub mod m08_offset_commit;
pub mod m09_offset_fetch;
pub mod m10_find_coordinator;
pub mod m11_join_group;
pub mod m12_heartbeat;
pub mod m13_leave_group;
pub mod m14_sync_group;
pub mod m15_describe_groups;
pub mod m16_list_groups;
pub mod m17_sasl_handshake;
pub mod m18_api_versions;
pub mod m19_create_topics;
pub mod m20_delete_topics;
pub mod m21_delete_records;
pub mod m22_init_producer_id;
pub mod m23_offset_for_leader_epoch;
pub mod m24_add_partitions_to_txn;
pub mod m25_add_offsets_to_txn;
pub mod m26_end_txn;
pub mod m27_write_txn_markers;
pub mod m28_txn_offset_commit;
pub mod m29_describe_acls;
pub mod m30_create_acls;
pub mod m31_delete_acls;
pub mod m32_describe_configs;
pub mod m33_alter_configs;
pub mod m35_describe_log_dirs;
pub mod m36_sasl_authenticate;
pub mod m37_create_partitions;
pub mod m38_create_delegation_token;
pub mod m39_renew_delegation_token;
pub mod m40_expire_delegation_token;
pub mod m41_describe_delegation_token;
pub mod m42_delete_groups;
pub mod m43_elect_leaders;
pub mod m44_incremental_alter_configs;
pub mod m45_alter_partition_reassignments;
pub mod m46_list_partition_reassignments;
pub mod m47_offset_delete;
pub mod m48_describe_client_quotas;
pub mod m49_alter_client_quotas;
pub mod m50_describe_user_scram_credentials;
pub mod m51_alter_user_scram_credentials;
pub mod m60_describe_cluster;
pub mod m61_describe_producers;
pub mod m65_describe_transactions;
pub mod m66_list_transactions;
pub mod m68_consumer_group_heartbeat;
pub mod m69_consumer_group_describe;
pub mod m74_list_config_resources;
pub mod m75_describe_topic_partitions;
pub mod m76_share_group_heartbeat;
pub mod m77_share_group_describe;
pub mod m78_share_fetch;
pub mod m79_share_acknowledge;
pub mod m83_initialize_share_group_state;
pub mod m84_read_share_group_state;
pub mod m85_write_share_group_state;
pub mod m86_delete_share_group_state;
pub mod m87_read_share_group_state_summary;
pub mod m88_streams_group_heartbeat;
pub mod m89_streams_group_describe;
pub mod m90_describe_share_group_offsets;
pub mod m91_alter_share_group_offsets;
pub mod m92_delete_share_group_offsets;
mod topic_id_partition;

pub use bytes::Bytes;
pub use codec::{Message, Str};
pub use compatibility::compatibility_table;
pub use decoder::{DecodeError, Decoder};
pub use encoder::FrameTooLarge;
pub use error_code::ErrorCode;
pub use frame::{Chunk, FileSlice, Frame, Records, SentFile};
pub use leader::{LeaderIdAndEpoch, NodeEndpoint};
pub use message::{
    ApiKey, Request, RequestError, RequestHeader, RequestMessage, ResponseMessage, decode_response, encode_request,
    encode_response,
};
pub use topic_id_partition::TopicIdPartition;
pub use uuid::Uuid;

pub use m00_produce::{ProduceRequest, ProduceResponse};
pub use m01_fetch::{FetchRequest, FetchResponse};
pub use m02_list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use m03_metadata::{MetadataRequest, MetadataResponse};
pub use m08_offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use m09_offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use m10_find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use m11_join_group::{JoinGroupRequest, JoinGroupResponse};
pub use m12_heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use m13_leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use m14_sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use m15_describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use m16_list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use m17_sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use m18_api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use m19_create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use m20_delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use m21_delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use m22_init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use m23_offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use m24_add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
pub use m25_add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
pub use m26_end_txn::{EndTxnRequest, EndTxnResponse};
pub use m27_write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
pub use m28_txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
pub use m29_describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
pub use m30_create_acls::{CreateAclsRequest, CreateAclsResponse};
pub use m31_delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
pub use m32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use m33_alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use m35_describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use m36_sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use m37_create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use m38_create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
pub use m39_renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
pub use m40_expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
pub use m41_describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
pub use m42_delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use m43_elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
pub use m44_incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
pub use m45_alter_partition_reassignments::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
pub use m46_list_partition_reassignments::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
pub use m47_offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use m48_describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
pub use m49_alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse};
pub use m50_describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
pub use m51_alter_user_scram_credentials::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
pub use m60_describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use m61_describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use m65_describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
pub use m66_list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
pub use m68_consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
pub use m69_consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use m74_list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
pub use m75_describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
pub use m76_share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
pub use m77_share_group_describe::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};
pub use m78_share_fetch::{ShareFetchRequest, ShareFetchResponse};
pub use m79_share_acknowledge::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};
pub use m83_initialize_share_group_state::{InitializeShareGroupStateRequest, InitializeShareGroupStateResponse};
pub use m84_read_share_group_state::{ReadShareGroupStateRequest, ReadShareGroupStateResponse};
pub use m85_write_share_group_state::{WriteShareGroupStateRequest, WriteShareGroupStateResponse};
pub use m86_delete_share_group_state::{DeleteShareGroupStateRequest, DeleteShareGroupStateResponse};
pub use m87_read_share_group_state_summary::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse};
pub use m88_streams_group_heartbeat::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
pub use m89_streams_group_describe::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse};
pub use m90_describe_share_group_offsets::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse};
pub use m91_alter_share_group_offsets::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse};
pub use m92_delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse};

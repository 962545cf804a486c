//! Every API, for tests that go through all of them.

use ottla_wire::{Bytes, Chunk, Frame};

/// A frame in one piece, without its length, which is checked.
pub fn flatten(frame: Frame) -> Bytes {
    let mut bytes = Vec::new();
    for chunk in frame.into_chunks() {
        match chunk {
            Chunk::Bytes(chunk) => bytes.extend_from_slice(&chunk),
            Chunk::File(_) => panic!("no records of a file here"),
        }
    }
    let body = bytes.split_off(4);
    assert_eq!(bytes, u32::try_from(body.len()).expect("a small frame").to_be_bytes());
    body.into()
}

/// Calls the function `$check::<R>()` for the request of every API.
#[macro_export]
macro_rules! for_each_api {
    ($check:ident) => {
        $crate::for_each_api!($check;
            ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
            FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
            DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest DeleteTopicsRequest
            DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
            AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest
            TxnOffsetCommitRequest DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest
            AlterConfigsRequest DescribeLogDirsRequest SaslAuthenticateRequest CreatePartitionsRequest
            CreateDelegationTokenRequest RenewDelegationTokenRequest ExpireDelegationTokenRequest
            DescribeDelegationTokenRequest DeleteGroupsRequest
            ElectLeadersRequest IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest
            ListPartitionReassignmentsRequest OffsetDeleteRequest
            DescribeClientQuotasRequest AlterClientQuotasRequest DescribeUserScramCredentialsRequest
            AlterUserScramCredentialsRequest
            DescribeClusterRequest DescribeProducersRequest DescribeTransactionsRequest ListTransactionsRequest
            ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest
            ListConfigResourcesRequest DescribeTopicPartitionsRequest
            ShareGroupHeartbeatRequest ShareGroupDescribeRequest ShareFetchRequest ShareAcknowledgeRequest
            InitializeShareGroupStateRequest ReadShareGroupStateRequest WriteShareGroupStateRequest
            DeleteShareGroupStateRequest ReadShareGroupStateSummaryRequest
            StreamsGroupHeartbeatRequest StreamsGroupDescribeRequest
            DescribeShareGroupOffsetsRequest AlterShareGroupOffsetsRequest DeleteShareGroupOffsetsRequest)
    };
    ($check:ident; $($request:ident)*) => {{
        let apis = [$(<ottla_wire::$request as ottla_wire::RequestMessage>::KEY),*];
        assert_eq!(apis, ottla_wire::ApiKey::ALL, "the list in tests/common misses an API");
        $($check::<ottla_wire::$request>();)*
    }};
}

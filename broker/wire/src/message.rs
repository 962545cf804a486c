//! Requests and responses: their keys, their headers, and the list of the APIs that we serve.
//!
//! Adding an API is a file with its structs and a line in the list below; the compiler then names every match on
//! [`Request`] that lacks it.
#![warn(missing_docs)]

use crate::codec::{Message, Str, Version, Wire};
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::{Encoder, FrameTooLarge};
use crate::frame::Frame;
use crate::*;
use bytes::Bytes;
use std::ops::RangeInclusive;

/// A request of one API.
pub trait RequestMessage: Message {
    /// Which API.
    const KEY: ApiKey;
    /// What answers it.
    type Response: ResponseMessage;
}

/// A response of one API. Its versions are those of the request.
pub trait ResponseMessage: Message + Clone {
    /// Which API.
    const KEY: ApiKey;

    /// For how many milliseconds the client is throttled (KIP-219), to be set; `None`: no version of this response can
    /// say that.
    fn throttle_time_ms(&mut self) -> Option<&mut i32>;
}

macro_rules! apis {
    ($($key:literal $name:ident $request:ident,)*) => {
        /// The APIs that we serve, with Kafka's numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("See [`", stringify!($request), "`].")] $name = $key,)*
        }

        /// A request of any API.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("Key ", $key, ".")] $name($request),)*
        }

        $(impl From<$request> for Request {
            fn from(request: $request) -> Self {
                Self::$name(request)
            }
        })*

        impl ApiKey {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The versions that we serve.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self { $(Self::$name => $request::VERSIONS,)* }
            }

            /// The first version with compact lengths and tagged fields; `i16::MAX` where there is none.
            pub fn flexible_from(self) -> i16 {
                match self { $(Self::$name => $request::FLEXIBLE_FROM,)* }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = RequestError;

            fn try_from(number: i16) -> Result<Self, RequestError> {
                match number {
                    $($key => Ok(Self::$name),)*
                    _ => Err(RequestError::UnknownKey(number)),
                }
            }
        }

        impl Request {
            /// Decodes the body that follows `header`. Bytes after its end are no error: Kafka never looks at them.
            pub fn decode(header: &RequestHeader, mut decoder: Decoder) -> Result<Self, RequestError> {
                let (api, number) = (header.api_key, header.api_version);
                if !api.versions().contains(&number) {
                    return Err(RequestError::UnsupportedVersion(api, number));
                }
                let version = Version { number, flexible: number >= api.flexible_from() };
                let request = match api {
                    $(ApiKey::$name => $request::decode(&mut decoder, version).map(Self::$name),)*
                };
                request.map_err(|error| RequestError::Malformed(api, number, error))
            }

            /// This request as it is sent; see [`encode_request`].
            pub fn encode(&self, correlation_id: i32, client_id: Option<&Str>, api_version: i16) -> Frame {
                match self {
                    $(Self::$name(request) => encode_request(correlation_id, client_id, api_version, request),)*
                }
            }

            /// Which API.
            pub fn key(&self) -> ApiKey {
                match self { $(Self::$name(_) => ApiKey::$name,)* }
            }
        }
    };
}

apis! {
    0 Produce ProduceRequest,
    1 Fetch FetchRequest,
    2 ListOffsets ListOffsetsRequest,
    3 Metadata MetadataRequest,
    8 OffsetCommit OffsetCommitRequest,
    9 OffsetFetch OffsetFetchRequest,
    10 FindCoordinator FindCoordinatorRequest,
    11 JoinGroup JoinGroupRequest,
    12 Heartbeat HeartbeatRequest,
    13 LeaveGroup LeaveGroupRequest,
    14 SyncGroup SyncGroupRequest,
    15 DescribeGroups DescribeGroupsRequest,
    16 ListGroups ListGroupsRequest,
    17 SaslHandshake SaslHandshakeRequest,
    18 ApiVersions ApiVersionsRequest,
    19 CreateTopics CreateTopicsRequest,
    20 DeleteTopics DeleteTopicsRequest,
    21 DeleteRecords DeleteRecordsRequest,
    22 InitProducerId InitProducerIdRequest,
    23 OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
    24 AddPartitionsToTxn AddPartitionsToTxnRequest,
    25 AddOffsetsToTxn AddOffsetsToTxnRequest,
    26 EndTxn EndTxnRequest,
    27 WriteTxnMarkers WriteTxnMarkersRequest,
    28 TxnOffsetCommit TxnOffsetCommitRequest,
    29 DescribeAcls DescribeAclsRequest,
    30 CreateAcls CreateAclsRequest,
    31 DeleteAcls DeleteAclsRequest,
    32 DescribeConfigs DescribeConfigsRequest,
    33 AlterConfigs AlterConfigsRequest,
    35 DescribeLogDirs DescribeLogDirsRequest,
    36 SaslAuthenticate SaslAuthenticateRequest,
    37 CreatePartitions CreatePartitionsRequest,
    38 CreateDelegationToken CreateDelegationTokenRequest,
    39 RenewDelegationToken RenewDelegationTokenRequest,
    40 ExpireDelegationToken ExpireDelegationTokenRequest,
    41 DescribeDelegationToken DescribeDelegationTokenRequest,
    42 DeleteGroups DeleteGroupsRequest,
    43 ElectLeaders ElectLeadersRequest,
    44 IncrementalAlterConfigs IncrementalAlterConfigsRequest,
    45 AlterPartitionReassignments AlterPartitionReassignmentsRequest,
    46 ListPartitionReassignments ListPartitionReassignmentsRequest,
    47 OffsetDelete OffsetDeleteRequest,
    48 DescribeClientQuotas DescribeClientQuotasRequest,
    49 AlterClientQuotas AlterClientQuotasRequest,
    50 DescribeUserScramCredentials DescribeUserScramCredentialsRequest,
    51 AlterUserScramCredentials AlterUserScramCredentialsRequest,
    60 DescribeCluster DescribeClusterRequest,
    61 DescribeProducers DescribeProducersRequest,
    65 DescribeTransactions DescribeTransactionsRequest,
    66 ListTransactions ListTransactionsRequest,
    68 ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
    69 ConsumerGroupDescribe ConsumerGroupDescribeRequest,
    74 ListConfigResources ListConfigResourcesRequest,
    75 DescribeTopicPartitions DescribeTopicPartitionsRequest,
    76 ShareGroupHeartbeat ShareGroupHeartbeatRequest,
    77 ShareGroupDescribe ShareGroupDescribeRequest,
    78 ShareFetch ShareFetchRequest,
    79 ShareAcknowledge ShareAcknowledgeRequest,
    83 InitializeShareGroupState InitializeShareGroupStateRequest,
    84 ReadShareGroupState ReadShareGroupStateRequest,
    85 WriteShareGroupState WriteShareGroupStateRequest,
    86 DeleteShareGroupState DeleteShareGroupStateRequest,
    87 ReadShareGroupStateSummary ReadShareGroupStateSummaryRequest,
    88 StreamsGroupHeartbeat StreamsGroupHeartbeatRequest,
    89 StreamsGroupDescribe StreamsGroupDescribeRequest,
    90 DescribeShareGroupOffsets DescribeShareGroupOffsetsRequest,
    91 AlterShareGroupOffsets AlterShareGroupOffsetsRequest,
    92 DeleteShareGroupOffsets DeleteShareGroupOffsetsRequest,
}

/// Why a request can't be served. Except for a version of ApiVersions that we don't know, which is answered with
/// [`ApiVersionsResponse::unsupported_version`], Kafka closes the connection without a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The key of an API that we don't serve.
    #[error("unknown API key {0}")]
    UnknownKey(i16),
    /// A version outside of [`ApiKey::versions`].
    #[error("unsupported version {1} of {0:?}")]
    UnsupportedVersion(ApiKey, i16),
    /// The header is not one.
    #[error("malformed request header: {0}")]
    MalformedHeader(DecodeError),
    /// The body is not one.
    #[error("malformed {0:?} request, version {1}: {2}")]
    Malformed(ApiKey, i16, DecodeError),
}

/// What stands before the body of every request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: ApiKey,
    /// In which version; not checked yet.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself; `None`: it does not say.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Takes the header off the front of a request.
    pub fn decode(decoder: &mut Decoder) -> Result<Self, RequestError> {
        let number = decoder.i16().map_err(RequestError::MalformedHeader)?;
        let api_key = ApiKey::try_from(number)?;
        Self::decode_rest(api_key, decoder).map_err(RequestError::MalformedHeader)
    }

    fn decode_rest(api_key: ApiKey, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let api_version = decoder.i16()?;
        let correlation_id = decoder.i32()?;
        let client_id = Str::decode_nullable(decoder, CLIENT_ID)?;
        if api_version >= api_key.flexible_from() {
            decoder.tagged_fields(|_, field| {
                field.skip_rest();
                Ok(())
            })?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }
}

/// The client id keeps its old encoding in flexible headers too, so that a broker can read the header of a version of
/// ApiVersions that it does not know.
const CLIENT_ID: Version = Version { number: 0, flexible: false };

/// A request as it is sent.
///
/// # Panics
/// When it is larger than a frame can be, 2 GiB: requests are of our own making.
pub fn encode_request<R: RequestMessage>(
    correlation_id: i32,
    client_id: Option<&Str>,
    api_version: i16,
    request: &R,
) -> Frame {
    let version = Version::of::<R>(api_version);
    Encoder::frame(|encoder| {
        encoder.i16(R::KEY as i16);
        encoder.i16(api_version);
        encoder.i32(correlation_id);
        Str::encode_nullable(client_id, encoder, CLIENT_ID);
        if version.flexible {
            encoder.uvarint(0);
        }
        request.encode(encoder, version);
    })
    .expect("we ask for less than that")
}

/// A response as it is sent.
///
/// # Errors
/// When it is larger than a frame can be: how large it is depends on what was asked for.
pub fn encode_response<R: ResponseMessage>(
    api_version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<Frame, FrameTooLarge> {
    let version = Version::of::<R>(api_version);
    Encoder::frame(|encoder| {
        encoder.i32(correlation_id);
        if flexible_response_header(R::KEY, version) {
            encoder.uvarint(0);
        }
        response.encode(encoder, version);
    })
}

/// Decodes the response to an `R` sent in this version, without the frame's length; also gives its correlation id.
pub fn decode_response<R: RequestMessage>(api_version: i16, frame: Bytes) -> Result<(i32, R::Response), DecodeError> {
    let version = Version::of::<R>(api_version);
    let mut decoder = Decoder::new(frame);
    let correlation_id = decoder.i32()?;
    if flexible_response_header(R::KEY, version) {
        decoder.tagged_fields(|_, field| {
            field.skip_rest();
            Ok(())
        })?;
    }
    let response = R::Response::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok((correlation_id, response))
}

/// ApiVersions never has tagged fields in the header: the client can't know yet whether the broker knows the version.
fn flexible_response_header(key: ApiKey, version: Version) -> bool {
    version.flexible && key != ApiKey::ApiVersions
}

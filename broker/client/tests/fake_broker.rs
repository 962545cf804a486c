//! The client against a broker that the test plays, on loopback.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use ottla_client::{ClientError, Connection, Connector};
use ottla_wire::m01_fetch::{FetchableTopicResponse, PartitionData};
use ottla_wire::m18_api_versions::ApiVersion;
use ottla_wire::{
    ApiKey, ApiVersionsResponse, Bytes, Chunk, Decoder, ErrorCode, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, RequestHeader, ResponseMessage, encode_response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(600);
const FETCH: i16 = 12;

fn connector() -> Connector {
    Connector { client_id: "test".into(), connect_timeout: LONG, request_timeout: LONG, max_response: 1000, tls: None }
}

/// Both ends of a connection.
async fn connected(connector: &Connector) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (connection, accepted) = tokio::join!(connector.connect("127.0.0.1", port, None), listener.accept());
    (connection.unwrap(), accepted.unwrap().0)
}

/// The header of the next request.
async fn asked(broker: &mut TcpStream) -> RequestHeader {
    let mut frame = vec![0; broker.read_u32().await.unwrap() as usize];
    broker.read_exact(&mut frame).await.unwrap();
    RequestHeader::decode(&mut Decoder::new(frame.into())).unwrap()
}

fn response(correlation_id: i32, version: i16, response: &impl ResponseMessage) -> Vec<u8> {
    let frame = encode_response(version, correlation_id, response).unwrap();
    let bytes = |chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::File(_) => unreachable!("nothing here is in files"),
    };
    frame.into_chunks().into_iter().flat_map(bytes).collect()
}

/// A response to a fetch with these records.
fn fetched(records: &[u8]) -> FetchResponse {
    let records = Some(Bytes::copy_from_slice(records).into());
    let partitions = vec![PartitionData { records, ..Default::default() }];
    let responses = vec![FetchableTopicResponse { topic: "a".into(), partitions, ..Default::default() }];
    FetchResponse { responses, ..Default::default() }
}

/// The error of a fetch to a broker that sends `bytes` and keeps the connection.
async fn error_of(bytes: &[u8]) -> ClientError {
    let (mut connection, mut broker) = connected(&connector()).await;
    let sent = async {
        asked(&mut broker).await;
        broker.write_all(bytes).await.unwrap();
    };
    let request = FetchRequest::default();
    tokio::join!(connection.call(FETCH, &request), sent).0.unwrap_err()
}

#[tokio::test]
async fn each_request_has_its_own_response_however_it_arrives() {
    let (mut connection, mut broker) = connected(&connector()).await;
    let mut kept = Vec::new();
    for (number, records) in [b"one".as_slice(), b"", &[7; 900]].into_iter().enumerate() {
        let sent = async {
            let header = asked(&mut broker).await;
            assert_eq!((header.api_key, header.api_version), (ApiKey::Fetch, FETCH));
            assert_eq!((header.client_id.as_deref(), header.correlation_id), (Some("test"), 1 + number as i32));
            let bytes = response(header.correlation_id, FETCH, &fetched(records));
            for piece in bytes.chunks(300) {
                broker.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let request = FetchRequest::default();
        let (answer, ()) = tokio::join!(connection.call(FETCH, &request), sent);
        kept.push((answer.unwrap(), fetched(records)));
    }
    // What came first is still what it was: its memory is not used again while somebody has it.
    for (answer, expected) in kept {
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_not_waited_for_longer_than_the_time_out() {
    let request_timeout = Duration::from_millis(20);
    let (mut connection, mut broker) = connected(&Connector { request_timeout, ..connector() }).await;
    let error = connection.call(FETCH, &FetchRequest::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "no response within 20ms");
    asked(&mut broker).await;
}

#[tokio::test]
async fn a_connection_that_the_broker_closes_is_an_error_wherever_that_happens() {
    let whole = response(1, FETCH, &fetched(b"records"));
    for received in [0, 2, 4, 20, whole.len() - 1] {
        let (mut connection, mut broker) = connected(&connector()).await;
        let sent = async {
            asked(&mut broker).await;
            broker.write_all(&whole[..received]).await.unwrap();
            drop(broker);
        };
        let request = FetchRequest::default();
        let (answer, ()) = tokio::join!(connection.call(FETCH, &request), sent);
        assert!(matches!(answer, Err(ClientError::Closed)), "after {received} bytes: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_the_response_to_the_request_is_an_error() {
    let other = error_of(&response(2, FETCH, &fetched(b""))).await;
    assert!(matches!(other, ClientError::CorrelationId { sent: 1, received: 2 }), "{other}");
    let short = error_of(&[0, 0, 0, 4, 0, 0, 0, 1]).await;
    assert!(matches!(short, ClientError::Malformed(_)), "{short}");
    let empty = error_of(&[0, 0, 0, 0]).await;
    assert!(matches!(empty, ClientError::Malformed(_)), "{empty}");
}

#[tokio::test]
async fn a_response_above_the_limit_is_not_read() {
    for (length, expected) in [
        (1001, "a response of 1001 bytes, where 1000 is the limit"),
        (-1, "a response of -1 bytes, where 1000 is the limit"),
    ] {
        assert_eq!(error_of(&i32::to_be_bytes(length)).await.to_string(), expected);
    }
}

#[tokio::test]
async fn between_requests_the_end_of_a_connection_shows() {
    let (mut connection, mut broker) = connected(&connector()).await;
    broker.write_all(b"?").await.unwrap();
    assert!(matches!(connection.ended().await, ClientError::Unasked));
    let (mut connection, broker) = connected(&connector()).await;
    drop(broker);
    assert!(matches!(connection.ended().await, ClientError::Closed));
}

/// Answers two questions for versions: the first as `older`, the second with these versions of Metadata.
async fn versions_of(broker: &mut TcpStream, older: &ApiVersionsResponse, metadata: (i16, i16)) -> [i16; 2] {
    let first = asked(broker).await;
    broker.write_all(&response(first.correlation_id, 0, older)).await.unwrap();
    let second = asked(broker).await;
    let api = ApiVersion { api_key: ApiKey::Metadata as i16, min_version: metadata.0, max_version: metadata.1 };
    let answer = ApiVersionsResponse { api_keys: vec![api], ..Default::default() };
    broker.write_all(&response(second.correlation_id, second.api_version, &answer)).await.unwrap();
    [first.api_version, second.api_version]
}

#[tokio::test]
async fn an_older_broker_is_asked_for_its_versions_in_one_that_it_knows() {
    let refuses =
        |api_keys| ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, api_keys, ..Default::default() };
    let serves = |max_version| vec![ApiVersion { api_key: ApiKey::ApiVersions as i16, min_version: 0, max_version }];
    for (older, second) in [(refuses(serves(2)), 2), (refuses(serves(3)), 3), (refuses(vec![]), 0)] {
        let (mut connection, mut broker) = connected(&connector()).await;
        let (versions, asked) = tokio::join!(connection.versions(), versions_of(&mut broker, &older, (0, 8)));
        assert_eq!(asked, [4, second]);
        let versions = versions.unwrap();
        assert_eq!(versions.newest::<MetadataRequest>(1..=12).unwrap(), 8);
        let unserved = versions.newest::<FetchRequest>(4..=12).unwrap_err();
        assert_eq!(unserved.to_string(), "Fetch is needed in versions 4 to 12, and the broker serves none");
        // The connection stays usable.
        let sent = async {
            let header = asked_in(&mut broker, 8).await;
            broker.write_all(&response(header.correlation_id, 8, &MetadataResponse::default())).await.unwrap();
        };
        let metadata = MetadataRequest::default();
        tokio::join!(connection.call(8, &metadata), sent).0.unwrap();
    }
}

async fn asked_in(broker: &mut TcpStream, version: i16) -> RequestHeader {
    let header = asked(broker).await;
    assert_eq!(header.api_version, version);
    header
}

#[tokio::test]
async fn a_broker_that_refuses_to_name_its_versions_is_an_error() {
    let (mut connection, mut broker) = connected(&connector()).await;
    let sent = async {
        let header = asked(&mut broker).await;
        let answer = ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() };
        broker.write_all(&response(header.correlation_id, header.api_version, &answer)).await.unwrap();
    };
    let (versions, ()) = tokio::join!(connection.versions(), sent);
    assert!(matches!(versions, Err(ClientError::Refused(ErrorCode::INVALID_REQUEST))), "{versions:?}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = connector().connect("127.0.0.1", port, None).await.err().unwrap();
    assert!(matches!(&error, ClientError::Io(error) if error.kind() == ErrorKind::ConnectionRefused), "{error}");
}

#[tokio::test]
async fn a_broker_whose_name_nobody_knows_is_reached_at_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let here = IpAddr::from([127, 0, 0, 1]);
    let too_long_for_a_name = "x".repeat(64);
    assert!(connector().connect(&too_long_for_a_name, port, Some(here)).await.is_ok());
    assert!(connector().connect(&too_long_for_a_name, port, None).await.is_err());
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    let found = connector().connect("127.0.0.1", port, Some(elsewhere)).await;
    assert!(found.is_ok(), "a name that is known goes first");
}

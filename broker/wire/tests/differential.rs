//! The crate `kafka-protocol` as a second opinion: what one writes, the other reads and writes alike.

mod common;

use bytes::{Buf, BytesMut};
use common::flatten;
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla_wire::arbitrary::{Arbitrary, Entropy};
use ottla_wire::codec::Version;
use ottla_wire::{Decoder, Request, RequestMessage, decode_response};
use ottla_wire::{Str, encode_request, encode_response};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const CORRELATION_ID: i32 = 4711;

/// Versions that they can't read yet. Kafka's own classes can: the Java client 4.3.1 was asked once, about all
/// versions.
const NOT_THEIRS: &[(ottla_wire::ApiKey, i16)] = &[
    (ottla_wire::ApiKey::ListOffsets, 11),
    (ottla_wire::ApiKey::OffsetCommit, 10),
    (ottla_wire::ApiKey::OffsetFetch, 10),
    (ottla_wire::ApiKey::DescribeLogDirs, 5),
    (ottla_wire::ApiKey::WriteTxnMarkers, 2),
    (ottla_wire::ApiKey::ShareFetch, 2),
    (ottla_wire::ApiKey::ShareAcknowledge, 2),
    (ottla_wire::ApiKey::WriteShareGroupState, 1),
    (ottla_wire::ApiKey::ReadShareGroupStateSummary, 1),
    (ottla_wire::ApiKey::StreamsGroupHeartbeat, 0),
    (ottla_wire::ApiKey::StreamsGroupDescribe, 0),
    (ottla_wire::ApiKey::DescribeShareGroupOffsets, 1),
];

#[test]
fn both_codecs_agree_on_every_api() {
    for_each_api!(agree);
}

fn agree<R>()
where
    R: RequestMessage + Arbitrary + Into<Request> + PartialEq + std::fmt::Debug,
    R::Response: Arbitrary + PartialEq + std::fmt::Debug,
{
    let versions: Vec<i16> = R::VERSIONS.filter(|version| !NOT_THEIRS.contains(&(R::KEY, *version))).collect();
    if versions.is_empty() {
        return;
    }
    let theirs = ApiKey::try_from(R::KEY as i16).expect("they have the API");
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let cases = (prop::sample::select(versions), prop::collection::vec(any::<u8>(), 0..600));
    let outcome = TestRunner::new(config).run(&cases, |(version, entropy)| {
        let mut entropy = Entropy(&entropy);
        let request = R::arbitrary(&mut entropy, Version::of::<R>(version));
        agree_on_request(theirs, version, request)?;
        let response = R::Response::arbitrary(&mut entropy, Version::of::<R>(version));
        agree_on_response::<R>(theirs, version, response)
    });
    outcome.unwrap_or_else(|error| panic!("{:?}: {error}", R::KEY));
}

fn agree_on_request<R>(theirs: ApiKey, version: i16, request: R) -> Result<(), TestCaseError>
where
    R: RequestMessage + Into<Request>,
{
    let client_id = Str::from_static("tester");
    let ours = flatten(encode_request(CORRELATION_ID, Some(&client_id), version, &request));

    let mut left = ours.clone();
    let header = RequestHeader::decode(&mut left, theirs.request_header_version(version)).expect("their header");
    let body = RequestKind::decode(theirs, &mut left, version).expect("they read what we wrote");
    prop_assert!(!left.has_remaining(), "they left {} bytes", left.remaining());
    let mut again = BytesMut::new();
    header.encode(&mut again, theirs.request_header_version(version)).expect("their header");
    body.encode(&mut again, version).expect("they write it again");
    prop_assert_eq!(&again[..], &ours[..], "version {}: {:?}", version, body);

    let mut decoder = Decoder::new(again.freeze());
    let header = ottla_wire::RequestHeader::decode(&mut decoder).expect("our header");
    prop_assert_eq!((header.api_key, header.api_version, header.correlation_id), (R::KEY, version, CORRELATION_ID));
    prop_assert_eq!(header.client_id.as_ref(), Some(&client_id));
    let back = Request::decode(&header, decoder).expect("we read what they wrote");
    prop_assert_eq!(back, request.into());
    Ok(())
}

fn agree_on_response<R>(theirs: ApiKey, version: i16, response: R::Response) -> Result<(), TestCaseError>
where
    R: RequestMessage,
    R::Response: PartialEq + std::fmt::Debug,
{
    let ours = flatten(encode_response(version, CORRELATION_ID, &response).expect("it fits"));

    let mut left = ours.clone();
    let header = ResponseHeader::decode(&mut left, theirs.response_header_version(version)).expect("their header");
    let body = ResponseKind::decode(theirs, &mut left, version).expect("they read what we wrote");
    prop_assert!(!left.has_remaining(), "they left {} bytes", left.remaining());
    let mut again = BytesMut::new();
    header.encode(&mut again, theirs.response_header_version(version)).expect("their header");
    body.encode(&mut again, version).expect("they write it again");
    prop_assert_eq!(&again[..], &ours[..], "version {}: {:?}", version, body);

    let back = decode_response::<R>(version, again.freeze()).expect("we read what they wrote");
    prop_assert_eq!(back, (CORRELATION_ID, response));
    Ok(())
}

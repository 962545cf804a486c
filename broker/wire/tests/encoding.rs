//! The rules of the encoding, one test each; the bytes are written out by hand.

mod common;

use common::flatten;
use ottla_wire::codec::{Version, Wire};
use ottla_wire::encoder::Encoder;
use ottla_wire::m00_produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use ottla_wire::m03_metadata::MetadataRequestTopic;
use ottla_wire::m75_describe_topic_partitions::Cursor;
use ottla_wire::*;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

const PLAIN: Version = Version { number: 0, flexible: false };
const FLEXIBLE: Version = Version { number: 99, flexible: true };

fn encoded(value: &impl Wire, version: Version) -> Vec<u8> {
    let mut encoder = Encoder::default();
    value.encode(&mut encoder, version);
    let chunks = encoder.into_chunks();
    chunks
        .into_iter()
        .flat_map(|chunk| match chunk {
            Chunk::Bytes(bytes) => bytes,
            Chunk::File(_) => panic!("no files here"),
        })
        .collect()
}

fn decoded<T: Wire>(bytes: &[u8], version: Version) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(Bytes::copy_from_slice(bytes));
    let value = T::decode(&mut decoder, version)?;
    decoder.finish().map(|()| value)
}

#[test]
fn lengths_are_fixed_in_old_versions_and_compact_in_new_ones() {
    let text = Str::from_static("ab");
    assert_eq!(encoded(&text, PLAIN), b"\0\x02ab");
    assert_eq!(encoded(&text, FLEXIBLE), b"\x03ab");
    let numbers = vec![1_i32];
    assert_eq!(encoded(&numbers, PLAIN), [0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(encoded(&numbers, FLEXIBLE), [2, 0, 0, 0, 1]);
    let long = Bytes::from(vec![7; 300]);
    assert_eq!(encoded(&long, FLEXIBLE)[..3], [0xad, 0x02, 7], "301 in two bytes, lowest bits first");
}

#[test]
fn null_has_a_length_below_all_others() {
    let topics =
        |version: Version, bytes: &[u8]| decoded::<MetadataRequest>(bytes, version).expect("well formed").topics;
    assert_eq!(topics(Version { number: 1, flexible: false }, &[0xff, 0xff, 0xff, 0xff]), None);
    assert_eq!(topics(Version { number: 1, flexible: false }, &[0x80, 0, 0, 5]), None, "any negative number will do");
    assert_eq!(topics(Version { number: 9, flexible: true }, &[0, 1, 0, 0, 0]), None);
    assert_eq!(topics(Version { number: 9, flexible: true }, &[1, 1, 0, 0, 0]), Some(vec![]));
}

#[test]
fn null_is_refused_where_the_version_has_none_and_written_as_empty() {
    let version_0 = Version { number: 0, flexible: false };
    assert_eq!(decoded::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff], version_0), Err(DecodeError::Null));
    assert_eq!(encoded(&MetadataRequest::default(), version_0), [0, 0, 0, 0]);
}

#[test]
fn a_byte_before_a_struct_says_whether_it_is_null() {
    let version = Version { number: 0, flexible: true };
    let mut request = DescribeTopicPartitionsRequest { response_partition_limit: 1, ..Default::default() };
    assert_eq!(encoded(&request, version), [1, 0, 0, 0, 1, 0xff, 0]);
    request.cursor = Some(Cursor { topic_name: "t".into(), partition_index: 2 });
    let bytes = [1, 0, 0, 0, 1, 1, 2, b't', 0, 0, 0, 2, 0, 0];
    assert_eq!(encoded(&request, version), bytes);
    assert_eq!(decoded(&bytes, version), Ok(request));
}

#[test]
fn a_tagged_field_is_written_unless_it_has_its_default() {
    let version = Version::of::<ProduceRequest>(10);
    let without = PartitionProduceResponse::default();
    assert_eq!(encoded(&without, version).last(), Some(&0), "no tagged fields");
    let with = PartitionProduceResponse {
        current_leader: LeaderIdAndEpoch { leader_id: 1, leader_epoch: -1 },
        ..Default::default()
    };
    let tagged = [1, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0];
    assert_eq!(encoded(&with, version)[encoded(&without, version).len() - 1..], tagged);
    let before = Version { number: 9, flexible: true };
    assert_eq!(encoded(&with, before).last(), Some(&0), "version 9 does not have it");
}

#[test]
fn an_unknown_tagged_field_is_skipped() {
    let version = Version { number: 9, flexible: true };
    // Tag 77 with two bytes, after the fields of an empty request.
    let bytes = [1, 1, 0, 0, 1, 77, 2, 0xde, 0xad];
    assert_eq!(decoded::<MetadataRequest>(&bytes, version).map(|request| request.topics), Ok(Some(vec![])));
    assert!(decoded::<MetadataRequest>(&[1, 1, 0, 0, 1, 77, 3, 0xde, 0xad], version).is_err(), "longer than the rest");
}

#[test]
fn a_tagged_field_has_the_size_it_says() {
    let version = Version::of::<FetchRequest>(15);
    let request = FetchRequest { cluster_id: Some("c".into()), ..Default::default() };
    let mut bytes = encoded(&request, version);
    assert_eq!(bytes[bytes.len() - 5..], [1, 0, 2, 2, b'c']);
    assert_eq!(decoded(&bytes, version), Ok(request));
    let size = bytes.len() - 3;
    bytes[size] = 3;
    bytes.push(0);
    assert_eq!(decoded::<FetchRequest>(&bytes, version), Err(DecodeError::Trailing(1)));
}

#[test]
fn what_is_not_utf8_is_read_as_java_reads_it() {
    // Kafka 4.3.1 answers a Metadata request for this topic with two replacement characters as well.
    assert_eq!(decoded(b"\0\x02\xff\xfe", PLAIN), Ok(Str::from_static("\u{fffd}\u{fffd}")));
}

#[test]
fn a_string_is_never_longer_than_an_int16_can_say() {
    let text = Str::from(format!("{}é", "x".repeat(i16::MAX as usize - 1)));
    assert_eq!(encoded(&text, PLAIN).len(), 2 + i16::MAX as usize - 1, "cut before the letter that does not fit");
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.resize(40_000, b'x');
    assert_eq!(decoded::<Str>(&bytes, FLEXIBLE), Err(DecodeError::TooLong { length: 0x8000, most: 0x7fff }));
}

#[test]
fn numbers_in_variable_encoding_have_at_most_32_bits() {
    let number = |bytes: &'static [u8]| Decoder::new(Bytes::from_static(bytes)).uvarint();
    assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
    assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::Varint));
    assert_eq!(number(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(DecodeError::Varint));
    assert_eq!(number(&[0x80]), Err(DecodeError::Truncated { wanted: 1, left: 0 }));
}

#[test]
fn the_client_id_keeps_its_old_encoding_in_new_headers() {
    let frame = encode_request(7, Some(&Str::from_static("c")), 3, &ApiVersionsRequest::default());
    assert_eq!(&flatten(frame)[..], [0, 18, 0, 3, 0, 0, 0, 7, 0, 1, b'c', 0, 1, 1, 0]);
    let frame = encode_request(7, None, 0, &ApiVersionsRequest::default());
    assert_eq!(&flatten(frame)[..], [0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]);
}

#[test]
fn the_response_to_api_versions_has_the_oldest_header() {
    let header = [0, 0, 0, 7];
    let response = ApiVersionsResponse { throttle_time_ms: 1, ..Default::default() };
    assert_eq!(
        &flatten(encode_response(3, 7, &response).expect("it fits"))[..],
        [&header[..], &[0, 0, 1, 0, 0, 0, 1, 0]].concat()
    );
    let response = HeartbeatResponse { throttle_time_ms: 1, ..Default::default() };
    let flexible_header = [&header[..], &[0]].concat();
    assert_eq!(
        &flatten(encode_response(4, 7, &response).expect("it fits"))[..],
        [&flexible_header[..], &[0, 0, 0, 1, 0, 0, 0]].concat()
    );
    assert_eq!(
        &flatten(encode_response(3, 7, &response).expect("it fits"))[..],
        [&header[..], &[0, 0, 0, 1, 0, 0]].concat()
    );
}

/// The header is read and the body is not; the answer is the one that Kafka 4.3.1 gives.
#[test]
fn a_version_of_api_versions_from_the_future_is_answered() {
    let mut decoder = Decoder::new(Bytes::from_static(&[0, 18, 0, 9, 0, 0, 0, 7, 0, 1, b't', 0, 0xba, 0xd0]));
    let header = RequestHeader::decode(&mut decoder).expect("a header of the newer kind");
    assert_eq!(Request::decode(&header, decoder), Err(RequestError::UnsupportedVersion(ApiKey::ApiVersions, 9)));
    let answer =
        encode_response(0, header.correlation_id, &ApiVersionsResponse::unsupported_version()).expect("it fits");
    assert_eq!(&flatten(answer)[..], [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[test]
fn an_unserved_request_is_distinguished_from_an_unreadable_one() {
    let request = |bytes: &'static [u8]| {
        let mut decoder = Decoder::new(Bytes::from_static(bytes));
        let header = RequestHeader::decode(&mut decoder)?;
        Request::decode(&header, decoder)
    };
    let truncated = DecodeError::Truncated { wanted: 4, left: 2 };
    assert_eq!(request(&[0, 4, 0, 0]), Err(RequestError::UnknownKey(4)));
    assert_eq!(request(&[0, 3, 0, 0, 0, 0]), Err(RequestError::MalformedHeader(truncated.clone())));
    let produce_2 = request(&[0, 0, 0, 2, 0, 0, 0, 7, 0xff, 0xff]);
    assert_eq!(produce_2, Err(RequestError::UnsupportedVersion(ApiKey::Produce, 2)));
    let metadata_1 = request(&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0]);
    assert_eq!(metadata_1, Err(RequestError::Malformed(ApiKey::Metadata, 1, truncated)));
}

/// A real broker answers this request too.
#[test]
fn bytes_after_a_request_are_ignored() {
    let topic = MetadataRequestTopic { name: Some("orders".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let bytes = [&flatten(encode_request(7, None, 1, &request))[..], b"abc"].concat();
    let mut decoder = Decoder::new(bytes.into());
    let header = RequestHeader::decode(&mut decoder).expect("a header");
    assert_eq!(Request::decode(&header, decoder), Ok(request.into()));
}

#[test]
fn texts_do_not_keep_their_request_in_memory() {
    let topics = Some(vec![MetadataRequestTopic { name: Some("topic".into()), ..Default::default() }]);
    let request = MetadataRequest { topics, ..Default::default() };
    let frame = flatten(encode_request(7, Some(&Str::from_static("client")), 9, &request));
    let mut decoder = Decoder::new(frame.clone());
    let header = RequestHeader::decode(&mut decoder).expect("a header of ours");
    let decoded = Request::decode(&header, decoder).expect("a request of ours");
    assert_eq!((header.client_id.as_deref(), decoded), (Some("client"), request.into()));
    assert!(frame.is_unique());
}

#[test]
fn records_are_views_of_the_request() {
    let records = Bytes::from(vec![5; 2000]);
    let data = PartitionProduceData { index: 0, records: Some(records.into()) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let frame = flatten(encode_request(7, None, 9, &request));
    let mut decoder = Decoder::new(frame.clone());
    let header = RequestHeader::decode(&mut decoder).expect("a header");
    let Ok(Request::Produce(request)) = Request::decode(&header, decoder) else { panic!("a produce request") };
    let records = request.topic_data[0].partition_data[0].records.as_ref().and_then(Records::as_bytes);
    assert!(frame.as_ptr_range().contains(&records.expect("one piece").as_ptr()));
}

/// A file that nobody changes.
struct Ours(File);

impl AsFd for Ours {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl SentFile for Ours {
    fn is_intact(&self) -> bool {
        true
    }
}

#[test]
fn records_are_sent_from_where_they_are() {
    let memory = Bytes::from(vec![5; 2000]);
    let file = Arc::new(Ours(File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).expect("our own source")));
    let slice = Chunk::File(FileSlice { file, position: 100, len: 300 });
    let records = Records(vec![Chunk::Bytes(memory.clone()), slice.clone()]);
    let partition = m01_fetch::PartitionData { records: Some(records), ..Default::default() };
    let topic =
        m01_fetch::FetchableTopicResponse { partitions: vec![partition.clone(), partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let frame = encode_response(12, 7, &response).expect("it fits");
    let [Chunk::Bytes(head), Chunk::Bytes(first), second, between, third, fourth, tail] = frame.chunks() else {
        panic!("two pieces of records for each partition, and the message around them: {frame:?}")
    };
    assert_eq!(first.as_ptr(), memory.as_ptr());
    assert_eq!((second, fourth, third.len()), (&slice, &slice, memory.len()));
    assert_eq!(head[..4], u32::to_be_bytes(frame.len() as u32 - 4));
    assert_eq!(frame.len(), head.len() + 2 * (2000 + 300) + between.len() + tail.len());
}

//! Bytes from strangers: whatever comes, decoding neither panics nor takes much more memory than was sent.
//!
//! One test alone in this program, because it counts what the whole program allocates.

mod common;

use common::flatten;
use ottla_wire::arbitrary::{Arbitrary, Entropy};
use ottla_wire::codec::Version;
use ottla_wire::{
    ApiKey, Bytes, Decoder, Request, RequestHeader, RequestMessage, decode_response, encode_request, encode_response,
};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The worst there is: an array of structs of a few bytes each on the wire, and of strings and arrays in memory.
const MOST_BYTES_FOR_A_BYTE: usize = 64;
/// For errors and the like.
const MOST_BYTES_FOR_NOTHING: usize = 1024;

#[test]
fn hostile_bytes_cost_little_memory_and_no_panic() {
    random_bytes();
    lengths_that_promise_too_much();
    for_each_api!(broken_messages);
}

fn random_bytes() {
    let apis = prop::sample::select(ApiKey::ALL);
    run(1000, (apis, 0..20_i16, prop::collection::vec(any::<u8>(), 0..200)), |(api, version, body)| {
        let header = RequestHeader { api_key: api, api_version: version, correlation_id: 0, client_id: None };
        let body = Bytes::from(body);
        frugally(body.len(), || Request::decode(&header, Decoder::new(body)).is_ok());
        Ok(())
    });
}

/// Four bytes that announce two thousand million topics.
fn lengths_that_promise_too_much() {
    for api in ApiKey::ALL {
        for version in api.versions() {
            for prefix in 0..40 {
                let mut body = vec![0; prefix];
                body.extend([0x7f, 0xff, 0xff, 0xff, 0x07]);
                let header = RequestHeader { api_key: *api, api_version: version, correlation_id: 0, client_id: None };
                let body = Bytes::from(body);
                frugally(body.len(), || Request::decode(&header, Decoder::new(body)).is_ok());
            }
        }
    }
}

/// Good messages in which a few bytes were changed, or that end early.
fn broken_messages<R>()
where
    R: RequestMessage + Arbitrary,
    R::Response: Arbitrary,
{
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cases = (R::VERSIONS, prop::collection::vec(any::<u8>(), 0..600), changes, any::<prop::sample::Index>());
    run(64, cases, |(version, entropy, changes, end)| {
        let mut entropy = Entropy(&entropy);
        let request = R::arbitrary(&mut entropy, Version::of::<R>(version));
        let frame = broken(flatten(encode_request(1, None, version, &request)), &changes, &end);
        frugally(frame.len(), || {
            let mut decoder = Decoder::new(frame);
            RequestHeader::decode(&mut decoder).is_ok_and(|header| Request::decode(&header, decoder).is_ok())
        });
        let response = R::Response::arbitrary(&mut entropy, Version::of::<R>(version));
        let frame = broken(flatten(encode_response(version, 1, &response)), &changes, &end);
        frugally(frame.len(), || decode_response::<R>(version, frame).is_ok());
        Ok(())
    });
}

fn broken(frame: Bytes, changes: &[(prop::sample::Index, u8)], end: &prop::sample::Index) -> Bytes {
    let mut frame = frame.to_vec();
    for (place, value) in changes {
        let place = place.index(frame.len());
        frame[place] = *value;
    }
    // Half of them keep their end.
    let end = end.index(2 * frame.len());
    frame.truncate(end);
    frame.into()
}

fn frugally(input: usize, decode: impl FnOnce() -> bool) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    decode();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = MOST_BYTES_FOR_NOTHING + MOST_BYTES_FOR_A_BYTE * input;
    assert!(taken <= allowed, "{input} bytes made us take {taken}");
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

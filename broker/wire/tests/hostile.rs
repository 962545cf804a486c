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
        frugally(body.len(), || Request::decode(&header, Decoder::new(body)));
        Ok(())
    });
}

/// An array that claims to have as many elements as there are bytes left, or far more, at every place.
fn lengths_that_promise_too_much() {
    const REST: u16 = 4000;
    // In versions with compact lengths, and in those without.
    for length in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &REST.to_be_bytes(), &[0xa1, 0x1f]] {
        for (api, prefix) in ApiKey::ALL.iter().flat_map(|api| (0..32).map(move |prefix| (*api, prefix))) {
            for version in api.versions() {
                let header = RequestHeader { api_key: api, api_version: version, correlation_id: 0, client_id: None };
                let body: Bytes = [&vec![0; prefix], length, &vec![1; REST.into()]].concat().into();
                frugally(body.len(), || Request::decode(&header, Decoder::new(body)));
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
            RequestHeader::decode(&mut decoder).and_then(|header| Request::decode(&header, decoder))
        });
        let response = R::Response::arbitrary(&mut entropy, Version::of::<R>(version));
        let frame = broken(flatten(encode_response(version, 1, &response).expect("it fits")), &changes, &end);
        frugally(frame.len(), || decode_response::<R>(version, frame));
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

fn frugally<T>(input: usize, decode: impl FnOnce() -> T) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let decoded = decode();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = MOST_BYTES_FOR_NOTHING + MOST_BYTES_FOR_A_BYTE * input;
    drop(decoded);
    assert!(taken <= allowed, "{input} bytes made us take {taken}");
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

//! `cargo +nightly fuzz run messages`: any bytes as a request, header and all. What can be read can be written, and
//! then reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_wire::{Bytes, Chunk, Decoder, Request, RequestError, RequestHeader};

fuzz_target!(|frame: &[u8]| {
    let Ok((header, request)) = decode(Bytes::copy_from_slice(frame)) else { return };
    let again = request.encode(header.correlation_id, header.client_id.as_ref(), header.api_version);
    let again = again.into_chunks().into_iter().flat_map(|chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::File(_) => unreachable!("nothing that was decoded is in a file"),
    });
    let (again, read) = (decode(again.skip(size_of::<u32>()).collect()), Ok((header, request)));
    // A quota may be NaN, which equals nothing; its text does.
    let is_same = match &read {
        Ok((_, Request::AlterClientQuotas(_))) => format!("{again:?}") == format!("{read:?}"),
        _ => again == read,
    };
    assert!(is_same, "{again:?} was {read:?}");
});

fn decode(frame: Bytes) -> Result<(RequestHeader, Request), RequestError> {
    let mut decoder = Decoder::new(frame);
    let header = RequestHeader::decode(&mut decoder)?;
    let request = Request::decode(&header, decoder)?;
    Ok((header, request))
}

//! The LZ4 frame format as Kafka uses it: independent blocks of 64 KiB, neither content size nor checksums.

use std::io;

use bytes::Bytes;
use bytes::buf::Buf;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Input, invalid};

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const INDEPENDENT_BLOCKS: u8 = 1 << 5;

pub(super) type Decoder = FrameDecoder<Input>;

/// Takes one ordinary frame of independent blocks: Kafka's readers refuse dependent ones, so a broker that let them in
/// would hand its consumers what they can't read.
pub(super) fn decoder(body: Bytes) -> io::Result<Decoder> {
    if !body.starts_with(&MAGIC) {
        return Err(invalid("not an lz4 frame"));
    }
    match body.get(MAGIC.len()) {
        Some(flags) if flags & INDEPENDENT_BLOCKS != 0 => Ok(FrameDecoder::new(body.reader())),
        _ => Err(invalid("an lz4 frame with dependent blocks is not supported")),
    }
}

pub(super) type Encoder = FrameEncoder<Vec<u8>>;

pub(super) fn encoder() -> Encoder {
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    FrameEncoder::with_frame_info(frame, Vec::new())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compress::tests::{compress, decompress};
    use crate::{Codec, Compression};

    fn framed(frame: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(b"records").unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_frame_begins_like_kafkas() {
        assert!(compress(Codec::Lz4, b"records").starts_with(&[0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82]));
    }

    #[test]
    fn sizes_and_checksums_are_read_dependent_blocks_are_not() {
        let info = FrameInfo::new;
        for (name, frame, legal) in [
            ("plain", info(), true),
            ("content size", info().content_size(Some(7)), true),
            ("checksums", info().block_checksums(true).content_checksum(true), true),
            ("4 MiB blocks", info().block_size(BlockSize::Max4MB), true),
            ("dependent blocks", info().block_mode(BlockMode::Linked), false),
        ] {
            let records = decompress(Compression::Lz4, &framed(frame), 100);
            assert_eq!(records.ok().as_deref(), legal.then_some(&b"records"[..]), "{name}");
        }
    }
    #[test]
    fn only_the_frame_of_today_is_read() {
        let body = [&0x184C_2102_u32.to_le_bytes()[..], &[0xFF; 20]].concat(); // the legacy frame
        for body in [&body[..], b"", &MAGIC, b"not lz4"] {
            assert!(decompress(Compression::Lz4, body, 100).is_err(), "{body:?}");
        }
    }
}

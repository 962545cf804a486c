//! gzip (RFC 1952). A stream of several members is legal, and some clients send one.

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Input;

pub(super) type Decoder = MultiGzDecoder<Input>;

pub(super) fn decoder(input: Input) -> Decoder {
    MultiGzDecoder::new(input)
}

pub(super) type Encoder = GzEncoder<Vec<u8>>;

pub(super) fn encoder(level: i32) -> Encoder {
    let level = u32::try_from(level).map_or(Compression::default(), |level| Compression::new(level.min(9)));
    GzEncoder::new(Vec::new(), level)
}

#[cfg(test)]
mod tests {
    use crate::compress::tests::{compress, decompress};
    use crate::{Codec, Compression};

    #[test]
    fn several_members_are_one_stream() {
        let members =
            [(-1, b"one ".as_slice()), (9, b"two")].map(|(level, part)| compress(Codec::Gzip { level }, part)).concat();
        assert_eq!(decompress(Compression::Gzip, &members, 100).unwrap(), b"one two");
    }
}

//! gzip (RFC 1952). A stream of several members is legal, and some clients send one.

use std::io::{self, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Input;

pub(super) type Decoder = MultiGzDecoder<Input>;

pub(super) fn decoder(input: Input) -> Decoder {
    MultiGzDecoder::new(input)
}

pub(super) fn compress(records: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let level = u32::try_from(level).map_or(Compression::default(), |level| Compression::new(level.min(9)));
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(records)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use crate::Compression;
    use crate::compress::tests::decompress;

    #[test]
    fn several_members_are_one_stream() {
        let members = [super::compress(b"one ", -1).unwrap(), super::compress(b"two", 9).unwrap()].concat();
        assert_eq!(decompress(Compression::Gzip, &members, 100).unwrap(), b"one two");
    }
}

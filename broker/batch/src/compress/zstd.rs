//! Zstandard. Clients stream, so frames without a content size are normal, and so are several in a row.

use std::io;

use super::Input;

pub(super) type Decoder = zstd::stream::read::Decoder<'static, Input>;

pub(super) fn decoder(input: Input) -> io::Result<Decoder> {
    Decoder::with_buffer(input)
}

pub(super) type Encoder = zstd::stream::write::Encoder<'static, Vec<u8>>;

pub(super) fn encoder(level: i32) -> io::Result<Encoder> {
    Encoder::new(Vec::new(), level)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::Compression;
    use crate::compress::tests::decompress;

    #[test]
    fn frames_without_a_content_size_are_read_one_after_the_other() {
        let mut frames = Vec::new();
        for part in [b"one ", b"two "] {
            let mut encoder = zstd::stream::Encoder::new(&mut frames, 1).unwrap();
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
            encoder.finish().unwrap();
        }
        assert_eq!(decompress(Compression::Zstd, &frames, 100).unwrap(), b"one two ");
    }
}

//! Kafka's codecs: what its clients and brokers write, and whatever they read.
//!
//! Always: a decoder hands out no more than its caller's cap, whatever its input promises; decoders and encoders work
//! in pieces.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;
use bytes::buf::{Buf, Reader};

use crate::header::Compression;

/// A codec and how hard to try, as `compression.type` and `compression.*.level` say.
///
/// LZ4 has no level: its one encoder here is the fast one, which Kafka's level 1 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Leave the records as they are.
    None,
    /// Level 1 to 9, or −1 for the codec's own default.
    Gzip {
        /// `compression.gzip.level`
        level: i32,
    },
    /// Xerial's framing of 32 KiB blocks.
    Snappy,
    /// Independent blocks of 64 KiB.
    Lz4,
    /// Level −131072 to 22.
    Zstd {
        /// `compression.zstd.level`
        level: i32,
    },
}

impl Codec {
    /// The number of the codec in a batch's attributes.
    pub fn compression(self) -> Compression {
        match self {
            Codec::None => Compression::None,
            Codec::Gzip { .. } => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd { .. } => Compression::Zstd,
        }
    }
}

impl Compression {
    /// Bytes that one compressed byte can stand for at most.
    pub(crate) fn expansion_max(self) -> usize {
        match self {
            Compression::None => 1,
            Compression::Gzip => 1032,
            Compression::Snappy => snappy::EXPANSION_MAX,
            Compression::Lz4 => 255,
            // A block of 128 KiB that repeats one byte has four.
            Compression::Zstd => 32 << 10,
        }
    }
}

impl From<Compression> for Codec {
    /// The codec with the level that is Kafka's default.
    fn from(compression: Compression) -> Codec {
        match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip { level: -1 },
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd { level: 3 },
        }
    }
}

/// Compresses a batch's records, as they come, as Kafka's clients would.
pub(crate) struct Encoder(Sink);

enum Sink {
    None(Vec<u8>),
    Gzip(Box<gzip::Encoder>),
    Snappy(snappy::Encoder),
    Lz4(Box<lz4::Encoder>),
    Zstd(zstd::Encoder),
}

const TO_MEMORY: &str = "compressing from memory to memory succeeds";

impl Encoder {
    pub(crate) fn new(codec: Codec) -> Encoder {
        Encoder(match codec {
            Codec::None => Sink::None(Vec::new()),
            Codec::Gzip { level } => Sink::Gzip(Box::new(gzip::encoder(level))),
            Codec::Snappy => Sink::Snappy(snappy::Encoder::new()),
            Codec::Lz4 => Sink::Lz4(Box::new(lz4::encoder())),
            Codec::Zstd { level } => Sink::Zstd(zstd::encoder(level).expect(TO_MEMORY)),
        })
    }

    pub(crate) fn write(&mut self, records: &[u8]) {
        let written = match &mut self.0 {
            Sink::None(out) => out.write_all(records),
            Sink::Gzip(encoder) => encoder.write_all(records),
            Sink::Snappy(encoder) => encoder.write_all(records),
            Sink::Lz4(encoder) => encoder.write_all(records),
            Sink::Zstd(encoder) => encoder.write_all(records),
        };
        written.expect(TO_MEMORY);
    }

    /// Bytes so far; what is not compressed yet is not among them.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Sink::None(out) => out.len(),
            Sink::Gzip(encoder) => encoder.get_ref().len(),
            Sink::Snappy(encoder) => encoder.len(),
            Sink::Lz4(encoder) => encoder.get_ref().len(),
            Sink::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self.0 {
            Sink::None(out) => out,
            Sink::Gzip(encoder) => encoder.finish().expect(TO_MEMORY),
            Sink::Snappy(encoder) => encoder.finish().expect(TO_MEMORY),
            Sink::Lz4(encoder) => encoder.finish().expect(TO_MEMORY),
            Sink::Zstd(encoder) => encoder.finish().expect(TO_MEMORY),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Reads the records of a compressed batch, up to a cap.
pub(crate) struct Decoder {
    stream: Stream,
    left: usize,
    ended: bool,
}

type Input = Reader<Bytes>;

enum Stream {
    Gzip(Box<gzip::Decoder>),
    Snappy(snappy::Decoder),
    Lz4(Box<lz4::Decoder>),
    Zstd(zstd::Decoder),
}

impl Decoder {
    /// None when the batch isn't compressed.
    pub(crate) fn new(compression: Compression, body: Bytes, cap: usize) -> io::Result<Option<Decoder>> {
        let stream = match compression {
            Compression::None => return Ok(None),
            Compression::Gzip => Stream::Gzip(Box::new(gzip::decoder(body.reader()))),
            Compression::Snappy => Stream::Snappy(snappy::Decoder::new(body, cap)),
            Compression::Lz4 => Stream::Lz4(Box::new(lz4::decoder(body)?)),
            Compression::Zstd => Stream::Zstd(zstd::decoder(body.reader())?),
        };
        Ok(Some(Decoder { stream, left: cap, ended: false }))
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Asked again after its end a stream would look for a second frame in bytes that aren't one.
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.stream {
            Stream::Gzip(decoder) => decoder.read(buffer),
            Stream::Snappy(decoder) => decoder.read(buffer),
            Stream::Lz4(decoder) => decoder.read(buffer),
            Stream::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.ended = read == 0;
        self.left = self.left.checked_sub(read).ok_or_else(too_large)?;
        Ok(read)
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the records take more space than is allowed")
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn compress(codec: Codec, records: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(codec);
        records.chunks(1000).for_each(|piece| encoder.write(piece));
        encoder.finish()
    }

    const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    pub(super) fn decompress(compression: Compression, body: &[u8], cap: usize) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(compression, Bytes::copy_from_slice(body), cap)?.expect("a codec");
        let mut records = Vec::new();
        decoder.read_to_end(&mut records)?;
        Ok(records)
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| b'a' + (i * i / 7 % 23) as u8).collect()
    }

    #[test]
    fn what_is_compressed_comes_back() {
        for compression in CODECS {
            for len in [0, 1, 100, 32 << 10, (64 << 10) + 1, 300_000] {
                let compressed = compress(compression.into(), &text(len));
                let records = decompress(compression, &compressed, len).unwrap();
                assert!(records == text(len), "{compression:?}, {len} bytes");
            }
        }
    }

    #[test]
    fn no_codec_hands_out_more_than_the_cap() {
        for compression in CODECS {
            let bomb = compress(compression.into(), &[0; 1_000_000]);
            let error = decompress(compression, &bomb, 100_000).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{compression:?}");
        }
    }

    #[test]
    fn cut_input_gives_no_more_than_was_there() {
        for compression in CODECS {
            let compressed = compress(compression.into(), &text(100_000));
            for end in [0, 3, 10, 20, compressed.len() / 2] {
                let records = decompress(compression, &compressed[..end], 200_000).unwrap_or_default();
                assert!(records.len() < 100_000, "{compression:?} cut at {end}");
            }
        }
    }
}

//! Snappy blocks in the framing of xerial's snappy-java, which is what Kafka's Java client writes: a header of 16
//! bytes, then blocks, each behind its length (i32, big endian). Other clients send one raw block, or append streams to
//! one another so that headers stand between blocks; both are read.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};

use super::{invalid, too_large};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"; // the magic, version 1, readable since version 1
const BLOCK: usize = 32 << 10;

/// Bytes that one of a compressed block can stand for at most: a copy of 64 bytes takes three.
pub(super) const EXPANSION_MAX: usize = 22;

/// Decodes block by block.
pub(super) struct Decoder {
    input: Bytes,
    framed: bool,
    block: Bytes,
    left: usize,
}

impl Decoder {
    pub(super) fn new(input: Bytes, cap: usize) -> Decoder {
        let framed = input.starts_with(MAGIC);
        Decoder { input, framed, block: Bytes::new(), left: cap }
    }

    fn next_block(&mut self) -> io::Result<Bytes> {
        let compressed = if self.framed {
            while self.input.starts_with(MAGIC) {
                if self.input.len() < HEADER.len() {
                    return Err(cut());
                }
                self.input.advance(HEADER.len());
            }
            if self.input.is_empty() {
                return Ok(Bytes::new());
            }
            let len = self.input.try_get_i32().map_err(|_| cut())?;
            let len = usize::try_from(len).map_err(|_| invalid("a snappy block has a negative length"))?;
            if len > self.input.len() {
                return Err(cut());
            }
            self.input.split_to(len)
        } else {
            std::mem::take(&mut self.input)
        };
        // A block says how large it becomes: ask before giving it the memory.
        let len = snap::raw::decompress_len(&compressed)?;
        self.left = self.left.checked_sub(len).ok_or_else(too_large)?;
        if len > EXPANSION_MAX * compressed.len() {
            return Err(invalid("a snappy block promises more than it can hold"));
        }
        Ok(snap::raw::Decoder::new().decompress_vec(&compressed)?.into())
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() && !self.input.is_empty() {
            self.block = self.next_block()?;
        }
        let len = buffer.len().min(self.block.len());
        self.block.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "snappy data ends within a block")
}

/// Encodes block by block.
pub(super) struct Encoder {
    framed: Vec<u8>,
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { framed: HEADER.to_vec(), block: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.framed.len()
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.flush()?;
        Ok(self.framed)
    }
}

impl Write for Encoder {
    fn write(&mut self, records: &[u8]) -> io::Result<usize> {
        let len = records.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&records[..len]);
        if self.block.len() == BLOCK {
            self.flush()?;
        }
        Ok(len)
    }

    /// Ends the block at hand.
    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let compressed = snap::raw::Encoder::new().compress_vec(&self.block)?;
            let len = u32::try_from(compressed.len()).expect("a block of 32 KiB compresses to about that much at most");
            self.framed.extend_from_slice(&len.to_be_bytes());
            self.framed.extend_from_slice(&compressed);
            self.block.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::tests::{compress, decompress};
    use crate::{Codec, Compression};

    #[test]
    fn one_raw_block_is_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"records").unwrap();
        assert_eq!(decompress(Compression::Snappy, &raw, 100).unwrap(), b"records");
    }

    #[test]
    fn headers_may_stand_between_blocks() {
        let streams = [&b"one "[..], b"", b"two"].map(|part| compress(Codec::Snappy, part)).concat();
        assert_eq!(decompress(Compression::Snappy, &streams, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_block_that_promises_gigabytes_costs_nothing() {
        let promise = b"\xFF\xFF\xFF\xFF\x0F\0";
        let framed = [&HEADER[..], &6_i32.to_be_bytes(), promise].concat();
        for input in [&promise[..], &framed] {
            let error = decompress(Compression::Snappy, input, 1 << 20).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
    }
}

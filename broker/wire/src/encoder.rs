//! Writes a message into a frame.
//!
//! Small values go into one buffer. Records and large byte strings are not copied: they keep their place in the buffer
//! as a seam, and become chunks of their own when the frame is made.
#![warn(missing_docs)]

use crate::codec::Version;
use crate::frame::{Chunk, Frame};
use bytes::{BufMut, Bytes, BytesMut};

/// Below this, copying costs less than another piece of a vectored write.
const VIEW_FROM: usize = 1024;

/// A message of more bytes than a frame's length can say, 2³¹ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is larger than a frame can be")]
pub struct FrameTooLarge;

/// A message on its way to be a [`Frame`].
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    /// Chunks to be put in, each before the byte of the buffer at its position.
    seams: Vec<(usize, Chunk)>,
    seams_len: usize,
}

impl Encoder {
    /// A frame of what `write` writes, with its length in front.
    pub(crate) fn frame(write: impl FnOnce(&mut Encoder)) -> Result<Frame, FrameTooLarge> {
        let mut encoder = Self { buffer: BytesMut::with_capacity(256), ..Self::default() };
        encoder.i32(0);
        write(&mut encoder);
        let length = i32::try_from(encoder.len() - size_of::<i32>()).map_err(|_| FrameTooLarge)?;
        encoder.buffer[..size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
        Ok(Frame::new(encoder.into_chunks()))
    }

    /// What `write` writes, in one piece, as a record's key or value has to be.
    pub(crate) fn contiguous(write: impl FnOnce(&mut Encoder)) -> Bytes {
        let mut encoder = Self::default();
        write(&mut encoder);
        let mut whole = BytesMut::with_capacity(encoder.len());
        for chunk in encoder.into_chunks() {
            match chunk {
                Chunk::Bytes(bytes) => whole.put_slice(&bytes),
                Chunk::File(_) => unreachable!("only a fetch response sends parts of files"),
            }
        }
        whole.freeze()
    }

    /// How many bytes were written, seams included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.seams_len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes in, without a length.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Puts bytes in without a length, as a view if they are many.
    pub fn bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < VIEW_FROM { self.slice(bytes) } else { self.chunk(Chunk::Bytes(bytes.clone())) }
    }

    /// Puts a chunk in, without a length or a copy.
    pub fn chunk(&mut self, chunk: Chunk) {
        self.seams_len += chunk.len();
        self.seams.push((self.buffer.len(), chunk));
    }

    /// Appends an int8.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Appends an int16.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Appends a uint16.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Appends an int32.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Appends an int64.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Appends a float64.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Appends a number of seven bits a byte, lowest first.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// Appends the length of a string; `None` is null.
    pub fn string_length(&mut self, length: Option<usize>, version: Version) {
        if version.flexible {
            self.compact_length(length);
        } else {
            let length =
                length.map(|length| i16::try_from(length).expect("a string is cut to what its length can say"));
            self.i16(length.unwrap_or(-1));
        }
    }

    /// Appends the length of bytes, records or an array; `None` is null.
    pub fn length(&mut self, length: Option<usize>, version: Version) {
        if version.flexible {
            self.compact_length(length);
        } else {
            self.i32(length.map_or(-1, int32));
        }
    }

    fn compact_length(&mut self, length: Option<usize>) {
        self.uvarint(length.map_or(0, |length| int32(length) as u32 + 1));
    }

    fn append(&mut self, other: Encoder) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&other.buffer);
        self.seams.extend(other.seams.into_iter().map(|(position, chunk)| (start + position, chunk)));
        self.seams_len += other.seams_len;
    }

    /// The pieces, in their order.
    pub fn into_chunks(self) -> Vec<Chunk> {
        let mut rest = self.buffer.freeze();
        let mut chunks = Vec::with_capacity(2 * self.seams.len() + 1);
        let mut taken = 0;
        for (position, chunk) in self.seams {
            let before = rest.split_to(position - taken);
            taken = position;
            chunks.extend([Chunk::Bytes(before), chunk].into_iter().filter(|chunk| !chunk.is_empty()));
        }
        if !rest.is_empty() {
            chunks.push(Chunk::Bytes(rest));
        }
        chunks
    }
}

/// The tagged fields of one struct, in the order of their tags.
#[derive(Debug, Default)]
pub struct TaggedFields {
    count: u32,
    fields: Encoder,
}

impl TaggedFields {
    /// Adds a field whose value is what `value` writes.
    pub fn write(&mut self, tag: u32, value: impl FnOnce(&mut Encoder)) {
        let mut field = Encoder::default();
        value(&mut field);
        self.count += 1;
        self.fields.uvarint(tag);
        self.fields.uvarint(int32(field.len()) as u32);
        self.fields.append(field);
    }

    /// Ends the struct with them.
    pub fn finish(self, encoder: &mut Encoder) {
        encoder.uvarint(self.count);
        encoder.append(self.fields);
    }
}

fn int32(length: usize) -> i32 {
    i32::try_from(length)
        .expect("no single value is as large as that: an array has a structure in memory for each element")
}

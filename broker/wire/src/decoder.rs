//! Reads a frame from its front.
//!
//! Every byte is an outsider's: nothing here indexes, panics, or allocates more than the bytes that are left allow.
//! Bytes and records are views into the frame; strings are copied. Messages don't nest in themselves, so the depth is
//! that of their types.
#![warn(missing_docs)]

use crate::codec::Version;
use bytes::{Buf, Bytes};

/// Why bytes are not the message that they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends in the middle of a value.
    #[error("the message ends early: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// The size of the value.
        wanted: usize,
        /// What there was of it.
        left: usize,
    },
    /// A string or an array that claims to be longer than it may be, or than the bytes that are left.
    #[error("a length of {length} where {most} is the most")]
    TooLong {
        /// What the peer claims.
        length: usize,
        /// What would have been allowed.
        most: usize,
    },
    /// Null, where this version has no null.
    #[error("null where a value is required")]
    Null,
    /// A length in variable encoding that does not fit 32 bits.
    #[error("a variable-length number longer than 32 bits")]
    Varint,
    /// More bytes than the value takes.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A version that we don't know, of a message that stands alone.
    #[error("unknown version {0}")]
    Version(i16),
}

/// What is left of a frame.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
}

impl Decoder {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// An error if bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    /// Takes `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = self.bytes.first_chunk::<N>().copied();
        let array = array.ok_or(DecodeError::Truncated { wanted: N, left: self.remaining() })?;
        self.bytes.advance(N);
        Ok(array)
    }

    /// Takes a view of `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated { wanted: length, left: self.remaining() });
        }
        Ok(self.bytes.split_to(length))
    }

    /// Takes an int8.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// Takes an int16.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Takes a uint16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes an int32.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Takes an int64.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Takes a float64.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_be_bytes)
    }

    /// Takes a number of seven bits a byte, lowest first.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return Err(DecodeError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// Takes the length of a string; `None` is null.
    pub fn string_length(&mut self, version: Version) -> Result<Option<usize>, DecodeError> {
        let length = if version.flexible { self.compact_length()? } else { usize::try_from(self.i16()?).ok() };
        match length {
            // A compact length has the room, but Kafka holds on to the limit of the older encoding.
            Some(length) if length > i16::MAX as usize => Err(DecodeError::TooLong { length, most: i16::MAX as usize }),
            length => Ok(length),
        }
    }

    /// Takes the length of bytes, records or an array; `None` is null, for which any negative number will do.
    pub fn length(&mut self, version: Version) -> Result<Option<usize>, DecodeError> {
        if version.flexible { self.compact_length() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    /// Takes a struct's tagged fields. `read` gets each field's tag and a decoder of its bytes, all of which it uses.
    pub fn tagged_fields(
        &mut self,
        mut read: impl FnMut(u32, &mut Decoder) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            let mut field = Self::new(self.bytes(size as usize)?);
            read(tag, &mut field)?;
            field.finish()?;
        }
        Ok(())
    }

    /// Drops what is left, as of a tagged field that is newer than we are.
    pub fn skip_rest(&mut self) {
        self.bytes.clear();
    }
}

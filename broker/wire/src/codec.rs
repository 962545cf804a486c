//! How a value reads and writes itself, in a version of its message.
//!
//! The same type has two shapes on the wire: since Kafka 2.4 a message's newer versions are *flexible* (KIP-482), with
//! compact lengths and tagged fields. Messages get their codec from `#[derive(Message)]`; here are the values they are
//! made of.
#![warn(missing_docs)]

use crate::decoder::{DecodeError, Decoder};
use crate::encoder::Encoder;
use crate::frame::{Chunk, Records};
use bytes::Bytes;
use bytestring::ByteString;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Text. What was decoded is a copy: names outlive their request, and a view would keep its whole frame in memory.
pub type Str = ByteString;

/// A message at the top: it knows its versions.
pub trait Message: Wire {
    /// What we speak.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `i16::MAX` where there is none.
    const FLEXIBLE_FROM: i16;
}

/// The version in which a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Kafka's number of it.
    pub number: i16,
    /// Whether lengths are compact and tagged fields follow each struct.
    pub flexible: bool,
}

impl Version {
    /// Version `number` of the message `M`.
    pub fn of<M: Message>(number: i16) -> Self {
        Self { number, flexible: number >= M::FLEXIBLE_FROM }
    }
}

/// A value on the wire.
pub trait Wire: Sized {
    /// A lower bound of the bytes that a value takes. It bounds what an array's length may make us allocate.
    fn min_size(version: Version) -> usize;

    /// Appends the value.
    fn encode(&self, encoder: &mut Encoder, version: Version);

    /// Takes a value off the front.
    fn decode(decoder: &mut Decoder, version: Version) -> Result<Self, DecodeError>;

    /// Appends a value that may be null. Before a struct stands a byte that says so; what has a length uses −1.
    fn encode_nullable(value: Option<&Self>, encoder: &mut Encoder, version: Version) {
        match value {
            None => encoder.i8(-1),
            Some(value) => {
                encoder.i8(1);
                value.encode(encoder, version);
            }
        }
    }

    /// Takes a value that may be null off the front.
    fn decode_nullable(decoder: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        if decoder.i8()? < 0 { Ok(None) } else { Self::decode(decoder, version).map(Some) }
    }
}

/// Writes a field that is nullable in some versions. Where it is not, null is written as the empty value: that is how
/// old versions say "all topics".
pub(crate) fn encode_option<T: Wire + Default>(
    value: &Option<T>,
    nullable: bool,
    encoder: &mut Encoder,
    version: Version,
) {
    match value {
        value if nullable => T::encode_nullable(value.as_ref(), encoder, version),
        Some(value) => value.encode(encoder, version),
        None => T::default().encode(encoder, version),
    }
}

pub(crate) fn decode_option<T: Wire>(
    nullable: bool,
    decoder: &mut Decoder,
    version: Version,
) -> Result<Option<T>, DecodeError> {
    if nullable { T::decode_nullable(decoder, version) } else { T::decode(decoder, version).map(Some) }
}

macro_rules! numbers {
    ($($type:ident)*) => {$(
        impl Wire for $type {
            fn min_size(_: Version) -> usize {
                size_of::<$type>()
            }

            fn encode(&self, encoder: &mut Encoder, _: Version) {
                encoder.$type(*self);
            }

            fn decode(decoder: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
                decoder.$type()
            }
        }
    )*};
}

numbers!(i8 i16 u16 i32 i64 f64);

impl Wire for bool {
    fn min_size(_: Version) -> usize {
        1
    }

    fn encode(&self, encoder: &mut Encoder, _: Version) {
        encoder.i8(i8::from(*self));
    }

    fn decode(decoder: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
        Ok(decoder.i8()? != 0)
    }
}

impl Wire for Uuid {
    fn min_size(_: Version) -> usize {
        size_of::<Self>()
    }

    fn encode(&self, encoder: &mut Encoder, _: Version) {
        encoder.slice(self.as_bytes());
    }

    fn decode(decoder: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(decoder.array()?))
    }
}

impl Wire for Str {
    fn min_size(version: Version) -> usize {
        if version.flexible { 1 } else { size_of::<i16>() }
    }

    fn encode(&self, encoder: &mut Encoder, version: Version) {
        Self::encode_nullable(Some(self), encoder, version);
    }

    fn decode(decoder: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        Self::decode_nullable(decoder, version)?.ok_or(DecodeError::Null)
    }

    fn encode_nullable(value: Option<&Self>, encoder: &mut Encoder, version: Version) {
        // Only a text of our own making, such as an error message, can be longer than a string may be: cut it.
        let text = value.map(|text| &text[..text.floor_char_boundary(i16::MAX as usize)]);
        encoder.string_length(text.map(str::len), version);
        encoder.slice(text.unwrap_or_default().as_bytes());
    }

    fn decode_nullable(decoder: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(length) = decoder.string_length(version)? else { return Ok(None) };
        // Java replaces what is not UTF-8, so clients that keep bytes in a commit's metadata get away with it.
        Ok(Some(String::from_utf8_lossy(&decoder.bytes(length)?).as_ref().into()))
    }
}

impl Wire for Bytes {
    fn min_size(version: Version) -> usize {
        if version.flexible { 1 } else { size_of::<i32>() }
    }

    fn encode(&self, encoder: &mut Encoder, version: Version) {
        Self::encode_nullable(Some(self), encoder, version);
    }

    fn decode(decoder: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        Self::decode_nullable(decoder, version)?.ok_or(DecodeError::Null)
    }

    fn encode_nullable(value: Option<&Self>, encoder: &mut Encoder, version: Version) {
        encoder.length(value.map(Bytes::len), version);
        if let Some(bytes) = value {
            encoder.bytes(bytes);
        }
    }

    fn decode_nullable(decoder: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        match decoder.length(version)? {
            Some(length) => decoder.bytes(length).map(Some),
            None => Ok(None),
        }
    }
}

impl Wire for Records {
    fn min_size(version: Version) -> usize {
        if version.flexible { 1 } else { size_of::<i32>() }
    }

    fn encode(&self, encoder: &mut Encoder, version: Version) {
        Self::encode_nullable(Some(self), encoder, version);
    }

    fn decode(decoder: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        Bytes::decode(decoder, version).map(Self::from)
    }

    fn encode_nullable(value: Option<&Self>, encoder: &mut Encoder, version: Version) {
        encoder.length(value.map(Records::len), version);
        for chunk in value.into_iter().flat_map(|records| &records.0) {
            match chunk {
                Chunk::Bytes(bytes) => encoder.bytes(bytes),
                Chunk::File(_) => encoder.chunk(chunk.clone()),
            }
        }
    }

    fn decode_nullable(decoder: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::decode_nullable(decoder, version)?.map(Self::from))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn min_size(version: Version) -> usize {
        if version.flexible { 1 } else { size_of::<i32>() }
    }

    fn encode(&self, encoder: &mut Encoder, version: Version) {
        Self::encode_nullable(Some(self), encoder, version);
    }

    fn decode(decoder: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        Self::decode_nullable(decoder, version)?.ok_or(DecodeError::Null)
    }

    fn encode_nullable(value: Option<&Self>, encoder: &mut Encoder, version: Version) {
        encoder.length(value.map(Vec::len), version);
        for element in value.into_iter().flatten() {
            element.encode(encoder, version);
        }
    }

    fn decode_nullable(decoder: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(length) = decoder.length(version)? else { return Ok(None) };
        // The length is the peer's word. It costs us memory only as far as the bytes for such an array are there.
        let most = decoder.remaining() / T::min_size(version).max(1);
        if length > most {
            return Err(DecodeError::TooLong { length, most });
        }
        let mut elements = Self::with_capacity(length);
        for _ in 0..length {
            elements.push(T::decode(decoder, version)?);
        }
        Ok(Some(elements))
    }
}

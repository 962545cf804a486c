//! The records of a batch, one by one.
//!
//! A compressed batch is decompressed a piece at a time: what is held is one piece and the record at hand, and all
//! pieces together stay below the caller's cap.
//! Always: as many records as the header counts and not a byte more, or an error.

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::batch::Batch;
use crate::compress::Decoder;
use crate::header::{TimestampType, UnknownCompression};
use crate::varint::{VARINT_MAX, take_varint, take_varlong};

/// Bytes to decompress at a time.
const PIECE: usize = 32 << 10;

/// One record. Its parts are views into the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since 1970: the producer's, or the leader's in a LogAppendTime batch.
    pub timestamp: i64,
    body: Bytes,
    payload: usize,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: usize,
    header_count: usize,
}

/// Why the records of a batch can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The attributes name a codec that doesn't exist.
    #[error(transparent)]
    UnknownCompression(#[from] UnknownCompression),
    /// The codec can't make sense of the bytes.
    #[error("failed to decompress the records: {0}")]
    Decompress(io::Error),
    /// The records would take more than the cap.
    #[error("the records take more space than is allowed once decompressed")]
    TooLarge,
    /// The bytes aren't the records that the header counts.
    #[error("malformed record: {0}")]
    Malformed(&'static str),
}

impl From<io::Error> for RecordsError {
    fn from(error: io::Error) -> RecordsError {
        match error.kind() {
            io::ErrorKind::FileTooLarge => RecordsError::TooLarge,
            _ => RecordsError::Decompress(error),
        }
    }
}

impl Batch {
    /// Read the records. Compressed ones may take up to `decompressed_max` bytes.
    pub fn records(&self, decompressed_max: usize) -> Result<Records, RecordsError> {
        let header = self.header();
        let body = self.body();
        let source = match Decoder::new(header.compression()?, body.clone(), decompressed_max)? {
            Some(decoder) => Source::Compressed { decoder, buffer: BytesMut::new() },
            None => Source::Plain(body),
        };
        Ok(Records {
            source,
            base_timestamp: header.base_timestamp,
            append_time: (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp),
            left: u32::try_from(header.records_count).map_err(|_| RecordsError::Malformed("a negative count"))?,
            ended: false,
        })
    }
}

/// Iterates over the records of one batch; see [`Batch::records`]. Ends after the first error.
pub struct Records {
    source: Source,
    base_timestamp: i64,
    append_time: Option<i64>,
    left: u32,
    ended: bool,
}

impl Iterator for Records {
    type Item = Result<Record, RecordsError>;

    fn next(&mut self) -> Option<Result<Record, RecordsError>> {
        if self.ended {
            return None;
        }
        let record = self.read().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

impl Records {
    fn read(&mut self) -> Result<Option<Record>, RecordsError> {
        if self.left == 0 {
            return match self.source.fill(1)? {
                [] => Ok(None),
                _ => Err(RecordsError::Malformed("bytes are left after the last record")),
            };
        }
        self.left -= 1;
        let mut record = Record::parse(self.source.take_body()?, self.base_timestamp)?;
        record.timestamp = self.append_time.unwrap_or(record.timestamp);
        Ok(Some(record))
    }
}

enum Source {
    Plain(Bytes),
    Compressed { decoder: Decoder, buffer: BytesMut },
}

impl Source {
    /// The bytes at hand; at least `len`, unless there are no more.
    fn fill(&mut self, len: usize) -> Result<&[u8], RecordsError> {
        match self {
            Source::Plain(bytes) => Ok(bytes),
            Source::Compressed { decoder, buffer } => {
                while buffer.len() < len {
                    let end = buffer.len();
                    buffer.resize(end + PIECE, 0);
                    let read = decoder.read(&mut buffer[end..])?;
                    buffer.truncate(end + read);
                    if read == 0 {
                        break;
                    }
                }
                Ok(buffer)
            }
        }
    }

    /// Take the next record, without the length before it.
    fn take_body(&mut self) -> Result<Bytes, RecordsError> {
        let at_hand = self.fill(VARINT_MAX)?;
        let mut rest = at_hand;
        let len = take_varint(&mut rest).ok_or(RecordsError::Malformed("no length"))?;
        let len = usize::try_from(len).map_err(|_| RecordsError::Malformed("a negative length"))?;
        let start = at_hand.len() - rest.len();
        let end = start + len;
        if self.fill(end)?.len() < end {
            return Err(RecordsError::Malformed("the batch ends within a record"));
        }
        let mut body = match self {
            Source::Plain(bytes) => bytes.split_to(end),
            Source::Compressed { buffer, .. } => buffer.split_to(end).freeze(),
        };
        body.advance(start);
        Ok(body)
    }
}

impl Record {
    fn parse(body: Bytes, base_timestamp: i64) -> Result<Record, RecordsError> {
        let mut fields = Fields { rest: &body, len: body.len() };
        fields.skip(1)?; // attributes: none has a meaning yet
        let timestamp_delta = take_varlong(&mut fields.rest).ok_or(CUT)?;
        let offset_delta = fields.varint()?;
        let payload = fields.position();
        let key = fields.nullable()?;
        let value = fields.nullable()?;
        let header_count =
            usize::try_from(fields.varint()?).map_err(|_| RecordsError::Malformed("headers below zero"))?;
        let headers = fields.position();
        for _ in 0..header_count {
            fields.nullable()?.ok_or(RecordsError::Malformed("a header without a key"))?;
            fields.nullable()?;
        }
        if !fields.rest.is_empty() {
            return Err(RecordsError::Malformed("longer than its fields"));
        }
        let timestamp = base_timestamp.wrapping_add(timestamp_delta);
        Ok(Record { offset_delta, timestamp, payload, key, value, headers, header_count, body })
    }

    /// The key.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.clone().map(|range| &self.body[range])
    }

    /// The value; none is a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.clone().map(|range| &self.body[range])
    }

    /// The headers in their order; keys may repeat.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = Header<'_>> {
        let mut fields = Fields { rest: &self.body[self.headers..], len: self.body.len() };
        (0..self.header_count).map(move |_| {
            let mut next = || fields.nullable().expect("headers were read when the record was parsed");
            let key = next().map_or(&[][..], |range| &self.body[range]);
            Header { key, value: next().map(|range| &self.body[range]) }
        })
    }

    /// Key, value and headers as they stand in the batch: what doesn't depend on the batch's base values.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.body[self.payload..]
    }
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8, if the producer kept to it.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

const CUT: RecordsError = RecordsError::Malformed("its fields are longer than it is");

struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl Fields<'_> {
    fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    fn skip(&mut self, len: usize) -> Result<Range<usize>, RecordsError> {
        let start = self.position();
        self.rest = self.rest.get(len..).ok_or(CUT)?;
        Ok(start..start + len)
    }

    fn varint(&mut self) -> Result<i32, RecordsError> {
        take_varint(&mut self.rest).ok_or(CUT)
    }

    /// Bytes behind their length; any negative length stands for none, as in Kafka.
    fn nullable(&mut self) -> Result<Option<Range<usize>>, RecordsError> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.skip(len).map(Some),
            Err(_) => Ok(None),
        }
    }
}

//! The records of a batch, one by one.
//!
//! A compressed batch is decompressed a piece at a time: what is held is one piece and the record at hand, or, where
//! nobody keeps the records ([`Records::front`]), one piece alone. All pieces together stay below the caller's cap.
//! Always: as many records as the header counts and not a byte more, or an error.

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::batch::Batch;
use crate::compress::Decoder;
use crate::header::{BatchHeader, TimestampType, UnknownCompression};
use crate::varint::{VARINT_MAX, VARLONG_MAX, take_varint, take_varlong};

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
        Records::new(self.header(), self.body(), decompressed_max)
    }

    /// Offset delta and timestamp (milliseconds since 1970) of the first record that `is_wanted` accepts by them. Holds
    /// one piece of the decompressed records at a time, and stops behind `decompressed_max` bytes of them.
    ///
    /// # Errors
    /// The records up to the one that is wanted can't be read.
    pub fn find(
        &self,
        decompressed_max: usize,
        is_wanted: impl Fn(i32, i64) -> bool,
    ) -> Result<Option<(i32, i64)>, RecordsError> {
        let mut records = self.records(decompressed_max)?;
        while let Some(front) = records.front()? {
            if is_wanted(front.offset_delta, front.timestamp) {
                return Ok(Some((front.offset_delta, front.timestamp)));
            }
            records.payload(&front, &mut |_| ())?;
        }
        Ok(None)
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
    pub(crate) fn new(header: &BatchHeader, body: Bytes, decompressed_max: usize) -> Result<Records, RecordsError> {
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

    fn read(&mut self) -> Result<Option<Record>, RecordsError> {
        if self.left == 0 {
            return match self.source.fill(1)? {
                [] => Ok(None),
                _ => Err(MORE),
            };
        }
        self.left -= 1;
        let mut record = Record::parse(self.source.take_body()?, self.base_timestamp)?;
        record.timestamp = self.append_time.unwrap_or(record.timestamp);
        Ok(Some(record))
    }
}

/// The fields at the front of a record, and how much follows: key, value and headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    pub offset_delta: i32,
    pub timestamp: i64,
    pub payload_len: usize,
}

/// Reading without keeping: [`Records::front`] and [`Records::payload`] in turn, for batches of which nobody knows how
/// large they become.
impl Records {
    /// The front of the next record; none after the last.
    pub(crate) fn front(&mut self) -> Result<Option<Front>, RecordsError> {
        if self.left == 0 {
            return match self.source.fill(1)? {
                [] => Ok(None),
                _ => Err(MORE),
            };
        }
        self.left -= 1;
        let mut before = usize::MAX;
        let len = self.number(&mut before, NO_LENGTH, take_varint, &mut |_| ())?;
        let mut left = usize::try_from(len).map_err(|_| NEGATIVE)?;
        self.pass(1, &mut left, &mut |_| ())?; // attributes: none has a meaning yet
        let timestamp_delta = self.number(&mut left, CUT, take_varlong, &mut |_| ())?;
        let offset_delta = self.number(&mut left, CUT, take_varint, &mut |_| ())?;
        let timestamp = self.append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta));
        Ok(Some(Front { offset_delta, timestamp, payload_len: left }))
    }

    /// Passes what follows the front that was just read on, as it stands, a piece at a time. True when the record has a
    /// key.
    pub(crate) fn payload(&mut self, front: &Front, to: &mut impl FnMut(&[u8])) -> Result<bool, RecordsError> {
        let mut left = front.payload_len;
        let has_key = self.nullable(&mut left, to)?;
        self.nullable(&mut left, to)?;
        let headers = self.number(&mut left, CUT, take_varint, to)?;
        for _ in 0..u32::try_from(headers).map_err(|_| HEADERS_BELOW_ZERO)? {
            if !self.nullable(&mut left, to)? {
                return Err(HEADER_WITHOUT_KEY);
            }
            self.nullable(&mut left, to)?;
        }
        if left == 0 { Ok(has_key) } else { Err(LONGER) }
    }

    fn nullable(&mut self, left: &mut usize, to: &mut impl FnMut(&[u8])) -> Result<bool, RecordsError> {
        let len = usize::try_from(self.number(left, CUT, take_varint, to)?);
        len.map_or(Ok(false), |len| self.pass(len, left, to).map(|()| true))
    }

    /// A number of a record that has so many bytes left.
    fn number<T>(
        &mut self,
        left: &mut usize,
        cut: RecordsError,
        take: fn(&mut &[u8]) -> Option<T>,
        to: &mut impl FnMut(&[u8]),
    ) -> Result<T, RecordsError> {
        let at_hand = self.source.fill(VARLONG_MAX.min(*left))?;
        let at_hand = &at_hand[..at_hand.len().min(*left)];
        let mut rest = at_hand;
        let number = take(&mut rest).ok_or(cut)?;
        let len = at_hand.len() - rest.len();
        to(&at_hand[..len]);
        self.source.advance(len);
        *left -= len;
        Ok(number)
    }

    fn pass(&mut self, mut len: usize, left: &mut usize, to: &mut impl FnMut(&[u8])) -> Result<(), RecordsError> {
        *left = left.checked_sub(len).ok_or(CUT)?;
        while len > 0 {
            let piece = self.source.fill(1)?;
            if piece.is_empty() {
                return Err(ENDS);
            }
            let piece = &piece[..piece.len().min(len)];
            to(piece);
            len -= piece.len();
            let passed = piece.len();
            self.source.advance(passed);
        }
        Ok(())
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

    fn advance(&mut self, len: usize) {
        match self {
            Source::Plain(bytes) => bytes.advance(len),
            Source::Compressed { buffer, .. } => buffer.advance(len),
        }
    }

    /// Take the next record, without the length before it.
    fn take_body(&mut self) -> Result<Bytes, RecordsError> {
        let at_hand = self.fill(VARINT_MAX)?;
        let mut rest = at_hand;
        let len = take_varint(&mut rest).ok_or(NO_LENGTH)?;
        let len = usize::try_from(len).map_err(|_| NEGATIVE)?;
        let start = at_hand.len() - rest.len();
        let end = start + len;
        if self.fill(end)?.len() < end {
            return Err(ENDS);
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
        let header_count = usize::try_from(fields.varint()?).map_err(|_| HEADERS_BELOW_ZERO)?;
        let headers = fields.position();
        for _ in 0..header_count {
            fields.nullable()?.ok_or(HEADER_WITHOUT_KEY)?;
            fields.nullable()?;
        }
        if !fields.rest.is_empty() {
            return Err(LONGER);
        }
        let timestamp = base_timestamp.wrapping_add(timestamp_delta);
        Ok(Record { offset_delta, timestamp, payload, key, value, headers, header_count, body })
    }

    /// The key; `None` for null, which is not the empty key.
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
    /// The value; `None` for null, which is not the empty value.
    pub value: Option<&'a [u8]>,
}

const MORE: RecordsError = RecordsError::Malformed("bytes are left after the last record");
const NO_LENGTH: RecordsError = RecordsError::Malformed("no length");
const NEGATIVE: RecordsError = RecordsError::Malformed("a negative length");
const ENDS: RecordsError = RecordsError::Malformed("the batch ends within a record");
const HEADERS_BELOW_ZERO: RecordsError = RecordsError::Malformed("headers below zero");
const HEADER_WITHOUT_KEY: RecordsError = RecordsError::Malformed("a header without a key");
const LONGER: RecordsError = RecordsError::Malformed("longer than its fields");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Codec, Compression, NewRecord};

    const CAP: usize = 1 << 20;

    /// Of each record its offset, timestamp, whether it has a key, and the rest as it stands.
    type Read = Vec<(i32, i64, bool, Vec<u8>)>;

    fn kept(batch: &Batch) -> Result<Read, RecordsError> {
        let read =
            |record: Record| (record.offset_delta, record.timestamp, record.key().is_some(), record.payload().to_vec());
        batch.records(CAP)?.map(|record| record.map(read)).collect()
    }

    fn passed(batch: &Batch) -> Result<Read, RecordsError> {
        let mut records = batch.records(CAP)?;
        let mut read = Read::new();
        while let Some(front) = records.front()? {
            let mut payload = Vec::new();
            let has_key = records.payload(&front, &mut |piece| payload.extend_from_slice(piece))?;
            read.push((front.offset_delta, front.timestamp, has_key, payload));
        }
        Ok(read)
    }

    fn batch(codec: Codec) -> Batch {
        let large = vec![7; 3 * PIECE];
        let headers = [Header { key: b"h", value: None }, Header { key: b"", value: Some(&large) }];
        let mut builder = BatchBuilder::new(codec);
        builder.push(NewRecord { timestamp: 5, key: Some(b"k"), value: Some(&large), headers: &headers });
        builder.push(NewRecord { timestamp: 1 << 40, ..NewRecord::default() });
        builder.build()
    }

    #[test]
    fn records_that_are_passed_on_are_those_that_are_kept() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let batch = batch(compression.into());
            let read = passed(&batch).unwrap();
            assert_eq!(read, kept(&batch).unwrap(), "{compression:?}");
            assert_eq!(read.len(), 2, "{compression:?}");
        }
    }

    #[test]
    fn the_first_record_that_is_wanted_is_found() {
        for codec in [Codec::None, Codec::Zstd { level: 3 }] {
            let batch = batch(codec);
            assert_eq!(batch.find(CAP, |_, timestamp| timestamp > 5).unwrap(), Some((1, 1 << 40)), "{codec:?}");
            assert_eq!(batch.find(CAP, |offset, _| offset > 1).unwrap(), None, "{codec:?}");
        }
    }

    #[test]
    fn what_can_not_be_kept_can_not_be_passed_on() {
        let mut builder = BatchBuilder::new(Codec::None);
        let headers = [Header { key: b"h", value: Some(b"w") }];
        builder.push(NewRecord { timestamp: 5, key: Some(b"k"), value: Some(b"v"), headers: &headers });
        builder.push(NewRecord::default());
        let whole = builder.build();
        let body = whole.body();
        for at in 0..body.len() {
            for byte in [0, 1, 2, 3, 0x7F, 0x80, 0xFF] {
                let mut body = body.to_vec();
                body[at] = byte;
                let broken = Batch::seal(*whole.header(), &body);
                assert_eq!(passed(&broken).ok(), kept(&broken).ok(), "{byte} at {at}");
            }
            let cut = Batch::seal(*whole.header(), &body[..at]);
            assert!(passed(&cut).is_err() && kept(&cut).is_err(), "cut at {at}");
        }
    }
}

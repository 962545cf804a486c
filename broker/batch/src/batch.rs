//! One whole batch, and runs of them.
//!
//! A [`Batch`] is a view into the buffer that it came in, and never writes to it. The leader's changes (offset, epoch,
//! append time) go to a copy of the header alone: [`Stamped`].
//! Always: the bytes are exactly one batch, its magic is 2 and its checksum is right.

use std::io::IoSlice;

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi;

use crate::header::{BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, LOG_APPEND_TIME_BIT, MAGIC, position, put};

/// A whole batch with the right checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

/// Why bytes don't begin with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch needs {needed} bytes, there are {found}")]
    Truncated {
        /// Bytes that it takes to know more: a header's, or the batch's.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The length field leaves no room for a header: garbage, or space allocated ahead.
    #[error("batch length {0} is less than a header's")]
    BadLength(i32),
    /// Not the record format v2.
    #[error("record format {0} is not 2")]
    BadMagic(i8),
    /// The checksum says that bytes have changed.
    #[error("checksum is {computed:08x}, the batch says {stored:08x}")]
    Corrupt {
        /// What the batch says.
        stored: u32,
        /// What its bytes say.
        computed: u32,
    },
}

impl Batch {
    /// Take the batch at the front of `bytes`; what follows it is left alone.
    pub fn parse(bytes: &Bytes) -> Result<Batch, BatchError> {
        let found = bytes.len();
        let Some(header) = BatchHeader::peek(bytes) else {
            return Err(BatchError::Truncated { needed: HEADER_LEN, found });
        };
        let Some(needed) = header.total_len() else {
            return Err(BatchError::BadLength(header.length));
        };
        if header.magic != MAGIC {
            return Err(BatchError::BadMagic(header.magic));
        }
        if needed > found {
            return Err(BatchError::Truncated { needed, found });
        }
        let bytes = bytes.slice(..needed);
        let computed = crc(&bytes[position::ATTRIBUTES..]);
        if computed != header.crc {
            return Err(BatchError::Corrupt { stored: header.crc, computed });
        }
        Ok(Batch { header, bytes })
    }

    /// Put a header before `body`, which holds the records that the header describes. Length, magic and checksum are
    /// computed, whatever the header says.
    pub fn seal(mut header: BatchHeader, body: &[u8]) -> Batch {
        let length = HEADER_LEN - LENGTH_OVERHEAD + body.len();
        header.length =
            i32::try_from(length).expect("a batch stays below 2 GiB: its builder and its frame are bounded");
        header.magic = MAGIC;
        let mut header_bytes = header.to_bytes();
        header.crc = seal_crc(&mut header_bytes, body);
        Batch { header, bytes: [&header_bytes, body].concat().into() }
    }

    /// The header as it came.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it came: exactly its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Everything after the header: the records, compressed or not.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Give the batch its place in the log. With an append time every record takes that timestamp (LogAppendTime).
    pub fn stamp(&self, base_offset: i64, partition_leader_epoch: i32, append_time_ms: Option<i64>) -> Stamped {
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&self.bytes[..HEADER_LEN]);
        let body = self.body();
        put(&mut header, position::BASE_OFFSET, base_offset.to_be_bytes());
        put(&mut header, position::PARTITION_LEADER_EPOCH, partition_leader_epoch.to_be_bytes());
        if let Some(append_time_ms) = append_time_ms {
            let attributes = self.header.attributes | LOG_APPEND_TIME_BIT;
            put(&mut header, position::ATTRIBUTES, attributes.to_be_bytes());
            put(&mut header, position::MAX_TIMESTAMP, append_time_ms.to_be_bytes());
            seal_crc(&mut header, &body);
        }
        Stamped { header, body }
    }

    /// The batch with the place that its leader has given it: not a byte changes.
    pub fn in_place(&self) -> Stamped {
        self.stamp(self.header.base_offset, self.header.partition_leader_epoch, None)
    }
}

/// A batch with its place in the log: a header of its own before the records as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    header: [u8; HEADER_LEN],
    body: Bytes,
}

impl Stamped {
    /// The header with its new values.
    pub fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.header)
    }

    /// The header's bytes.
    pub fn header_bytes(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    /// Everything after the header.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes of the whole batch.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty: it has a header")]
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The whole batch for one vectored write.
    pub fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.header), IoSlice::new(&self.body)]
    }
}

/// The batches in a run of bytes, one after the other, each with its checksum checked.
///
/// Ends after the first error: what follows a bad batch can't be found.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    good_bytes: usize,
    failed: bool,
}

/// A run of batches ends badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {good_bytes} good bytes: {error}")]
pub struct BadBatch {
    /// Bytes of the good batches before.
    pub good_bytes: usize,
    /// What is wrong with the next.
    pub error: BatchError,
}

impl Batches {
    /// Walk over `bytes`, which begin with a batch or are empty.
    pub fn new(bytes: Bytes) -> Batches {
        Batches { rest: bytes, good_bytes: 0, failed: false }
    }

    /// Bytes of the batches returned so far.
    pub fn good_bytes(&self) -> usize {
        self.good_bytes
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BadBatch>;

    fn next(&mut self) -> Option<Result<Batch, BadBatch>> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        match Batch::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.bytes.len()..);
                self.good_bytes += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(BadBatch { good_bytes: self.good_bytes, error }))
            }
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// Write the checksum that the header and its body need, and return it.
fn seal_crc(header: &mut [u8; HEADER_LEN], body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(Crc32Iscsi);
    digest.update(&header[position::ATTRIBUTES..]);
    digest.update(body);
    let crc = digest.finalize() as u32;
    put(header, position::CRC, crc.to_be_bytes());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{NO_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, TimestampType};

    fn batch(body: &[u8]) -> Batch {
        let header = BatchHeader {
            base_offset: 0,
            length: 0,
            partition_leader_epoch: NO_EPOCH,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 100,
            max_timestamp: 200,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            records_count: 1,
        };
        Batch::seal(header, body)
    }

    fn written(stamped: &Stamped) -> Bytes {
        stamped.slices().iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn a_place_in_the_log_leaves_the_checksum_alone() {
        let batch = batch(b"records");
        let stamped = batch.stamp(42, 7, None);
        assert_eq!(
            stamped.header(),
            BatchHeader { base_offset: 42, partition_leader_epoch: 7, ..*batch.header() },
            "nothing else changes"
        );
        let read = Batch::parse(&written(&stamped)).unwrap();
        assert_eq!(read.body(), batch.body());
        assert_eq!(stamped.len(), read.bytes().len());
    }

    #[test]
    fn an_append_time_makes_a_new_checksum() {
        let stamped = batch(b"records").stamp(42, 7, Some(1_000));
        let read = Batch::parse(&written(&stamped)).unwrap();
        assert_eq!(read.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((read.header().base_timestamp, read.header().max_timestamp), (100, 1_000));
    }

    #[test]
    fn a_run_of_batches_says_where_it_is_wrong_and_why() {
        let one = batch(b"one").bytes().to_vec();
        let mut flipped = one.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut old_format = one.clone();
        old_format[position::MAGIC] = 1;
        let is = |wanted: fn(&BatchError) -> bool| wanted;
        for (name, tail, expected) in [
            ("cut in the header", &one[..60], is(|e| *e == BatchError::Truncated { needed: 61, found: 60 })),
            ("cut in the records", &one[..63], is(|e| *e == BatchError::Truncated { needed: 64, found: 63 })),
            ("changed", &flipped, is(|e| matches!(e, BatchError::Corrupt { .. }))),
            ("old format", &old_format, is(|e| *e == BatchError::BadMagic(1))),
            ("allocated ahead", &[0; 100], is(|e| *e == BatchError::BadLength(0))),
        ] {
            let bytes = [&one, &one, tail, &one].concat();
            // A cut is the end of the run, the other faults stand before a good batch.
            let end = if name.starts_with("cut") { 2 * one.len() + tail.len() } else { bytes.len() };
            let mut batches = Batches::new(Bytes::from(bytes).slice(..end));
            assert_eq!(batches.by_ref().take(2).filter(Result::is_ok).count(), 2, "{name}");
            let bad = batches.next().unwrap().unwrap_err();
            assert_eq!(bad.good_bytes, 2 * one.len(), "{name}");
            assert!(expected(&bad.error), "{name}: {bad}");
            assert!(batches.next().is_none(), "{name}");
        }
        assert!(Batches::new(Bytes::new()).next().is_none());
    }
}

//! The 61 bytes that open a record batch, format v2.
//!
//! Owns where each field stands and what its bits mean. Reading a header never fails: whether its values make sense is
//! the business of [`crate::Batch`] and [`mod@crate::validate`].

/// Bytes of a batch before its first record.
pub const HEADER_LEN: usize = 61;

/// Bytes that the `length` field doesn't count: the base offset and the field itself.
pub const LENGTH_OVERHEAD: usize = 12;

/// The only record format that Kafka 4 keeps in its logs.
pub const MAGIC: i8 = 2;

/// A batch without a producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// A batch without a sequence number.
pub const NO_SEQUENCE: i32 = -1;
/// No epoch, be it the leader's or the producer's.
pub const NO_EPOCH: i32 = -1;
/// A record or a batch without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;

/// Where each field begins.
pub mod position {
    /// i64
    pub const BASE_OFFSET: usize = 0;
    /// i32: the bytes after this field
    pub const LENGTH: usize = 8;
    /// i32
    pub const PARTITION_LEADER_EPOCH: usize = 12;
    /// i8
    pub const MAGIC: usize = 16;
    /// u32: CRC-32C of everything from [`ATTRIBUTES`] to the end
    pub const CRC: usize = 17;
    /// i16
    pub const ATTRIBUTES: usize = 21;
    /// i32
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// i64
    pub const BASE_TIMESTAMP: usize = 27;
    /// i64
    pub const MAX_TIMESTAMP: usize = 35;
    /// i64
    pub const PRODUCER_ID: usize = 43;
    /// i16
    pub const PRODUCER_EPOCH: usize = 51;
    /// i32
    pub const BASE_SEQUENCE: usize = 53;
    /// i32
    pub const RECORDS_COUNT: usize = 57;
}

pub(crate) const COMPRESSION_MASK: i16 = 0b0000_0111;
pub(crate) const LOG_APPEND_TIME_BIT: i16 = 0b0000_1000;
pub(crate) const TRANSACTIONAL_BIT: i16 = 0b0001_0000;
pub(crate) const CONTROL_BIT: i16 = 0b0010_0000;
pub(crate) const DELETE_HORIZON_BIT: i16 = 0b0100_0000;

/// How the records of a batch are compressed; the numbers are those of the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// RFC 1952, one or several members.
    Gzip = 1,
    /// Xerial's framing, or one raw block.
    Snappy = 2,
    /// The LZ4 frame format with independent blocks.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

/// A codec number that Kafka has given no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression type {0}")]
pub struct UnknownCompression(pub u8);

impl TryFrom<u8> for Compression {
    type Error = UnknownCompression;

    fn try_from(id: u8) -> Result<Compression, UnknownCompression> {
        Ok(match id {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return Err(UnknownCompression(id)),
        })
    }
}

/// Who gives records their timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The leader, one for the whole batch.
    LogAppendTime,
}

/// The header of one batch, as values. Timestamps are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after this field; see [`BatchHeader::total_len`].
    pub length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Format version.
    pub magic: i8,
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Codec, timestamp type, and the transactional, control and delete-horizon bits.
    pub attributes: i16,
    /// Offset of the last record, relative to the first. Compaction keeps it when it removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; the delete horizon when that bit is set.
    pub base_timestamp: i64,
    /// Latest timestamp of the batch; for `LogAppendTime` that of every record.
    pub max_timestamp: i64,
    /// Id of an idempotent producer, or −1.
    pub producer_id: i64,
    /// Epoch of that producer, or −1.
    pub producer_epoch: i16,
    /// That producer's sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// How many records follow.
    pub records_count: i32,
}

impl BatchHeader {
    /// Read the fields; whatever the bytes say is taken as it stands.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> BatchHeader {
        BatchHeader {
            base_offset: i64::from_be_bytes(at(bytes, position::BASE_OFFSET)),
            length: i32::from_be_bytes(at(bytes, position::LENGTH)),
            partition_leader_epoch: i32::from_be_bytes(at(bytes, position::PARTITION_LEADER_EPOCH)),
            magic: i8::from_be_bytes(at(bytes, position::MAGIC)),
            crc: u32::from_be_bytes(at(bytes, position::CRC)),
            attributes: i16::from_be_bytes(at(bytes, position::ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(at(bytes, position::LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(at(bytes, position::BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(at(bytes, position::MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(at(bytes, position::PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(at(bytes, position::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(at(bytes, position::BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(at(bytes, position::RECORDS_COUNT)),
        }
    }

    /// Read the header at the front of `bytes`; none when they are too few.
    pub fn peek(bytes: &[u8]) -> Option<BatchHeader> {
        bytes.first_chunk().map(BatchHeader::parse)
    }

    /// The bytes that [`BatchHeader::parse`] reads.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, position::BASE_OFFSET, self.base_offset.to_be_bytes());
        put(&mut bytes, position::LENGTH, self.length.to_be_bytes());
        put(&mut bytes, position::PARTITION_LEADER_EPOCH, self.partition_leader_epoch.to_be_bytes());
        put(&mut bytes, position::MAGIC, self.magic.to_be_bytes());
        put(&mut bytes, position::CRC, self.crc.to_be_bytes());
        put(&mut bytes, position::ATTRIBUTES, self.attributes.to_be_bytes());
        put(&mut bytes, position::LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, position::BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(&mut bytes, position::MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(&mut bytes, position::PRODUCER_ID, self.producer_id.to_be_bytes());
        put(&mut bytes, position::PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(&mut bytes, position::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut bytes, position::RECORDS_COUNT, self.records_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch; none when `length` leaves no room for a header.
    pub fn total_len(&self) -> Option<usize> {
        let total = usize::try_from(self.length).ok()? + LENGTH_OVERHEAD;
        (total >= HEADER_LEN).then_some(total)
    }

    /// The codec of the records.
    pub fn compression(&self) -> Result<Compression, UnknownCompression> {
        Compression::try_from((self.attributes & COMPRESSION_MASK) as u8)
    }

    /// Who gave the records their timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.has(LOG_APPEND_TIME_BIT) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Part of a transaction, be it data or a marker.
    pub fn is_transactional(&self) -> bool {
        self.has(TRANSACTIONAL_BIT)
    }

    /// Holds a marker of the broker's, which consumers skip.
    pub fn is_control(&self) -> bool {
        self.has(CONTROL_BIT)
    }

    /// Sent by an idempotent producer, or a marker for one.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// When compaction may drop the batch's tombstones and markers (KIP-534); none until it has seen them once.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.has(DELETE_HORIZON_BIT).then_some(self.base_timestamp)
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset that the next batch begins at.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// The producer's sequence number of the last record, or −1.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// The sequence number that the producer's next batch must begin with.
    pub fn next_sequence(&self) -> i32 {
        add_sequence(self.last_sequence(), 1)
    }

    fn has(&self, bit: i16) -> bool {
        self.attributes & bit != 0
    }
}

/// Sequence numbers go from `i32::MAX` on to 0.
pub fn add_sequence(sequence: i32, increment: i32) -> i32 {
    (i64::from(sequence) + i64::from(increment)).rem_euclid(1 << 31) as i32
}

/// Whether `sequence` comes after `first`, where the one behind half of all numbers is before it.
pub fn sequence_follows(first: i32, sequence: i32) -> bool {
    (1..1 << 30).contains(&add_sequence(sequence, -first))
}

fn at<const N: usize>(bytes: &[u8; HEADER_LEN], position: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[position + i])
}

pub(crate) fn put<const N: usize>(bytes: &mut [u8; HEADER_LEN], position: usize, value: [u8; N]) {
    bytes[position..position + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 1,
            length: 49,
            partition_leader_epoch: 2,
            magic: MAGIC,
            crc: 0xDEAD_BEEF,
            attributes: 0,
            last_offset_delta: 3,
            base_timestamp: 4,
            max_timestamp: 5,
            producer_id: 6,
            producer_epoch: 7,
            base_sequence: 8,
            records_count: 4,
        }
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let bytes = header().to_bytes();
        assert_eq!(BatchHeader::parse(&bytes), header());
        assert_eq!(BatchHeader::peek(&bytes[..60]), None);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        for (sequence, increment, expected) in [
            (0, 1, 1),
            (i32::MAX, 1, 0),
            (i32::MAX - 1, 1, i32::MAX),
            (i32::MAX - 1, 3, 1),
            (i32::MAX, i32::MAX, i32::MAX - 1),
        ] {
            assert_eq!(add_sequence(sequence, increment), expected, "{sequence} + {increment}");
        }
        let wrapping = BatchHeader { base_sequence: i32::MAX - 3, ..header() };
        assert_eq!((wrapping.last_sequence(), wrapping.next_sequence()), (i32::MAX, 0));
        let none = BatchHeader { base_sequence: NO_SEQUENCE, ..header() };
        assert_eq!((none.last_sequence(), none.next_sequence()), (NO_SEQUENCE, 0));
    }

    #[test]
    fn attributes_say_what_kafka_says() {
        let with = |attributes| BatchHeader { attributes, ..header() };
        assert_eq!(with(0).compression(), Ok(Compression::None));
        assert_eq!(with(4).compression(), Ok(Compression::Zstd));
        assert_eq!(with(7).compression(), Err(UnknownCompression(7)));
        assert_eq!(with(8).timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(with(0x10).timestamp_type(), TimestampType::CreateTime);
        assert!(with(0x10).is_transactional() && !with(0x10).is_control());
        assert!(with(0x20).is_control() && !with(0x20).is_transactional());
        assert_eq!(with(0x40).delete_horizon(), Some(4));
        assert_eq!(with(0).delete_horizon(), None);
    }

    #[test]
    fn a_length_without_room_for_a_header_is_none() {
        for (length, expected) in [(49, Some(61)), (48, None), (0, None), (-1, None), (i32::MIN, None)] {
            assert_eq!(BatchHeader { length, ..header() }.total_len(), expected, "{length}");
        }
    }
}

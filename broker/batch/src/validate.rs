//! What a leader asks of a batch that a producer sends: everything that the batch alone can show.
//!
//! The checksum and the header are always checked. Records are read one by one when they are at hand uncompressed and
//! whenever a rule depends on them, a piece at a time: however large they become, what is held is a piece of them, and
//! what is to be appended in their place. The compressed records of an ordinary topic are not, unless
//! [`ProduceRules::strict`] says so: Kafka decompresses each batch, which is most of what such a batch costs it. The
//! header's timestamps stand for those of the records then.

use bytes::Bytes;

use crate::batch::{Batch, BatchError};
use crate::builder::BatchBuilder;
use crate::compress::Codec;
use crate::header::{BatchHeader, Compression, LOG_APPEND_TIME_BIT, NO_TIMESTAMP, TimestampType, UnknownCompression};
use crate::records::{Front, RecordsError};

/// Faulty records to name, of those that one batch may have: answers stay small.
const RECORD_ERRORS_MAX: usize = 1000;

/// Bytes of the smallest record: length, attributes, two deltas, no key, no value, no headers.
const RECORD_MIN: usize = 7;

/// The length of a record is an i32, and its front (attributes and two deltas) may grow when it is encoded again.
const PAYLOAD_MAX: usize = i32::MAX as usize - 16;

/// What a topic asks of the batches produced to it.
#[derive(Clone, Debug)]
pub struct ProduceRules {
    /// `max.message.bytes`, for the whole batch, header and compression included.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `i64::MAX` is no bound.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`; `i64::MAX` is no bound.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type` with its level; none for `producer`.
    pub codec: Option<Codec>,
    /// Read the records of compressed batches, too, even if no rule depends on them.
    pub strict: bool,
    /// What the records of one batch may take once decompressed.
    pub max_decompressed_bytes: usize,
}

/// Why a batch is refused, and the error code that Kafka has for it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBatch {
    /// INVALID_RECORD
    #[error("there is no batch")]
    NoBatch,
    /// INVALID_RECORD
    #[error("there is more than one batch")]
    SeveralBatches,
    /// MESSAGE_TOO_LARGE, which makes clients split the batch.
    #[error("the batch has {size} bytes, max.message.bytes is {limit}")]
    TooLarge {
        /// Bytes of the batch; where the topic's codec makes it larger, of its beginning.
        size: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// INVALID_RECORD for an old format, else CORRUPT_MESSAGE.
    #[error(transparent)]
    Bytes(#[from] BatchError),
    /// INVALID_RECORD
    #[error("the batch is sent with base offset {0} instead of 0")]
    BaseOffset(i64),
    /// INVALID_RECORD
    #[error("the batch counts {records_count} records, its last offset delta is {last_offset_delta}")]
    Count {
        /// What the header says.
        records_count: i32,
        /// What the header says.
        last_offset_delta: i32,
    },
    /// INVALID_RECORD
    #[error("clients may not write control records")]
    Control,
    /// INVALID_RECORD
    #[error("sequence number {base_sequence} of producer {producer_id} is below zero")]
    Sequence {
        /// What the header says.
        producer_id: i64,
        /// What the header says.
        base_sequence: i32,
    },
    /// UNSUPPORTED_COMPRESSION_TYPE
    #[error(transparent)]
    UnknownCompression(#[from] UnknownCompression),
    /// INVALID_RECORD
    #[error(transparent)]
    Unreadable(#[from] RecordsError),
    /// INVALID_RECORD, or INVALID_TIMESTAMP when the timestamp of any of the records is at fault; with `record_errors`.
    #[error("{} records are refused, first of all: {}", errors.len(), errors.first().map_or("", |e| &e.message))]
    Records {
        /// A timestamp is out of bounds.
        timestamp: bool,
        /// The faulty records, at least one.
        errors: Vec<RecordError>,
    },
}

/// A record that a topic doesn't take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch, from 0.
    pub index: i32,
    /// Why, for people.
    pub message: String,
}

/// Check what a producer sent for one partition at `now_ms`, and return the batch to append: as it came, or with the
/// right maximum timestamp, offsets and codec.
pub fn validate(sent: &Bytes, rules: &ProduceRules, now_ms: i64) -> Result<Batch, InvalidBatch> {
    let mut batch = only_batch(sent, rules)?;
    check_header(batch.header())?;
    // The type of timestamps is the topic's to set; Kafka clears the bit without a word.
    if batch.header().timestamp_type() == TimestampType::LogAppendTime {
        let attributes = batch.header().attributes & !LOG_APPEND_TIME_BIT;
        batch = Batch::seal(BatchHeader { attributes, ..*batch.header() }, &batch.body());
    }
    let header = batch.header();
    let compression = header.compression()?;
    let codec = rules.codec.unwrap_or(compression.into());
    if !must_read(header, compression, codec, rules, now_ms) {
        return if can_be_counted(&batch, compression) { Ok(batch) } else { Err(miscounted(header)) };
    }
    let seen = read(&batch, rules, now_ms)?;
    if codec.compression() != compression || !seen.offsets_are_right {
        let batch = encode_again(&batch, codec, rules)?;
        check_size(batch.bytes().len(), rules)?;
        return Ok(batch);
    }
    // Look-ups by timestamp and retention trust the header, so it must not depend on the producer's word.
    if rules.timestamp_type == TimestampType::CreateTime && header.max_timestamp != seen.max_timestamp {
        return Ok(Batch::seal(BatchHeader { max_timestamp: seen.max_timestamp, ..*header }, &batch.body()));
    }
    Ok(batch)
}

fn only_batch(sent: &Bytes, rules: &ProduceRules) -> Result<Batch, InvalidBatch> {
    if sent.is_empty() {
        return Err(InvalidBatch::NoBatch);
    }
    // Before the checksum: its code makes the client send less, where "corrupt" would make it send the same again.
    check_size(sent.len(), rules)?;
    let batch = Batch::parse(sent)?;
    if batch.bytes().len() < sent.len() {
        return Err(InvalidBatch::SeveralBatches);
    }
    Ok(batch)
}

fn check_size(size: usize, rules: &ProduceRules) -> Result<(), InvalidBatch> {
    let limit = rules.max_message_bytes;
    if size > limit { Err(InvalidBatch::TooLarge { size, limit }) } else { Ok(()) }
}

/// Whether as many records as the header counts fit into what the codec can make of the bytes. Else few bytes could use
/// up offsets without end.
fn can_be_counted(batch: &Batch, compression: Compression) -> bool {
    let most = batch.body().len().saturating_mul(compression.expansion_max()) / RECORD_MIN;
    usize::try_from(batch.header().records_count).is_ok_and(|count| count <= most)
}

fn miscounted(&BatchHeader { records_count, last_offset_delta, .. }: &BatchHeader) -> InvalidBatch {
    InvalidBatch::Count { records_count, last_offset_delta }
}

fn check_header(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let &BatchHeader { base_offset, records_count, last_offset_delta, producer_id, base_sequence, .. } = header;
    if base_offset != 0 {
        return Err(InvalidBatch::BaseOffset(base_offset));
    }
    if records_count <= 0 || last_offset_delta != records_count - 1 {
        return Err(miscounted(header));
    }
    if header.is_control() {
        return Err(InvalidBatch::Control);
    }
    if header.has_producer_id() && base_sequence < 0 {
        return Err(InvalidBatch::Sequence { producer_id, base_sequence });
    }
    // Kafka refuses the bit where the topic has it, too, and clears it elsewhere; no client sets it.
    Ok(())
}

fn must_read(header: &BatchHeader, compression: Compression, codec: Codec, rules: &ProduceRules, now_ms: i64) -> bool {
    let rules_need_it = rules.strict || rules.compacted || compression != codec.compression();
    // The latest timestamp stands in the header, the earliest doesn't. A header that is out of bounds or contradicts
    // itself is looked into, be it to name the record at fault.
    let timestamps_need_it = rules.timestamp_type == TimestampType::CreateTime
        && (rules.timestamp_before_max_ms < i64::MAX
            || !rules.takes_timestamp(header.max_timestamp, now_ms)
            || header.base_timestamp > header.max_timestamp);
    compression == Compression::None || rules_need_it || timestamps_need_it
}

impl ProduceRules {
    fn takes_timestamp(&self, timestamp: i64, now_ms: i64) -> bool {
        self.timestamp_type == TimestampType::LogAppendTime
            || timestamp == NO_TIMESTAMP
            || now_ms.saturating_sub(timestamp) <= self.timestamp_before_max_ms
                && timestamp.saturating_sub(now_ms) <= self.timestamp_after_max_ms
    }

    fn fault(&self, front: &Front, has_key: bool, now_ms: i64) -> Option<Fault> {
        if self.compacted && !has_key {
            Some(Fault::NoKey)
        } else if !self.takes_timestamp(front.timestamp, now_ms) {
            Some(Fault::Timestamp(front.timestamp))
        } else {
            None
        }
    }
}

enum Fault {
    NoKey,
    Timestamp(i64),
}

/// What the records of a batch show.
struct RecordsSummary {
    max_timestamp: i64,
    /// They count 0, 1, 2 … as the header promises. Kafka keeps others where records are uncompressed and fails
    /// otherwise; they would make consumers see offsets twice.
    offsets_are_right: bool,
}

fn read(batch: &Batch, rules: &ProduceRules, now_ms: i64) -> Result<RecordsSummary, InvalidBatch> {
    let mut seen = RecordsSummary { max_timestamp: NO_TIMESTAMP, offsets_are_right: true };
    let mut timestamp = false;
    let mut errors = Vec::new();
    let mut records = batch.records(rules.max_decompressed_bytes)?;
    for index in 0.. {
        let Some(front) = records.front()? else { break };
        let has_key = records.payload(&front, &mut |_| ())?;
        seen.max_timestamp = seen.max_timestamp.max(front.timestamp);
        seen.offsets_are_right &= front.offset_delta == index;
        let Some(fault) = rules.fault(&front, has_key, now_ms) else { continue };
        timestamp |= matches!(fault, Fault::Timestamp(_));
        if errors.len() < RECORD_ERRORS_MAX {
            errors.push(RecordError { index, message: rules.describe(fault, now_ms) });
        }
    }
    if errors.is_empty() { Ok(seen) } else { Err(InvalidBatch::Records { timestamp, errors }) }
}

impl ProduceRules {
    fn describe(&self, fault: Fault, now_ms: i64) -> String {
        match fault {
            Fault::NoKey => "a compacted topic takes no record without a key".to_string(),
            Fault::Timestamp(timestamp) => format!(
                "timestamp {timestamp} is out of range: it should be within [{}, {}]",
                now_ms.saturating_sub(self.timestamp_before_max_ms),
                now_ms.saturating_add(self.timestamp_after_max_ms),
            ),
        }
    }
}

fn encode_again(batch: &Batch, codec: Codec, rules: &ProduceRules) -> Result<Batch, InvalidBatch> {
    let mut builder = BatchBuilder::replacing(batch.header(), codec);
    let mut records = batch.records(rules.max_decompressed_bytes)?;
    for index in 0.. {
        let Some(front) = records.front()? else { break };
        // A record that stays as it is must fit; so large a one is not even copied.
        let least = if codec == Codec::None { builder.least_len().saturating_add(front.payload_len) } else { 0 };
        check_size(least, rules)?;
        if front.payload_len > PAYLOAD_MAX {
            return Err(RecordsError::TooLarge.into());
        }
        builder.push_front(index, &front);
        records.payload(&front, &mut |piece| {
            // What is too large already is refused below.
            if builder.least_len() <= rules.max_message_bytes {
                builder.extend(piece);
            }
        })?;
        check_size(builder.least_len(), rules)?;
    }
    Ok(builder.build())
}

//! Record batches (format v2) as values: read, check, stamp, compress, build. No input or output, no clock.
//!
//! * [`header`]: the 61 bytes that open a batch
//! * [`batch`]: one whole batch, its place in the log, runs of batches
//! * [`records`]: the records inside, decompressed within bounds
//! * [`mod@validate`]: what a leader asks of a producer's batch
//! * [`builder`]: make batches
//! * [`control`]: the markers that end transactions
//! * [`compress`]: the codecs

#![warn(unreachable_pub)]

mod batch;
pub mod builder;
mod compress;
mod control;
pub mod header;
mod records;
pub mod validate;
mod varint;

pub use batch::{BadBatch, Batch, BatchError, Batches, Stamped};
pub use builder::{BatchBuilder, NewRecord, marker_batch};
pub use compress::Codec;
pub use control::{ControlRecordType, Marker};
pub use header::{BatchHeader, Compression, HEADER_LEN, TimestampType};
pub use records::{Header, Record, Records, RecordsError};
pub use validate::{InvalidBatch, ProduceRules, validate};

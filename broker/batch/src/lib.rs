//! Record batches (format v2) as values: read, check, stamp, compress, build. No input or output, no clock.
//!
//! * [`header`]: the 61 bytes that open a batch
//! * [`batch`]: one whole batch, its place in the log, runs of batches

pub mod batch;
pub mod header;

pub use batch::{BadBatch, Batch, BatchError, Batches, Stamped};
pub use header::{BatchHeader, Compression, HEADER_LEN, TimestampType};

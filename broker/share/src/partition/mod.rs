//! The share partition of one group (Kafka: `SharePartition`, `InFlightBatch`, `InFlightState`).
//!
//! - `share_partition`: what the leader knows, and what of it is asked for
//! - `batch`: a batch of records in flight, split where records become different
//! - `load`: from what the persister has read
//! - `acquire`: a member's fetch; `room`: how much it may acquire, and where; `throttle`: how few records at once
//! - `acknowledge`: a member's answer
//! - `release`: how members lose records without an answer
//! - `settle`: the persister's answer
//! - `log`: what the log's start, compaction and aborted transactions do

mod acknowledge;
mod acquire;
mod batch;
mod load;
mod log;
mod release;
mod room;
mod settle;
mod share_partition;
mod throttle;

pub use acknowledge::{Acknowledge, AcknowledgementBatch};
pub use acquire::{Acquire, AcquireMode, Acquired};
pub use room::LogBatch;
pub use share_partition::{InFlight, RecordState, SharePartition, StateWrite};

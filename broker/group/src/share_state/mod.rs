//! The share coordinator: keeps what share groups have delivered of their partitions (KIP-932).
//!
//! One [`Shard`] holds the states of one `__share_group_state` partition. Leaders of partitions read and write them;
//! group coordinators initialise, summarise and delete them. Kafka's `ShareCoordinatorShard` sets the rules.
//!
//! | module | its job |
//! |---|---|
//! | `shard` | the states of one partition: loading, the order of requests, the fate of appends |
//! | `upkeep` | what time brings: snapshots of states that rest, deletions |
//! | `decide` | what a request does to a state |
//! | `state` | a state, and what records make of it |
//! | `batches` | how batches that overlap become batches that do not |
//! | `request` | the plain values of requests and replies |
//! | `record` | what is persisted, in Kafka's own record format |

mod batches;
mod decide;
mod record;
mod request;
mod shard;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;

pub use batches::StateBatch;
pub use record::{Encoded, Malformed, Record, TooLong, Update, Value};
pub use request::{ReadState, Request, SharePartition, StateError, StateReply, Summary, WriteState};
pub use shard::{Config, Effects, Shard, StateAppend, StateAppendId};
pub use state::ShareGroupState;

//! Consumer groups as pure state machines: values in, values out.
//!
//! One [`Shard`] holds every group and offset of one `__consumer_offsets` partition. The broker's shell owns it under a
//! lock, hands it requests, the time and fresh ids, and carries out the [`Effects`] that come back: records to append
//! and replies to deliver. Nothing in here waits, logs, reads a clock or draws a random number.
//!
//! | module | its job |
//! |---|---|
//! | [`shard`] | the groups of one partition; effects; loading, time, the fate of appends |
//! | [`group`] | one classic group: members, generation, state, what it can answer about itself |
//! | `rebalance` | the join phase: begin, wait, complete, expire |
//! | `join`, `sync`, `leave` | one request each: JoinGroup, SyncGroup, LeaveGroup (and Heartbeat) |
//! | `admin` | DescribeGroups, ListGroups, DeleteGroups |
//! | `offsets`, `expiry` | commit, fetch, delete; what is too old to keep |
//! | [`record`] | what is persisted, in Kafka's own record format |
//! | [`request`] | the plain values of requests and replies |
//! | [`ids`], [`error`], `timers` | names, refusals, deadlines |

pub mod error;
pub mod group;
pub mod ids;
pub mod record;
pub mod request;
pub mod shard;

mod admin;
mod expiry;
mod join;
mod leave;
mod offsets;
mod partition;
mod rebalance;
mod subscription;
mod sync;
mod timers;
mod turn;

pub use error::{AppendError, GroupError};
pub use group::GroupState;
pub use ids::{GroupId, InstanceId, MemberId, Now, Ticket, TopicName};
pub use partition::partition_for;
pub use record::Record;
pub use request::*;
pub use shard::{Append, AppendId, Config, Effects, Shard};

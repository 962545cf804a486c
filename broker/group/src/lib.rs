//! Group coordinators as pure state machines: values in, values out.
//!
//! One [`Shard`] holds every group and offset of one `__consumer_offsets` partition. Its host in the broker owns it
//! under a lock, hands it requests, the time and fresh ids, and carries out the [`Effects`] that come back: records to
//! append and replies to deliver. Nothing in here waits, logs, reads a clock or draws a random number.
//!
//! | module | its job |
//! |---|---|
//! | [`shard`] | the groups of one partition: loading, time, the fate of appends |
//! | `turn` | what a request may use and has decided so far; [`effects`]: what the host gets of it |
//! | `group` | a group: classic, consumer, streams or share |
//! | `classic` | groups of the classic protocol |
//! | `consumer` | groups of the consumer protocol |
//! | `streams` | groups of the streams protocol |
//! | `share` | share groups |
//! | `history` | what one of these three has changed, and what of that is in the log |
//! | `overload` | members of theirs that are to have more than a record can hold |
//! | [`share_state`] | what share groups have delivered: a shard of its own, over `__share_group_state` |
//! | [`topics`] | the topics of the cluster, an input |
//! | `patterns` | regular expressions of clients |
//! | `admin` | ListGroups, DeleteGroups, DescribeGroups |
//! | `offsets`, `pending`, `offset_requests` | committed offsets; those of open transactions; commit, fetch, delete |
//! | `expiry` | what is too old to keep |
//! | [`record`] | what is persisted, in Kafka's own record format |
//! | [`request`], [`state`] | the plain values of requests and replies |
//! | [`config`], [`ids`], [`error`], `timers` | settings, names, refusals, deadlines |

#![warn(unreachable_pub)]

mod config;
mod effects;
mod error;
mod ids;
pub mod record;
mod request;
mod shard;
pub mod share_state;
mod state;
mod topics;

mod admin;
mod classic;
mod consumer;
mod expiry;
mod group;
mod history;
mod offset_requests;
mod offsets;
mod overload;
mod patterns;
mod pending;
mod share;
mod streams;
mod timers;
mod turn;

pub use config::{Config, GroupConfig, Migration, ShareConfig, StreamsConfig};
pub use consumer::lookup::ResolvedExpressions;
pub use effects::{
    Asker, Effects, GroupAppend, GroupAppendId, Lookup, StateCall, StateCallId, StateCallKind, StateResults,
};
pub use error::{GroupAppendError, GroupError};
pub use ids::{GroupId, InstanceId, MemberId, Now, Producer, Ticket, TopicName};
pub use patterns::{InvalidPattern, Pattern};
pub use record::{Partitions, Record};
pub use request::*;
pub use shard::Shard;
pub use state::{GroupKind, GroupState};
pub use topics::{Topic, Topics};

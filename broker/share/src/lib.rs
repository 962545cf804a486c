//! The leader's side of share groups (KIP-932) as pure state machines: values in, values out.
//!
//! A [`SharePartition`] is one group's progress in one partition: which records are delivered to whom, how often, and
//! what has become of them. [`Sessions`] are the share sessions of a broker: which partitions a member fetches. The
//! broker's host owns both, hands them requests and the time, and carries out what comes back. Nothing in here waits,
//! logs, reads a clock or draws a random number.
//!
//! | module | its job |
//! |---|---|
//! | `partition` | the share partition: acquire, acknowledge, release, time out, persist |
//! | `session` | share sessions: their epochs, partitions and connections |
//! | `aborted` | which batches that were read belong to aborted transactions |
//! | `state` | what the persister keeps of a share partition |
//! | `ids`, `error`, `config` | names, refusals and their codes, settings |
//!
//! # A record's way
//!
//! | from | by | to |
//! |---|---|---|
//! | not in flight | fetch | acquired, delivered once |
//! | available | fetch | acquired, delivered once more |
//! | acquired | accept | acknowledged |
//! | acquired | reject, gap | archived |
//! | acquired | release, end of the session, time-out | available; archived at the limit of deliveries |
//! | acquired | renew | acquired for longer |
//! | acquired, by this fetch | data of an aborted transaction | archived |
//! | available | the log has it no more; the limit of deliveries was lowered | archived |
//! | any | the log's start passes it | forgotten |
//!
//! The start passes what is acknowledged and archived. A member's answer and the end of its session change a record
//! only when the persister has it ([`StateWrite`], [`SharePartition::settle`]); meanwhile the record is nobody's to
//! acquire or to acknowledge. Time-outs change it at once. That a record is acquired is not persisted, nor that
//! compaction or an abort archived it: a new leader finds out by itself.
//!
//! # For the host
//!
//! A share partition lives with the leader's partition, under its lock, from the first fetch of a group in the leader's
//! epoch to the end of that epoch, or until [`PersisterError::drops_share_partition`], or until the group has no
//! session here any more ([`Ended::group_has_left`]).
//!
//! - *Load*: read from the persister, without the lock; replace a start of −1 by what `share.auto.offset.reset` stands
//!   for; [`SharePartition::load`], [`SharePartition::move_log_start`]. Fetches wait meanwhile;
//!   acknowledgements are refused: UNKNOWN_TOPIC_OR_PARTITION if nobody has fetched yet, else INVALID_RECORD_STATE.
//! - *Fetch*: if [`SharePartition::can_acquire`], read from [`SharePartition::next_fetch_offset`] to the high watermark
//!   or the last stable offset, mark what is aborted ([`aborted_batches`]), and [`SharePartition::acquire`]. Between
//!   reading and acquiring the lock may be free: nothing is given to two members. If the offset is out of range, the
//!   log's start has moved. If nothing was acquired, the fetch waits for more records, and looks again after every
//!   change below.
//! - *Acknowledge*, *end of a session*, *time-out* ([`SharePartition::next_deadline`]): they return what is to be
//!   persisted. Writes of one share partition reach the persister in the order in which they were returned, one at a
//!   time or in one request; each comes back through [`SharePartition::settle`], failed or not. An acknowledgement is
//!   answered then.
//! - *Sessions*: the broker has one [`Sessions`], under a lock of its own, under which no share partition is taken. A
//!   fetch asks it first, and says at the end what it found ([`Sessions::answer`]). What has [`Ended`] releases the
//!   member's records in the session's partitions ([`SharePartition::release`]).
//! - *The log's start moves*: [`SharePartition::move_log_start`].
//!
//! # Where this differs from Kafka 4.3.1
//!
//! - A refused acknowledgement changes nothing. In Kafka, locks stay renewed that came before the record at fault.
//! - The start passes archived records at once. In Kafka it waits for the next answer, and by its sources a share
//!   partition that is full of aborted records waits for ever.
//! - Records before the start are forgotten at once. Kafka keeps those that members hold until they answer.
//! - A lock that ends while a failed write is under way is released like any other, and persisted. Kafka persists
//!   nothing.
//! - A record that was delivered as often as a lowered limit allows is archived by the next fetch. Kafka delivers it.
//! - Every session of a connection ends with it. Kafka knows one session of a connection, the last.
//! - A group has left when its last session ends, not when the last connection is closed.
//! - A record that was delivered often limits the fetch even if more records than that were acquired before it.

#![warn(unreachable_pub)]

mod aborted;
mod config;
mod error;
mod ids;
mod partition;
mod session;
mod state;

pub use aborted::{AbortedTransaction, BatchHeader, BatchKind, aborted_batches};
pub use config::Config;
pub use error::{AcknowledgeError, LoadError, PersisterError, SessionError};
pub use ids::{ConnectionId, GroupId, MemberId, Offset};
pub use partition::{
    Acknowledge, AcknowledgementBatch, Acquire, AcquireMode, Acquired, InFlight, LogBatch, RecordState, SharePartition,
    StateWrite,
};
pub use session::{Ended, Fetch, Fetched, Sessions, ShareFetch};
pub use state::{DeliveryState, StateBatch, Stored};

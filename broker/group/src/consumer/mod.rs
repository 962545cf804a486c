//! Groups of the consumer protocol (KIP-848): the coordinator assigns, and each member moves to its assignment on its
//! own, one heartbeat at a time.
//!
//! - [`group`]: one group: what its records say, and what follows from them
//! - `requests`: ConsumerGroupHeartbeat and ConsumerGroupDescribe, as the shard answers them
//! - `heartbeat`, `leave`: a member joins and stays; it leaves, or is removed
//! - `reconcile`: one step of a member towards its assignment
//! - `target`, `assignor`: when partitions are assigned; who is to have which
//! - `lookup`: which topics regular expressions stand for
//! - `migration`, `classic_members`: groups that change their protocol, and members of the other one
//! - `commit`: who may commit and fetch offsets

pub(crate) mod assignor;
mod classic_members;
mod commit;
pub(crate) mod group;
mod heartbeat;
mod leave;
pub(crate) mod lookup;
pub(crate) mod migration;
mod reconcile;
pub(crate) mod requests;
mod target;

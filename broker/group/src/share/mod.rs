//! Share groups (KIP-932): several members may have a partition at the same time, and the leader of the partition says
//! who works on which record. The coordinator assigns partitions once the share coordinator has initialised them.
//!
//! - [`group`]: one group: what its records say, and what follows from them
//! - `requests`: ShareGroupHeartbeat and ShareGroupDescribe, as the shard answers them
//! - `heartbeat`: a member joins, stays and leaves
//! - `target`, `assignor`: when partitions are assigned; who is to have which
//! - `partitions`: which partitions are initialised, and which are to be
//! - `calls`, `answers`: what share coordinators are asked to do, one call of a group at a time; what they answer
//! - `writing`: deadlines, and the fate of appends
//! - `offsets`, `deletion`: offsets are altered and deleted; groups are deleted
//!
//! Where Kafka 4.3.1 has faults, this does otherwise: an answer that was lost is repeated (`heartbeat`); altered
//! offsets get a new epoch, so that leaders notice (`offsets`); calls of a group do not overtake each other (`calls`).

mod answers;
mod assignor;
#[cfg(test)]
mod assignor_tests;
mod calls;
pub(crate) mod deletion;
pub(crate) mod group;
mod heartbeat;
mod offsets;
mod partitions;
pub(crate) mod requests;
mod target;
pub(crate) mod writing;

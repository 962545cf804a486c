//! Groups of the streams protocol (KIP-1071): the coordinator knows the application's topology, derives the topics that
//! belong to it, and assigns tasks; each member moves to its assignment on its own, one heartbeat at a time.
//!
//! - [`group`]: one group: what its records say, and what follows from them
//! - `requests`: StreamsGroupHeartbeat and StreamsGroupDescribe, as the shard answers them
//! - `heartbeat`, `leave`: a member joins and stays; it leaves, or is removed
//! - `topology`, `partitions`: which topics the application needs, and how many partitions each must have
//! - `target`, `assignor`, `load`: when tasks are assigned; who is to have which; how much everybody has
//! - `reconcile`: one step of a member towards its assignment
//! - `endpoints`: where members answer interactive queries
//! - `commit`: who may commit and fetch offsets
//!
//! Where Kafka 4.3.1 has faults, this does otherwise: an answer that was lost is repeated (`heartbeat`); a member may
//! own tasks of partitions that are gone, and joins again although its group is full (`heartbeat`); numbers of
//! partitions that an application wants count for the topics that are joined with them only (`partitions`); former
//! standby tasks all stay (`assignor`); endpoints name no partitions that do not exist (`endpoints`).
//!
//! As in Kafka 4.3, there are no static members, no updates of a topology, no regular expressions and no warm-up tasks;
//! racks and tags are written down and not looked at.

pub(crate) mod assignor;
mod commit;
mod endpoints;
pub(crate) mod group;
mod heartbeat;
mod leave;
mod load;
mod partitions;
mod reconcile;
pub(crate) mod requests;
mod target;
pub(crate) mod topology;

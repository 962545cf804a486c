//! Groups of the classic protocol: members join, the leader assigns, every change rebalances all of them.
//!
//! - [`group`]: one group: members, generation, phase, what it can answer about itself
//! - `join`, `sync`, `leave`: one request each: JoinGroup, SyncGroup (and Heartbeat), LeaveGroup
//! - `rebalance`: the join phase: begin, wait, complete, expire
//! - `members`: sessions, and the removal of a member
//! - `subscription`: the topics that a consumer subscribes to

pub(crate) mod group;
mod join;
mod leave;
mod members;
mod rebalance;
mod subscription;
mod sync;

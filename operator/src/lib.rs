//! The operator: *spec + who is alive* becomes *objects*. One reconcile: read everything, plan, apply.
//!
//! - [`plan`]: the decisions, pure: a [`plan::World`] in, [`plan::Step`]s out
//! - [`coordination`]: the shell around them: watches, the brokers' Leases, and the writes
//! - [`operator`]: the process on Kubernetes: every cluster, while it holds the Lease

pub mod coordination;
pub mod operator;
pub mod plan;

//! The operator: *spec + who is alive* becomes *objects*. One reconcile: read everything, plan, apply.
//!
//! - [`plan`]: the decisions, pure: a [`plan::World`] in, [`plan::Step`]s out
//! - [`coordination`]: the shell around them: watches, the brokers' Leases, and the writes
//! - [`operator`]: the process on Kubernetes; [`acting`]: whether it holds the Lease and may write
//! - [`fleet`]: every cluster
//! - [`definitions`]: whether the kinds' definitions are as new as this operator
//! - [`owner`]: which of two installations operates a cluster
//! - [`cluster`]: one cluster's objects on Kubernetes
//! - [`users`]: credentials of KafkaUsers
//! - [`authorities`]: the authorities of clusters, and certificates
//! - [`issuers`]: the public keys of issuers of tokens
//! - [`events`]: Kubernetes Events
//! - [`pruned`]: fields of statuses that the API server drops
//! - [`metrics`], [`http`], [`clock`]: what they use
//!
//! A laptop runs [`coordination`], [`authorities`], [`issuers`] and [`users`].

#![warn(unreachable_pub)]

pub mod acting;
pub mod authorities;
pub mod clock;
pub mod cluster;
pub mod coordination;
mod definitions;
mod events;
mod fleet;
mod http;
pub mod issuers;
mod metrics;
pub mod operator;
mod owner;
pub mod plan;
pub mod pruned;
pub mod users;

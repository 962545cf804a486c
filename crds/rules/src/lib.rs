//! The rules of coordination: what one partition's assignment may become, and what it should become. Values in, values
//! out: no Kubernetes client, clock or randomness. Operator, brokers, the model check and the simulation all use these.
//!
//! - [`assignment`]: one partition's assignment and its only transitions
//! - [`features`]: what all brokers of a cluster support
//! - [`plan`]: placement, balance, election, reassignment

#![warn(unreachable_pub)]

pub mod assignment;
pub mod features;
pub mod plan;

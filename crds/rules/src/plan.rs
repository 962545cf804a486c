//! The wanted assignments, from the present ones: values in, values out. No client, clock or randomness.
//!
//! - [`placement`]: which brokers hold new partitions
//! - [`reassignment`]: how replicas move
//! - [`election`]: how assignments change when brokers die and return

pub mod election;
pub mod placement;
pub mod reassignment;

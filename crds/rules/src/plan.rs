//! What should be, from what is: values in, values out. No client, clock or randomness.
//!
//! - [`placement`]: which brokers hold new partitions
//! - [`reassignment`]: how replicas move
//! - [`election`]: what becomes of assignments when brokers come and go

pub mod election;
pub mod placement;
pub mod reassignment;

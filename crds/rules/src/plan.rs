//! The wanted assignments, from the present ones: values in, values out. No client, clock or randomness.
//!
//! - [`placement`]: which brokers hold new partitions
//! - [`balance`]: which replicas move, so that brokers can leave and the load is even
//! - [`reassignment`]: how replicas move
//! - [`election`]: how assignments change when brokers die and return
//! - [`disruption`]: which brokers may restart
//! - [`roster`]: what is wanted of each broker
//! - [`renewal`]: whether a broker can do without its volume

pub mod balance;
pub mod disruption;
pub mod election;
pub mod placement;
pub mod reassignment;
pub mod renewal;
pub mod roster;

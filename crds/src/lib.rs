//! The contract between operator and brokers: resource types, their transitions, placement, leases.
//!
//! - [`assignment`]: a partition's assignment and its only transitions

pub mod assignment;

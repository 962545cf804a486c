//! Random clusters that are balanced, emptied, grown and shrunk in rounds, while brokers die and disks fill.
//!
//! 40 clusters by default; `OTTLA_CLUSTERS=1000 cargo test --release -p ottla-rules --test balance -- --nocapture`
//! plays more and prints figures. A failure names its seed; `OTTLA_SEED` plays that one alone.

#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod bounds;
mod checks;
mod random;
mod simulation;
mod world;

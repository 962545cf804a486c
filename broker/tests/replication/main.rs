//! Three brokers in one process, on real sockets; the test sends the image and is the cluster that they ask.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod damage;
mod fail_over;
mod groups;
mod in_sync;
mod throttle;

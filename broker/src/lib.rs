//! The broker: assignments turned into running replicas, over Kafka's protocol.
//!
//! Rooms, top to bottom; each imports only those below it (the crates wire, batch, log and group are the rest of the
//! house):
//!
//! - [`node`]: one broker, from its data directory to its Lease
//! - [`broker`]: puts the rooms together and takes them down again
//! - [`server`]: sockets, frames, and replies in order
//! - [`handle`]: one file per API; authorise, do the work, answer
//! - [`fetch_sessions`]: what consumers fetch, as far as they need not say it each time
//! - [`groups`]: the shell around consumer groups: loads, ticks, writes their records
//! - [`replica`]: assignments in, running partitions out; the order of appends
//! - [`data_dir`]: whose data it is, and whether it is still what the cluster believes
//! - [`http`]: metrics and probes
//! - [`health`]: whether it lives, and whether it is ready
//! - [`drain`]: when it may stop
//! - [`producer_ids`]: ids for idempotent producers, in blocks
//! - [`coord`]: the only one who knows Kubernetes
//! - [`image`], [`ask`], [`watermark`], [`metrics`], [`reply`], [`env`], [`loggers`]: leaves

pub mod ask;
pub mod broker;
pub mod coord;
pub mod data_dir;
pub mod drain;
pub mod env;
pub mod fetch_sessions;
pub mod groups;
pub mod handle;
pub mod health;
pub mod http;
pub mod image;
pub mod loggers;
pub mod metrics;
pub mod node;
pub mod producer_ids;
pub mod replica;
pub mod reply;
pub mod server;
pub mod watermark;

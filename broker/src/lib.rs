//! The broker: assignments turned into running replicas, over Kafka's protocol.
//!
//! Rooms, top to bottom; each imports only those below it (the crates wire, batch, log and group are the rest of the
//! house):
//!
//! - [`node`]: one broker, from its data directory to its Lease
//! - [`broker`]: starts the other rooms, and stops them
//! - [`server`]: sockets, frames, and replies in order
//! - [`tls`]: the broker's keys and the authorities that it trusts
//! - [`handle`]: one file per API; authorise, do the work, answer
//! - [`fetch_sessions`]: the partitions that clients fetch without naming them each time
//! - [`quotas`]: what clients use of the broker, and how long they are throttled
//! - [`groups`]: the groups that this broker coordinates: requests, expiry, measures
//! - [`transactions`]: whether a transactional batch may be appended: asks its coordinator
//! - [`share`]: which records of led partitions are with which members of share groups
//! - [`share_state`]: what share groups have delivered: this broker's share coordinators, and asking those of others
//! - [`coordinator`]: the host of coordinators: loads them, writes their records, ticks
//! - [`replica`]: assignments in, running partitions out; the order of appends
//! - [`data_dir`]: the identity of the data directory, and whether its content is what the cluster relies on
//! - [`http`]: metrics, probes and loads
//! - [`loads`]: how much each replica has and gets, for the operator's plans
//! - [`health`]: whether the broker is alive, and whether it is ready
//! - [`filling`]: whether the disk fills up; [`hanging`]: whether it hangs
//! - [`disk_space`]: how full it is
//! - [`drain`]: when a stopping broker may end
//! - [`producer_ids`]: ids for idempotent producers, in blocks
//! - [`log_ends`]: the ends of partitions, wherever they are led
//! - [`topics`]: what coordinators must know of the cluster's topics
//! - [`coord`]: the only room that knows Kubernetes
//! - [`dialer`]: connections to other brokers
//! - [`shared_map`]: an ordered map whose copies share what has not changed
//! - [`image`], [`ask`], [`watermark`], [`metrics`], [`reply`], [`env`], [`loggers`]: leaves

pub mod ask;
pub mod broker;
pub mod coord;
pub mod coordinator;
pub mod data_dir;
pub mod dialer;
mod disk_space;
pub mod drain;
pub mod env;
pub mod fetch_sessions;
mod filling;
pub mod groups;
pub mod handle;
mod hanging;
pub mod health;
pub mod http;
pub mod image;
pub mod loads;
pub mod log_ends;
pub mod loggers;
pub mod metrics;
pub mod node;
pub mod producer_ids;
pub mod quotas;
pub mod replica;
pub mod reply;
pub mod server;
pub mod share;
pub mod share_state;
pub mod shared_map;
pub mod tls;
pub mod topics;
pub mod transactions;
pub mod watermark;

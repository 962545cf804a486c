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
//!
//! # Locks
//!
//! Each lock, what it guards, and after the arrow the locks that may be taken while it is held: only such as stand
//! further down. Under most of them a watch is borrowed, too, which has a lock of its own; no other under it.
//!
//! Three locks are tokio's, and held while a task waits:
//!
//! - the turns of `http`: one scrape and one answer of `/loads` at a time → `Metrics.hooks`, `Loads.state`,
//!   `Partition.state`
//! - `ProducerIds.blocks`: the broker's blocks of producer ids, while it asks for another
//! - `coord`'s `Peers.heard`: what other brokers have said since a restore, while their Leases are listed
//!
//! No other lock is held across an await:
//!
//! - `Metrics.hooks`: what computes gauges at a scrape → `Coordinators.here`, `Coordinator.state`, `Markers.waiting`,
//!   `Shares.sessions`, `Shares.shared`, `LedSharePartition.state`, `Replicas.running`, `Partition.state`,
//!   `Workers.work`
//! - `Shares.sessions`: the share sessions of members → `Shares.shared`, `LedSharePartition.state`
//! - `Shares.shared`: the share partitions that this broker leads → `LedSharePartition.state`, `Partition.state`
//! - `Replicas.checkpoints`: the checkpoints of all logs → `Replicas.running`, `Partition.state`
//! - `Removals.state`: replicas on their way out → `Replicas.unopened`, `Replicas.found`
//! - `Replicas.running`: the open replicas → `Replicas.unopened`, `Partition.state`
//! - `Replicas.unopened`: logs that should be open and are not → `Replicas.found`
//! - `Fetchers.running`: who fetches what from whom → `Partition.state`, `Silent.by_fetcher`
//! - `Coordinator.state`: a coordinator's machine, and who waits for its answers → `Partition.state`, `Markers.waiting`
//! - `LedSharePartition.state`: one group's progress in a partition → `Partition.state`, `Watermark.waiters`
//! - `Partition.state`: log, role, the order of appends → `Sealed.retired`, the caches of `ottla_log::Files`,
//!   `Watermark.waiters`, `Failure.first_acts`
//! - `Sealed.retired` in the log: whether the files of a sealed segment have other names → the caches of `Files`
//! - `Failure.first_acts` in the log: what is to happen first when the disk has failed, while it happens
//! - `FetchSessions`: the sessions by id → `Session`
//! - `quotas`' `Buckets`: the buckets by their clients → `Used`
//! - the loggers of the process (`loggers`): the levels that were set → the filter of the subscriber
//!
//! Leaves, under which nothing of these is locked:
//!
//! - `replica`: `found`, `Silent.by_fetcher`, both `Throttle`s, the rate of moves
//! - `transactions`, `share_state`: `Markers.waiting`, `Nodes` of verifier and persister, `Node.waiting` of both
//! - `coordinator`: `Coordinators.here`; `watermark`: `Watermark.waiters`; `loads`: `Loads.state`
//! - `server`: `Buffers.idle`, `Connections.waiting` and `.sockets`, `Unserved`, `RefusalLog`
//! - `handle`: `Passwords.remembered`, `Places`, `Creations.known`, `Client.questions`; `fetch_sessions`: `Session`
//! - `quotas`: `Used`, `Muted`, `Meter.state`, `Gate.connections`
//! - `coord`: `IsrChanges`, `Unheard`
//! - `env`: `Workers.work`, and the queue of jobs, which a thread holds that waits for one
//! - the log: the caches of `Files`, what each thread waits for (`under_way`), the directories in use (`failure`)

#![warn(unreachable_pub)]

pub mod ask;
pub mod broker;
pub mod coord;
mod coordinator;
pub mod data_dir;
pub mod dialer;
mod disk_space;
pub mod drain;
pub mod env;
mod fetch_sessions;
mod filling;
mod groups;
pub mod handle;
mod hanging;
mod health;
mod http;
pub mod image;
mod loads;
mod log_ends;
pub mod loggers;
pub mod metrics;
pub mod node;
mod producer_ids;
mod quotas;
pub mod replica;
pub mod reply;
pub mod server;
mod share;
mod share_state;
mod shared_map;
mod tls;
mod topics;
mod transactions;
mod watermark;

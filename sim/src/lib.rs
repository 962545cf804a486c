//! Brokers, operators and clients in one thread, with faults: seeded, so that a seed tells the whole story again.
//!
//! **What is real**: a broker's partition (`ottla_broker::replica::partition`: roles, appends, acknowledgements, ISR proposals,
//! followers' answers, truncation), its log with its files and its recovery (`ottla_log`), the follower's side of a fetch
//! (`replica::fetching::round`), every transition of an assignment, the operator's decision ([`ottla_crds::plan`]).
//!
//! **What is simulated**: the network (fetches and answers take any time and any order, get lost, come twice; links break), the API
//! server (one entry under compare-and-swap; writes land late, twice or never, also those of processes that are gone; views lag), the
//! clock (tokio's, paused), disks (real files in a temporary folder; a power cut takes what was written since the last flush,
//! from any byte on), processes (killed, started again, frozen), operators (several, wrong about who is there).
//!
//! **What is left out**: sockets, reactors, worker threads and the tasks around a partition. They hand values from one to another; with
//! threads of their own, and with hash maps and `select!` that draw lots for themselves, they would not do the same twice. Groups
//! and transactions; the embedded API. Their faults are tested on real processes.
//!
//! - [`world`]: what happens next
//! - `node`: a broker: its disk, and the process that runs on it
//! - `network`: what is on its way
//! - `control`: the entry, and the operators that change it
//! - `client`: producers with idempotence, and a consumer
//! - `faults`: what goes wrong, within what the protocol must survive
//! - `random`: the seed's numbers
//!
//! A run: some thousand steps with faults; then all is healed, and it must converge; then `ottla_history` judges what clients saw.

mod client;
mod control;
mod faults;
mod network;
mod node;
mod random;
pub mod world;

pub use world::{Outcome, run};

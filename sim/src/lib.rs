//! Brokers, operators and clients in one thread, with faults: seeded, so that a seed tells the whole story again.
//!
//! Two halves, each with seeds of its own: the replicas, and in [`control_plane`] the operators and the brokers' windows on the real
//! API. What follows is about the replicas.
//!
//! **What is real**: a broker's partitions (`ottla_broker::replica::partition`: roles, appends, acknowledgements, ISR proposals,
//! followers' answers, truncation), their logs with files, checkpoints and recovery (`ottla_log`), the data directory's identity and
//! the decision on its incarnation (`data_dir`, `coord::session`), the follower's side of a fetch (`replica::fetching::round`), every
//! transition of an assignment, the operator's decision ([`ottla_crds::plan`]).
//!
//! **What is simulated**: the network (fetches and answers take any time and any order, get lost, come twice; links break; producers'
//! connections keep their order and break), the API server (entries under compare-and-swap; writes land late, twice or never, also
//! those of processes that are gone; views lag), clocks (tokio's, paused; each broker's wall clock is off in its own way), disks (real
//! files; a power cut takes what was not synced: bytes, names, removals), processes (killed, stopped, started again, frozen),
//! operators (several, with views of their own, paused, wrong about who is there).
//!
//! **What is left out** here: sockets, reactors, worker threads and the tasks around a partition. They hand values from one to another;
//! with threads of their own, and with hash maps and `select!` that draw lots for themselves, they would not do the same twice.
//!
//! - [`world`]: what happens next; `acts`: what it is
//! - `node`: a broker: its machine, and the process that runs on it; `disk`: what a machine loses with its power
//! - `network`: what is on its way
//! - `control`: the entries, and the operators that change them
//! - `client`: producers with idempotence, and a consumer
//! - [`fault`]: COORDINATION's list; `faults`: what goes wrong, within what the protocol must survive
//! - `random`: the seed's numbers
//!
//! A run: some thousand steps with faults; then all is healed, and it must converge; then `ottla_history` judges what clients saw.

mod acts;
mod client;
mod control;
pub mod control_plane;
mod disk;
pub mod fault;
mod faults;
mod network;
mod node;
mod random;
mod tally;
pub mod world;

pub use tally::Tally;
pub use world::Outcome;

/// A half of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    /// Partitions, logs, clients.
    Replicas,
    /// Operators and brokers' windows over the API.
    ControlPlane,
}

impl Half {
    /// Both.
    pub const ALL: [Half; 2] = [Half::Replicas, Half::ControlPlane];

    /// Plays one seed. Blocks.
    ///
    /// # Errors
    /// When the machine has no temporary folder to give.
    pub fn play(self, seed: u64) -> anyhow::Result<Outcome> {
        match self {
            Half::Replicas => world::run(seed),
            Half::ControlPlane => control_plane::run(seed),
        }
    }
}

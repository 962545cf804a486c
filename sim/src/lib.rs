//! Brokers, operators and clients in one thread, with faults: seeded, so that a seed plays the whole story again.
//!
//! Two halves, each with seeds of its own: the replicas, and in [`control_plane`] the operators and the brokers'
//! windows on the real API. What follows is about the replicas.
//!
//! **What is real**: a broker's rooms as the program puts them together (`ottla_broker::broker::Rooms`): request
//! handlers, group coordinators, replicas, followers' fetchers, changes of the ISR, flushes, retention, compaction,
//! checkpoints, give-way; their logs with files and recovery (`ottla_log`); the data directory's identity and the
//! decision on its incarnation (`data_dir`, `coord::session`); every transition of an assignment, the operator's
//! decision ([`ottla_rules::plan`]).
//!
//! **What is simulated**: the network (connections that keep the order of bytes, at any pace, stall and break), the API
//! server (entries under compare-and-swap; writes land late, twice or never, also those of processes that are gone;
//! views lag), clocks (each process has a paused one of tokio's, and a wall clock that is off in its own way), disks
//! (real files; a power cut takes what was not synced: bytes, names, removals; slow ones take their time for each job;
//! one that hangs does nothing for seconds),
//! processes (killed, stopped, started again, frozen), operators (several, with views of their own, paused, wrong about
//! who is there).
//!
//! **How a broker plays twice in the same way**: its process is a `current_thread` runtime of its own, in one thread
//! with all others. Jobs of worker threads are done by a task; the broker's own `select!`s are biased, its maps of
//! replicas and topics hash without chance, and one task alone waits for images: tokio wakes those who wait for one
//! `watch` channel in an order of chance. **What is left out**: sockets with their reactors, frames and `sendfile`
//! (`process` does as they do, piece by piece), and `coord`, which the other half plays.
//!
//! - [`world`]: what happens next; `acts` and `clients`: what it is
//! - `node`: a broker: its machine, and what it knows; `process`: what runs there; `disk`: what a machine loses with
//!   its power; `shortening`: what somebody takes of its logs
//! - `network`: connections
//! - `control`: the entries, and the operators that change them; `topics`: topics and settings
//! - `client`: producers with idempotence and one without, consumers; `late`: which records brokers may write twice
//! - `member`: members of a classic group and of one by KIP-848; `groups`: what they do, and what happens to them. In
//!   every fourth seed
//! - `loyal`: a client that stays with its coordinator, in seeds in which brokers lose sight of a topic
//! - `transactional`: producers that make transactions; `ledger`: what they do, and what happens to them. In every
//!   fourth seed. In every second of those they are jobs: `input` is what they make their records of
//! - `judges`: who judges what clients see
//! - [`fault`]: COORDINATION's list; `faults`: what goes wrong, within what the protocol must survive; `errand`: a move
//!   that is taken back; `overtaking`: a leader whose answers are late when others lead
//! - `random`: the seed's numbers
//!
//! A run: some thousand steps with faults; then all is healed, and it must converge; then `ottla_history` judges what
//! clients saw, and what transactions did.

#![warn(unreachable_pub)]

mod acts;
mod client;
mod clients;
mod control;
pub mod control_plane;
mod copies;
mod disk;
mod errand;
pub mod fault;
mod faults;
mod groups;
mod input;
mod judges;
mod late;
mod ledger;
mod loyal;
mod member;
mod network;
mod node;
mod overtaking;
mod process;
mod random;
mod records;
mod shortening;
mod tally;
mod topics;
mod transactional;
pub mod world;

use clap::ValueEnum;
pub use tally::Tally;
pub use world::Outcome;

/// A half of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Half {
    /// Partitions, logs, clients.
    Replicas,
    /// Operators and brokers' windows over the API.
    ControlPlane,
}

impl Half {
    /// Both.
    pub const ALL: [Half; 2] = [Half::Replicas, Half::ControlPlane];

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

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

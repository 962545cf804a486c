//! Which replicas move to other brokers, so that brokers can leave and the load is even.
//!
//! A plan is made again from the entries and loads of each round. A move in progress counts as done, so a plan that is
//! executed by half is continued, and the plan after the last round is empty. Values in, values out: no clock, and no
//! randomness but the seed.
//!
//! - `evacuation`: replicas of brokers that leave or are lost get another broker
//! - `racks`: replicas of a partition that share a rack or a node are separated
//! - `goals`: what each broker should have of each load
//! - `shift`: the heuristic that brings the loads there
//! - `disk`: moves to a disk that fills up meanwhile are cancelled
//! - `home`: the best broker for a replica that moves
//! - `terms`: what plans are made of, and what they say
//! - `state`: the brokers and partitions as planned so far
//! - `rounds`: the moves of a plan that may start now
//! - `effect`: what a whole plan copies, and what each broker has before and after
//!
//! Always: no two replicas of a partition on one broker; nothing moves to a broker that does not serve, or that would
//! fill its disk; a partition that a user placed stays. To make bytes even, a plan copies at most what brokers have
//! above the band and lack below it, and one replica more for each of them.
//!
//! | word | meaning |
//! |---|---|
//! | wanted replicas | of an entry: the target of its reassignment; if there is none, its replicas |
//! | lost | a replica on a broker that the cluster does not have |
//! | crowd | of a replica: how many others of its partition are in its rack; after that, on its node |
//! | load ratio | of a broker: its load, in parts of what it would have if the load were even |

mod disk;
mod effect;
mod evacuation;
mod goals;
mod home;
mod racks;
mod rounds;
mod shift;
mod state;
mod terms;

pub use effect::{BrokerEffect, Effect, PlannedChange};
pub use terms::{Blocked, Broker, Budget, Load, Mode, Move, Partition, Purpose, Reason, Role};

use std::collections::BTreeSet;

use goals::Goal;
use state::{PlannedCluster, Site};

use crate::assignment::BrokerId;

/// The most sweeps over all goals in one plan. A sweep that changes nothing is the last.
const SWEEPS: usize = 10;

/// What is to be done now, and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The reassignments to start now, the most urgent first.
    pub start: Vec<Move<'a>>,
    /// The reassignments to cancel, because a broker that they move to leaves or fills up: topic and partition.
    pub cancel: Vec<(&'a str, i32)>,
    /// The replicas that can not leave their broker.
    pub blocked: Vec<Blocked<'a>>,
    /// What is left to do, moves in progress included, without the blocked.
    pub whole: Effect,
}

/// Plans the next round. `seed` decides between brokers that are equally good.
pub fn balance<'a>(
    brokers: &[Broker],
    partitions: &'a [Partition<'a>],
    mode: &Mode,
    budget: &Budget,
    seed: u64,
) -> Plan<'a> {
    let mut state = PlannedCluster::new(brokers, partitions, seed);
    let mut blocked = Vec::new();
    if *mode != Mode::Leaders {
        disk::cancel_overfull(&mut state);
        blocked = evacuation::evacuate(&mut state);
    }
    let goals = goals::of(&state, mode);
    for _ in 0..SWEEPS {
        if !sweep(&mut state, &goals, mode) {
            break;
        }
    }
    let whole = effect::of(&state);
    let (start, cancel) = rounds::next(&state, budget);
    Plan { start, cancel, blocked, whole }
}

/// Whether one of these brokers has so little of a load, by twice the band, that it is worth to begin: brokers that are
/// as even as a plan leaves them, and a little less, get nothing of a run that nobody asked for.
pub fn lacks_much<'a>(brokers: &[Broker], partitions: &'a [Partition<'a>], to: &BTreeSet<BrokerId>) -> bool {
    let state = PlannedCluster::new(brokers, partitions, 0);
    let goals = goals::of(&state, &Mode::Full);
    let is_one = |site: &Site| site.takes() && to.contains(&site.id);
    let sites: Vec<usize> = (0..state.sites.len()).filter(|at| is_one(&state.sites[*at])).collect();
    let lacks = |goal: &Goal, at: usize| goal.bands[at].lacks_much(state.sites[at].load[goal.metric as usize]);
    goals.iter().any(|goal| sites.iter().any(|at| lacks(goal, *at)))
}

/// Steps towards each goal in turn. Returns whether there was any.
fn sweep(state: &mut PlannedCluster<'_>, goals: &[Goal], mode: &Mode) -> bool {
    let may_take = |site: &Site| match mode {
        Mode::Evacuate | Mode::Full | Mode::Leaders => site.takes(),
        Mode::Fill { to } => site.takes() && to.contains(&site.id),
    };
    let may_take: Vec<bool> = state.sites.iter().map(may_take).collect();
    let mut any = match mode {
        Mode::Evacuate | Mode::Leaders => false,
        Mode::Full | Mode::Fill { .. } => racks::spread(state, &may_take),
    };
    for at in 0..goals.len() {
        for way in goals[at].ways {
            any |= shift::shift(state, &goals[..=at], *way, &may_take);
        }
    }
    any
}

#[cfg(test)]
mod tests;

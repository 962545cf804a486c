//! Somebody takes a replica from a broker and gives it back, and the leader, which stays, hears of both at once.
//! Meanwhile the broker has removed its files: what the leader remembers of that replica is not so any more. No
//! follower reaches the leader until then, so that its high watermark is none that the replica has not had.

use std::time::Duration;

use ottla_rules::assignment::{BrokerId, Live};

use crate::fault::Fault;
use crate::topics::PARTITIONS;
use crate::world::World;

/// How long either way may take until the errand ends.
const PATIENCE: Duration = Duration::from_secs(8);
/// With so many replicas one may go.
const ENOUGH: usize = 3;

/// A replica that goes and comes back.
pub(crate) struct Errand {
    entry: usize,
    leader: BrokerId,
    /// Who holds the replica.
    broker: BrokerId,
    /// The leader has heard of both, and the broker cannot ask for the first record yet.
    is_back: bool,
    until: Duration,
}

impl World {
    /// A replica of one of the producers' partitions goes, if it may.
    pub(crate) fn begin_errand(&mut self) {
        let entry = self.random.below(PARTITIONS);
        let now = self.api.entry(entry).clone();
        let may_go = self.errand.is_none() && !self.api.away && now.replicas.len() >= ENOUGH;
        let is_heard = |leader: &BrokerId| !self.nodes[leader.0 as usize].cut_off_from_api;
        let Some(leader) = now.leader.filter(|_| may_go).filter(is_heard) else { return };
        let followers: Vec<BrokerId> = now.replicas.iter().copied().filter(|broker| *broker != leader).collect();
        let Some(broker) = self.random.pick(&followers).copied() else { return };
        let left: Vec<BrokerId> = now.replicas.iter().copied().filter(|other| *other != broker).collect();
        let live: Live = self.nodes.iter().filter_map(|node| Some((node.id, node.truth()?))).collect();
        let Ok(begun) = now.start_reassignment(&left) else { return };
        let Ok(gone) = begun.complete_reassignment(&live) else { return };
        if gone.leader != Some(leader) {
            return;
        }
        for next in [begun, gone] {
            self.write("somebody", entry, next);
        }
        let leads = leader.0 as usize;
        self.nodes[leads].cut_off_from_api = true;
        self.nodes.iter_mut().filter(|node| node.id != leader).for_each(|node| node.cut_off.push(leads));
        self.errand = Some(Errand { entry, leader, broker, is_back: false, until: self.now + PATIENCE });
    }

    /// What is next to be done, if anything is.
    pub(crate) fn run_errand(&mut self) {
        let Some(mut errand) = self.errand.take() else { return };
        let Errand { entry, leader, broker, is_back, until } = errand;
        let now = self.api.entry(entry).clone();
        let (leads, held) = (leader.0 as usize, broker.0 as usize);
        if !self.faulty || self.now >= until || now.leader != Some(leader) {
            self.nodes[leads].cut_off_from_api &= is_back;
            (0..self.nodes.len()).for_each(|follower| self.let_reach(follower, leads));
            return;
        }
        if is_back && now.isr.iter().any(|member| member.broker == broker) {
            self.believed_dead(leader, entry);
        }
        if !is_back && !self.api.away && self.nodes[held].is_up() && !self.nodes[held].has_files(entry) {
            let target: Vec<BrokerId> = [broker].into_iter().chain(now.target()).collect();
            if let Ok(next) = now.start_reassignment(&target)
                && self.write("somebody", entry, next)
            {
                self.happened(Fault::MovedBack, format!("{broker} has lost its replica of {entry}, and has it back"));
                self.nodes[leads].cut_off_from_api = false;
                let around = self.around();
                self.nodes[leads].see(entry, self.api.entry(entry), &around);
                (errand.is_back, errand.until) = (true, self.now + PATIENCE);
            }
        }
        self.errand = Some(errand);
    }
}

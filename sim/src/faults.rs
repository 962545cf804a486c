//! What goes wrong, within what the protocol must survive: fewer machines than `min.insync.replicas` lose content between two
//! moments at which the ISR is whole. Everything else as often as you like.

use anyhow::Result;

use crate::control::MIN_IN_SYNC;
use crate::world::World;

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<()> {
        let at = self.random.below(self.nodes.len());
        let is_up = self.nodes[at].process.is_some();
        match self.random.below(9) {
            0 if is_up => {
                self.note(format!("kill {at}"));
                self.nodes[at].kill();
            }
            1 if self.may_lose_content(at) => {
                self.note(format!("cut the power of {at}"));
                self.nodes[at].cut_power(&mut self.random)?;
            }
            2 if self.may_lose_content(at) && self.random.happens(300) => {
                self.note(format!("replace the volume of {at}"));
                self.nodes[at].lose_volume()?;
            }
            3 if is_up => {
                self.nodes[at].frozen = !self.nodes[at].frozen;
                self.note(format!("{at} frozen: {}", self.nodes[at].frozen));
            }
            4 => {
                let other = self.random.below(self.nodes.len());
                let cut_off = &mut self.nodes[at].cut_off;
                if cut_off.contains(&other) {
                    cut_off.retain(|one| *one != other);
                } else {
                    cut_off.push(other);
                }
                self.note(format!("{at} no longer reaches {:?}", self.nodes[at].cut_off));
            }
            5 if is_up => {
                self.nodes[at].draining = !self.nodes[at].draining;
                self.note(format!("{at} draining: {}", self.nodes[at].draining));
            }
            6 => {
                let operator = self.random.below(self.operators.len());
                if self.operators[operator].live.remove(&self.nodes[at].id).is_some() {
                    self.note(format!("operator {operator} believes {at} dead"));
                }
            }
            7 if self.random.happens(300) => {
                self.api.away = !self.api.away;
                self.note(format!("API server away: {}", self.api.away));
            }
            8 if self.random.happens(300) && !self.api.away => {
                let operator = self.random.below(self.operators.len());
                let brokers = self.nodes.len();
                let moved = self.operators[operator].reassign(self.api.entry(), brokers, &mut self.random);
                if let Some(next) = moved {
                    self.write(format!("reassignment by operator {operator}"), next);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether enough content is left when that of node `at` is gone.
    fn may_lose_content(&self, at: usize) -> bool {
        let valid = |member: &&ottla_crds::assignment::IsrMember| {
            self.nodes.iter().any(|node| node.id == member.broker && node.incarnation == member.incarnation)
        };
        let isr = &self.api.entry().isr;
        let void_after = isr.iter().filter(|member| !valid(member) || member.broker == self.nodes[at].id).count();
        void_after < MIN_IN_SYNC
    }

    /// Everything is as it should be again.
    pub(crate) fn heal(&mut self) {
        self.note("heal".to_owned());
        self.faulty = false;
        self.api.away = false;
        for node in &mut self.nodes {
            node.frozen = false;
            node.draining = false;
            node.cut_off.clear();
        }
    }
}

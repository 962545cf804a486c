//! What goes wrong, within what the protocol must survive: fewer machines than `min.insync.replicas` lose content between two
//! moments at which the ISR is whole. Everything else as often as you like.

use anyhow::Result;

use crate::disk::Trouble;
use crate::fault::Fault;
use crate::world::World;

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<()> {
        let at = self.random.below(self.nodes.len());
        let is_up = self.nodes[at].process.is_some();
        match self.random.below(21) {
            0 if is_up => {
                self.note(format!("kill {at}"));
                self.nodes[at].kill();
            }
            1 if self.may_lose_content(at) => self.cut_power(at)?,
            2 if self.may_lose_content(at) && self.random.happens(300) => {
                self.happened(Fault::EmptyDisk, format!("replace the volume of {at}"));
                self.nodes[at].lose_volume()?;
            }
            3 if is_up => {
                self.nodes[at].frozen = !self.nodes[at].frozen;
                self.note(format!("{at} frozen: {}", self.nodes[at].frozen));
            }
            4 | 5 => self.link(at),
            6 if is_up => {
                self.nodes[at].draining = !self.nodes[at].draining;
                self.note(format!("{at} draining: {}", self.nodes[at].draining));
            }
            7 => {
                let operator = self.random.below(self.operators.len());
                if self.operators[operator].live.remove(&self.nodes[at].id).is_some() {
                    self.note(format!("operator {operator} believes {at} dead"));
                }
            }
            8 if self.random.happens(300) => {
                self.api.away = !self.api.away;
                self.note(format!("API server away: {}", self.api.away));
            }
            9 if self.random.happens(500) => self.reassign(),
            10 => {
                let operator = self.random.below(self.operators.len());
                let paused = !self.operators[operator].paused;
                self.operators[operator].paused = paused;
                self.happened(Fault::OperatorPaused, format!("operator {operator} paused: {paused}"));
            }
            11 if is_up && self.nodes[at].disk.trouble() == Trouble::None => {
                self.nodes[at].disk.set(Trouble::SyncFails);
                self.note(format!("the next sync of {at} fails"));
            }
            12 => self.fill_disk(at),
            13 if is_up && self.random.happens(500) => {
                self.nodes[at].stop();
                self.note(format!("stop {at}"));
            }
            14 if self.random.happens(100) => self.cut_power_everywhere()?,
            15 => self.snapshot(at)?,
            20 if is_up => {
                anyhow::ensure!(self.nodes[at].is_refused_a_second_process(), "two processes have the volume of {at}");
                self.happened(Fault::VolumeMountedTwice, format!("a second process wants the volume of {at}"));
            }
            16 => {
                self.nodes[at].skew_ms = [0, 3_600_000, -3_600_000, 86_000_000][self.random.below(4)];
                self.happened(Fault::ClockJumps, format!("the clock of {at} is off by {} ms", self.nodes[at].skew_ms));
            }
            17 => {
                self.nodes[at].slow = !self.nodes[at].slow;
                self.happened(Fault::SlowDisk, format!("{at} slow: {}", self.nodes[at].slow));
            }
            18 if self.random.happens(200) => {
                self.api.min_in_sync = self.lowest_min_in_sync + self.random.below(2);
                self.happened(Fault::MinInSyncChanges, format!("min.insync.replicas {}", self.api.min_in_sync));
            }
            19 if !is_up && self.may_lose_content(at) => {
                // The next start meets it, and so does the one after that.
                let changes = self.random.below(12) as u32;
                self.nodes[at].disk.set(Trouble::DiesAfter(changes));
                self.note(format!("{at} will lose its power after {changes} changes"));
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, at: usize) {
        if !self.nodes[at].cut_off.is_empty() && self.random.happens(600) {
            self.nodes[at].cut_off.clear();
            return self.note(format!("{at} reaches everybody"));
        }
        if self.random.happens(200) {
            let cut_off = !self.nodes[at].cut_off_from_api;
            self.nodes[at].cut_off_from_api = cut_off;
            if cut_off && self.leads_something(at) {
                self.happened(Fault::LeaderCutOff, format!("{at} cut off from the API server"));
            } else {
                self.note(format!("{at} cut off from the API server: {cut_off}"));
            }
            return;
        }
        let other = self.random.below(self.nodes.len());
        let cut_off = &mut self.nodes[at].cut_off;
        if cut_off.contains(&other) {
            cut_off.retain(|one| *one != other);
        } else {
            cut_off.push(other);
        }
        let line = format!("{at} no longer reaches {:?}", self.nodes[at].cut_off);
        self.happened(Fault::Links, line);
    }

    fn reassign(&mut self) {
        let operator = self.random.below(self.operators.len());
        let partition = self.random.below(self.partitions());
        let brokers = self.nodes.len();
        let moved = self.operators[operator].reassign(partition, brokers, &mut self.random);
        if let Some(next) = moved.filter(|_| !self.api.away) {
            self.write(format!("reassignment by operator {operator}"), next);
        }
    }

    fn fill_disk(&mut self, at: usize) {
        let trouble = match self.nodes[at].disk.trouble() {
            Trouble::Full => Trouble::None,
            Trouble::None => Trouble::Full,
            Trouble::SyncFails | Trouble::DiesAfter(_) => return,
        };
        self.nodes[at].disk.set(trouble);
        self.note(format!("disk of {at}: {trouble:?}"));
    }

    fn snapshot(&mut self, at: usize) -> Result<()> {
        if !self.nodes[at].has_snapshot() {
            self.note(format!("a snapshot of {at}"));
            self.nodes[at].take_snapshot()?;
        } else if self.nodes[at].has_older_snapshot() && self.may_lose_content(at) {
            self.happened(Fault::VolumeRestored, format!("{at} goes back to its snapshot"));
            self.nodes[at].restore_snapshot()?;
        }
        Ok(())
    }

    /// The machine of a broker loses its power.
    pub(crate) fn cut_power(&mut self, at: usize) -> Result<()> {
        if self.is_last_standing(at) {
            self.happened(Fault::LastReplicaLosesItsTail, format!("{at} is the last that stands"));
        }
        let torn = self.nodes[at].cut_power(&mut self.random)?;
        self.note(format!("cut the power of {at}: {torn} files torn"));
        if torn > 0 {
            *self.counts.entry(Fault::TornWrites).or_default() += 1;
        }
        Ok(())
    }

    /// All machines lose their power, some time after the last record: what is acknowledged is on the devices.
    fn cut_power_everywhere(&mut self) -> Result<()> {
        self.happened(Fault::EveryReplicaCrashes, "cut the power of all".to_owned());
        for at in 0..self.nodes.len() {
            self.nodes[at].disk.write_back()?;
            self.nodes[at].cut_power(&mut self.random)?;
        }
        Ok(())
    }

    fn is_last_standing(&self, at: usize) -> bool {
        let there = |id: ottla_crds::assignment::BrokerId| self.nodes[id.0 as usize].truth().is_some();
        (0..self.partitions()).any(|partition| {
            let isr = &self.api.entry(partition).isr;
            let is_member = isr.iter().any(|member| member.broker == self.nodes[at].id);
            is_member && isr.iter().all(|member| member.broker == self.nodes[at].id || !there(member.broker))
        })
    }

    /// Whether enough content is left when that of node `at` is gone.
    fn may_lose_content(&self, at: usize) -> bool {
        let valid = |member: &ottla_crds::assignment::IsrMember| {
            let node = &self.nodes[member.broker.0 as usize];
            node.incarnation == member.incarnation && !node.is_doomed()
        };
        (0..self.partitions()).all(|partition| {
            let isr = &self.api.entry(partition).isr;
            let left = isr.iter().filter(|member| valid(member) && member.broker != self.nodes[at].id).count();
            // After a recovery the ISR may be smaller than its floor.
            left > 0 && isr.len() - left < self.lowest_min_in_sync
        })
    }

    /// Everything is as it should be again.
    pub(crate) fn heal(&mut self) {
        self.note("heal".to_owned());
        self.faulty = false;
        self.api.away = false;
        for operator in &mut self.operators {
            operator.paused = false;
        }
        for node in &mut self.nodes {
            node.frozen = false;
            node.draining = false;
            node.slow = false;
            node.cut_off.clear();
            node.cut_off_from_api = false;
            node.skew_ms = 0;
            node.disk.set(Trouble::None);
        }
    }
}

//! What goes wrong, within what the protocol must survive: fewer machines than `min.insync.replicas` lose content
//! between two moments at which the ISR is whole. Everything else as often as you like.

use std::time::Duration;

use anyhow::Result;
use ottla_history::Partition;
use ottla_rules::assignment::{BrokerId, IsrMember};

use crate::disk::Trouble;
use crate::fault::Fault;
use crate::topics::{OFFSETS, PARTITIONS};
use crate::world::World;

/// For so long after a follower's process has ended, its leader may take it into the ISR for what it asked for before:
/// longer than `replica.lag.time.max.ms` here.
const TAKEN_IN: Duration = Duration::from_secs(3);

/// How far a machine's clock is off, in milliseconds. No two of these are a day apart, which is
/// `delete.retention.ms`: then a leader may remove a tombstone before a follower has copied it.
const SKEWS_MS: [i64; 4] = [0, 3_600_000, -3_600_000, 82_000_000];

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<()> {
        let at = self.random.below(self.nodes.len());
        let is_up = self.nodes[at].is_up();
        let nobody_is_damaged = self.nobody_is_damaged();
        if self.loyal.is_some() {
            match self.random.below(10) {
                0 => {
                    self.lose_sight(at);
                    return Ok(());
                }
                1 => {
                    self.desert();
                    return Ok(());
                }
                _ => {}
            }
        }
        match self.random.below(27) {
            0 if is_up => {
                self.happened(Fault::Killed, format!("kill {at}"));
                self.nodes[at].kill();
                self.nodes[at].lose_unwritten(&mut self.random)?;
                // Who leads may lead on when it is back at once.
                if self.may_lose_content(at) && self.random.happens(600) && self.shorten(at)? {
                    self.start(at, self.api.away || self.nodes[at].cut_off_from_api)?;
                }
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
            9 => self.reassign(),
            10 => {
                let operator = self.random.below(self.operators.len());
                let paused = !self.operators[operator].paused;
                self.operators[operator].paused = paused;
                self.happened(Fault::OperatorPaused, format!("operator {operator} paused: {paused}"));
            }
            11 if is_up && self.nodes[at].disk.trouble() == Trouble::None && self.may_lose_content(at) => {
                self.nodes[at].disk.set(Trouble::SyncFails);
                self.note(format!("the next sync of {at} fails"));
            }
            12 => self.fill_disk(at),
            13 if is_up && self.random.happens(500) => {
                self.stop(at)?;
            }
            14 | 24 if self.taste_flushes && nobody_is_damaged => self.lose_all_but_what_was_flushed()?,
            14 if self.random.happens(100) && nobody_is_damaged => self.cut_power_everywhere()?,
            15 => self.snapshot(at)?,
            20 if is_up => {
                anyhow::ensure!(self.nodes[at].is_refused_a_second_process(), "two processes have the volume of {at}");
                self.happened(Fault::VolumeMountedTwice, format!("a second process wants the volume of {at}"));
            }
            // Producers are forgotten by the clock.
            16 if self.producer_expiration.is_none() => {
                self.nodes[at].skew_ms = SKEWS_MS[self.random.below(SKEWS_MS.len())];
                self.most_skew_ms = self.most_skew_ms.max(self.nodes[at].skew_ms);
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
            21 if is_up => {
                let until = self.now + Duration::from_millis(500 + self.random.below(4_000) as u64);
                let count = self.network.stall(at, until);
                self.happened(Fault::StalledConnections, format!("{at} is not heard on {count} connections"));
            }
            22 | 26 => self.overtake(),
            25 if is_up => {
                let until = self.now + Duration::from_millis(500 + self.random.below(12_000) as u64);
                self.nodes[at].hang(self.now, until);
                self.happened(Fault::HangingDisk, format!("the disk of {at} hangs until {}", until.as_millis()));
            }
            23 if !is_up && self.may_lose_content(at) && self.random.happens(500) => _ = self.shorten(at)?,
            _ => {}
        }
        Ok(())
    }

    /// Somebody shortens a log of a broker without a process; whether there was one to shorten.
    fn shorten(&mut self, at: usize) -> Result<bool> {
        let is_shorter = self.nodes[at].shorten(&mut self.random)?;
        if is_shorter {
            self.happened(Fault::Shortened, format!("a log of {at} is shorter than it was"));
        }
        Ok(is_shorter)
    }

    /// A list lacks the producers' topic, or has it again: a broker sees it no more, or again. Nobody has deleted it.
    fn lose_sight(&mut self, at: usize) {
        let around = self.around();
        let is_unseen = !self.nodes[at].lacks_topic;
        self.nodes[at].see_topic(!is_unseen, &around);
        self.happened(Fault::TopicUnseen, format!("{at} sees the producers' topic: {}", !is_unseen));
    }

    /// The coordinator of the groups hears of nothing any more, and nobody of it; another one is elected.
    fn desert(&mut self) {
        let leads = |at: &usize| self.sure_of(*at, OFFSETS).is_some();
        let Some(at) = (0..self.nodes.len()).find(leads) else { return };
        self.nodes[at].cut_off_from_api = true;
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.nodes[other].cut_off.push(at);
        }
        self.believed_dead(self.nodes[at].id, OFFSETS);
        self.note(format!("{at} is deserted"));
    }

    /// A broker stops as it should; its disk may fail meanwhile.
    fn stop(&mut self, at: usize) -> Result<()> {
        if self.random.happens(300) && self.nodes[at].disk.trouble() == Trouble::None && self.may_lose_content(at) {
            self.nodes[at].disk.set(Trouble::SyncFails);
        }
        let fails = self.nodes[at].disk.trouble() == Trouble::SyncFails;
        self.nodes[at].stop();
        self.nodes[at].lose_unwritten(&mut self.random)?;
        if fails && self.nodes[at].disk.trouble() == Trouble::None {
            self.happened(Fault::StopFails, format!("stop {at}, while its disk fails"));
        } else {
            self.note(format!("stop {at}"));
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
        if self.random.happens(500) {
            return self.begin_errand();
        }
        let operator = self.random.below(self.operators.len());
        let entry = self.random.below(self.api.count());
        let brokers = self.nodes.len();
        let moved = self.operators[operator].reassign(entry, brokers, &mut self.random);
        if let Some(next) = moved.filter(|_| !self.api.away) {
            *self.counts.entry(Fault::Moved).or_default() += 1;
            self.write(&format!("reassignment by operator {operator}"), entry, next);
        }
    }

    fn fill_disk(&mut self, at: usize) {
        let trouble = match self.nodes[at].disk.trouble() {
            Trouble::Full | Trouble::NoFiles => Trouble::None,
            Trouble::None if self.random.happens(300) => Trouble::NoFiles,
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
        let undone = self.nodes[at].disk.take_cut_undone();
        if undone > 0 {
            *self.counts.entry(Fault::CutUndone).or_default() += undone;
        }
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

    /// All machines lose their power at any moment, and one of them, which leads, its volume as well: where every
    /// record is flushed before it is acknowledged, the other in-sync replicas have all of them on their devices.
    fn lose_all_but_what_was_flushed(&mut self) -> Result<()> {
        // A leader may show a record to consumers that its followers have flushed and it has not.
        let has_a_flushed_copy = |at: usize, entry: usize| {
            let entry = self.api.entry(entry);
            let is_other = |broker: BrokerId| broker != self.nodes[at].id && Some(broker) != entry.leader;
            entry.isr.iter().any(|member| is_other(member.broker))
        };
        let may_lose_all = |at: &usize| {
            let has_copies = (0..self.api.count()).all(|entry| has_a_flushed_copy(*at, entry));
            self.leads_something(*at) && self.may_lose_content(*at) && has_copies
        };
        let Some(at) = (0..self.nodes.len()).find(may_lose_all) else { return Ok(()) };
        self.happened(Fault::OnlyTheFlushedStays, format!("cut the power of all, and {at} loses its volume"));
        self.nodes[at].lose_volume()?;
        for at in 0..self.nodes.len() {
            self.nodes[at].cut_power(&mut self.random)?;
        }
        Ok(())
    }

    /// Whether every log that was shortened has been copied again: until then it needs others, or an administrator, to
    /// continue.
    fn nobody_is_damaged(&mut self) -> bool {
        for at in 0..self.nodes.len() {
            let (id, incarnation) = (self.nodes[at].id, self.nodes[at].incarnation);
            let has_all = |entry: usize| {
                let acknowledged =
                    |entry: usize| self.checker.records.known_end(Partition(entry as u32)).max(self.shown[entry]);
                let known = if entry < PARTITIONS { acknowledged(entry) } else { 0 };
                self.nodes[at].partition(entry).is_some_and(|partition| partition.log_end.get() >= known)
            };
            let is_whole = |entry: usize| {
                let entry_now = self.api.entry(entry);
                !entry_now.replicas.contains(&id)
                    || (has_all(entry)
                        && entry_now.isr.iter().any(|member| member.broker == id && member.incarnation == incarnation))
            };
            if self.nodes[at].is_damaged && (0..self.api.count()).all(is_whole) {
                self.nodes[at].is_damaged = false;
            }
        }
        !self.nodes.iter().any(|node| node.is_damaged)
    }

    fn is_last_standing(&self, at: usize) -> bool {
        let there = |id: BrokerId| self.nodes[id.0 as usize].truth().is_some();
        (0..self.api.count()).any(|partition| {
            let isr = &self.api.entry(partition).isr;
            let is_member = isr.iter().any(|member| member.broker == self.nodes[at].id);
            is_member && isr.iter().all(|member| member.broker == self.nodes[at].id || !there(member.broker))
        })
    }

    /// Whether enough content is left when that of node `at` is gone: also in an ISR with members that a write under
    /// way may yet take in, or a leader is about to.
    pub(crate) fn may_lose_content(&self, at: usize) -> bool {
        let stays = |member: &IsrMember| {
            let node = &self.nodes[member.broker.0 as usize];
            node.incarnation == member.incarnation && !node.is_doomed() && member.broker != self.nodes[at].id
        };
        (0..self.api.count()).all(|entry| {
            let (members, isr) = (self.members_to_be(entry), &self.api.entry(entry).isr);
            // After a recovery the ISR may be smaller than its floor.
            isr.iter().any(stays) && members.iter().filter(|member| !stays(member)).count() < self.lowest_min_in_sync
        })
    }

    /// The members that an ISR has, may get by a write under way, or a leader may ask for at any moment.
    fn members_to_be(&self, entry: usize) -> Vec<IsrMember> {
        let now = self.api.entry(entry);
        let mut members = now.isr.clone();
        members.extend(self.members_under_way(entry));
        if now.leader.is_some() || (0..self.nodes.len()).any(|at| self.leader_epoch(at, entry).is_some()) {
            let replicas = now.replicas.iter().map(|broker| &self.nodes[broker.0 as usize]);
            let followers = replicas.filter(|node| self.now < node.ran + TAKEN_IN);
            members.extend(followers.map(|node| IsrMember { broker: node.id, incarnation: node.incarnation }));
        }
        members.sort_by_key(|member| (member.broker, member.incarnation));
        members.dedup();
        members
    }

    /// Everything is as it should be again.
    pub(crate) fn heal(&mut self) {
        self.note("heal".to_owned());
        self.faulty = false;
        self.api.away = false;
        self.network.heal();
        let around = self.around();
        for operator in &mut self.operators {
            operator.paused = false;
        }
        for node in &mut self.nodes {
            node.frozen = false;
            node.draining = false;
            node.slow = false;
            node.hang(self.now, self.now);
            node.cut_off.clear();
            node.cut_off_from_api = false;
            node.see_topic(true, &around);
            // A clock that is set back makes an open transaction younger, in Kafka as well: it would not time out.
            node.skew_ms = self.most_skew_ms;
            node.disk.set(Trouble::None);
        }
    }
}

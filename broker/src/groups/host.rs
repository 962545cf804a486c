//! The groups of one partition beside its log: requests and time go in, records are appended, answers come out.
//!
//! A pure machine over a [`Partition`]: no lock, no task, no clock. `coordinator` puts a lock, a task and clients
//! around it; a simulation drives it as it is.
//!
//! Always: the log has the records in the order in which the groups decided; nobody is told of a record that is not
//! committed; what becomes of an append is never guessed: while this broker does not lead in the epoch, nothing is
//! decided and nothing answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_group::{Append, AppendError, AppendId, Config, Effects, GroupError, Now, Reply, Shard, Ticket};

use super::append::append;
use super::load::{self, LoadError};
use crate::replica::partition::{Appended, Partition};

/// Answers to deliver now.
pub type Answers = Vec<(Ticket, Reply)>;

/// One partition's groups, as loaded in one leader epoch.
pub struct Host {
    partition: Arc<Partition>,
    leader_epoch: i32,
    groups: Shard,
    /// The log as it was loaded, while its end is not known to be committed: the groups with records there are not
    /// shown.
    tail: Option<Appended>,
    /// Appends whose fate the groups do not know yet, oldest first.
    undecided: VecDeque<Undecided>,
    next_ticket: u64,
    /// `offsets.commit.timeout.ms`.
    commit_timeout: Duration,
}

struct Undecided {
    id: AppendId,
    appended: Result<Appended, AppendError>,
    /// Until when a client waits for it, on [`Now::monotonic`]'s scale; `None` once the groups know that it is late.
    deadline: Option<Duration>,
}

impl Host {
    /// Reads the partition's whole log. Blocks: for worker threads.
    ///
    /// # Errors
    /// When this broker does not lead in the epoch, or the log can't be read.
    pub fn load(
        partition: &Arc<Partition>,
        leader_epoch: i32,
        config: Config,
        commit_timeout: Duration,
    ) -> Result<Host, LoadError> {
        let (groups, log) = load::replay(partition, leader_epoch, config)?;
        Ok(Host {
            partition: partition.clone(),
            leader_epoch,
            groups,
            tail: Some(log),
            undecided: VecDeque::new(),
            next_ticket: 0,
            commit_timeout,
        })
    }

    /// The sessions of the members begin. Once, before anything else.
    pub fn begin(&mut self, now: Now) -> Answers {
        let effects = self.groups.loaded(now);
        self.carry_out(effects, now)
    }

    /// Looks at a group, or does what needs no record.
    ///
    /// # Errors
    /// That this broker does not lead, or gives way; or that nobody knows yet whether the group's last records are
    /// committed.
    pub fn read<T>(&mut self, group: &str, now: Now, look: impl FnOnce(&mut Shard, Now) -> T) -> Result<T, GroupError> {
        self.may_serve(group)?;
        Ok(look(&mut self.groups, now))
    }

    /// Looks at all groups, also at those whose last records may not be committed.
    ///
    /// # Errors
    /// That this broker does not lead, or gives way.
    pub fn survey<T>(&self, look: impl FnOnce(&Shard) -> T) -> Result<T, GroupError> {
        self.check_leads()?;
        Ok(look(&self.groups))
    }

    /// Takes a request to its group. The ticket's answer is among these, or among later ones.
    ///
    /// # Errors
    /// As [`Host::read`].
    pub fn ask(
        &mut self,
        group: &str,
        now: Now,
        act: impl FnOnce(&mut Shard, Ticket, Now) -> Effects,
    ) -> Result<(Ticket, Answers), GroupError> {
        self.may_serve(group)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let effects = act(&mut self.groups, ticket, now);
        Ok((ticket, self.carry_out(effects, now)))
    }

    /// What groups do of themselves.
    pub fn turn(&mut self, now: Now, act: impl FnOnce(&mut Shard, Now) -> Effects) -> Answers {
        if self.check_leads().is_err() {
            return Answers::new();
        }
        let effects = act(&mut self.groups, now);
        self.carry_out(effects, now)
    }

    /// Acts on the deadlines that have passed.
    pub fn tick(&mut self, now: Now) -> Answers {
        self.turn(now, Shard::tick)
    }

    /// When [`Host::tick`] has something to do, on [`Now::monotonic`]'s scale.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.groups.next_deadline()
    }

    /// What [`Host::settle`] waits for: that this is committed, or the time at which a client has waited for long
    /// enough.
    pub fn awaits(&self) -> Option<(Appended, Option<Duration>)> {
        let oldest = self.undecided.front().and_then(|undecided| undecided.appended.ok());
        let deadline = self.undecided.iter().find_map(|undecided| undecided.deadline);
        self.tail.or(oldest).map(|awaited| (awaited, deadline))
    }

    /// Takes note of what has been committed, and tells clients that have waited for too long.
    pub fn settle(&mut self, now: Now) -> Answers {
        let effects = self.decide(now).unwrap_or_default();
        let mut answers = self.carry_out(effects, now);
        let late = self.delay_late(now);
        answers.extend(self.carry_out(late, now));
        answers
    }

    /// The partition is another broker's: whoever waits must look for the new coordinator.
    pub fn unload(self, now: Now) -> Answers {
        self.groups.unload(now)
    }

    fn check_leads(&self) -> Result<(), GroupError> {
        if self.partition.leads_in(self.leader_epoch) { Ok(()) } else { Err(GroupError::NotCoordinator) }
    }

    fn may_serve(&self, group: &str) -> Result<(), GroupError> {
        self.check_leads()?;
        if self.groups.is_settled(group) { Ok(()) } else { Err(GroupError::CoordinatorLoadInProgress) }
    }

    /// Appends, and tells the groups of every append whose fate is known, until nothing is left to do now.
    fn carry_out(&mut self, effects: Effects, now: Now) -> Answers {
        let deadline = Some(now.monotonic.saturating_add(self.commit_timeout));
        let mut answers = Answers::new();
        let mut effects = Some(effects);
        while let Some(Effects { replies, appends }) = effects.take() {
            answers.extend(replies);
            for Append { id, records } in appends {
                let appended = append(&self.partition, self.leader_epoch, &records, now.wall_ms);
                self.undecided.push_back(Undecided { id, appended, deadline });
            }
            effects = self.decide(now);
        }
        answers
    }

    /// What the groups make of the oldest append's fate, or of their log's; `None` while that is not known. In order: a
    /// later append rests on those before it.
    fn decide(&mut self, now: Now) -> Option<Effects> {
        if let Some(tail) = self.tail {
            return (self.partition.is_committed(&tail) == Ok(true)).then(|| {
                self.tail = None;
                self.groups.settled(now)
            });
        }
        let result = match self.undecided.front()?.appended {
            Err(error) => Err(error),
            Ok(appended) => match self.partition.is_committed(&appended) {
                Ok(true) => Ok(()),
                // Cut off, it may lead again in the same epoch, and the append be committed after all.
                Ok(false) | Err(_) => return None,
            },
        };
        let decided = self.undecided.pop_front()?;
        Some(self.groups.appended(decided.id, result, now))
    }

    /// Tells the groups which appends have become late, so that nobody waits for them any longer.
    fn delay_late(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        for undecided in &mut self.undecided {
            if undecided.deadline.take_if(|deadline| *deadline <= now.monotonic).is_some() {
                effects.extend(self.groups.delayed(undecided.id, now));
            }
        }
        effects
    }
}

//! A machine beside its log: requests and time go in, records are appended, answers come out.
//!
//! Values over a [`Partition`]: no lock, no task, no clock. `lifecycle` puts a lock, a task and clients around it.
//!
//! Always: the log has the records in the order in which the machine decided; no answer rests on a record that is not
//! committed; what becomes of an append is never guessed: once another has led, or while this broker gives way, nothing
//! is decided and nothing answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_batch::Marker;
use ottla_log::VerificationGuard;

use super::append::append;
use super::load::{self, LoadError};
use super::machine::{
    Append, AppendId, CoordinatorAppendError, CoordinatorError, Effects, Machine, Now, Producer, Ticket,
};
use crate::image::{ClusterImage, LeaderEpoch};
use crate::replica::partition::transactions::TransactionEnd;
use crate::replica::partition::{self, Appended, Partition};

/// What is to be delivered now.
pub(super) struct Deliveries<M: Machine> {
    /// Answers to clients.
    pub replies: Vec<(Ticket, M::Reply)>,
    /// What is to be done outside of the machine.
    pub sends: Vec<M::Message>,
}

impl<M: Machine> Default for Deliveries<M> {
    fn default() -> Self {
        Deliveries { replies: Vec::new(), sends: Vec::new() }
    }
}

/// One partition's machine, as loaded in one leader epoch; it stays right while this broker leads without a break.
pub(super) struct Host<M: Machine> {
    partition: Arc<Partition>,
    since_epoch: LeaderEpoch,
    machine: M,
    /// The log as it was loaded, while its end is not known to be committed: what has records there is not shown.
    tail: Option<Appended>,
    /// Appends whose fate the machine does not know yet, oldest first.
    undecided: VecDeque<Undecided>,
    next_ticket: u64,
    commit_timeout: Duration,
    /// See [`Host::has_missed`].
    has_missed: bool,
}

struct Undecided {
    what: What,
    appended: Result<Appended, CoordinatorAppendError>,
    /// Until when a client waits for it, on [`Now::monotonic`]'s scale; `None` once the machine knows that it is late.
    deadline: Option<Duration>,
}

#[derive(Clone, Copy)]
enum What {
    Append(AppendId),
    Marker(Producer, Marker),
}

impl<M: Machine> Host<M> {
    /// Reads the partition's whole log. Blocks: for worker threads.
    ///
    /// # Errors
    /// When this broker has not led since the epoch, or the log can't be read.
    pub(super) fn load(
        partition: &Arc<Partition>,
        leader_epoch: LeaderEpoch,
        image: &ClusterImage,
    ) -> Result<Host<M>, LoadError> {
        let mut machine = M::new(image, leader_epoch);
        let log = load::replay(&mut machine, partition, leader_epoch)?;
        Ok(Host {
            partition: partition.clone(),
            since_epoch: leader_epoch,
            machine,
            tail: Some(log),
            undecided: VecDeque::new(),
            next_ticket: 0,
            commit_timeout: M::commit_timeout(&image.settings),
            has_missed: false,
        })
    }

    /// The machine's time begins. Once, before anything else.
    pub(super) fn begin(&mut self, now: Now) -> Deliveries<M> {
        let effects = self.machine.loaded(now);
        self.carry_out(effects, None, now)
    }

    /// Looks at what has this key, or does what needs no record.
    ///
    /// # Errors
    /// That this broker does not lead, or gives way; or that nobody knows yet whether the key's last records are
    /// committed.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        now: Now,
        look: impl FnOnce(&mut M, Now) -> T,
    ) -> Result<T, CoordinatorError> {
        self.may_serve(key)?;
        Ok(look(&mut self.machine, now))
    }

    /// Looks at everything, also at keys whose last records may not be committed.
    ///
    /// # Errors
    /// That this broker does not lead, or gives way.
    pub(super) fn survey<T>(&self, look: impl FnOnce(&M) -> T) -> Result<T, CoordinatorError> {
        self.check_leads()?;
        Ok(look(&self.machine))
    }

    /// Takes a request. The ticket's answer is among these deliveries, or among later ones. If the machine writes in a
    /// transaction, the guard of its verification goes with it.
    ///
    /// # Errors
    /// As [`Host::read`].
    pub(super) fn ask(
        &mut self,
        key: &str,
        guard: Option<VerificationGuard>,
        now: Now,
        act: impl FnOnce(&mut M, Ticket, Now) -> Effects<M>,
    ) -> Result<(Ticket, Deliveries<M>), CoordinatorError> {
        self.may_serve(key)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let effects = act(&mut self.machine, ticket, now);
        Ok((ticket, self.carry_out(effects, guard, now)))
    }

    /// Appends the marker of a transaction behind all that the machine has written; the machine hears of it once it is
    /// committed, in the order of the log. The sender waits for that by itself.
    ///
    /// # Errors
    /// See [`Partition::append_marker`]; nothing was appended then.
    pub(super) fn append_marker(
        &mut self,
        end: TransactionEnd,
        now: Now,
    ) -> Result<(Appended, Deliveries<M>), partition::AppendError> {
        let appended = self.partition.append_own_marker(end, self.since_epoch)?;
        let producer = Producer { id: end.producer_id, epoch: end.producer_epoch };
        let what = What::Marker(producer, end.marker);
        self.undecided.push_back(Undecided { what, appended: Ok(appended), deadline: None });
        Ok((appended, self.carry_out(Effects::default(), None, now)))
    }

    /// What the machine does without a request; nothing while this broker gives way.
    pub(super) fn turn(&mut self, now: Now, act: impl FnOnce(&mut M, Now) -> Effects<M>) -> Deliveries<M> {
        let done = self.act(now, act);
        self.has_missed |= done.is_none();
        done.unwrap_or_default()
    }

    /// Whether a turn came while this broker gave way. The machine would wait for ever for what the turn
    /// would have said, for instance that the last marker of a transaction is written: it serves nobody any more, and
    /// if this broker leads again, the log is read into another one.
    pub(super) fn has_missed(&self) -> bool {
        self.has_missed
    }

    /// Acts on the deadlines that have passed; `None`: not while this broker gives way.
    pub(super) fn tick(&mut self, now: Now) -> Option<Deliveries<M>> {
        self.act(now, M::tick)
    }

    /// Lets the machine act; `None`: not while this broker gives way.
    fn act(&mut self, now: Now, act: impl FnOnce(&mut M, Now) -> Effects<M>) -> Option<Deliveries<M>> {
        self.check_leads().ok()?;
        let effects = act(&mut self.machine, now);
        Some(self.carry_out(effects, None, now))
    }

    /// When [`Host::tick`] has something to do, on [`Now::monotonic`]'s scale; `None`: not before something else
    /// happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.machine.next_deadline()
    }

    /// What [`Host::settle`] waits for: that this is committed, or the time at which a client has waited for long
    /// enough. `None`: nothing is undecided.
    pub(super) fn awaits(&self) -> Option<(Appended, Option<Duration>)> {
        let oldest = self.undecided.front().and_then(|undecided| undecided.appended.ok());
        let deadline = self.undecided.iter().find_map(|undecided| undecided.deadline);
        self.tail.or(oldest).map(|awaited| (awaited, deadline))
    }

    /// Takes note of what has been committed, and answers clients that have waited for too long.
    pub(super) fn settle(&mut self, now: Now) -> Deliveries<M> {
        let effects = self.decide(now).unwrap_or_default();
        let mut deliveries = self.carry_out(effects, None, now);
        let late = self.delay_late(now);
        let Deliveries { replies, sends } = self.carry_out(late, None, now);
        deliveries.replies.extend(replies);
        deliveries.sends.extend(sends);
        deliveries
    }

    /// The partition is another broker's: clients that wait must look for the new coordinator.
    pub(super) fn unload(self, now: Now) -> Vec<(Ticket, M::Reply)> {
        self.machine.unload(now)
    }

    fn check_leads(&self) -> Result<(), CoordinatorError> {
        if self.partition.leads_since(self.since_epoch) { Ok(()) } else { Err(CoordinatorError::NotCoordinator) }
    }

    fn may_serve(&self, key: &str) -> Result<(), CoordinatorError> {
        self.check_leads()?;
        // Until another one is read from the log.
        let is_whole = !self.has_missed;
        if is_whole && self.machine.is_settled(key) { Ok(()) } else { Err(CoordinatorError::LoadInProgress) }
    }

    /// Appends, and reports to the machine every append whose fate is known, until nothing is left to do now.
    fn carry_out(&mut self, effects: Effects<M>, guard: Option<VerificationGuard>, now: Now) -> Deliveries<M> {
        let deadline = Some(now.monotonic.saturating_add(self.commit_timeout));
        let mut deliveries = Deliveries::default();
        let mut effects = Some(effects);
        while let Some(Effects { replies, appends, sends }) = effects.take() {
            deliveries.replies.extend(replies);
            deliveries.sends.extend(sends);
            for Append { id, batch } in appends {
                let append = |batch| append(&self.partition, self.since_epoch, &batch, guard, now.wall_ms);
                let appended = batch.and_then(append);
                self.undecided.push_back(Undecided { what: What::Append(id), appended, deadline });
            }
            effects = self.decide(now);
        }
        deliveries
    }

    /// What the machine makes of the oldest append's fate, or of its log's; `None` while that is not known. In order: a
    /// later append rests on those before it.
    fn decide(&mut self, now: Now) -> Option<Effects<M>> {
        if let Some(tail) = self.tail {
            return (self.partition.is_committed(&tail) == Ok(true)).then(|| {
                self.tail = None;
                self.machine.settled(now)
            });
        }
        let result = match self.undecided.front()?.appended {
            Err(error) => Err(error),
            Ok(appended) => match self.partition.is_committed(&appended) {
                Ok(true) => Ok(appended.base_offset),
                // Cut off, it may lead again without another in between, and the append be committed after all.
                Ok(false) | Err(_) => return None,
            },
        };
        let decided = self.undecided.pop_front()?;
        Some(match decided.what {
            What::Append(id) => self.machine.decided(id, result, now),
            What::Marker(producer, marker) => {
                self.machine.control(producer, marker, true);
                Effects::default()
            }
        })
    }

    /// Reports to the machine which appends have become late, so that nobody waits for them any longer.
    fn delay_late(&mut self, now: Now) -> Effects<M> {
        let mut effects = Effects::default();
        for undecided in &mut self.undecided {
            let late = undecided.deadline.take_if(|deadline| *deadline <= now.monotonic);
            if let (Some(_), What::Append(id)) = (late, undecided.what) {
                effects.extend(self.machine.delayed(id, now));
            }
        }
        effects
    }
}

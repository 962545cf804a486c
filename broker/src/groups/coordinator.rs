//! The coordinator of one partition's groups: takes requests to them, carries out what they decide.
//!
//! Owns the groups under one lock, which is never held while waiting. Appends happen under it, so that the log has the records
//! in the order in which the groups decided.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_group::{Append, AppendError, AppendId, Effects, GroupError, Now, Reply, Shard, Ticket, TopicName};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::append::{append, fate};
use super::clock::Clock;
use crate::env::{self, Instant};
use crate::replica::partition::{Appended, Partition};

/// The coordinator of the groups of one partition, while this broker leads it in one epoch.
pub struct Coordinator {
    partition: Arc<Partition>,
    epoch: i32,
    clock: Arc<Clock>,
    /// `offsets.commit.timeout.ms`.
    commit_timeout: Duration,
    /// The control runtime: requests come from the reactors, and what outlives them must not run there.
    runtime: Handle,
    state: Mutex<State>,
}

enum State {
    /// Its groups are being read.
    Loading {
        /// Topics whose offsets must go.
        deleted: Vec<(TopicName, Uuid)>,
    },
    Active(Box<Active>),
    /// This broker no longer leads in the epoch.
    Stopped,
}

struct Active {
    groups: Shard,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    next_ticket: u64,
    /// Appends whose fate the groups do not know yet, oldest first.
    undecided: VecDeque<Undecided>,
    /// A task waits for the oldest of them.
    is_awaited: bool,
}

struct Undecided {
    id: AppendId,
    appended: Result<Appended, AppendError>,
    /// Until when a client waits for it; none once the groups know that it is late.
    deadline: Option<Instant>,
}

impl Coordinator {
    /// A coordinator that has yet to be given its groups; see [`Coordinator::activate`].
    pub fn new(
        partition: Arc<Partition>,
        epoch: i32,
        clock: Arc<Clock>,
        commit_timeout: Duration,
        deleted: Vec<(TopicName, Uuid)>,
    ) -> Arc<Self> {
        let state = Mutex::new(State::Loading { deleted });
        Arc::new(Coordinator { partition, epoch, clock, commit_timeout, runtime: Handle::current(), state })
    }

    /// Whether it is the coordinator of this very replica in this epoch.
    pub fn is_for(&self, partition: &Arc<Partition>, epoch: i32) -> bool {
        Arc::ptr_eq(&self.partition, partition) && self.epoch == epoch
    }

    /// Its partition, and the epoch in which this broker leads it.
    pub fn partition(&self) -> (&Arc<Partition>, i32) {
        (&self.partition, self.epoch)
    }

    /// Whether it still wants its groups.
    pub fn is_loading(&self) -> bool {
        matches!(*self.state.lock(), State::Loading { .. })
    }

    /// Its groups as they were in the log: serves from now on.
    pub fn activate(self: &Arc<Self>, groups: Shard) {
        let mut state = self.state.lock();
        let State::Loading { deleted } = &mut *state else { return };
        let deleted = std::mem::take(deleted);
        *state = State::Active(Box::new(Active {
            groups,
            waiting: HashMap::new(),
            next_ticket: 0,
            undecided: VecDeque::new(),
            is_awaited: false,
        }));
        drop(state);
        self.turn(|groups, now| groups.loaded(now));
        self.turn(|groups, now| groups.topics_deleted(&deleted, now));
    }

    /// This broker no longer leads the partition in the epoch: whoever waits must look for the new coordinator.
    pub fn stop(&self) {
        let stopped = std::mem::replace(&mut *self.state.lock(), State::Stopped);
        let State::Active(active) = stopped else { return };
        let Active { groups, mut waiting, .. } = *active;
        for (ticket, reply) in groups.unload(self.clock.now()) {
            answer(&mut waiting, ticket, reply);
        }
    }

    /// Looks at the groups, or does what needs no record.
    ///
    /// # Errors
    /// That they are being loaded, or are another broker's.
    pub fn read<T>(&self, look: impl FnOnce(&mut Shard, Now) -> T) -> Result<T, GroupError> {
        let mut active = self.active()?;
        let seen = look(&mut active.groups, self.clock.now());
        self.clock.wake_by(active.groups.next_deadline());
        Ok(seen)
    }

    /// Takes a request to the groups; their answer comes through the channel, which closes if nobody is left to answer.
    ///
    /// # Errors
    /// That they are being loaded, or are another broker's.
    pub fn ask(
        self: &Arc<Self>,
        act: impl FnOnce(&mut Shard, Ticket, Now) -> Effects,
    ) -> Result<oneshot::Receiver<Reply>, GroupError> {
        let mut active = self.active()?;
        let (sender, receiver) = oneshot::channel();
        let ticket = Ticket(active.next_ticket);
        active.next_ticket += 1;
        active.waiting.insert(ticket, sender);
        let now = self.clock.now();
        let effects = act(&mut active.groups, ticket, now);
        self.carry_out(&mut active, effects, now);
        self.clock.wake_by(active.groups.next_deadline());
        Ok(receiver)
    }

    /// Acts on the deadlines that have passed; returns the next. For the one who sleeps until then: wakes nobody.
    pub fn tick(self: &Arc<Self>) -> Option<Duration> {
        let mut active = self.active().ok()?;
        let now = self.clock.now();
        let effects = active.groups.tick(now);
        self.carry_out(&mut active, effects, now);
        active.groups.next_deadline()
    }

    /// Removes what is past its retention.
    pub fn expire(self: &Arc<Self>) {
        self.turn(|groups, now| groups.expire(now));
    }

    /// Topics were deleted: so are all offsets in them.
    pub fn forget_topics(self: &Arc<Self>, topics: &[(TopicName, Uuid)]) {
        if let State::Loading { deleted } = &mut *self.state.lock() {
            deleted.extend_from_slice(topics);
            return;
        }
        self.turn(|groups, now| groups.topics_deleted(topics, now));
    }

    /// What groups do of themselves. Nothing while there are none.
    fn turn(self: &Arc<Self>, act: impl FnOnce(&mut Shard, Now) -> Effects) {
        let Ok(mut active) = self.active() else { return };
        let now = self.clock.now();
        let effects = act(&mut active.groups, now);
        self.carry_out(&mut active, effects, now);
        self.clock.wake_by(active.groups.next_deadline());
    }

    fn active(&self) -> Result<MappedMutexGuard<'_, Active>, GroupError> {
        MutexGuard::try_map(self.state.lock(), |state| match state {
            State::Active(active) => Some(&mut **active),
            State::Loading { .. } | State::Stopped => None,
        })
        .map_err(|state| match *state {
            State::Loading { .. } => GroupError::CoordinatorLoadInProgress,
            State::Active(_) | State::Stopped => GroupError::NotCoordinator,
        })
    }

    /// Answers, appends, and tells the groups of every append whose fate is known, until nothing is left to do now.
    fn carry_out(self: &Arc<Self>, active: &mut Active, effects: Effects, now: Now) {
        let deadline = Some(env::now() + self.commit_timeout);
        let mut effects = Some(effects);
        while let Some(Effects { replies, appends }) = effects.take() {
            for (ticket, reply) in replies {
                answer(&mut active.waiting, ticket, reply);
            }
            for Append { id, records } in appends {
                let appended = append(&self.partition, self.epoch, &records, now.wall_ms);
                active.undecided.push_back(Undecided { id, appended, deadline });
            }
            effects = active.decide_oldest(&self.partition, now);
        }
        if !active.undecided.is_empty() && !active.is_awaited {
            active.is_awaited = true;
            self.runtime.spawn(self.clone().await_commits());
        }
    }

    /// Waits for the oldest append again and again, until none is left. It may be committed long after the clients that wait for
    /// it were told that it is late: only then, or when this broker leads no more, is its fate known.
    async fn await_commits(self: Arc<Self>) {
        loop {
            let (oldest, deadline) = {
                let Ok(mut active) = self.active() else { return };
                let Some(Undecided { appended: Ok(oldest), .. }) = active.undecided.front() else {
                    active.is_awaited = false;
                    return;
                };
                let next = active.undecided.iter().find_map(|undecided| undecided.deadline);
                (*oldest, next.unwrap_or_else(|| env::now() + self.commit_timeout))
            };
            // Committed, late, or not led here any more: either way it shows.
            let _ = self.partition.committed(&oldest, deadline).await;

            let Ok(mut active) = self.active() else { return };
            let now = self.clock.now();
            let decided = active.decide_oldest(&self.partition, now).unwrap_or_default();
            self.carry_out(&mut active, decided, now);
            let late = active.delay_late(env::now(), now);
            self.carry_out(&mut active, late, now);
            self.clock.wake_by(active.groups.next_deadline());
        }
    }
}

impl Active {
    /// Tells the groups which appends have become late, so that nobody waits for them any longer.
    fn delay_late(&mut self, at: Instant, now: Now) -> Effects {
        let mut effects = Effects::default();
        for undecided in &mut self.undecided {
            if undecided.deadline.take_if(|deadline| *deadline <= at).is_some() {
                effects.extend(self.groups.delayed(undecided.id, now));
            }
        }
        effects
    }

    /// What the groups make of the oldest append's fate; none while that is not known. In order: a later append rests on those
    /// before it.
    fn decide_oldest(&mut self, partition: &Partition, now: Now) -> Option<Effects> {
        let oldest = self.undecided.front()?;
        let result = match &oldest.appended {
            Err(error) => Err(*error),
            Ok(appended) => match partition.is_committed(appended) {
                Ok(true) => Ok(()),
                Ok(false) => return None,
                Err(error) => Err(fate(&error.into())),
            },
        };
        let id = oldest.id;
        self.undecided.pop_front();
        Some(self.groups.appended(id, result, now))
    }
}

fn answer(waiting: &mut HashMap<Ticket, oneshot::Sender<Reply>>, ticket: Ticket, reply: Reply) {
    if let Some(client) = waiting.remove(&ticket) {
        // A client that has hung up does not care.
        let _ = client.send(reply);
    }
}

//! The coordinator of one partition's groups: its [`Host`] under a lock, the clients that wait, a task that waits for
//! commits.
//!
//! The lock is never held while waiting. Appends happen under it, so that the log has the records in the order in which
//! the groups decided.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_group::{DeletedTopic, Effects, GroupError, Now, Reply, Shard, Ticket};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::host::{Answers, Host};
use crate::env;
use crate::replica::partition::{AppendError, Partition};

/// Pause before looking again whether a partition that gave way leads again.
const PAUSE: Duration = Duration::from_millis(100);

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
        deleted: Vec<DeletedTopic>,
    },
    Active(Box<Active>),
    /// This broker no longer leads in the epoch.
    Stopped,
}

struct Active {
    host: Host,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    /// A task waits for what the host awaits.
    is_awaited: bool,
}

impl Coordinator {
    /// A coordinator that has yet to be given its groups; see [`Coordinator::activate`].
    pub fn new(
        partition: Arc<Partition>,
        epoch: i32,
        clock: Arc<Clock>,
        commit_timeout: Duration,
        deleted: Vec<DeletedTopic>,
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

    /// How long a client waits for its records to be committed.
    pub fn commit_timeout(&self) -> Duration {
        self.commit_timeout
    }

    /// Whether it still wants its groups.
    pub fn is_loading(&self) -> bool {
        matches!(*self.state.lock(), State::Loading { .. })
    }

    /// Its groups as they were in the log: serves from now on.
    pub fn activate(self: &Arc<Self>, host: Host) {
        let mut state = self.state.lock();
        let State::Loading { deleted } = &mut *state else { return };
        let deleted = std::mem::take(deleted);
        *state = State::Active(Box::new(Active { host, waiting: HashMap::new(), is_awaited: false }));
        drop(state);
        self.act(|host, now| host.begin(now));
        self.turn(|groups, now| groups.topics_deleted(&deleted, now));
    }

    /// This broker no longer leads the partition in the epoch: whoever waits must look for the new coordinator.
    pub fn stop(&self) {
        let stopped = std::mem::replace(&mut *self.state.lock(), State::Stopped);
        let State::Active(active) = stopped else { return };
        let Active { host, mut waiting, .. } = *active;
        deliver(&mut waiting, host.unload(self.clock.now()));
    }

    /// Looks at a group, or does what needs no record.
    ///
    /// # Errors
    /// That it is being loaded, or is another broker's.
    pub fn read<T>(&self, group: &str, look: impl FnOnce(&mut Shard, Now) -> T) -> Result<T, GroupError> {
        let mut active = self.active()?;
        let seen = active.host.read(group, self.clock.now(), look)?;
        self.clock.wake_by(active.host.next_deadline());
        Ok(seen)
    }

    /// Looks at all groups.
    ///
    /// # Errors
    /// That they are being loaded, or are another broker's.
    pub fn survey<T>(&self, look: impl FnOnce(&Shard) -> T) -> Result<T, GroupError> {
        self.active()?.host.survey(look)
    }

    /// Takes a request to a group; its answer comes through the channel, which closes if nobody is left to answer.
    ///
    /// # Errors
    /// That the group is being loaded, or is another broker's.
    pub fn ask(
        self: &Arc<Self>,
        group: &str,
        act: impl FnOnce(&mut Shard, Ticket, Now) -> Effects,
    ) -> Result<oneshot::Receiver<Reply>, GroupError> {
        let mut active = self.active()?;
        let (sender, receiver) = oneshot::channel();
        let (ticket, answers) = active.host.ask(group, self.clock.now(), act)?;
        active.waiting.insert(ticket, sender);
        self.follow_up(&mut active, answers);
        Ok(receiver)
    }

    /// Acts on the deadlines that have passed; returns the next. For the one who sleeps until then: wakes nobody.
    pub fn tick(self: &Arc<Self>) -> Option<Duration> {
        let mut active = self.active().ok()?;
        let answers = active.host.tick(self.clock.now());
        self.carry_out(&mut active, answers);
        active.host.next_deadline()
    }

    /// Removes what is past its retention.
    pub fn expire(self: &Arc<Self>) {
        self.turn(|groups, now| groups.expire(now));
    }

    /// Topics were deleted: so are all offsets in them.
    pub fn forget_topics(self: &Arc<Self>, topics: &[DeletedTopic]) {
        if let State::Loading { deleted } = &mut *self.state.lock() {
            deleted.extend_from_slice(topics);
            return;
        }
        self.turn(|groups, now| groups.topics_deleted(topics, now));
    }

    /// What groups do of themselves. Nothing while there are none.
    fn turn(self: &Arc<Self>, act: impl FnOnce(&mut Shard, Now) -> Effects) {
        self.act(|host, now| host.turn(now, act));
    }

    fn act(self: &Arc<Self>, act: impl FnOnce(&mut Host, Now) -> Answers) {
        let Ok(mut active) = self.active() else { return };
        let answers = act(&mut active.host, self.clock.now());
        self.follow_up(&mut active, answers);
    }

    fn active(&self) -> Result<MappedMutexGuard<'_, Active>, GroupError> {
        MutexGuard::try_map(self.state.lock(), |state| match state {
            State::Active(active) => Some(&mut **active),
            State::Loading { .. } | State::Stopped => None,
        })
        .map_err(|state| match *state {
            State::Loading { .. } if self.partition.leads_in(self.epoch) => GroupError::CoordinatorLoadInProgress,
            State::Loading { .. } | State::Active(_) | State::Stopped => GroupError::NotCoordinator,
        })
    }

    fn follow_up(self: &Arc<Self>, active: &mut Active, answers: Answers) {
        self.carry_out(active, answers);
        self.clock.wake_by(active.host.next_deadline());
    }

    /// Answers, and sees to it that somebody waits for what is to be committed.
    fn carry_out(self: &Arc<Self>, active: &mut Active, answers: Answers) {
        deliver(&mut active.waiting, answers);
        if !active.is_awaited && active.host.awaits().is_some() {
            active.is_awaited = true;
            self.runtime.spawn(self.clone().await_commits());
        }
    }

    /// Waits for what the host awaits again and again, until nothing is left. It may be committed long after the
    /// clients that wait for it were told that it is late: only then, or when this broker leads no more, is its fate
    /// known.
    async fn await_commits(self: Arc<Self>) {
        loop {
            let (awaited, deadline) = {
                let Ok(mut active) = self.active() else { return };
                let Some((awaited, deadline)) = active.host.awaits() else {
                    active.is_awaited = false;
                    return;
                };
                let deadline = deadline.map(|deadline| self.clock.at(deadline));
                (awaited, deadline.unwrap_or_else(|| env::now() + self.commit_timeout))
            };
            if let Err(AppendError::NotServed(_)) = self.partition.committed(&awaited, deadline).await {
                // Its role has changed, which stops this coordinator; or it has given way for a moment.
                env::sleep_until(deadline.min(env::now() + PAUSE)).await;
            }
            self.act(|host, now| host.settle(now));
        }
    }
}

fn deliver(waiting: &mut HashMap<Ticket, oneshot::Sender<Reply>>, answers: Answers) {
    for (ticket, reply) in answers {
        if let Some(client) = waiting.remove(&ticket) {
            // A client that has hung up does not care.
            let _ = client.send(reply);
        }
    }
}

//! The coordinator of one partition, from its load to its stop: its [`Host`] under a lock, the clients that wait, a
//! task that waits for commits.
//!
//! The lock is never held while waiting. Appends happen under it, so that the log has the records in the order in which
//! the machine decided.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::BrokerSettings;
use ottla_log::VerificationGuard;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::host::{Deliveries, Host};
use super::load::LoadError;
use super::machine::{CoordinatorError, Effects, Machine, Now, Ticket};
use crate::env::{self, Workers};
use crate::image::{ImageReceiver, LeaderEpoch};
use crate::replica::NotServed;
use crate::replica::partition::reading::ReadError;
use crate::replica::partition::transactions::TransactionEnd;
use crate::replica::partition::{AppendError, Appended, NotAcknowledged, Partition};

/// Pause before looking again whether a partition that gave way leads again.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause before a log is read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Does what a machine wants done outside; the coordinator is for the answer, which comes later. Called under the
/// coordinator's lock: it must neither wait nor use the coordinator itself, but for [`Coordinator::spawn`].
pub(crate) type Post<M> = Arc<dyn Fn(&Arc<Coordinator<M>>, <M as Machine>::Message) + Send + Sync>;

/// Has what was appended brought to the device, without waiting for it: the topic's `flush.messages` asks for that
/// before it counts as committed.
pub(super) type FlushSoon = Arc<dyn Fn(&Arc<Partition>) + Send + Sync>;

/// The coordinator of one partition, while this broker leads it without a break. The leader epoch may rise meanwhile,
/// when a replica leaves for instance: the machine stays, as in Kafka, for nobody else has written to the log.
pub(crate) struct Coordinator<M: Machine> {
    partition: Arc<Partition>,
    /// The leader epoch in which it began.
    epoch: LeaderEpoch,
    clock: Arc<Clock>,
    /// As they were when this coordinator began.
    settings: Arc<BrokerSettings>,
    post: Post<M>,
    flush_soon: FlushSoon,
    /// The control runtime: requests come from the reactors, and what outlives them must not run there.
    runtime: Handle,
    state: Mutex<CoordinatorState<M>>,
}

/// What a machine does without a request.
type Act<M> = Box<dyn FnOnce(&mut M, Now) -> Effects<M> + Send>;

enum CoordinatorState<M: Machine> {
    /// Its log is being read.
    Loading {
        /// To be done once it is.
        then: Vec<Act<M>>,
    },
    Active(Box<Active<M>>),
    /// Another has led.
    Stopped,
}

struct Active<M: Machine> {
    host: Host<M>,
    waiting: HashMap<Ticket, oneshot::Sender<M::Reply>>,
    /// A task waits for what the host awaits.
    is_awaited: bool,
}

impl<M: Machine> Coordinator<M> {
    /// A coordinator that has yet to read its log; see [`Coordinator::load`]. Must be called on the control runtime.
    pub(super) fn new(
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        clock: Arc<Clock>,
        settings: Arc<BrokerSettings>,
        post: Post<M>,
        flush_soon: FlushSoon,
    ) -> Arc<Self> {
        let state = Mutex::new(CoordinatorState::Loading { then: Vec::new() });
        let runtime = Handle::current();
        Arc::new(Coordinator { partition, epoch, clock, settings, post, flush_soon, runtime, state })
    }

    /// Whether it is the coordinator of this very replica, nobody else has led since it began, and it has missed
    /// nothing.
    pub(super) fn is_for(&self, partition: &Arc<Partition>) -> bool {
        let has_missed = self.active().is_ok_and(|active| active.host.has_missed());
        Arc::ptr_eq(&self.partition, partition) && partition.leads_since(self.epoch) && !has_missed
    }

    /// Its partition, and the epoch since which this broker leads it without a break.
    pub(crate) fn partition(&self) -> (&Arc<Partition>, LeaderEpoch) {
        (&self.partition, self.epoch)
    }

    /// Runs a task beside the coordinator.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Whether it serves: its log is read, and nobody else leads.
    pub(crate) fn is_active(&self) -> bool {
        self.active().is_ok()
    }

    /// Reads the whole log on a worker thread, then serves; unless it is stopped before.
    pub(super) async fn load(self: Arc<Self>, workers: Workers, images: ImageReceiver) {
        while self.is_loading() {
            let (partition, epoch, image) = (self.partition.clone(), self.epoch, images.borrow().clone());
            match workers.run(move || Host::load(&partition, epoch, &image)).await {
                Ok(host) => return self.activate(host),
                // Its role has changed, which stops the coordinator; or it gave way for a moment.
                Err(LoadError::Read(ReadError::NotServed(_))) => {}
                Err(error) => {
                    let partition = self.partition.number;
                    tracing::error!(topic = M::TOPIC, partition, %error, "failed to load a coordinator");
                }
            }
            env::sleep_until(env::now() + RETRY).await;
        }
    }

    fn is_loading(&self) -> bool {
        matches!(*self.state.lock(), CoordinatorState::Loading { .. })
    }

    fn activate(self: &Arc<Self>, host: Host<M>) {
        let mut state = self.state.lock();
        let CoordinatorState::Loading { then } = &mut *state else { return };
        let then = std::mem::take(then);
        *state = CoordinatorState::Active(Box::new(Active { host, waiting: HashMap::new(), is_awaited: false }));
        drop(state);
        self.act(|host, now| host.begin(now));
        then.into_iter().for_each(|act| self.turn(act));
    }

    /// This broker no longer leads the partition: clients that wait must look for the new coordinator.
    pub(super) fn stop(&self) {
        let stopped = std::mem::replace(&mut *self.state.lock(), CoordinatorState::Stopped);
        let CoordinatorState::Active(active) = stopped else { return };
        let Active { host, mut waiting, .. } = *active;
        deliver(&mut waiting, host.unload(self.clock.now()));
    }

    /// Looks at what has this key, or does what needs no record.
    ///
    /// # Errors
    /// That it is being loaded, or is another broker's.
    pub(crate) fn read<T>(&self, key: &str, look: impl FnOnce(&mut M, Now) -> T) -> Result<T, CoordinatorError> {
        let mut active = self.active()?;
        let seen = active.host.read(key, self.clock.now(), look)?;
        self.clock.wake_by(active.host.next_deadline());
        Ok(seen)
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// That it is being loaded, or is another broker's.
    pub(crate) fn survey<T>(&self, look: impl FnOnce(&M) -> T) -> Result<T, CoordinatorError> {
        self.active()?.host.survey(look)
    }

    /// Takes a request about a key; its answer comes through the channel, which closes if nobody is left to answer.
    ///
    /// # Errors
    /// That the key is being loaded, or is another broker's.
    pub(crate) fn ask(
        self: &Arc<Self>,
        key: &str,
        act: impl FnOnce(&mut M, Ticket, Now) -> Effects<M>,
    ) -> Result<oneshot::Receiver<M::Reply>, CoordinatorError> {
        self.ask_verified(key, None, act)
    }

    /// The same for a request that writes in a transaction, with the guard of its verification.
    ///
    /// # Errors
    /// As [`Coordinator::ask`].
    pub(crate) fn ask_verified(
        self: &Arc<Self>,
        key: &str,
        guard: Option<VerificationGuard>,
        act: impl FnOnce(&mut M, Ticket, Now) -> Effects<M>,
    ) -> Result<oneshot::Receiver<M::Reply>, CoordinatorError> {
        let mut active = self.active()?;
        let (sender, receiver) = oneshot::channel();
        let (ticket, deliveries) = active.host.ask(key, guard, self.clock.now(), act)?;
        active.waiting.insert(ticket, sender);
        self.follow_up(&mut active, deliveries);
        Ok(receiver)
    }

    /// Appends the marker of a transaction behind all that the machine has written. The machine hears of it once it is
    /// committed; the sender waits for that with [`Partition::committed`].
    ///
    /// # Errors
    /// `NotServed` also while the log is being read: the sender asks again. Else see [`Partition::append_marker`].
    pub(crate) fn append_marker(self: &Arc<Self>, end: TransactionEnd) -> Result<Appended, AppendError> {
        let mut active = self.active().map_err(|_| NotServed::NotLeader)?;
        let (appended, deliveries) = active.host.append_marker(end, self.clock.now())?;
        self.follow_up(&mut active, deliveries);
        Ok(appended)
    }

    /// What the machine does without a request. Nothing while there is none. While this broker gives way nothing is
    /// done, either; another coordinator then takes the place of this one before it serves again.
    pub(crate) fn turn(self: &Arc<Self>, act: impl FnOnce(&mut M, Now) -> Effects<M>) {
        self.act(|host, now| host.turn(now, act));
    }

    /// The same, later if the log is still being read.
    pub(crate) fn turn_when_loaded(self: &Arc<Self>, act: impl FnOnce(&mut M, Now) -> Effects<M> + Send + 'static) {
        if let CoordinatorState::Loading { then } = &mut *self.state.lock() {
            then.push(Box::new(act));
            return;
        }
        self.turn(act);
    }

    /// Acts on the deadlines that have passed; returns the next, or when to look again at one that has passed while
    /// this broker gives way; `None`: the machine has none, or is not active. For the one who sleeps until then: wakes
    /// nobody.
    pub(super) fn tick(self: &Arc<Self>) -> Option<Duration> {
        let mut active = self.active().ok()?;
        let now = self.clock.now();
        let Some(deliveries) = active.host.tick(now) else {
            return active.host.next_deadline().map(|deadline| deadline.max(now.monotonic + PAUSE));
        };
        self.carry_out(&mut active, deliveries);
        active.host.next_deadline()
    }

    fn act(self: &Arc<Self>, act: impl FnOnce(&mut Host<M>, Now) -> Deliveries<M>) {
        let Ok(mut active) = self.active() else { return };
        let deliveries = act(&mut active.host, self.clock.now());
        self.follow_up(&mut active, deliveries);
    }

    fn active(&self) -> Result<MappedMutexGuard<'_, Active<M>>, CoordinatorError> {
        MutexGuard::try_map(self.state.lock(), |state| match state {
            CoordinatorState::Active(active) => Some(&mut **active),
            CoordinatorState::Loading { .. } | CoordinatorState::Stopped => None,
        })
        .map_err(|state| match *state {
            CoordinatorState::Loading { .. } if self.partition.leads_since(self.epoch) => {
                CoordinatorError::LoadInProgress
            }
            CoordinatorState::Loading { .. } | CoordinatorState::Active(_) | CoordinatorState::Stopped => {
                CoordinatorError::NotCoordinator
            }
        })
    }

    fn follow_up(self: &Arc<Self>, active: &mut Active<M>, deliveries: Deliveries<M>) {
        self.carry_out(active, deliveries);
        self.clock.wake_by(active.host.next_deadline());
    }

    /// Answers, posts, and sees to it that somebody waits for what is to be committed.
    fn carry_out(self: &Arc<Self>, active: &mut Active<M>, Deliveries { replies, sends }: Deliveries<M>) {
        deliver(&mut active.waiting, replies);
        sends.into_iter().for_each(|message| (self.post)(self, message));
        if !active.is_awaited && active.host.awaits().is_some() {
            active.is_awaited = true;
            self.runtime.spawn(self.clone().await_commits());
        }
    }

    /// Waits for what the host awaits again and again, until nothing is left. It may be committed long after the
    /// clients that wait for it have heard that it is late: only then, or when this broker leads no more, is its fate
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
                (awaited, deadline.unwrap_or_else(|| env::now() + M::commit_timeout(&self.settings)))
            };
            if awaited.must_flush {
                (self.flush_soon)(&self.partition);
            }
            if let Err(NotAcknowledged::NotServed(_)) = self.partition.committed(&awaited, deadline).await {
                // Its role has changed, which stops this coordinator; or it has given way for a moment.
                env::sleep_until(deadline.min(env::now() + PAUSE)).await;
            }
            self.act(|host, now| host.settle(now));
        }
    }
}

fn deliver<R>(waiting: &mut HashMap<Ticket, oneshot::Sender<R>>, replies: Vec<(Ticket, R)>) {
    for (ticket, reply) in replies {
        if let Some(client) = waiting.remove(&ticket) {
            // A client that has hung up does not care.
            let _ = client.send(reply);
        }
    }
}

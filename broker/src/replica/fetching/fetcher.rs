//! One fetcher: a connection to one leader, and all that is followed there, one fetch after the other.
//! A worker takes in the answers: it checks and writes them. A partition that fails rests; the others continue.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::ClientError;
use ottla_wire::ErrorCode;
use ottla_wire::TopicIdPartition;
use ottla_wire::m01_fetch::{FetchResponse, PartitionData};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::Span;

use super::round::{self, FETCH_VERSION, Meaning, PartitionFetch, Resting};
use super::{FetcherId, LIMITS, MovesRate, Silent, Work};
use crate::dialer::Dialer;
use crate::env::{self, Instant, Workers};
use crate::image::{LeaderEpoch, Me};
use crate::replica::checkpoints::Checkpoints;
use crate::replica::partition::Partition;
use crate::replica::partition::following::{FollowError, NextFetch};
use crate::replica::partition::upkeep;
use crate::replica::throttle::{Reserved, Throttle, Throttled};

/// Pause before a leader that could not be reached is tried again; doubled up to `replica.fetch.backoff.ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How long after `replica.fetch.wait.max.ms` an answer may come until its leader is in doubt.
const SOON: Duration = Duration::from_millis(100);
/// How long until it is missed.
const GRACE: Duration = Duration::from_millis(400);
/// A wait that took so much longer than it should says that this process stalled: an answer may lie unread.
const STALL: Duration = Duration::from_millis(250);

/// Fetches from one leader.
pub(super) struct Fetcher {
    me: Me,
    dialer: Dialer,
    id: FetcherId,
    workers: Workers,
    checkpoints: Arc<Mutex<Checkpoints>>,
    throttle: Arc<Mutex<Throttle>>,
    moves_rate: MovesRate,
    todo: watch::Receiver<Work>,
    silent: Silent,
    standing: LeaderContact,
    /// Since when there has been no connection to it; none while there is one.
    unreached_since: Option<Instant>,
}

/// What this fetcher has reported about its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LeaderContact {
    Heard,
    /// It broke the connection or is a little late.
    InDoubt,
    Missed,
}

impl Fetcher {
    pub(super) fn new(
        (me, dialer): (Me, Dialer),
        id: FetcherId,
        workers: Workers,
        checkpoints: Arc<Mutex<Checkpoints>>,
        (throttle, moves_rate): (Arc<Mutex<Throttle>>, MovesRate),
        todo: watch::Receiver<Work>,
        silent: Silent,
    ) -> Fetcher {
        Fetcher {
            me,
            dialer,
            id,
            workers,
            checkpoints,
            throttle,
            moves_rate,
            todo,
            silent,
            standing: LeaderContact::Heard,
            unreached_since: None,
        }
    }

    /// Fetches until it is aborted.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let work = self.todo.borrow_and_update().clone();
            let (began, longest) = (env::now(), work.settings.replica_fetch_backoff);
            match self.fetch(&work).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, "failed to fetch: trying again");
                    self.stands(self.standing.max(LeaderContact::InDoubt));
                    if env::now() > began + longest {
                        pause = FIRST_PAUSE;
                    }
                    let due = self.due_unreached(&work);
                    let _ = self.wait(&work, due, env::sleep_until(env::now() + pause)).await;
                    pause = longest.min(2 * pause);
                }
            }
        }
    }

    /// Fetches over one connection, until there is something new to do. A fetch that waits at the leader is not waited
    /// for then: what is new must not wait for what is idle.
    async fn fetch(&mut self, work: &Work) -> Result<(), ClientError> {
        if work.route.is_none() || work.partitions.is_empty() {
            // The sender goes only with this fetcher.
            let _ = self.todo.changed().await;
            return Ok(());
        }
        let due = self.due_unreached(work);
        let dialer = self.dialer.clone();
        let opening = dialer.connect(work.route.as_ref(), "fetcher", LIMITS);
        let Some(opened) = self.wait(work, due, opening).await else { return Ok(()) };
        let mut connection = opened?;
        self.unreached_since = None;
        let mut rounds = Rounds::new(work);
        let listed_rate = work.settings.follower_throttled_rate;
        loop {
            let now = env::now();
            let moves_rate = *self.moves_rate.lock();
            // Where an administrator has set a rate, it holds for moves, too.
            let rate = listed_rate.or(moves_rate);
            let throttled = Throttled { listed: listed_rate.is_some(), added: moves_rate.is_some() };
            let mut reserved = rate.map(|rate| Reserved::all(&self.throttle, rate, now));
            let mut left = reserved.as_ref().map(Reserved::bytes);
            let (asked, lacks_room) = rounds.ask(now, throttled, &mut left);
            if let (Some(reserved), Some(left)) = (&mut reserved, left) {
                reserved.keep(reserved.bytes() - left);
            }
            // When to ask for a partition again that is not asked for now.
            let has_room = rate.filter(|_| lacks_room).map(|rate| now + self.throttle.lock().pause(rate));
            let next_ask = rounds.resting.next(now).into_iter().chain(has_room).min();
            if asked.is_empty() {
                let until = next_ask.unwrap_or(now + work.settings.replica_fetch_backoff);
                tokio::select! {
                    biased;
                    () = env::sleep_until(until) => continue,
                    () = news(&mut self.todo, work) => return Ok(()),
                }
            }
            // It does not wait until the others have something new: producers that wait for it may send them nothing.
            let wait_max = work.settings.replica_fetch_wait_max;
            let longest_wait = next_ask.map_or(wait_max, |until| wait_max.min(until - now));
            let request = round::request(self.me, &asked, &work.settings, longest_wait);
            let due = now + wait_max;
            let Some(response) = self.wait(work, due, connection.call(FETCH_VERSION, &request)).await else {
                return Ok(());
            };
            let response = response?;
            self.stands(LeaderContact::Heard);
            if let Some(reserved) = reserved {
                reserved.pass(round::slow_bytes(&asked, &response));
            }
            let asked = rounds.with_partitions(asked);
            let checkpoints = self.checkpoints.clone();
            let span = Span::current();
            let taken = self.workers.run(move || span.in_scope(|| take_in(asked, response, &checkpoints))).await;
            rounds.learn(taken, env::now());
        }
    }
}

impl Fetcher {
    /// Waits for the leader, or until there is something new to do: none then. Soon after `due` the leader is in doubt,
    /// and missed later.
    async fn wait<T>(&mut self, work: &Work, mut due: Instant, leader: impl Future<Output = T>) -> Option<T> {
        let mut leader = pin!(leader);
        loop {
            let (next, after) = match self.standing {
                LeaderContact::Heard => (LeaderContact::InDoubt, SOON),
                LeaderContact::InDoubt | LeaderContact::Missed => (LeaderContact::Missed, GRACE),
            };
            tokio::select! {
                biased;
                given = &mut leader => return Some(given),
                () = news(&mut self.todo, work) => return None,
                () = env::sleep_until(due + after), if self.standing != LeaderContact::Missed => {
                    if env::now() > due + after + STALL { due = env::now() } else { self.stands(next) }
                }
            }
        }
    }

    /// Until when a connection may be missing without a doubt. A machine without power breaks it, or not, and is not
    /// there to take another: as silent as one that stands still.
    fn due_unreached(&mut self, work: &Work) -> Instant {
        *self.unreached_since.get_or_insert_with(env::now) + work.settings.replica_fetch_wait_max
    }

    /// Says how the leader stands.
    fn stands(&mut self, standing: LeaderContact) {
        if std::mem::replace(&mut self.standing, standing) != standing {
            tracing::debug!(?standing, "an answer of a leader is overdue, or has come");
        }
        match standing {
            // Also what is not new: one that was aborted under this id may have had a last word.
            LeaderContact::Heard => self.silent.heard(self.id),
            LeaderContact::InDoubt => self.silent.silent(self.id, false),
            LeaderContact::Missed => self.silent.silent(self.id, true),
        }
    }
}

/// Resolves when there is something new to do; what need not be done any more shows when it is asked for.
async fn news(todo: &mut watch::Receiver<Work>, work: &Work) {
    // An error: the sender is gone, and this task is about to be.
    let _ = todo.wait_for(|newer| work.lacks_some_of(newer)).await;
}

/// The partitions of one connection.
struct Rounds {
    partitions: HashMap<TopicIdPartition, (Arc<Partition>, LeaderEpoch)>,
    /// Who is asked for first: those that had nothing last time.
    order: Vec<TopicIdPartition>,
    resting: Resting,
    /// What is asked for of one partition at most.
    most: i32,
}

impl Rounds {
    fn new(work: &Work) -> Rounds {
        let partitions: HashMap<_, _> =
            work.partitions.iter().map(|(p, epoch)| (p.id(), (p.clone(), *epoch))).collect();
        let mut order: Vec<TopicIdPartition> = partitions.keys().copied().collect();
        order.sort_unstable();
        let (resting, most) =
            (Resting::new(work.settings.replica_fetch_backoff), work.settings.replica_fetch_max_bytes);
        Rounds { partitions, order, resting, most }
    }

    /// What to ask for now, with so much room for what is copied slowly (none: there is no rate), of which the rest is
    /// left; and whether anything is left out for want of room. What cannot be asked for yet rests.
    fn ask(
        &mut self,
        now: env::Instant,
        throttled: Throttled,
        room: &mut Option<usize>,
    ) -> (Vec<PartitionFetch>, bool) {
        let (mut asked, mut lacks_room) = (Vec::with_capacity(self.order.len()), false);
        for key in &self.order {
            let Some((partition, epoch)) = self.partitions.get(key) else { continue };
            if self.resting.holds(key, now) {
                continue;
            }
            let Some(next) = partition.next_fetch(*epoch) else {
                self.resting.put(*key, now);
                continue;
            };
            let room = match &mut *room {
                Some(left) if partition.follows_slowly(throttled) => match round::room_for(&next, self.most, left) {
                    None => {
                        lacks_room = true;
                        continue;
                    }
                    room => room,
                },
                _ => None,
            };
            asked.push(PartitionFetch { key: *key, next, room });
        }
        (asked, lacks_room)
    }

    fn with_partitions(&self, asked: Vec<PartitionFetch>) -> HashMap<TopicIdPartition, (Arc<Partition>, NextFetch)> {
        let found = asked.into_iter().filter_map(|PartitionFetch { key, next, .. }| {
            let (partition, _) = self.partitions.get(&key)?;
            Some((key, (partition.clone(), next)))
        });
        found.collect()
    }

    fn learn(&mut self, taken: Vec<(TopicIdPartition, Taken)>, now: env::Instant) {
        let mut fed = std::collections::HashSet::new();
        for (key, taken) in taken {
            match taken {
                Taken::Nothing => self.resting.forget(&key),
                Taken::Some => {
                    self.resting.forget(&key);
                    fed.insert(key);
                }
                Taken::Failed => self.resting.put(key, now),
            }
        }
        if !fed.is_empty() {
            // Stable: a partition that got nothing keeps its turn.
            self.order.sort_by_key(|key| fed.contains(key));
        }
    }
}

/// What became of one partition's answer.
enum Taken {
    Nothing,
    Some,
    Failed,
}

/// Takes a response in: blocks on the disk.
fn take_in(
    mut asked: HashMap<TopicIdPartition, (Arc<Partition>, NextFetch)>,
    response: FetchResponse,
    checkpoints: &Mutex<Checkpoints>,
) -> Vec<(TopicIdPartition, Taken)> {
    let mut taken = Vec::with_capacity(asked.len());
    let mut moved = Vec::new();
    if response.error_code != ErrorCode::NONE {
        tracing::warn!(error = ?response.error_code, "a leader refused a fetch");
        return asked.into_keys().map(|key| (key, Taken::Failed)).collect();
    }
    for topic in response.responses {
        for answer in topic.partitions {
            let key = TopicIdPartition::new(topic.topic_id, answer.partition_index);
            let Some((partition, next)) = asked.remove(&key) else { continue };
            let outcome = take_one(&partition, &next, answer, checkpoints).unwrap_or_else(|error| {
                partition.span().in_scope(|| tracing::error!(%error, "failed to follow"));
                Taken::Failed
            });
            taken.push((key, outcome));
            if partition.has_moved_log_start() {
                moved.push(partition);
            }
        }
    }
    if !moved.is_empty()
        && let Err(error) = upkeep::store(checkpoints, || moved)
    {
        tracing::error!(%error, "failed to write the checkpoints: leaders that delete records wait for them");
    }
    taken
}

fn take_one(
    partition: &Arc<Partition>,
    next: &NextFetch,
    answer: PartitionData,
    checkpoints: &Mutex<Checkpoints>,
) -> Result<Taken, FollowError> {
    match round::meaning(answer) {
        Meaning::Copy(copied) => {
            partition.append_from_leader(next, &copied)?;
            Ok(if copied.records.is_empty() { Taken::Nothing } else { Taken::Some })
        }
        Meaning::Cut { epoch, end_offset } => {
            partition.part_from(next, epoch, end_offset, checkpoints)?;
            Ok(Taken::Nothing)
        }
        Meaning::StartAnew { log_start } => {
            partition.start_anew(next, log_start)?;
            // A log that was cut must not be trusted up to where it was flushed before.
            upkeep::store(checkpoints, || vec![partition.clone()]).map_err(ottla_log::LogError::from)?;
            Ok(Taken::Nothing)
        }
        Meaning::Rest(code) => {
            partition.span().in_scope(|| tracing::debug!(?code, "the leader says: not now"));
            Ok(Taken::Failed)
        }
    }
}

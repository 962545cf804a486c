//! Followers as Kafka clients of their leaders: few fetchers, many partitions in each fetch.
//!
//! - [`Fetchers`]: which partitions are fetched from whom, as roles and image say
//! - `fetcher`: one connection to one leader, one fetch after the other
//! - [`round`]: what to ask for next, and what an answer means, as functions of values
//! - [`single`]: one batch, from a broker that has it

mod fetcher;
pub mod round;
pub mod single;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_config::{BrokerSettings, REPLICA_SOCKET_TIMEOUT};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument;

use self::fetcher::Fetcher;
use super::checkpoints::Checkpoints;
use super::partition::{Busy, Partition};
use super::throttle::Throttle;
use crate::dialer::{CallLimits, Dialer};
use crate::env::{self, Instant, Workers};
use crate::image::{BrokerId, ClusterImage, LeaderEpoch, Me, Route};

/// For connections to leaders. A broker that does not answer for Kafka's default of `replica.socket.timeout.ms` is
/// asked again.
const LIMITS: CallLimits =
    CallLimits { connect: Duration::from_secs(30), request: REPLICA_SOCKET_TIMEOUT, max_response: 256 << 20 };

/// The fetchers of this broker: `num.replica.fetchers` for each leader.
pub struct Fetchers {
    me: Me,
    dialer: Dialer,
    workers: Workers,
    checkpoints: Arc<Mutex<Checkpoints>>,
    running: Mutex<BTreeMap<FetcherId, Running>>,
    /// All of them together keep to `follower.replication.throttled.rate`, or to the rate of moves.
    throttle: Arc<Mutex<Throttle>>,
    moves_rate: MovesRate,
    silent: Silent,
}

/// The bytes per second at which replicas that reassignments add are copied; `None`: no limit. It changes while fetches
/// are under way.
type MovesRate = Arc<Mutex<Option<u64>>>;

/// Leaders that owe an answer, or broke the connection, and since when.
pub type Doubts = BTreeMap<BrokerId, Instant>;

/// Leaders that are silent, as all fetchers together know.
#[derive(Clone, Default)]
struct Silent {
    /// What each fetcher says that does not hear its leader: since when, and whether it misses it.
    by_fetcher: Arc<Mutex<HashMap<FetcherId, (Instant, bool)>>>,
    /// From the first sign on.
    doubts: Arc<watch::Sender<Doubts>>,
    /// When it can't be chance any more.
    unheard: Arc<watch::Sender<BTreeSet<BrokerId>>>,
}

impl Silent {
    /// A fetcher hears its leader.
    fn heard(&self, id: FetcherId) {
        let mut by_fetcher = self.by_fetcher.lock();
        if by_fetcher.remove(&id).is_some() {
            self.tell(&by_fetcher);
        }
    }

    /// It does not, and perhaps misses it.
    fn silent(&self, id: FetcherId, is_missed: bool) {
        let mut by_fetcher = self.by_fetcher.lock();
        by_fetcher.entry(id).or_insert((env::now(), is_missed)).1 = is_missed;
        self.tell(&by_fetcher);
    }

    /// Forgets what fetchers said that there are no more.
    fn retain(&self, is_there: impl Fn(&FetcherId) -> bool) {
        let mut by_fetcher = self.by_fetcher.lock();
        by_fetcher.retain(|id, _| is_there(id));
        self.tell(&by_fetcher);
    }

    fn tell(&self, by_fetcher: &HashMap<FetcherId, (Instant, bool)>) {
        let mut doubts = Doubts::new();
        for ((leader, _), (since, _)) in by_fetcher {
            let first = doubts.entry(*leader).or_insert(*since);
            *first = (*first).min(*since);
        }
        let missed = by_fetcher.iter().filter(|(_, (_, is_missed))| *is_missed);
        replace(&self.unheard, missed.map(|((leader, _), _)| *leader).collect());
        replace(&self.doubts, doubts);
    }
}

/// Notifies the receivers only if the value is new.
fn replace<T: PartialEq>(told: &watch::Sender<T>, now: T) {
    told.send_if_modified(|before| {
        let is_new = *before != now;
        *before = now;
        is_new
    });
}

/// A leader, and one of the fetchers that share what it leads.
type FetcherId = (BrokerId, usize);

struct Running {
    work: watch::Sender<Work>,
    task: AbortHandle,
}

impl Running {
    /// The leader epoch in which it fetches the partition.
    fn epoch_of(&self, partition: &Arc<Partition>) -> Option<LeaderEpoch> {
        let work = self.work.borrow();
        work.partitions.iter().find(|(fetched, _)| Arc::ptr_eq(fetched, partition)).map(|(_, epoch)| *epoch)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one fetcher has to do.
#[derive(Clone, Default)]
pub(super) struct Work {
    /// How the leader is reached; none while nobody says.
    pub route: Option<Route>,
    /// What to fetch, and the leader epoch in which it is followed.
    pub partitions: Vec<(Arc<Partition>, LeaderEpoch)>,
    /// How to fetch.
    pub settings: Arc<BrokerSettings>,
}

impl Work {
    /// Whether `newer` has something that this one has not: less to do is no reason to start again.
    fn lacks_some_of(&self, newer: &Work) -> bool {
        let known: HashMap<*const Partition, LeaderEpoch> =
            self.partitions.iter().map(|(partition, epoch)| (Arc::as_ptr(partition), *epoch)).collect();
        let is_known =
            |(partition, epoch): &(Arc<Partition>, LeaderEpoch)| known.get(&Arc::as_ptr(partition)) == Some(epoch);
        self.route != newer.route
            || !Arc::ptr_eq(&self.settings, &newer.settings)
            || !newer.partitions.iter().all(is_known)
    }

    fn is_same(&self, other: &Work) -> bool {
        self.partitions.len() == other.partitions.len() && !self.lacks_some_of(other)
    }
}

impl Fetchers {
    /// No fetcher yet.
    pub fn new(me: Me, dialer: Dialer, workers: Workers, checkpoints: Arc<Mutex<Checkpoints>>) -> Fetchers {
        let throttle = Arc::new(Mutex::new(Throttle::new(env::now())));
        Fetchers {
            me,
            dialer,
            workers,
            checkpoints,
            running: Mutex::default(),
            throttle,
            moves_rate: MovesRate::default(),
            silent: Silent::default(),
        }
    }

    /// Leaders that were asked and have been silent for longer than they ever should, as long as they are followed.
    pub fn unheard(&self) -> watch::Receiver<BTreeSet<BrokerId>> {
        self.silent.unheard.subscribe()
    }

    /// The same before anybody can be sure of it.
    pub fn doubts(&self) -> watch::Receiver<Doubts> {
        self.silent.doubts.subscribe()
    }

    /// Makes the fetchers fetch what `partitions` follow, from where the image says that their leaders are. While
    /// `more` partitions may come, also those keep their connections that have nothing to fetch now. Must be called on
    /// the control runtime.
    ///
    /// # Errors
    /// That a partition is busy: it is fetched as before, and is to be looked at again.
    pub fn reconcile(&self, image: &ClusterImage, partitions: &[Arc<Partition>], more: bool) -> Result<(), Busy> {
        *self.moves_rate.lock() = image.moves_rate;
        let mut running = self.running.lock();
        let (wanted, looked) = wanted(image, partitions, |partition| {
            running.iter().find_map(|((leader, _), fetcher)| Some((*leader, fetcher.epoch_of(partition)?)))
        });
        running.retain(|id, _| more || wanted.contains_key(id));
        self.silent.retain(|id| running.contains_key(id));
        for (id, mut work) in wanted {
            work.route = image.route(id.0);
            work.settings = image.settings.clone();
            let fetcher = running.entry(id).or_insert_with(|| self.start(id));
            fetcher.work.send_if_modified(|current| {
                let is_new = !current.is_same(&work);
                if is_new {
                    *current = work;
                }
                is_new
            });
        }
        looked
    }

    /// Has these partitions fetched, too, whose roles have begun since [`Fetchers::reconcile`].
    ///
    /// # Errors
    /// That a partition is busy: [`Fetchers::reconcile`] is to be called.
    pub fn add(&self, image: &ClusterImage, partitions: &[Arc<Partition>]) -> Result<(), Busy> {
        let (wanted, looked) = wanted(image, partitions, |_| None);
        let mut running = self.running.lock();
        for (id, more) in wanted {
            let fetcher = running.entry(id).or_insert_with(|| self.start(id));
            let newer: HashSet<_> = more.partitions.iter().map(|(partition, _)| Arc::as_ptr(partition)).collect();
            fetcher.work.send_modify(|work| {
                // A fetcher that had nothing left has kept what it had, in an older epoch.
                work.partitions.retain(|(partition, _)| !newer.contains(&Arc::as_ptr(partition)));
                work.partitions.extend(more.partitions);
                (work.route, work.settings) = (image.route(id.0), image.settings.clone());
            });
        }
        looked
    }

    fn start(&self, id: FetcherId) -> Running {
        let (work, todo) = watch::channel(Work::default());
        let (workers, checkpoints) = (self.workers.clone(), self.checkpoints.clone());
        let (throttle, silent) = ((self.throttle.clone(), self.moves_rate.clone()), self.silent.clone());
        let fetcher = Fetcher::new((self.me, self.dialer.clone()), id, workers, checkpoints, throttle, todo, silent);
        let span = tracing::error_span!("follower", leader = %id.0);
        Running { work, task: tokio::spawn(fetcher.run().instrument(span)).abort_handle() }
    }

    /// Ends all of them.
    pub fn stop(&self) {
        self.running.lock().clear();
    }
}

/// What each fetcher is to fetch of these partitions; where the leader is, it does not say. An error if some are busy:
/// of those, what `known` says.
fn wanted(
    image: &ClusterImage,
    partitions: &[Arc<Partition>],
    known: impl Fn(&Arc<Partition>) -> Option<(BrokerId, LeaderEpoch)>,
) -> (BTreeMap<FetcherId, Work>, Result<(), Busy>) {
    let (mut wanted, mut looked) = (BTreeMap::<FetcherId, Work>::new(), Ok(()));
    let fetchers = image.settings.num_replica_fetchers.max(1);
    for partition in partitions {
        let follows = partition.follows_unless_busy().unwrap_or_else(|busy| {
            looked = Err(busy);
            known(partition)
        });
        if let Some((leader, epoch)) = follows {
            let share = (partition.topic_id.as_u128() as usize).wrapping_add(partition.number as usize) % fetchers;
            wanted.entry((leader, share)).or_default().partitions.push((partition.clone(), epoch));
        }
    }
    (wanted, looked)
}

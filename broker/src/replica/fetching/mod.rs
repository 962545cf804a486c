//! Followers as Kafka clients of their leaders: few fetchers, many partitions in each fetch.
//!
//! - [`Fetchers`]: which partitions are fetched from whom, as roles and image say
//! - `fetcher`: one connection to one leader, one fetch after the other
//! - [`round`]: what to ask for next, and what an answer means, as functions of values
//! - `connection`: requests out, responses in
//! - [`single`]: one batch, from whoever has it

mod connection;
mod fetcher;
pub mod round;
pub mod single;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ottla_config::BrokerSettings;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::fetcher::Fetcher;
use super::checkpoints::Checkpoints;
use super::partition::Partition;
use super::throttle::Throttle;
use crate::env::{self, Workers};
use crate::image::{BrokerId, ClusterImage, Me, Route};

/// The fetchers of this broker: `num.replica.fetchers` for each leader.
pub struct Fetchers {
    me: Me,
    workers: Workers,
    checkpoints: Arc<Mutex<Checkpoints>>,
    running: Mutex<HashMap<FetcherId, Running>>,
    /// All of them together keep to `follower.replication.throttled.rate`.
    throttle: Arc<Mutex<Throttle>>,
    /// Leaders that owe an answer.
    unheard: watch::Sender<BTreeSet<BrokerId>>,
}

/// A leader, and one of the fetchers that share what it leads.
type FetcherId = (BrokerId, usize);

struct Running {
    work: watch::Sender<Work>,
    task: AbortHandle,
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
    pub partitions: Vec<(Arc<Partition>, i32)>,
    /// How to fetch.
    pub settings: Arc<BrokerSettings>,
}

impl Work {
    /// Whether `newer` has something that this one has not: less to do is no reason to begin anew.
    fn lacks_some_of(&self, newer: &Work) -> bool {
        let known: HashMap<*const Partition, i32> =
            self.partitions.iter().map(|(partition, epoch)| (Arc::as_ptr(partition), *epoch)).collect();
        let is_known = |(partition, epoch): &(Arc<Partition>, i32)| known.get(&Arc::as_ptr(partition)) == Some(epoch);
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
    pub fn new(me: Me, workers: Workers, checkpoints: Arc<Mutex<Checkpoints>>) -> Fetchers {
        let throttle = Arc::new(Mutex::new(Throttle::new(env::now())));
        Fetchers { me, workers, checkpoints, running: Mutex::default(), throttle, unheard: watch::Sender::default() }
    }

    /// Leaders that were asked and have been silent for longer than they ever should, as long as they are followed.
    pub fn unheard(&self) -> watch::Receiver<BTreeSet<BrokerId>> {
        self.unheard.subscribe()
    }

    /// Makes the fetchers fetch what `partitions` follow, from where the image says that their leaders are. Must be called on the
    /// control runtime.
    pub fn reconcile(&self, image: &ClusterImage, partitions: &[Arc<Partition>]) {
        let mut wanted: HashMap<FetcherId, Work> = HashMap::new();
        let fetchers = image.settings.num_replica_fetchers.max(1);
        for partition in partitions {
            if let Some((leader, epoch)) = partition.follows() {
                let share = (partition.topic_id.as_u128() as usize).wrapping_add(partition.number as usize) % fetchers;
                wanted.entry((leader, share)).or_default().partitions.push((partition.clone(), epoch));
            }
        }
        let mut running = self.running.lock();
        running.retain(|id, _| wanted.contains_key(id));
        self.unheard.send_if_modified(|unheard| {
            let before = unheard.len();
            unheard.retain(|leader| wanted.keys().any(|(followed, _)| followed == leader));
            unheard.len() != before
        });
        for (id, mut work) in wanted {
            let (leader, _) = id;
            work.route = image.route(leader);
            work.settings = image.settings.clone();
            let fetcher = running.entry(id).or_insert_with(|| self.start(leader));
            fetcher.work.send_if_modified(|current| {
                let is_new = !current.is_same(&work);
                if is_new {
                    *current = work;
                }
                is_new
            });
        }
    }

    fn start(&self, leader: BrokerId) -> Running {
        let (work, todo) = watch::channel(Work::default());
        let (workers, checkpoints) = (self.workers.clone(), self.checkpoints.clone());
        let (throttle, unheard) = (self.throttle.clone(), self.unheard.clone());
        let fetcher = Fetcher::new(self.me, leader, workers, checkpoints, throttle, todo, unheard);
        Running { work, task: tokio::spawn(fetcher.run()).abort_handle() }
    }

    /// Ends all of them.
    pub fn stop(&self) {
        self.running.lock().clear();
    }
}

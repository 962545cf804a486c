//! The host of coordinators: one for each partition of an internal topic that this broker leads.
//!
//! A coordinator's decisions are those of its [`Machine`], as values. The host knows nothing of groups or transactions:
//! it reads the partition's log into the machine, appends what the machine decides, reports the fate of each
//! append, and calls it when time has passed.
//!
//! - [`Coordinators`]: starts and stops coordinators as the replicas' roles change, finds that of a key, ticks
//! - [`Coordinator`]: that of one partition, from its load to its stop: a lock, the clients that wait, a task
//! - `host`: what is in that lock: the machine beside its log, driven by values
//! - [`machine`]: what a machine is asked, and what it answers
//! - `load`: from the log to a machine; `append`: from a machine to the log
//! - `clock`: the time, and the sleep until the next deadline; `key`: the partition of a key
//!
//! Always: what an answer says is in the log, and committed, or the request is refused.

mod append;
mod clock;
mod host;
mod key;
mod lifecycle;
mod load;
pub(crate) mod machine;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

pub(crate) use self::append::{batch_of, transactional_batch_of};
pub(crate) use self::clock::Clock;
pub(crate) use self::key::partition_for;
use self::lifecycle::FlushSoon;
pub(crate) use self::lifecycle::{Coordinator, Post};
use self::machine::{CoordinatorError, Machine};
use crate::env::{self, Workers};
use crate::image::{ClusterImage, ImageReceiver, LeaderEpoch};
use crate::replica::Replicas;
use crate::replica::partition::{Busy, Partition};

/// Pause before another look at a partition that was busy.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The coordinators of the partitions of [`Machine::TOPIC`] that this broker leads.
pub(crate) struct Coordinators<M: Machine> {
    replicas: Arc<Replicas>,
    workers: Workers,
    images: ImageReceiver,
    clock: Arc<Clock>,
    post: Post<M>,
    flush_soon: FlushSoon,
    here: RwLock<Here<M>>,
}

/// The topic's partitions as a look finds them.
#[derive(Default)]
struct Looked {
    /// Those that this broker leads, with the leader epoch.
    led: BTreeMap<i32, (Arc<Partition>, LeaderEpoch)>,
    /// Those that are busy.
    busy: BTreeMap<i32, Arc<Partition>>,
}

/// What is coordinated here.
struct Here<M: Machine> {
    /// Partitions of the topic in all; 0 while there is no such topic.
    partitions: i32,
    running: BTreeMap<i32, Arc<Coordinator<M>>>,
}

impl<M: Machine> Coordinators<M> {
    /// No coordinator yet; see [`Coordinators::run`].
    pub(crate) fn new(
        replicas: Arc<Replicas>,
        workers: Workers,
        images: ImageReceiver,
        post: Post<M>,
    ) -> Coordinators<M> {
        let here = RwLock::new(Here { partitions: 0, running: BTreeMap::new() });
        let flushing = replicas.clone();
        let flush_soon: FlushSoon = Arc::new(move |partition| flushing.flush_soon(partition));
        Coordinators { replicas, workers, images, clock: Arc::new(Clock::start()), post, flush_soon, here }
    }

    /// Follows image and roles, and ticks, until the broker stops. After each look at the roles, `look` gets the image
    /// and the coordinators that have just begun to load. Must be called on the control runtime.
    pub(crate) async fn run(&self, look: impl FnMut(&ClusterImage, &[Arc<Coordinator<M>>])) {
        tokio::join!(self.follow(look), self.tick());
    }

    /// The coordinator of a key: the id of a group or of a transactional producer.
    ///
    /// # Errors
    /// That it is another broker's.
    pub(crate) fn of(&self, key: &str) -> Result<Arc<Coordinator<M>>, CoordinatorError> {
        let here = self.here.read();
        if here.partitions == 0 {
            return Err(CoordinatorError::NotCoordinator);
        }
        let found = here.running.get(&partition_for(key, here.partitions));
        found.cloned().ok_or(CoordinatorError::NotCoordinator)
    }

    /// The coordinator of a partition of the topic.
    ///
    /// # Errors
    /// That it is another broker's.
    pub(crate) fn at(&self, partition: i32) -> Result<Arc<Coordinator<M>>, CoordinatorError> {
        self.here.read().running.get(&partition).cloned().ok_or(CoordinatorError::NotCoordinator)
    }

    /// Every coordinator that runs or loads here.
    pub(crate) fn all(&self) -> Vec<Arc<Coordinator<M>>> {
        self.here.read().running.values().cloned().collect()
    }

    async fn follow(&self, mut look: impl FnMut(&ClusterImage, &[Arc<Coordinator<M>>])) {
        let mut roles = self.replicas.roles();
        loop {
            roles.mark_unchanged();
            let image = self.images.borrow().clone();
            let (begun, are_busy) = self.reconcile(&image);
            look(&image, &begun);
            tokio::select! {
                // Changes after each image as well, when the replicas have the roles that it gives them.
                changed = roles.changed() => if changed.is_err() { return },
                () = env::sleep_until(env::now() + BUSY_PAUSE), if are_busy => {}
            }
        }
    }

    /// A coordinator for each partition that is led here; and none else. Returns those that begin, and whether some
    /// partitions are busy: theirs stay what they are.
    fn reconcile(&self, image: &ClusterImage) -> (Vec<Arc<Coordinator<M>>>, bool) {
        let Looked { led, busy } = self.look(image);
        let leads = |number: &i32, coordinator: &Arc<Coordinator<M>>| {
            led.get(number).is_some_and(|(partition, _)| coordinator.is_for(partition))
                || busy.get(number).is_some_and(|partition| Arc::ptr_eq(coordinator.partition().0, partition))
        };
        // Only this task changes what runs.
        let before = self.here.read().running.clone();
        let (mut running, stopped): (BTreeMap<_, _>, BTreeMap<_, _>) =
            before.into_iter().partition(|(number, coordinator)| leads(number, coordinator));
        let mut begun = Vec::new();
        for (number, (partition, epoch)) in led {
            running.entry(number).or_insert_with(|| {
                let (clock, post, flush_soon) = (self.clock.clone(), self.post.clone(), self.flush_soon.clone());
                let coordinator = Coordinator::new(partition, epoch, clock, image.settings.clone(), post, flush_soon);
                tokio::spawn(coordinator.clone().load(self.workers.clone(), self.images.clone()));
                begun.push(coordinator.clone());
                coordinator
            });
        }
        let partitions = image.topic(M::TOPIC).map_or(0, |topic| topic.partitions.len() as i32);
        *self.here.write() = Here { partitions, running };
        stopped.values().for_each(|coordinator| coordinator.stop());
        (begun, !busy.is_empty())
    }

    fn look(&self, image: &ClusterImage) -> Looked {
        let mut looked = Looked::default();
        let Some(topic) = image.topic(M::TOPIC) else { return looked };
        for number in topic.partitions.iter().map(|assignment| assignment.partition) {
            let Ok(partition) = self.replicas.get(topic, number) else { continue };
            match partition.leader_epoch_unless_busy() {
                Ok(Some(epoch)) => _ = looked.led.insert(number, (partition, epoch)),
                Ok(None) => {}
                Err(Busy) => _ = looked.busy.insert(number, partition),
            }
        }
        looked
    }

    /// Acts on every deadline of every coordinator; one task for all.
    async fn tick(&self) {
        loop {
            self.clock.sleep(|| self.all().iter().filter_map(|coordinator| coordinator.tick()).min()).await;
        }
    }
}

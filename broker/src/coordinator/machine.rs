//! What a coordinator decides with: values in, values out.

use std::time::Duration;

use ottla_batch::{Batch, Marker, Record};
use ottla_config::BrokerSettings;
use thiserror::Error;

use crate::image::{ClusterImage, LeaderEpoch};

/// A request that waits for its answer, by the number that the host gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names an append until the machine knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AppendId(pub u64);

/// The time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since the broker's start; never goes back. Time-outs are counted on it.
    pub monotonic: Duration,
    /// Milliseconds since 1970, for what is written down.
    pub wall_ms: i64,
}

/// Where a record stands in the log, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// The record's offset.
    pub offset: i64,
    /// The producer of its batch; `None`: that is not part of a transaction.
    pub producer: Option<Producer>,
    /// Whether the record is committed. Of the records of an earlier leader's last moments that is not known yet; see
    /// [`Machine::settled`].
    pub is_committed: bool,
}

/// A transactional producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// A batch to append.
#[derive(Debug)]
pub(crate) struct Append {
    /// For [`Machine::decided`].
    pub id: AppendId,
    /// The batch; see [`batch_of`](super::batch_of).
    pub batch: Result<Batch, CoordinatorAppendError>,
}

/// What a machine asks its host for.
#[must_use]
pub(crate) struct Effects<M: Machine> {
    /// Answers to deliver now.
    pub replies: Vec<(Ticket, M::Reply)>,
    /// Batches to append, in this order. The host says in the same order what became of them.
    pub appends: Vec<Append>,
    /// What is to be done outside of the machine.
    pub sends: Vec<M::Message>,
}

impl<M: Machine> Default for Effects<M> {
    fn default() -> Self {
        Effects { replies: Vec::new(), appends: Vec::new(), sends: Vec::new() }
    }
}

impl<M: Machine> Effects<M> {
    /// These, then those.
    pub(crate) fn extend(&mut self, others: Effects<M>) {
        let Effects { replies, appends, sends } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
        self.sends.extend(sends);
    }
}

/// Why a batch is not in the log, and never will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum CoordinatorAppendError {
    /// There is no such partition, or too few in-sync replicas: this or another broker may serve soon.
    #[error("the records cannot be committed now")]
    NotCommitted,
    /// This broker does not lead the partition, or its disk failed: another broker will serve.
    #[error("the partition is not led here")]
    NotLeader,
    /// The log never accepts this batch: it is too large, or its producer is fenced.
    #[error("the log refuses the records")]
    Rejected,
}

/// Why a coordinator does not take a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CoordinatorError {
    /// It reads its partition, or does not know yet whether the key's last records are committed.
    #[error("the coordinator is still loading")]
    LoadInProgress,
    /// Another broker coordinates the key, or nobody does.
    #[error("the coordinator is another broker")]
    NotCoordinator,
}

/// The state of one partition of an internal topic, and what it decides. It runs neither code that waits nor a clock.
///
/// The host calls, in this order: [`Machine::replay`] and [`Machine::control`] for the whole log, [`Machine::loaded`],
/// then the others and requests in any order; [`Machine::settled`] once; at last [`Machine::unload`].
pub(crate) trait Machine: Sized + Send + 'static {
    /// The topic whose partitions hold the records of these machines.
    const TOPIC: &'static str;
    /// The answer to a request.
    type Reply: Send + 'static;
    /// What is to be done outside of the machine: sent to other brokers, or computed where nobody waits for the
    /// machine's lock. It may be lost: the machine asks again until it hears of it.
    type Message: Send + 'static;

    /// A machine without records, which begins in this leader epoch of its partition. The image is the newest one.
    fn new(image: &ClusterImage, leader_epoch: LeaderEpoch) -> Self;

    /// How long requests wait for their records to be committed; see [`Machine::delayed`].
    fn commit_timeout(settings: &BrokerSettings) -> Duration;

    /// A record of the log, in its order. Compaction may have removed earlier ones.
    ///
    /// # Errors
    /// When it is none of this machine's; the host logs that and passes over it.
    fn replay(&mut self, origin: Origin, record: &Record) -> Result<(), NotOurs>;

    /// The end of a producer's transaction in this partition: all its records before it count, or none. Whether that is
    /// committed is as in [`Origin::is_committed`]. Also while the machine serves: then it is committed, and comes in
    /// the order of the log, between what becomes of the appends before and after it.
    fn control(&mut self, producer: Producer, marker: Marker, is_committed: bool);

    /// The log was replayed: time begins.
    fn loaded(&mut self, now: Now) -> Effects<Self>;

    /// Every replayed record is committed.
    fn settled(&mut self, now: Now) -> Effects<Self>;

    /// Whether every record of the key is committed or was decided by this machine: else it is not to be asked.
    fn is_settled(&self, key: &str) -> bool;

    /// What became of an append: its first record's offset, once it is committed.
    fn decided(&mut self, id: AppendId, result: Result<i64, CoordinatorAppendError>, now: Now) -> Effects<Self>;

    /// An append was not committed within the commit time-out. Its requests must be answered; [`Machine::decided`]
    /// still comes.
    fn delayed(&mut self, id: AppendId, now: Now) -> Effects<Self>;

    /// Acts on the deadlines that have passed.
    fn tick(&mut self, now: Now) -> Effects<Self>;

    /// When [`Machine::tick`] has something to do, on [`Now::monotonic`]'s scale; `None`: not before something else
    /// happens.
    fn next_deadline(&self) -> Option<Duration>;

    /// Another broker coordinates: answers to all who wait.
    fn unload(self, now: Now) -> Vec<(Ticket, Self::Reply)>;
}

/// A record that no machine of this kind has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not a record of this coordinator")]
pub(crate) struct NotOurs;

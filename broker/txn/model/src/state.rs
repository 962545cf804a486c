//! What the world is: the log of the coordinators, who coordinates, what the partitions hold, what producers are about,
//! and what is under way between them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ottla_log::{Producers, VerificationGuard};
use ottla_txn::{
    Config, Marker, ProducerIdAndEpoch, Record, SendId, Shard, TopicPartition, Transaction, TransactionResult,
    TransactionState, TransactionVersion, TransactionalId, TxnAppend, TxnAppendId,
};

use crate::clock::now;
use crate::scenario::{Bounds, Used};

/// Partitions that a transaction writes to.
pub const PARTITIONS: usize = 2;

/// The producer id that the transactional id has at first.
const FIRST_PRODUCER_ID: i64 = 7;

/// A transaction as its producer means it, whatever the coordinator and the partitions take it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// Whose: an index of [`State::producers`].
    pub producer: usize,
    /// From 1.
    pub number: usize,
}

/// Everything. What most steps leave alone is shared between states.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The last committed record of the transactional id. Those before it say nothing any more: compaction removes
    /// them.
    pub written: WrittenRecord,
    /// The last one coordinates; the one before it may not know that.
    pub coordinators: Vec<Arc<Coordinator>>,
    /// The partitions, as their leaders have them.
    pub partitions: [Arc<Partition>; PARTITIONS],
    /// Instances of one program, which share the transactional id. The first has its identity from the start.
    pub producers: [Producer; 2],
    /// Requests that were sent and may arrive, again, at any time, or never.
    pub sent: BTreeSet<Letter>,
    /// Markers, likewise.
    pub sent_markers: BTreeSet<MarkerLetter>,
    /// The outcomes that are written down.
    pub decided: BTreeMap<Job, TransactionResult>,
    /// The outcomes that producers were answered.
    pub answered: BTreeMap<Job, TransactionResult>,
    /// How much of the bounds is used up.
    pub used: Used,
    /// What has just gone wrong, or is worth seeing.
    pub seen: Observations,
}

/// A record of the transactional id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrittenRecord {
    /// As it is in the log.
    pub record: Record,
    /// Whose transaction it is about; `None`: it only gives a producer its identity.
    pub job: Option<Job>,
}

/// A coordinator, which the real [`Shard`] decides for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    /// The leader epoch in which it leads the partition of the coordinators' log.
    pub epoch: i32,
    /// What decides.
    pub shard: Shard,
    /// Whose transaction the shard knows; `None`: the last record only gave a producer its identity.
    pub job: Option<Job>,
    /// Its append whose fate it does not know; `None`: there is none.
    pub undecided: Option<Undecided>,
    /// A record that it has found in its log, and that is not known to be committed; `None`: there is none.
    pub unsettled: Option<WrittenRecord>,
    /// Markers that it sends until they are answered.
    pub owed: BTreeSet<MarkerLetter>,
}

/// An append of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Undecided {
    /// Its name.
    pub append: TxnAppendId,
    /// What it is to write.
    pub written: WrittenRecord,
    /// Who waited for it was answered that it takes too long.
    pub is_late: bool,
}

/// A partition as its leader has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its log; offsets are positions.
    pub log: Vec<LogEntry>,
    /// The high watermark: what lies before it outlives the leader.
    pub committed: usize,
    /// What decides: the real state of producers, made of the log.
    pub producers: Producers,
    /// Batches that wait for the answer of a coordinator, in order.
    pub held: Vec<HeldBatch>,
    /// Who waits until an entry is committed.
    pub waiting: Vec<OffsetWait>,
}

/// What a partition's log holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogEntry {
    /// A producer's batch of one record.
    Record {
        /// Whose transaction its producer means it to be part of.
        job: Job,
        /// The producer of the batch.
        producer: ProducerIdAndEpoch,
        /// Its number.
        sequence: i32,
        /// What became of it for the readers of committed records.
        outcome: Option<TransactionResult>,
    },
    /// The end of a transaction.
    Marker {
        /// Whose transaction the coordinator means to end.
        job: Option<Job>,
        /// The marker.
        marker: Marker,
    },
}

/// A batch whose verification is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBatch {
    /// The batch.
    pub batch: Batch,
    /// Whether its producer hears what becomes of it.
    pub is_heard: bool,
    /// What it must come back with.
    pub guard: VerificationGuard,
    /// How far it has got.
    pub stage: Stage,
}

/// How far a verification has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No coordinator was asked yet.
    Begun,
    /// The coordinator of this epoch adds the partition, and will answer.
    Asked(i32),
    /// The coordinator has said that the partition is part of the transaction.
    Verified,
}

/// Waits until everything before an offset is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetWait {
    /// The offset.
    pub end: usize,
    /// Who.
    pub who: Waiter,
}

/// Who waits for an entry of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiter {
    /// The producer of a batch.
    Producer(Batch),
    /// A coordinator, for its marker.
    Coordinator(MarkerLetter),
}

/// An instance of the program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// What it is about.
    pub doing: Doing,
    /// Its identity, once it has one.
    pub identity: ProducerIdAndEpoch,
    /// Transactions that it has begun.
    pub begun: usize,
    /// The sequence of its next record, by partition.
    pub next_sequence: [i32; PARTITIONS],
    /// Its request has arrived, and the answer is to come.
    pub waits: bool,
    /// A record of its transaction may be on its way.
    pub has_unacknowledged: bool,
}

/// What a producer is about: mostly a request that it repeats until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doing {
    /// It has not been started.
    Nothing,
    /// It asks for an identity.
    Beginning,
    /// It asks for another epoch of its identity (KIP-360).
    Renewing,
    /// No transaction is open.
    Ready,
    /// Before V2: it adds the partitions.
    Adding,
    /// It writes to this partition.
    Writing(usize),
    /// All is written.
    Written,
    /// It ends the transaction.
    Ending(TransactionResult),
    /// It has failed for good: fenced, most likely.
    Stopped,
}

/// A request of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    /// InitProducerId.
    Begin {
        /// Who asks: an index of [`State::producers`].
        producer: usize,
        /// The identity that it wants to keep.
        keeps: Option<ProducerIdAndEpoch>,
    },
    /// AddPartitionsToTxn, of all partitions.
    Add {
        /// For which transaction.
        job: Job,
        /// As whom.
        identity: ProducerIdAndEpoch,
    },
    /// Produce.
    Write(Batch),
    /// EndTxn.
    End {
        /// Which transaction.
        job: Job,
        /// As whom.
        identity: ProducerIdAndEpoch,
        /// How.
        outcome: TransactionResult,
    },
}

/// One record on its way to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch {
    /// Of which transaction.
    pub job: Job,
    /// Who writes.
    pub identity: ProducerIdAndEpoch,
    /// Where to.
    pub partition: usize,
    /// Its number there.
    pub sequence: i32,
}

/// A marker on its way to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkerLetter {
    /// The coordinator's name for it.
    pub send: SendId,
    /// What it says.
    pub marker: Marker,
    /// Where to.
    pub partition: usize,
    /// Whose transaction the coordinator means; `None`: it knows of none.
    pub job: Option<Job>,
}

/// What the last step did, where the state does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Observations {
    /// A request changed a transaction that its sender did not mean.
    pub took_for_another: bool,
    /// A transaction was decided a second time, otherwise.
    pub decided_again: bool,
    /// A producer heard that it is fenced.
    pub fenced: bool,
    /// A producer got another epoch of its identity.
    pub renewed: bool,
    /// A partition refused the marker of a replaced coordinator.
    pub refused_coordinator: bool,
    /// A partition refused a marker of an older producer epoch.
    pub refused_marker: bool,
    /// A coordinator did not confirm that a partition is part of a transaction.
    pub not_verified: bool,
    /// A partition refused a batch whose verification is void.
    pub void_guard: bool,
    /// A partition knew a batch that came again.
    pub duplicate: bool,
    /// A coordinator ended what another one had decided.
    pub inherited: bool,
    /// A coordinator acted on a record of which its predecessor did not know whether it is committed.
    pub settled: bool,
    /// A record that a new leader did not have was lost before anybody was answered.
    pub cut: bool,
}

impl State {
    /// The first producer has its identity, no transaction was ever begun.
    pub fn new(bounds: &Bounds) -> State {
        let identity = ProducerIdAndEpoch { producer_id: FIRST_PRODUCER_ID, producer_epoch: bounds.first_epoch };
        let written = WrittenRecord { record: first_record(identity, bounds.cluster), job: None };
        let mut shard = Shard::new(config(bounds.cluster), 0);
        shard.replay(written.record.clone());
        shard.add_producer_ids(fresh_ids(0));
        let effects = shard.loaded(now(0));
        assert!(effects.sends.is_empty() && effects.appends.is_empty(), "nothing is to be ended at first");
        let coordinator =
            Coordinator { epoch: 0, shard, job: None, undecided: None, unsettled: None, owed: BTreeSet::new() };
        let producer = |doing| Producer {
            doing,
            identity,
            begun: 0,
            next_sequence: [0; PARTITIONS],
            waits: false,
            has_unacknowledged: false,
        };
        State {
            written,
            coordinators: vec![Arc::new(coordinator)],
            partitions: Default::default(),
            producers: [producer(Doing::Ready), producer(Doing::Nothing)],
            sent: BTreeSet::new(),
            sent_markers: BTreeSet::new(),
            decided: BTreeMap::new(),
            answered: BTreeMap::new(),
            used: Used::default(),
            seen: Observations::default(),
        }
    }

    /// The coordinator that leads.
    pub fn present(&self) -> usize {
        self.coordinators.len() - 1
    }

    /// A coordinator.
    pub fn coordinator_mut(&mut self, at: usize) -> &mut Coordinator {
        Arc::make_mut(&mut self.coordinators[at])
    }

    /// A partition.
    pub fn partition_mut(&mut self, number: usize) -> &mut Partition {
        Arc::make_mut(&mut self.partitions[number])
    }

    /// What is written down of the transactional id.
    pub fn transaction(&self) -> &Transaction {
        let value = self.written.record.value.as_ref();
        &value.expect("nothing expires here").transaction
    }
}

/// What is known of producers is made of the log and the high watermark by the same functions always, so it adds
/// nothing to them, but for the verifications. Of a guard only matters whether it is still that of its verification: it
/// is compared with nothing else, and one that is void never comes back. So two states that differ only in the numbers
/// of guards are the same.
impl Hash for Partition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Partition { log, committed, producers, held, waiting } = self;
        (log, committed, waiting).hash(state);
        let mut verifications: Vec<_> = producers.verifications().collect();
        verifications.sort_unstable_by_key(|(producer_id, _)| *producer_id);
        for (producer_id, verification) in &verifications {
            (producer_id, verification.epoch, verification.lowest_sequence).hash(state);
            verification.supports_epoch_bump.hash(state);
        }
        for HeldBatch { batch, is_heard, guard, stage } in held {
            let is_good = verifications
                .iter()
                .any(|(id, verification)| *id == batch.identity.producer_id && verification.guard == *guard);
            (batch, is_heard, stage, is_good).hash(state);
        }
    }
}

impl Coordinator {
    /// Where its transaction is, as far as it knows; `None`: it does not know the transactional id.
    pub fn state(&self) -> Option<TransactionState> {
        self.shard.describe(&id()).ok().map(|described| described.state)
    }

    /// The record of an append that it begins.
    pub fn begin(&mut self, append: TxnAppend, job: Option<Job>) {
        let TxnAppend { id: append, mut records } = append;
        let record = records.pop().expect("an append has records");
        assert!(records.is_empty() && self.undecided.is_none(), "one id has one record in flight");
        self.undecided = Some(Undecided { append, written: WrittenRecord { record, job }, is_late: false });
    }
}

/// The transactional id.
pub fn id() -> TransactionalId {
    "id".into()
}

/// A partition by the name that coordinators have for it.
pub fn topic_partition(partition: usize) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: partition as i32 }
}

/// The settings of every coordinator.
pub fn config(transaction_version: TransactionVersion) -> Config {
    Config { transaction_version, ..Config::default() }
}

/// The producer ids that a coordinator may give.
pub fn fresh_ids(coordinator_epoch: i32) -> std::ops::Range<i64> {
    let first = 100 * (i64::from(coordinator_epoch) + 1);
    first..first + 2
}

fn first_record(identity: ProducerIdAndEpoch, cluster: TransactionVersion) -> Record {
    let ProducerIdAndEpoch { producer_id, producer_epoch } = identity;
    let transaction = Transaction {
        producer_id,
        producer_epoch,
        previous_producer_id: Some(producer_id),
        next_producer_id: None,
        last_producer_epoch: None,
        timeout_ms: crate::clock::TIMEOUT_MS,
        state: TransactionState::Empty,
        partitions: BTreeSet::new(),
        start_ms: None,
        last_update_ms: 0,
        client_version: TransactionVersion::V0,
    };
    Record::of(id(), transaction, cluster)
}

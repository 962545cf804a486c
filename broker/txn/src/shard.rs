//! The transactional ids of one `__transaction_state` partition.
//!
//! Memory never runs ahead of the log: a change is decided on what is committed, written down, and taken over when its
//! record is committed. Until then the id refuses every other change with CONCURRENT_TRANSACTIONS, so at most one
//! record of an id is in flight. What an append came to is never guessed: one that takes long stays in flight.
//!
//! The host's part: append the records of [`Effects::appends`] in the order handed out, each [`TxnAppend`] as one
//! batch; report each one's fate with [`Shard::decided`], in the same order (and [`Shard::delayed`] when it takes too
//! long); deliver the replies; write the markers of [`Effects::sends`] and report what came of them with
//! [`Shard::sent`]; call [`Shard::tick`] at [`Shard::next_deadline`]; keep [`Shard::producer_ids_left`] above what
//! clients may need.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::add_partitions;
use crate::config::Config;
use crate::effects::{Effects, TxnAppend, TxnAppendId};
use crate::end_txn;
use crate::error::{TxnAppendError, TxnError};
use crate::ids::{Now, Ticket, TransactionalId};
use crate::init_producer_id;
use crate::markers::Sending;
use crate::producer_ids::ProducerIds;
use crate::record::Record;
use crate::request::{Request, TxnReply, VerifyPartitions, VerifyReply};
use crate::timeouts::Deadlines;
use crate::transaction::{Transaction, TransactionVersion};
use crate::turn::{CurrentTransaction, Turn, TxnDecision};

/// An append whose fate is not known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct PendingAppend {
    changes: Vec<(TransactionalId, TransactionChange)>,
    /// Delivered when the records are committed; if they can't be, the same kinds of reply with the error.
    replies: Vec<(Ticket, TxnReply)>,
}

/// What becomes of an id when its record is committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TransactionChange {
    To(Box<Transaction>),
    /// It has expired. Kafka's state Dead.
    Dead,
}

/// The transactional ids of one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shard {
    pub(crate) config: Config,
    /// The leader epoch of the partition: markers carry it, so that partitions refuse an older coordinator's.
    pub(crate) coordinator_epoch: i32,
    pub(crate) ids: ProducerIds,
    /// What is committed.
    pub(crate) transactions: BTreeMap<TransactionalId, Transaction>,
    in_flight: BTreeMap<TxnAppendId, PendingAppend>,
    /// The append that changes an id.
    pending: BTreeMap<TransactionalId, TxnAppendId>,
    next_append: u64,
    pub(crate) sending: Sending,
    pub(crate) deadlines: Deadlines,
    /// Ids with records of which it is not known yet whether they are committed: they are left alone.
    unsettled: BTreeSet<TransactionalId>,
}

impl Shard {
    /// An empty shard: replay the partition into it, then call [`Shard::loaded`]. `coordinator_epoch` is the leader
    /// epoch of the partition.
    pub fn new(config: Config, coordinator_epoch: i32) -> Self {
        Shard {
            config,
            coordinator_epoch,
            ids: ProducerIds::default(),
            transactions: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_append: 0,
            sending: Sending::default(),
            deadlines: Deadlines::default(),
            unsettled: BTreeSet::new(),
        }
    }

    /// A committed record, in the order of the log. Only before [`Shard::loaded`]. It says all there is of its id,
    /// because compaction removes the records before it.
    pub fn replay(&mut self, record: Record) {
        let Record { transactional_id, value } = record;
        match value {
            Some(value) => self.transactions.insert(transactional_id, value.transaction),
            None => self.transactions.remove(&transactional_id),
        };
    }

    /// The same for a record of which it is not known yet whether it is committed: until [`Shard::settled`] its id is
    /// not to be asked, and no marker is written for it. A marker can't be taken back, but the record may be lost.
    pub fn replay_unsettled(&mut self, record: Record) {
        self.unsettled.insert(record.transactional_id.clone());
        self.replay(record);
    }

    /// Whether all that is known of the id is committed.
    pub fn is_settled(&self, id: &str) -> bool {
        !self.unsettled.contains(id)
    }

    /// Everything is replayed: every decided transaction is brought to its end, from its first marker on, because
    /// nobody knows which markers the coordinator before this one has written.
    pub fn loaded(&mut self, now: Now) -> Effects {
        self.deadlines.begin(&self.config, now);
        let settled = self.transactions.keys().filter(|id| self.is_settled(id)).cloned().collect();
        self.end_prepared(settled, now)
    }

    /// All that was replayed is committed.
    pub fn settled(&mut self, now: Now) -> Effects {
        let settled = std::mem::take(&mut self.unsettled).into_iter().collect();
        self.end_prepared(settled, now)
    }

    fn end_prepared(&mut self, ids: Vec<TransactionalId>, now: Now) -> Effects {
        let mut effects = Effects::default();
        for id in ids {
            self.end_if_prepared(&id, now, &mut effects);
        }
        effects
    }

    /// This broker no longer leads the partition: waiting clients get an error and look for the new coordinator.
    pub fn unload(self) -> Vec<(Ticket, TxnReply)> {
        let waiting = self.in_flight.into_values().flat_map(|write| write.replies);
        waiting.map(|(ticket, reply)| (ticket, reply.refused(TxnError::NotCoordinator))).collect()
    }

    /// Fresh producer ids, which nobody has or had.
    pub fn add_producer_ids(&mut self, block: Range<i64>) {
        self.ids.add(block);
    }

    /// How many fresh ids are left. A new transactional id takes one, and one whose epochs are exhausted. Without any,
    /// requests that need one are refused with COORDINATOR_LOAD_IN_PROGRESS, which clients repeat, and time-outs that
    /// need one wait.
    pub fn producer_ids_left(&self) -> i64 {
        self.ids.left()
    }

    /// The cluster has finalized another level.
    pub fn set_transaction_version(&mut self, version: TransactionVersion) {
        self.config.transaction_version = version;
    }

    /// A request. Its answer is among the effects, or among later ones.
    pub fn request(&mut self, request: &Request, ticket: Ticket, now: Now) -> Effects {
        let id = request.transactional_id();
        let mut turn = Turn { config: &self.config, ids: &mut self.ids, now };
        let found =
            CurrentTransaction { transaction: self.transactions.get(id), is_pending: self.pending.contains_key(id) };
        let step = match request {
            Request::InitProducerId(request) => init_producer_id::decide(request, found, &mut turn),
            Request::AddPartitions(request) => add_partitions::decide(request, found, &turn),
            Request::EndTxn(request) => end_txn::decide(request, found, &mut turn),
        };
        let mut effects = Effects::default();
        match step {
            Err(error) => effects.replies.push((ticket, request.refused(error))),
            Ok(TxnDecision::Answer(reply)) => effects.replies.push((ticket, reply)),
            Ok(TxnDecision::Write(next, reply)) => {
                let changes = vec![(id.clone(), TransactionChange::To(Box::new(next)))];
                self.write(changes, vec![(ticket, reply)], &mut effects);
            }
        }
        effects
    }

    /// AddPartitionsToTxn with `verifyOnly`: whether the partitions are in the producer's open transaction. A change on
    /// its way does not matter: the leader that asks checks again when it appends.
    ///
    /// # Errors
    /// That there is no such id (49), it has another producer (49, 90), or its transaction is ending (51). A partition
    /// that is missing has its own result (120).
    pub fn verify(&self, request: &VerifyPartitions) -> VerifyReply {
        add_partitions::verify(request, self.transactions.get(&request.transactional_id))
    }

    /// The append is not committed in time: the clients that wait for it get an error. It may still be committed, so
    /// the caller must still report its fate, and its ids stay as they are.
    pub fn delayed(&mut self, id: TxnAppendId) -> Effects {
        let waiting = self.in_flight.get_mut(&id).map(|write| std::mem::take(&mut write.replies)).unwrap_or_default();
        let late = TxnAppendError::NotCommitted.into();
        let replies = waiting.into_iter().map(|(ticket, reply)| (ticket, reply.refused(late))).collect();
        Effects { replies, ..Effects::default() }
    }

    /// The fate of an append: committed (not only written) at this offset, or not there and never will be.
    pub fn decided(&mut self, id: TxnAppendId, fate: Result<i64, TxnAppendError>, now: Now) -> Effects {
        let mut effects = Effects::default();
        let Some(PendingAppend { changes, replies }) = self.in_flight.remove(&id) else { return effects };
        let changed: Vec<_> = changes.iter().map(|(id, _)| id.clone()).collect();
        for id in &changed {
            self.pending.remove(id);
        }
        match fate {
            Ok(_) => {
                self.take_over(changes);
                effects.replies = replies;
                effects.extend(self.end_prepared(changed, now));
            }
            Err(error) => {
                let refused = |(ticket, reply): (Ticket, TxnReply)| (ticket, reply.refused(error.into()));
                effects.replies = replies.into_iter().map(refused).collect();
                self.deadlines.retry_completions(now);
            }
        }
        effects
    }

    fn take_over(&mut self, changes: Vec<(TransactionalId, TransactionChange)>) {
        for (id, change) in changes {
            match change {
                TransactionChange::To(next) => self.transactions.insert(id, *next),
                TransactionChange::Dead => self.transactions.remove(&id),
            };
        }
    }

    pub(crate) fn is_pending(&self, id: &str) -> bool {
        self.pending.contains_key(id)
    }

    /// Whether a tombstone of the id is on its way.
    pub(crate) fn is_dying(&self, id: &str) -> bool {
        let write = self.pending.get(id).and_then(|append| self.in_flight.get(append));
        write.is_some_and(|write| write.changes.iter().any(|(_, change)| matches!(change, TransactionChange::Dead)))
    }

    /// Appends the records of these changes as one batch.
    pub(crate) fn write(
        &mut self,
        changes: Vec<(TransactionalId, TransactionChange)>,
        replies: Vec<(Ticket, TxnReply)>,
        effects: &mut Effects,
    ) {
        let append = TxnAppendId(self.next_append);
        self.next_append += 1;
        let version = self.config.transaction_version;
        let record = |(id, change): &(TransactionalId, TransactionChange)| match change {
            TransactionChange::To(next) => Record::of(id.clone(), (**next).clone(), version),
            TransactionChange::Dead => Record { transactional_id: id.clone(), value: None },
        };
        effects.appends.push(TxnAppend { id: append, records: changes.iter().map(record).collect() });
        for (id, _) in &changes {
            let before = self.pending.insert(id.clone(), append);
            assert!(before.is_none(), "a change of {id} was begun while another one is under way");
        }
        self.in_flight.insert(append, PendingAppend { changes, replies });
    }
}

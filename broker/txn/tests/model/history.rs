//! What was answered, written down and sent, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ottla_txn::record::Value;
use ottla_txn::*;

use super::clients::{Asked, Instance, transaction_of};

#[derive(Default)]
pub struct History {
    /// To whom an identity was given.
    given: HashMap<ProducerIdAndEpoch, Instance>,
    /// Those after whom another instance got an identity.
    fenced: BTreeSet<Instance>,
    /// The outcome of a transaction, once it was answered.
    answered: BTreeMap<i32, TransactionResult>,
    /// The outcome that the markers of a transaction carry.
    marked: BTreeMap<i32, TransactionResult>,
    /// The partitions of a transaction whose addition was answered.
    added: BTreeMap<i32, BTreeSet<TopicPartition>>,
    /// The partitions of a transaction whose outcome is decided.
    decided: BTreeMap<i32, BTreeSet<TopicPartition>>,
    /// The partitions that need no marker any longer.
    ended: BTreeSet<TopicPartition>,
    last: Option<Transaction>,
}

impl History {
    /// What came of a request at once.
    pub fn asked(&self, asked: &Asked, effects: &Effects) {
        if !asked.is_fresh && self.fenced.contains(&asked.instance) {
            assert_eq!(effects.appends, [], "a fenced producer changes something: {asked:?}");
        }
    }

    pub fn replied(&mut self, asked: &Asked, reply: &TxnReply) {
        let Asked { instance, transaction, .. } = *asked;
        let (succeeds, identity) = match reply {
            TxnReply::InitProducerId(result) => (result.is_ok(), result.ok()),
            TxnReply::AddPartitions(result) => (result.is_ok(), None),
            TxnReply::EndTxn(result) => (result.is_ok(), result.ok().flatten()),
        };
        if !succeeds {
            return;
        }
        assert!(!self.fenced.contains(&instance), "a fenced producer succeeds: {asked:?} {reply:?}");
        if let Some(identity) = identity {
            assert!((0..i16::MAX).contains(&identity.producer_epoch), "{identity:?} is no client's");
            let owner = *self.given.entry(identity).or_insert(instance);
            assert_eq!(owner, instance, "{identity:?} is given to two");
        }
        if asked.is_fresh {
            self.fenced.extend(self.given.values().filter(|other| **other != instance));
        }
        match (&asked.request, transaction) {
            (Request::AddPartitions(request), Some(number)) => {
                self.added.entry(number).or_default().extend(request.partitions.iter().cloned());
            }
            (Request::EndTxn(request), Some(number)) => self.ended(number, request.outcome),
            _ => {}
        }
    }

    fn ended(&mut self, number: i32, outcome: TransactionResult) {
        let before = *self.answered.entry(number).or_insert(outcome);
        assert_eq!(before, outcome, "transaction {number} was answered otherwise before");
        if let Some(marked) = self.marked.get(&number) {
            assert_eq!(*marked, outcome, "transaction {number} has other markers");
        }
        let added = self.added.get(&number).cloned().unwrap_or_default();
        let decided = self.decided.get(&number).cloned().unwrap_or_default();
        assert!(decided.is_superset(&added), "transaction {number} forgot partitions: {added:?} but {decided:?}");
    }

    pub fn sent(&mut self, WriteMarkers { marker, partitions, .. }: &WriteMarkers) {
        let numbers: BTreeSet<i32> = partitions.iter().map(transaction_of).collect();
        let number = *numbers.first().expect("markers go somewhere");
        assert_eq!(numbers.len(), 1, "markers go to several transactions: {partitions:?}");
        let before = *self.marked.entry(number).or_insert(marker.outcome);
        assert_eq!(before, marker.outcome, "transaction {number} had other markers");
        if let Some(answered) = self.answered.get(&number) {
            assert_eq!(*answered, marker.outcome, "transaction {number} was answered otherwise");
        }
        let decided = &self.decided[&number];
        assert!(partitions.iter().all(|partition| decided.contains(partition)), "{partitions:?}, not in {decided:?}");
    }

    /// What came of a marker.
    pub fn marker(&mut self, partition: &TopicPartition, result: MarkerResult) {
        match result {
            MarkerResult::Written | MarkerResult::Deleted | MarkerResult::ProducerFenced => {
                self.ended.insert(partition.clone());
            }
            MarkerResult::Retriable | MarkerResult::CoordinatorFenced => {}
        }
    }

    /// A record is in the log for good.
    pub fn committed(&mut self, record: &Record) {
        let Some(Value { transaction, .. }) = &record.value else { panic!("nothing expires here") };
        let numbers: BTreeSet<i32> = transaction.partitions.iter().map(transaction_of).collect();
        assert!(numbers.len() <= 1, "partitions of several transactions: {transaction:?}");
        if let Some(last) = &self.last {
            check_change(last, transaction);
            let is_end = matches!(last.state, TransactionState::Prepare(_));
            assert!(!is_end || last.partitions.is_subset(&self.ended), "without markers in all of {last:?}");
        }
        if let (TransactionState::Prepare(_), Some(number)) = (transaction.state, numbers.first()) {
            self.decided.insert(*number, transaction.partitions.clone());
        }
        self.last = Some(transaction.clone());
    }
}

fn check_change(from: &Transaction, to: &Transaction) {
    let is_allowed = match (from.state, to.state) {
        (
            TransactionState::Empty | TransactionState::Complete(_),
            TransactionState::Empty | TransactionState::Ongoing | TransactionState::Prepare(TransactionResult::Abort),
        ) => true,
        (TransactionState::Ongoing, TransactionState::Ongoing | TransactionState::Prepare(_)) => true,
        (TransactionState::Prepare(decided), TransactionState::Complete(completed)) => decided == completed,
        _ => false,
    };
    assert!(is_allowed, "from {from:?} to {to:?}");
    if from.producer_id == to.producer_id {
        assert!(from.producer_epoch <= to.producer_epoch, "the epoch falls: from {from:?} to {to:?}");
    } else {
        assert_eq!(to.producer_epoch, 0, "{to:?}");
    }
}

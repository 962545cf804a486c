//! Who judges what clients see.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ottla_history::{Checker, Id, Operation, Partition as Numbered, transactions};

/// Producers of transactions have numbers from here on, in their records as well.
pub(crate) const TRANSACTIONAL: u32 = 1_000;

/// The judges.
#[derive(Default)]
pub(crate) struct Judges {
    /// Records without a transaction, and what groups have committed.
    pub records: Checker,
    /// Records of transactions.
    pub transactions: transactions::Checker,
    /// Transactions take records without a transaction, too.
    transactions_take_all: bool,
    /// By group and partition, the offsets of which a transaction has asked to be committed.
    wanted: BTreeSet<(usize, usize, i64)>,
}

impl Judges {
    /// Of a world where transactions take records without a transaction, too, or none.
    pub(crate) fn new(transactions_take_all: bool) -> Judges {
        Judges { transactions_take_all, ..Judges::default() }
    }

    /// Whether a record is for the judge of transactions, or for the other one.
    pub(crate) fn wants(&self, id: Option<Id>, of_transactions: bool) -> bool {
        let is_in_transaction = id.is_some_and(|id| id.producer >= TRANSACTIONAL);
        is_in_transaction == of_transactions || (of_transactions && self.transactions_take_all)
    }

    /// A client asks for a transaction to be committed, with this offset of a group.
    pub(crate) fn asks_to_commit(&mut self, group: usize, partition: usize, offset: i64) {
        self.wanted.insert((group, partition, offset));
    }

    /// That transaction is committed.
    pub(crate) fn has_committed(&mut self, group: usize, partition: usize, offset: i64) {
        let (group, partition) = (group as u32, Numbered(partition as u32));
        self.records.observe(Operation::Committed { group, partition, offset });
    }

    /// What must be the offset, at least, of a group whose offset is asked for now.
    pub(crate) fn known_commit(&self, group: usize, partition: usize) -> Option<i64> {
        self.records.known_commit(group as u32, Numbered(partition as u32))
    }

    /// The offset of a group, of which transactions commit the offsets, was asked for when so much was `known`. The
    /// coordinator has said that no transaction is about to change it.
    ///
    /// # Errors
    /// That nobody has asked for that offset to be committed.
    pub(crate) fn read_stable(
        &mut self,
        group: usize,
        partition: usize,
        offset: Option<i64>,
        known: Option<i64>,
    ) -> Result<()> {
        let is_wanted = offset.is_none_or(|offset| self.wanted.contains(&(group, partition, offset)));
        ensure!(is_wanted, "group {group} is at {offset:?} of {partition}, which no transaction was to commit");
        let (group, partition) = (group as u32, Numbered(partition as u32));
        self.records.observe(Operation::CommitRead { group, partition, offset, known });
        Ok(())
    }
}

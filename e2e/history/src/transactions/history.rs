//! What the checker keeps of the operations.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

use super::operation::{Isolation, Outcome, Protocol};
use super::report::{Finding, Kind};
use crate::{Id, Partition};

/// The history. An index names a record, a transaction or a step.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) records: Vec<Record>,
    by_id: HashMap<Id, u32>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) steps: Vec<Step>,
    /// The records that polls returned, poll after poll.
    pub(super) reads: Vec<u32>,
    pub(super) clients: BTreeMap<u32, Client>,
    pub(super) gaps: Vec<Gap>,
    pub(super) taken: Vec<Taken>,
    pub(super) bounds: BTreeMap<Partition, Bounds>,
    /// The groups' committed offsets at the end; `None`: the group has none.
    pub(super) groups: BTreeMap<(u32, Partition), Option<i64>>,
}

/// A record, as its client and its readers know it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: Id,
    pub(super) partition: Option<Partition>,
    pub(super) offset: Option<i64>,
    pub(super) transaction: Option<u32>,
    /// The last step of its client before it sent the record; none if there was none.
    pub(super) after: Option<u32>,
    pub(super) is_sent: bool,
    pub(super) is_acknowledged: bool,
    pub(super) is_polled: bool,
    /// The last read with read_committed has found it.
    pub(super) is_logged: bool,
    /// The last read with read_uncommitted has found it.
    pub(super) is_stored: bool,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) client: u32,
    /// Its number among its client's transactions, from 0.
    pub(super) number: u32,
    pub(super) protocol: Protocol,
    pub(super) outcome: Outcome,
    /// Its last step; none while it is open.
    pub(super) decision: Option<u32>,
}

/// A poll or a decision. A client sends records between its steps.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) client: u32,
    /// The client's step before. A decision in doubt may in fact come after later steps; that makes no false cycle,
    /// since every event that it depends on is before them.
    pub(super) previous: Option<u32>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Its records: a range of `reads`.
    Poll(Range<u32>),
    /// The end of this transaction.
    Decision(u32),
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) begun: u32,
    pub(super) open: Option<u32>,
    /// Its last step.
    pub(super) last: Option<u32>,
    pub(super) positions: HashMap<Partition, Position>,
}

#[derive(Debug)]
pub(super) struct Position {
    pub(super) next: i64,
    /// A rebalance has assigned the partition again since the last record.
    pub(super) is_assigned_again: bool,
}

/// Offsets that a consumer passed without being given a record.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) client: u32,
    pub(super) partition: Partition,
    pub(super) offsets: Range<i64>,
    /// What it counts as if a record lies there.
    pub(super) finding: Finding,
}

/// Offsets that a transaction commits for a group.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) transaction: u32,
    pub(super) group: u32,
    pub(super) partition: Partition,
    pub(super) offsets: Range<i64>,
}

/// First offset and end of a partition, when it was read at last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) committed: Option<(i64, i64)>,
    pub(super) uncommitted: Option<(i64, i64)>,
}

impl History {
    /// The index of the record with this id, which may be new.
    pub(super) fn record(&mut self, id: Id) -> u32 {
        *self.by_id.entry(id).or_insert_with(|| {
            self.records.push(Record {
                id,
                partition: None,
                offset: None,
                transaction: None,
                after: None,
                is_sent: false,
                is_acknowledged: false,
                is_polled: false,
                is_logged: false,
                is_stored: false,
            });
            self.records.len() as u32 - 1
        })
    }

    pub(super) fn client(&mut self, client: u32) -> &mut Client {
        self.clients.entry(client).or_default()
    }

    /// Adds a step of a client.
    pub(super) fn step(&mut self, client: u32, what: What) -> u32 {
        let step = self.steps.len() as u32;
        let previous = self.client(client).last.replace(step);
        self.steps.push(Step { client, previous, what });
        step
    }

    pub(super) fn bounds_mut(&mut self, isolation: Isolation, partition: Partition) -> &mut Option<(i64, i64)> {
        let bounds = self.bounds.entry(partition).or_default();
        match isolation {
            Isolation::ReadCommitted => &mut bounds.committed,
            Isolation::ReadUncommitted => &mut bounds.uncommitted,
        }
    }

    /// First offset and end of the last read with read_committed.
    pub(super) fn log(&self, partition: Partition) -> Option<(i64, i64)> {
        self.bounds.get(&partition)?.committed
    }

    pub(super) fn transaction_of(&self, record: &Record) -> Option<&Transaction> {
        record.transaction.map(|transaction| &self.transactions[transaction as usize])
    }

    /// A violation of a transaction, or one that KAFKA-17754 may explain.
    pub(super) fn finding(&self, kind: Kind, transaction: Option<u32>) -> Finding {
        let transaction = transaction.map(|transaction| &self.transactions[transaction as usize]);
        let may_be_delayed = transaction.is_some_and(|transaction| {
            let has_neighbours = self.clients.get(&transaction.client).is_some_and(|client| client.begun > 1);
            transaction.protocol == Protocol::V1 && has_neighbours
        });
        if may_be_delayed { Finding::Delayed(kind) } else { Finding::Violation(kind) }
    }

    /// A record's id, transaction and place, for the report.
    pub(super) fn named(&self, record: u32) -> String {
        let record = &self.records[record as usize];
        let mut name = format!("record {}", record.id);
        if let Some(transaction) = self.transaction_of(record) {
            name += &format!(" of {transaction}");
        }
        match (record.partition, record.offset) {
            (Some(partition), Some(offset)) => name += &format!(" ({partition}, offset {offset})"),
            (Some(partition), None) => name += &format!(" ({partition})"),
            (None, _) => {}
        }
        name
    }
}

impl Record {
    /// Notes where the record lies. False if that contradicts what is known.
    pub(super) fn lies_at(&mut self, partition: Partition, offset: Option<i64>) -> bool {
        let fits = self.partition.is_none_or(|known| known == partition)
            && (self.offset.is_none() || offset.is_none() || self.offset == offset);
        if fits {
            self.partition = Some(partition);
            self.offset = self.offset.or(offset);
        }
        fits
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transaction {}/{}", self.client, self.number)
    }
}

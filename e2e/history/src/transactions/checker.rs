//! Takes operations in. Judges at once what the order of one client shows, and the rest when the history is whole.

use super::history::{Gap, History, Position, Taken, Transaction, What};
use super::log::{Fate, Logs, fates};
use super::operation::{Given, Isolation, Operation, Outcome, Protocol};
use super::report::{Allowed, Finding, Kind, Report};
use super::{flow, offsets, records};
use crate::{Id, Partition};

/// Takes operations, gives a [`Report`].
#[derive(Debug, Default)]
pub struct Checker {
    history: History,
    /// Violations that later operations cannot change.
    report: Report,
}

impl Checker {
    /// Adds an operation to the history.
    pub fn observe(&mut self, operation: Operation) {
        match operation {
            Operation::Begun { client, protocol } => self.begun(client, protocol),
            Operation::Sent { id } => self.sent(id),
            Operation::Acknowledged { id, partition, offset } => {
                let record = self.history.record(id);
                self.history.records[record as usize].is_acknowledged = true;
                self.lies_at(record, partition, offset, "it was acknowledged");
            }
            Operation::Polled { client, records } => self.polled(client, records),
            Operation::OffsetsSent { client, group, partition, taken } => match self.history.client(client).open {
                Some(transaction) => self.history.taken.push(Taken { transaction, group, partition, offsets: taken }),
                None => self.incomplete(|| format!("client {client} sent offsets without a transaction")),
            },
            Operation::Ended { client, outcome } => self.ended(client, outcome),
            Operation::Seeked { client, partition, offset } => {
                let position = Position { next: offset, is_assigned_again: false };
                self.history.client(client).positions.insert(partition, position);
            }
            Operation::Assigned { client, partition } => {
                if let Some(position) = self.history.client(client).positions.get_mut(&partition) {
                    position.is_assigned_again = true;
                }
            }
            Operation::AtEnd { client, partition, offset } => {
                let position = self.history.client(client).positions.get(&partition);
                if let Some(Position { next, is_assigned_again: false }) = position {
                    let (offsets, finding) = (*next..offset, Finding::Violation(Kind::Unseen));
                    self.history.gaps.push(Gap { client, partition, offsets, finding });
                }
            }
            Operation::Logged { isolation, partition, offset, id } => self.logged(isolation, partition, offset, id),
            Operation::LogRead { isolation, partition, start, end } => {
                self.report.counts.partitions += u64::from(isolation == Isolation::ReadCommitted);
                *self.history.bounds_mut(isolation, partition) = Some((start, end));
            }
            Operation::GroupRead { group, partition, offset } => {
                self.history.groups.insert((group, partition), offset);
            }
        }
    }

    /// Judges the history.
    pub fn report(mut self) -> Report {
        let clients: Vec<u32> = self.history.clients.keys().copied().collect();
        for client in clients {
            self.end_if_open(client);
        }
        let Checker { history, mut report } = self;
        let fates = fates(&history);
        let logs = Logs::new(&history, &fates);
        let resolved = history.transactions.iter().zip(&fates).filter(|(transaction, fate)| {
            transaction.outcome == Outcome::InDoubt && matches!(fate, Fate::Committed | Fate::Torn)
        });
        report.counts.in_doubt_committed = resolved.count() as u64;
        let incomplete = records::judge(&history, &fates, &logs, &mut report);
        offsets::judge(&history, &fates, &logs, &incomplete, &mut report);
        flow::judge(&history, &fates, &logs, &mut report);
        report
    }

    fn begun(&mut self, client: u32, protocol: Protocol) {
        self.end_if_open(client);
        let transaction = self.history.transactions.len() as u32;
        let known = self.history.client(client);
        let number = known.begun;
        known.begun += 1;
        known.open = Some(transaction);
        let outcome = Outcome::InDoubt;
        self.history.transactions.push(Transaction { client, number, protocol, outcome, decision: None });
    }

    fn ended(&mut self, client: u32, outcome: Outcome) {
        let Some(transaction) = self.history.client(client).open.take() else {
            return self.incomplete(|| format!("client {client} ended a transaction that it has not begun"));
        };
        let step = self.history.step(client, What::Decision(transaction));
        let ended = &mut self.history.transactions[transaction as usize];
        (ended.outcome, ended.decision) = (outcome, Some(step));
        let counts = &mut self.report.counts;
        match outcome {
            Outcome::Committed => counts.committed += 1,
            Outcome::Aborted => counts.aborted += 1,
            Outcome::InDoubt => counts.in_doubt += 1,
        }
    }

    fn end_if_open(&mut self, client: u32) {
        if self.history.client(client).open.is_some() {
            self.ended(client, Outcome::InDoubt);
        }
    }

    fn sent(&mut self, id: Id) {
        self.report.counts.sent += 1;
        let client = self.history.client(id.producer);
        let (transaction, after) = (client.open, client.last);
        let record = self.history.record(id);
        let record = &mut self.history.records[record as usize];
        (record.transaction, record.after, record.is_sent) = (transaction, after, true);
    }

    fn polled(&mut self, client: u32, records: Vec<Given>) {
        let begin = self.history.reads.len() as u32;
        for Given { partition, offset, id } in records {
            self.report.counts.polled += 1;
            self.passes(client, partition, offset);
            let Some(id) = id else {
                self.bytes_without_id(partition, offset);
                continue;
            };
            let index = self.history.record(id);
            self.lies_at(index, partition, Some(offset), "a consumer was given it");
            let open = self.history.client(client).open;
            let record = &mut self.history.records[index as usize];
            record.is_polled = true;
            if open.is_some() && record.transaction == open {
                let Checker { history, report } = self;
                report.add(Finding::Violation(Kind::OwnWriteSeen), || {
                    format!("client {client} was given its own {}, while that was open", history.named(index))
                });
            } else {
                self.history.reads.push(index);
            }
        }
        let end = self.history.reads.len() as u32;
        if begin < end {
            self.history.step(client, What::Poll(begin..end));
        }
    }

    /// Compares the offset of a record that a consumer was given with its position.
    fn passes(&mut self, client: u32, partition: Partition, offset: i64) {
        let positions = &mut self.history.client(client).positions;
        let position = positions.entry(partition).or_insert(Position { next: offset, is_assigned_again: false });
        let expected = std::mem::replace(&mut position.next, offset + 1);
        let may_move = std::mem::take(&mut position.is_assigned_again);
        let moved = Finding::Allowed(Allowed::Moved);
        if offset > expected {
            let finding = if may_move { moved } else { Finding::Violation(Kind::Skipped) };
            self.history.gaps.push(Gap { client, partition, offsets: expected..offset, finding });
        } else if offset < expected {
            self.report.add(if may_move { moved } else { Finding::Violation(Kind::Reversed) }, || {
                format!("{partition}: client {client} was given offset {offset} where {expected} comes next")
            });
        }
    }

    fn logged(&mut self, isolation: Isolation, partition: Partition, offset: i64, id: Option<Id>) {
        let is_committed = isolation == Isolation::ReadCommitted;
        self.report.counts.logged += u64::from(is_committed);
        let Some(id) = id else { return self.bytes_without_id(partition, offset) };
        let index = self.history.record(id);
        let record = &mut self.history.records[index as usize];
        let found = if is_committed { &mut record.is_logged } else { &mut record.is_stored };
        if std::mem::replace(found, true) {
            let Checker { history, report } = self;
            return report.add(Finding::Violation(Kind::Duplicated), || {
                format!("{} lies at {partition}, offset {offset}, too", history.named(index))
            });
        }
        self.lies_at(index, partition, Some(offset), "the last read found it");
        // The rest is measured by what is in the log.
        let record = &mut self.history.records[index as usize];
        (record.partition, record.offset) = (Some(partition), Some(offset));
    }

    fn lies_at(&mut self, index: u32, partition: Partition, offset: Option<i64>, why: &str) {
        if !self.history.records[index as usize].lies_at(partition, offset) {
            let Checker { history, report } = self;
            report.add(Finding::Violation(Kind::Misplaced), || {
                let offset = offset.map_or(String::new(), |offset| format!(", offset {offset}"));
                format!("{}: {why} at {partition}{offset}", history.named(index))
            });
        }
    }

    fn bytes_without_id(&mut self, partition: Partition, offset: i64) {
        self.report.add(Finding::Violation(Kind::NeverWritten), || {
            format!("{partition}: offset {offset} holds bytes that are no record's")
        });
    }

    fn incomplete(&mut self, why: impl FnOnce() -> String) {
        self.report.add(Finding::Violation(Kind::Incomplete), why);
    }
}

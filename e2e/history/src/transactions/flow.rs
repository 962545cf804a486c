//! Follows information from transaction to transaction, and finds where it flows in a circle.
//!
//! The graph of events has a node for each step and each record. Its edges say what must have happened before what:
//!
//! - a client's step before its next one, and before the records that it sends then;
//! - a record's append before that of the next one in its partition;
//! - a record's append before the decision of its transaction;
//! - the decision of a transaction, or the append of a record without one, before a poll that returned the record.

use std::collections::{BTreeMap, HashMap};

use super::graph::Graph;
use super::history::{History, What};
use super::log::{Fate, Logs};
use super::operation::Outcome;
use super::report::{Allowed, Finding, Kind, Report};

/// Judges the flow of information.
pub(super) fn judge(history: &History, fates: &[Fate], logs: &Logs, report: &mut Report) {
    judge_events(history, fates, logs, report);
    judge_transactions(history, fates, logs, report);
}

fn judge_events(history: &History, fates: &[Fate], logs: &Logs, report: &mut Report) {
    let events = Events { history, steps: history.steps.len() as u32 };
    let graph = Graph::new(history.steps.len() + history.records.len(), &events.edges(fates, logs));
    for component in graph.components() {
        let cycle = graph.shortest_cycle(&component, |from, to| events.is_free(from, to));
        report.add(events.finding(&cycle), || events.explained(cycle));
    }
}

/// Steps are nodes from 0, records those after them.
struct Events<'a> {
    history: &'a History,
    steps: u32,
}

/// What a node is.
#[derive(Clone, Copy)]
enum Event {
    Step(u32),
    Record(u32),
}

impl Events<'_> {
    fn edges(&self, fates: &[Fate], logs: &Logs) -> Vec<(u32, u32)> {
        let Events { history, steps } = *self;
        let mut edges = Vec::with_capacity(history.steps.len() + 3 * history.records.len() + history.reads.len());
        // A torn transaction has no one decision.
        let decision = |transaction: u32| {
            let is_committed = fates[transaction as usize] == Fate::Committed;
            history.transactions[transaction as usize].decision.filter(|_| is_committed)
        };
        for (node, step) in (0..).zip(&history.steps) {
            edges.extend(step.previous.map(|previous| (previous, node)));
            let What::Poll(reads) = &step.what else { continue };
            let mut last = None;
            for &index in &history.reads[reads.start as usize..reads.end as usize] {
                let source = match history.records[index as usize].transaction {
                    Some(transaction) => decision(transaction),
                    None => Some(steps + index),
                };
                if last != source {
                    edges.extend(source.map(|source| (source, node)));
                    last = source;
                }
            }
        }
        for log in logs.0.values() {
            edges.extend(log.windows(2).map(|pair| (steps + pair[0].1, steps + pair[1].1)));
            for (_, index) in log {
                let record = &history.records[*index as usize];
                edges.extend(record.after.map(|after| (after, steps + index)));
                edges.extend(record.transaction.and_then(decision).map(|decision| (steps + index, decision)));
            }
        }
        edges
    }

    fn event(&self, node: u32) -> Event {
        if node < self.steps { Event::Step(node) } else { Event::Record(node - self.steps) }
    }

    /// Whether it is only the order of one client or of one partition.
    fn is_free(&self, from: u32, to: u32) -> bool {
        match (self.event(from), self.event(to)) {
            (Event::Step(from), Event::Step(to)) => self.history.steps[to as usize].previous == Some(from),
            (Event::Record(_), Event::Record(_)) => true,
            (Event::Step(_), Event::Record(_)) | (Event::Record(_), Event::Step(_)) => false,
        }
    }

    fn is_poll(&self, node: u32) -> bool {
        self.history.steps.get(node as usize).is_some_and(|step| matches!(step.what, What::Poll(_)))
    }

    /// A violation, which KAFKA-17754 may explain if it may have torn a transaction whose records were read.
    fn finding(&self, cycle: &[u32]) -> Finding {
        let next = cycle.iter().skip(1).chain(cycle.first());
        let read = cycle.iter().zip(next).filter_map(|(&from, &to)| {
            let (Event::Step(step), Event::Step(_)) = (self.event(from), self.event(to)) else { return None };
            match self.history.steps[step as usize].what {
                What::Decision(transaction) if !self.is_free(from, to) => Some(transaction),
                What::Decision(_) | What::Poll(_) => None,
            }
        });
        let found = read.map(|transaction| self.history.finding(Kind::CircularFlow, Some(transaction))).max();
        found.unwrap_or(Finding::Violation(Kind::CircularFlow))
    }

    /// The transactions of a cycle, and then each event with what makes it the consequence of the one before.
    fn explained(&self, mut cycle: Vec<u32>) -> String {
        let Events { history, .. } = *self;
        // It begins with a read, if there is one.
        let begin = |at: &usize| {
            let (before, node) = (cycle[(at + cycle.len() - 1) % cycle.len()], cycle[*at]);
            (self.is_free(before, node), !self.is_poll(node), node)
        };
        let begin = (0..cycle.len()).min_by_key(begin).unwrap_or(0);
        cycle.rotate_left(begin);
        let mut transactions = Vec::new();
        let mut sentences = Vec::new();
        for (at, &node) in cycle.iter().enumerate() {
            let before = cycle[(at + cycle.len() - 1) % cycle.len()];
            let next = cycle[(at + 1) % cycle.len()];
            let is_free = self.is_free(before, node);
            // In a row of one client or one partition only the last counts.
            let is_passed = is_free && self.is_free(node, next);
            let (Event::Record(index) | Event::Step(index)) = self.event(node);
            match (self.event(before), self.event(node)) {
                (Event::Record(_), Event::Record(_)) if !is_passed => {
                    sentences.push(format!("which lies before {}", history.named(index)));
                }
                (Event::Step(_), Event::Record(_)) => {
                    let client = history.records[index as usize].id.producer;
                    sentences.push(format!("client {client} then sent {}", history.named(index)));
                }
                (before, Event::Step(_)) => {
                    let step = &history.steps[index as usize];
                    match &step.what {
                        What::Decision(transaction) => {
                            let transaction = &history.transactions[*transaction as usize];
                            transactions.push(transaction.to_string());
                            if !is_passed {
                                sentences.push(format!("client {} then ended {transaction}", step.client));
                            }
                        }
                        What::Poll(reads) if !is_free => {
                            let reads = &history.reads[reads.start as usize..reads.end as usize];
                            let read = reads.iter().find(|read| self.comes_from(**read, before)).copied();
                            let name = read.map_or_else(String::new, |read| history.named(read));
                            sentences.push(format!("client {} was given {name}", step.client));
                        }
                        What::Poll(_) => {}
                    }
                }
                (Event::Record(_), Event::Record(_)) => {}
            }
        }
        if transactions.is_empty() {
            return sentences.join("; ");
        }
        transactions.extend(transactions.first().cloned());
        format!("{}: {}", transactions.join(" → "), sentences.join("; "))
    }

    /// Whether it is this event that made a record visible.
    fn comes_from(&self, record: u32, event: Event) -> bool {
        let transaction = self.history.records[record as usize].transaction;
        match event {
            Event::Record(index) => index == record,
            Event::Step(index) => {
                transaction.is_some_and(|of| self.history.transactions[of as usize].decision == Some(index))
            }
        }
    }
}

/// What Kafka allows: cycles of transactions that count the order of writes while others were open.
fn judge_transactions(history: &History, fates: &[Fate], logs: &Logs, report: &mut Report) {
    let mut edges = Vec::new();
    for log in logs.0.values() {
        let writers = log.iter().filter_map(|(_, index)| history.records[*index as usize].transaction);
        let mut last = None;
        for writer in writers {
            if let Some(last) = last.replace(writer).filter(|last| *last != writer) {
                edges.push((last, writer));
            }
        }
    }
    let name = |of: u32| history.transactions[of as usize].to_string();
    let graph = Graph::new(history.transactions.len(), &edges);
    for component in graph.components() {
        report.add(Finding::Allowed(Allowed::WriteCycle), || {
            let cycle = graph.shortest_cycle(&component, |_, _| false);
            let names: Vec<String> = cycle.iter().chain(cycle.first()).map(|of| name(*of)).collect();
            format!("{}, in a component of {} transactions", names.join(" → "), component.len())
        });
    }
    let reads = reads(history, fates);
    edges.extend(&reads);
    let graph = Graph::new(history.transactions.len(), &edges);
    let components = graph.components();
    let mut component_of: HashMap<u32, usize> = HashMap::new();
    for (number, component) in components.iter().enumerate() {
        component_of.extend(component.iter().map(|of| (*of, number)));
    }
    // One read of each component that has one.
    let mut mixed: BTreeMap<usize, (u32, u32)> = BTreeMap::new();
    for (writer, reader) in reads {
        if let Some(component) = component_of.get(&writer)
            && component_of.get(&reader) == Some(component)
        {
            mixed.entry(*component).or_insert((writer, reader));
        }
    }
    for (component, (writer, reader)) in mixed {
        report.add(Finding::Allowed(Allowed::MixedCycle), || {
            let (writer, reader, count) = (name(writer), name(reader), components[component].len());
            format!("{reader} has read {writer} and leads to it, in a component of {count} transactions")
        });
    }
}

/// Which transactions have read which: writer and reader.
fn reads(history: &History, fates: &[Fate]) -> Vec<(u32, u32)> {
    let mut reads = Vec::new();
    for (reader, transaction) in (0..).zip(&history.transactions) {
        if transaction.outcome == Outcome::Aborted {
            continue;
        }
        // Back to the decision before.
        let mut at = transaction.decision.and_then(|decision| history.steps[decision as usize].previous);
        while let Some(step) = at.map(|at| &history.steps[at as usize]) {
            let What::Poll(range) = &step.what else { break };
            for index in &history.reads[range.start as usize..range.end as usize] {
                let writer = history.records[*index as usize].transaction;
                let writer = writer.filter(|writer| *writer != reader && fates[*writer as usize] == Fate::Committed);
                if let Some(edge) = writer.map(|writer| (writer, reader)).filter(|edge| reads.last() != Some(edge)) {
                    reads.push(edge);
                }
            }
            at = step.previous;
        }
    }
    reads
}

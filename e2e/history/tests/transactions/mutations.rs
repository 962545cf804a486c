//! Ways to break a good history, each with what must then be found.

#![expect(clippy::ptr_arg, reason = "all mutations are of one type, though not all change the length")]

use std::collections::HashMap;

use ottla_history::transactions::Kind::{
    self, AbortedRead, AbortedStays, CircularFlow, Duplicated, Incomplete, Lost, Misplaced, NeverWritten,
    OffsetMismatch, OwnWriteSeen, Reordered, Reversed, Skipped, Torn, Unseen,
};
use ottla_history::transactions::Operation::{
    self, Acknowledged, AtEnd, Begun, Ended, GroupRead, LogRead, Logged, OffsetsSent, Polled, Sent,
};
use ottla_history::transactions::{Given, Isolation, Outcome};
use ottla_history::{Id, Partition};

use super::model::Random;

/// Breaks a history; false where it finds nothing to break.
pub type Mutation = fn(&mut Vec<Operation>, &mut Random) -> bool;

pub const ALL: [(Kind, Mutation); 18] = [
    (Lost, drop_a_committed_record),
    (Unseen, hide_a_committed_record),
    (Unseen, keep_the_last_record_from_a_reader),
    (AbortedStays, keep_an_aborted_record),
    (AbortedRead, read_an_aborted_record),
    (Duplicated, write_a_record_twice),
    (Misplaced, swap_two_offsets),
    (Reordered, swap_two_records),
    (Torn, tear_a_transaction_in_doubt),
    (NeverWritten, write_what_nobody_sent),
    (OwnWriteSeen, read_an_own_record),
    (CircularFlow, read_each_other),
    (Skipped, skip_a_record),
    (Reversed, go_back),
    (OffsetMismatch, abort_the_output_alone),
    (OffsetMismatch, take_records_twice),
    (OffsetMismatch, move_the_groups_offset),
    (Incomplete, leave_a_partition_unread),
];

/// No client of a history has this number.
const STRANGER: u32 = 1_000_000;
/// No record of a history has this offset.
const FAR: i64 = 1_000_000;

struct Transaction {
    client: u32,
    begun_at: usize,
    ended_at: Option<usize>,
    outcome: Outcome,
    sent: Vec<Id>,
    has_offsets: bool,
}

/// The transactions of a history, and to which of them each record belongs.
fn transactions(history: &[Operation]) -> (Vec<Transaction>, HashMap<Id, usize>) {
    let (mut all, mut of, mut open) = (Vec::<Transaction>::new(), HashMap::new(), HashMap::new());
    for (at, operation) in history.iter().enumerate() {
        match operation {
            Begun { client, .. } => {
                open.insert(*client, all.len());
                let (outcome, sent) = (Outcome::InDoubt, Vec::new());
                let (client, begun_at, ended_at) = (*client, at, None);
                all.push(Transaction { client, begun_at, ended_at, outcome, sent, has_offsets: false });
            }
            Sent { id } => {
                if let Some(&transaction) = open.get(&id.producer) {
                    all[transaction].sent.push(*id);
                    of.insert(*id, transaction);
                }
            }
            OffsetsSent { client, .. } => all[open[client]].has_offsets = true,
            Ended { client, outcome } => {
                if let Some(transaction) = open.remove(client) {
                    (all[transaction].ended_at, all[transaction].outcome) = (Some(at), *outcome);
                }
            }
            _ => {}
        }
    }
    (all, of)
}

fn pick<T>(from: impl IntoIterator<Item = T>, random: &mut Random) -> Option<T> {
    let mut all: Vec<T> = from.into_iter().collect();
    let chosen = random.below(all.len().max(1));
    (chosen < all.len()).then(|| all.swap_remove(chosen))
}

/// A record that transactions of this outcome have sent, if possible one that is in the logs.
fn record_of(history: &[Operation], outcome: Outcome, random: &mut Random) -> Option<Id> {
    let (all, _) = transactions(history);
    pick(all.into_iter().filter(|transaction| transaction.outcome == outcome).flat_map(|of| of.sent), random)
}

fn is_logged(operation: &Operation, in_isolation: Isolation, of: Id) -> bool {
    matches!(operation, Logged { isolation, id: Some(id), .. } if *isolation == in_isolation && *id == of)
}

fn forget(history: &mut Vec<Operation>, isolation: Isolation, id: Id) {
    history.retain(|operation| !is_logged(operation, isolation, id));
}

fn forget_everywhere(history: &mut Vec<Operation>, id: Id) {
    forget(history, Isolation::ReadCommitted, id);
    forget(history, Isolation::ReadUncommitted, id);
}

/// Where a record lies, as an acknowledgement or a reader of the log says.
fn place(history: &[Operation], of: Id) -> Option<(Partition, i64)> {
    history.iter().find_map(|operation| match operation {
        Acknowledged { id, partition, offset: Some(offset) } if *id == of => Some((*partition, *offset)),
        Logged { id: Some(id), partition, offset, .. } if *id == of => Some((*partition, *offset)),
        _ => None,
    })
}

/// Puts one more record at the end of the last read of a partition.
fn log_one_more(history: &mut Vec<Operation>, id: Id, random: &mut Random) -> bool {
    let is_end =
        |(_, operation): &(usize, &Operation)| matches!(operation, LogRead { isolation: Isolation::ReadCommitted, .. });
    let ends = history.iter().enumerate().filter(is_end).map(|(at, _)| at);
    let Some(at) = pick(ends, random) else { return false };
    let LogRead { isolation, partition, end, .. } = &mut history[at] else { return false };
    let (isolation, partition, offset) = (*isolation, *partition, *end);
    *end += 1;
    history.insert(at, Logged { isolation, partition, offset, id: Some(id) });
    true
}

fn drop_a_committed_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let Some(id) = record_of(history, Outcome::Committed, random) else { return false };
    forget_everywhere(history, id);
    true
}

fn hide_a_committed_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let Some(id) = record_of(history, Outcome::Committed, random) else { return false };
    forget(history, Isolation::ReadCommitted, id);
    true
}

fn keep_the_last_record_from_a_reader(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let ends = history.iter().filter_map(|operation| match operation {
        AtEnd { client, partition, .. } => Some((*client, *partition)),
        _ => None,
    });
    let Some((reader, of)) = pick(ends, random) else { return false };
    for operation in history.iter_mut().rev() {
        if let Polled { client, records } = operation
            && *client == reader
            && let Some(last) = records.iter().rposition(|record| record.partition == of)
        {
            records.remove(last);
            return true;
        }
    }
    false
}

fn keep_an_aborted_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let id = record_of(history, Outcome::Aborted, random);
    id.is_some_and(|id| log_one_more(history, id, random))
}

fn read_an_aborted_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let Some(id) = record_of(history, Outcome::Aborted, random) else { return false };
    let (partition, offset) = place(history, id).unwrap_or((Partition(0), FAR));
    let records = vec![Given { partition, offset, id: Some(id) }];
    history.insert(random.below(history.len()), Polled { client: STRANGER, records });
    true
}

fn write_a_record_twice(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let id = record_of(history, Outcome::Committed, random);
    id.is_some_and(|id| log_one_more(history, id, random))
}

fn swap_two_offsets(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let log = |operation: &Operation| match operation {
        Logged { isolation: Isolation::ReadCommitted, partition, .. } => Some(*partition),
        _ => None,
    };
    let logged = |history: &[Operation], of: Option<Partition>| -> Vec<usize> {
        let is_it = |at: &usize| log(&history[*at]).is_some_and(|partition| of.is_none_or(|of| of == partition));
        (0..history.len()).filter(is_it).collect()
    };
    let Some(one) = pick(logged(history, None), random) else { return false };
    let others = logged(history, log(&history[one])).into_iter().filter(|at| *at != one);
    let Some(other) = pick(others, random) else { return false };
    let id_at = |history: &[Operation], at: usize| if let Logged { id, .. } = &history[at] { *id } else { None };
    let ids = [one, other].map(|at| id_at(history, at));
    for (at, new) in [(one, ids[1]), (other, ids[0])] {
        if let Logged { id, .. } = &mut history[at] {
            *id = new;
        }
    }
    true
}

/// Two records of a transaction change places, in acknowledgements, in the log and in all polls.
fn swap_two_records(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (all, _) = transactions(history);
    let committed = all.iter().filter(|transaction| transaction.outcome == Outcome::Committed);
    let partition = |id: &Id| place(history, *id).map(|(partition, _)| partition);
    let pairs = committed
        .flat_map(|transaction| transaction.sent.windows(2))
        .filter(|pair| partition(&pair[0]).is_some() && partition(&pair[0]) == partition(&pair[1]));
    let Some((one, other)) = pick(pairs.map(|pair| (pair[0], pair[1])), random) else { return false };
    let swap = |id: &mut Id| {
        if *id == one {
            *id = other;
        } else if *id == other {
            *id = one;
        }
    };
    for operation in history {
        match operation {
            Acknowledged { id, .. } | Logged { id: Some(id), .. } => swap(id),
            Polled { records, .. } => records.iter_mut().filter_map(|record| record.id.as_mut()).for_each(swap),
            _ => {}
        }
    }
    true
}

fn tear_a_transaction_in_doubt(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (all, _) = transactions(history);
    let in_log = |id: &Id| history.iter().any(|operation| is_logged(operation, Isolation::ReadCommitted, *id));
    let is_torn = |of: &Transaction| of.outcome == Outcome::InDoubt && of.sent.len() > 1 && of.sent.iter().all(in_log);
    let Some(id) = pick(all.into_iter().filter(is_torn).flat_map(|of| of.sent), random) else { return false };
    forget_everywhere(history, id);
    true
}

fn write_what_nobody_sent(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    log_one_more(history, Id { producer: STRANGER, sequence: 0 }, random)
}

fn read_an_own_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (_, of) = transactions(history);
    let is_sent = |(_, operation): &(usize, &Operation)| matches!(operation, Sent { id } if of.contains_key(id));
    let Some((at, Sent { id })) = pick(history.iter().enumerate().filter(is_sent), random) else { return false };
    let (partition, offset) = place(history, *id).unwrap_or((Partition(0), FAR));
    let (client, records) = (id.producer, vec![Given { partition, offset, id: Some(*id) }]);
    history.insert(at + 1, Polled { client, records });
    true
}

/// One transaction has read another; now the other has read the one.
fn read_each_other(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (all, of) = transactions(history);
    let mut pairs = Vec::new();
    for (reader, transaction) in all.iter().enumerate() {
        let Some(ended_at) = transaction.ended_at.filter(|_| transaction.outcome == Outcome::Committed) else {
            continue;
        };
        for operation in &history[transaction.begun_at..ended_at] {
            let Polled { client, records } = operation else { continue };
            let writers = records.iter().filter_map(|record| of.get(&record.id?));
            let writers = writers.filter(|writer| all[**writer].outcome == Outcome::Committed);
            if *client == transaction.client && !transaction.sent.is_empty() {
                pairs.extend(writers.map(|writer| (*writer, reader)));
            }
        }
    }
    let Some((writer, reader)) = pick(pairs, random) else { return false };
    let id = all[reader].sent[0];
    let Some((partition, offset)) = place(history, id) else { return false };
    let (client, records) = (all[writer].client, vec![Given { partition, offset, id: Some(id) }]);
    history.insert(all[writer].begun_at + 1, Polled { client, records });
    true
}

fn skip_a_record(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let places = history.iter().enumerate().filter_map(|(at, operation)| match operation {
        Polled { records, .. } => Some((at, records)),
        _ => None,
    });
    let in_the_middle = places.flat_map(|(at, records)| {
        let windows = records.windows(3).enumerate();
        let same = windows.filter(|(_, three)| three.iter().all(|one| one.partition == three[0].partition));
        same.map(move |(first, _)| (at, first + 1))
    });
    let Some((at, middle)) = pick(in_the_middle, random) else { return false };
    if let Polled { records, .. } = &mut history[at] {
        records.remove(middle);
    }
    true
}

fn go_back(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let places = history.iter().enumerate().filter_map(|(at, operation)| match operation {
        Polled { records, .. } => Some((at, records)),
        _ => None,
    });
    let pairs = places.flat_map(|(at, records)| {
        let same = records.windows(2).enumerate().filter(|(_, two)| two[0].partition == two[1].partition);
        same.map(move |(first, _)| (at, first))
    });
    let Some((at, first)) = pick(pairs, random) else { return false };
    if let Polled { records, .. } = &mut history[at] {
        records.swap(first, first + 1);
    }
    true
}

/// Whether no transaction could have committed offsets unseen.
fn every_commit_shows(history: &[Operation]) -> bool {
    let hides = |of: &Transaction| of.outcome == Outcome::InDoubt && of.has_offsets && of.sent.is_empty();
    !transactions(history).0.iter().any(hides)
}

fn abort_the_output_alone(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (all, _) = transactions(history);
    let jobs = all.into_iter().filter(|of| of.outcome == Outcome::Committed && of.has_offsets);
    let (true, Some(job)) = (every_commit_shows(history), pick(jobs, random)) else { return false };
    if let Some(ended_at) = job.ended_at {
        history[ended_at] = Ended { client: job.client, outcome: Outcome::Aborted };
    }
    job.sent.into_iter().for_each(|id| forget_everywhere(history, id));
    true
}

fn take_records_twice(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let (all, _) = transactions(history);
    let mut found = Vec::new();
    for of in all.iter().filter(|of| of.outcome == Outcome::Committed) {
        for (at, operation) in history.iter().enumerate().take(of.ended_at.unwrap_or(0)).skip(of.begun_at) {
            if let OffsetsSent { client, partition, taken, .. } = operation
                && *client == of.client
            {
                found.push((at, *partition, taken.clone()));
            }
        }
    }
    let starts = found.iter().flat_map(|(at, partition, taken)| {
        let earlier = found.iter().filter(move |(_, other, before)| other == partition && before.start < taken.start);
        earlier.map(move |(_, _, before)| (*at, before.start))
    });
    let Some((at, start)) = pick(starts, random) else { return false };
    if let OffsetsSent { taken, .. } = &mut history[at] {
        taken.start = start;
    }
    true
}

fn move_the_groups_offset(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let is_it = |operation: &&mut Operation| matches!(operation, GroupRead { offset: Some(_), .. });
    let (true, Some(GroupRead { offset, .. })) =
        (every_commit_shows(history), pick(history.iter_mut().filter(is_it), random))
    else {
        return false;
    };
    *offset = match random.below(3) {
        0 => None,
        1 => offset.map(|offset| offset + 1),
        _ => offset.map(|offset| offset - 1),
    };
    true
}

fn leave_a_partition_unread(history: &mut Vec<Operation>, random: &mut Random) -> bool {
    let is_end = |at: &usize| matches!(history[*at], LogRead { isolation: Isolation::ReadCommitted, .. });
    let Some(at) = pick((0..history.len()).filter(is_end), random) else { return false };
    history.remove(at);
    true
}

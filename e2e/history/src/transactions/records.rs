//! Judges each record: whether it is where it must be, and nowhere else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::history::{Bounds, History, What};
use super::log::{Fate, Logs, is_missing};
use super::operation::Outcome;
use super::report::{Allowed, Finding, Kind, Report};
use crate::Partition;

/// Judges every record, poll and gap. Returns the transactions that miss records, with one of these.
pub(super) fn judge(history: &History, fates: &[Fate], logs: &Logs, report: &mut Report) -> BTreeMap<u32, u32> {
    judge_reads_at_the_end(history, report);
    judge_places(history, report);
    judge_order(history, report);
    judge_polls(history, logs, report);
    judge_gaps(history, logs, report);
    judge_presence(history, fates, report)
}

/// Every partition with a record must have been read to its end.
fn judge_reads_at_the_end(history: &History, report: &mut Report) {
    let mut written: BTreeSet<Partition> = history.records.iter().filter_map(|record| record.partition).collect();
    written.extend(history.bounds.keys());
    for partition in written {
        match history.bounds.get(&partition).copied().unwrap_or_default() {
            Bounds { committed: Some((_, stable)), uncommitted: Some((_, end)) } if stable < end => {
                report.add(Finding::Violation(Kind::Unseen), || {
                    format!("{partition}: the last stable offset is {stable}, the end {end}: a transaction is open")
                });
            }
            Bounds { committed: Some(_), .. } => {}
            Bounds { committed: None, .. } => report.add(Finding::Violation(Kind::Incomplete), || {
                format!("{partition} was not read at the end with read_committed")
            }),
        }
    }
}

/// An offset holds one record.
fn judge_places(history: &History, report: &mut Report) {
    let place = |index: u32| {
        let record = &history.records[index as usize];
        Some((record.partition?, record.offset?, index))
    };
    let mut places: Vec<(Partition, i64, u32)> = (0..history.records.len() as u32).filter_map(place).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        let ((partition, offset, one), (other_partition, other_offset, other)) = (pair[0], pair[1]);
        if (partition, offset) == (other_partition, other_offset) {
            report.add(Finding::Violation(Kind::Misplaced), || {
                let ids = [one, other].map(|index| history.records[index as usize].id);
                format!("{partition}: offset {offset} held record {} and record {}", ids[0], ids[1])
            });
        }
    }
}

/// A client's records lie in the order in which it sent them.
fn judge_order(history: &History, report: &mut Report) {
    let mut sent: Vec<u32> = (0..history.records.len() as u32).collect();
    sent.sort_unstable_by_key(|index| history.records[*index as usize].id);
    let mut last: HashMap<Partition, u32> = HashMap::new();
    let mut client = None;
    for index in sent {
        let record = &history.records[index as usize];
        if client.replace(record.id.producer) != Some(record.id.producer) {
            last.clear();
        }
        // Without idempotence a record that was not acknowledged may come late.
        if !record.is_logged || record.transaction.is_none() && !record.is_acknowledged {
            continue;
        }
        let Some(before) = record.partition.and_then(|partition| last.insert(partition, index)) else { continue };
        if history.records[before as usize].offset > record.offset {
            report.add(Finding::Violation(Kind::Reordered), || {
                format!("{} lies before {}, which was sent first", history.named(index), history.named(before))
            });
        }
    }
}

/// Nobody is given records of aborted transactions; a poll may end inside a transaction.
fn judge_polls(history: &History, logs: &Logs, report: &mut Report) {
    let mut ends: HashMap<(u32, Partition), i64> = HashMap::new();
    for (partition, log) in &logs.0 {
        for (offset, record) in log {
            if let Some(transaction) = history.records[*record as usize].transaction {
                ends.insert((transaction, *partition), *offset);
            }
        }
    }
    for step in &history.steps {
        let What::Poll(reads) = &step.what else { continue };
        let mut last: BTreeMap<Partition, u32> = BTreeMap::new();
        for &index in &history.reads[reads.start as usize..reads.end as usize] {
            let record = &history.records[index as usize];
            if history.transaction_of(record).is_some_and(|transaction| transaction.outcome == Outcome::Aborted) {
                report.add(history.finding(Kind::AbortedRead, record.transaction), || {
                    format!("client {} was given {}, which is aborted", step.client, history.named(index))
                });
            }
            if let Some(partition) = record.partition {
                last.insert(partition, index);
            }
        }
        for (partition, index) in last {
            let record = &history.records[index as usize];
            let Some(end) = record.transaction.and_then(|transaction| ends.get(&(transaction, partition))) else {
                continue;
            };
            if record.offset.is_some_and(|offset| offset < *end) {
                report.add(Finding::Allowed(Allowed::IntermediateRead), || {
                    let (client, name) = (step.client, history.named(index));
                    format!("a poll of client {client} ended with {name}; its last one there is at offset {end}")
                });
            }
        }
    }
}

/// Where consumers were not given a record, there must not have been one.
fn judge_gaps(history: &History, logs: &Logs, report: &mut Report) {
    for gap in &history.gaps {
        let missed = logs.within(gap.partition, gap.offsets.clone());
        if let [(_, first), more @ ..] = missed {
            report.add(gap.finding, || {
                let (client, partition, end) = (gap.client, gap.partition, gap.offsets.end);
                let name = history.named(*first);
                let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                format!("{partition}: client {client} was not given {name}{more}, and continued at offset {end}")
            });
        }
    }
}

/// All of a committed transaction is there, and nothing of an aborted one.
fn judge_presence(history: &History, fates: &[Fate], report: &mut Report) -> BTreeMap<u32, u32> {
    let mut incomplete = BTreeMap::new();
    for (index, record) in (0..).zip(&history.records) {
        if !record.is_sent {
            report.add(Finding::Violation(Kind::NeverWritten), || {
                format!("{} is there, and nobody has sent it", history.named(index))
            });
            continue;
        }
        let outcome = history.transaction_of(record).map(|transaction| transaction.outcome);
        if record.is_logged {
            if outcome == Some(Outcome::Aborted) {
                report.add(history.finding(Kind::AbortedStays, record.transaction), || {
                    format!("{} is aborted, and the last read found it", history.named(index))
                });
            }
            continue;
        }
        let is_torn = record.transaction.is_some_and(|of| fates[of as usize] == Fate::Torn);
        let must_be = match outcome {
            Some(Outcome::Committed) => true,
            Some(Outcome::Aborted) => false,
            Some(Outcome::InDoubt) => is_torn || record.is_polled,
            None => record.is_acknowledged || record.is_polled,
        };
        if !must_be || !is_missing(history, record) {
            continue;
        }
        if let Some(transaction) = record.transaction {
            incomplete.entry(transaction).or_insert(index);
        }
        // Without a read with read_uncommitted nobody knows what lies beyond the last stable offset.
        let bounds = record.partition.and_then(|partition| history.bounds.get(&partition)).copied().unwrap_or_default();
        let unread = bounds.committed.filter(|_| bounds.uncommitted.is_none());
        let may_be_beyond = record.offset.zip(unread).is_some_and(|(offset, (_, end))| offset >= end);
        let (kind, why) = if is_torn {
            (Kind::Torn, "is not in the log, while others of its transaction are")
        } else if record.is_stored {
            (Kind::Unseen, "is committed, and only a read with read_uncommitted found it")
        } else if may_be_beyond {
            (Kind::Unseen, "is committed, and lies beyond the end of the last read")
        } else if outcome == Some(Outcome::Committed) {
            (Kind::Lost, "is committed, and not in the log")
        } else if record.is_polled {
            (Kind::Lost, "was given to a consumer, and is not in the log")
        } else {
            (Kind::Lost, "was acknowledged, and is not in the log")
        };
        report.add(history.finding(kind, record.transaction), || format!("{} {why}", history.named(index)));
    }
    incomplete
}

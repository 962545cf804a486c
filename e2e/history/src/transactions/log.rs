//! The logs as the last reads with read_committed found them, and how each transaction ended.

use std::collections::BTreeMap;
use std::ops::Range;

use super::history::{History, Record};
use super::operation::Outcome;
use crate::Partition;

/// How a transaction ended: the answer that its client got or, if that is in doubt, what the logs show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    Aborted,
    /// In doubt; some of its records are in the logs and some are not.
    Torn,
    /// In doubt, without a record that could show it.
    Unknown,
}

/// How each transaction ended.
pub(super) fn fates(history: &History) -> Vec<Fate> {
    /// Of a transaction's records.
    #[derive(Clone, Default)]
    struct Count {
        logged: u32,
        missing: u32,
    }
    let mut counts = vec![Count::default(); history.transactions.len()];
    for record in &history.records {
        if let Some(transaction) = record.transaction {
            let count = &mut counts[transaction as usize];
            count.logged += u32::from(record.is_logged);
            count.missing += u32::from(is_missing(history, record));
        }
    }
    let fate = |(outcome, count): (Outcome, &Count)| match (outcome, count.logged > 0, count.missing > 0) {
        (Outcome::Committed, _, _) | (Outcome::InDoubt, true, false) => Fate::Committed,
        (Outcome::Aborted, _, _) | (Outcome::InDoubt, false, true) => Fate::Aborted,
        (Outcome::InDoubt, true, true) => Fate::Torn,
        (Outcome::InDoubt, false, false) => Fate::Unknown,
    };
    history.transactions.iter().map(|transaction| transaction.outcome).zip(&counts).map(fate).collect()
}

/// Whether a record is not in the log and would be there if it was committed.
pub(super) fn is_missing(history: &History, record: &Record) -> bool {
    !record.is_logged && !may_be_deleted(history, record)
}

/// Whether a record may lie before a log's start. If its partition is unknown, any log counts.
fn may_be_deleted(history: &History, record: &Record) -> bool {
    let is_before = |(start, _): (i64, i64)| record.offset.map_or(start > 0, |offset| offset < start);
    match record.partition {
        Some(partition) => history.log(partition).is_none_or(is_before),
        None => history.bounds.values().filter_map(|bounds| bounds.committed).any(is_before),
    }
}

/// The records in the logs, except aborted ones, by partition and in the order of their offsets.
pub(super) struct Logs(pub(super) BTreeMap<Partition, Vec<(i64, u32)>>);

impl Logs {
    pub(super) fn new(history: &History, fates: &[Fate]) -> Logs {
        let mut logs: BTreeMap<Partition, Vec<(i64, u32)>> = BTreeMap::new();
        for (index, record) in (0..).zip(&history.records).filter(|(_, record)| record.is_logged) {
            let is_aborted = record.transaction.is_some_and(|of| fates[of as usize] == Fate::Aborted);
            if let (Some(partition), Some(offset), false) = (record.partition, record.offset, is_aborted) {
                logs.entry(partition).or_default().push((offset, index));
            }
        }
        logs.values_mut().for_each(|log| log.sort_unstable());
        Logs(logs)
    }

    /// The records in a range of offsets.
    pub(super) fn within(&self, partition: Partition, offsets: Range<i64>) -> &[(i64, u32)] {
        let log = self.0.get(&partition).map_or(&[][..], Vec::as_slice);
        let place = |offset| log.partition_point(|(other, _)| *other < offset);
        &log[place(offsets.start)..place(offsets.end.max(offsets.start))]
    }
}

//! Judges groups: exactly one committed transaction must have taken each record below a group's offset.

use std::collections::BTreeMap;

use super::history::{History, Taken};
use super::log::{Fate, Logs};
use super::report::{Finding, Kind, Report};
use crate::Partition;

/// Judges the committed offsets of every group. `incomplete`: transactions that miss records, with one of these.
pub(super) fn judge(
    history: &History,
    fates: &[Fate],
    logs: &Logs,
    incomplete: &BTreeMap<u32, u32>,
    report: &mut Report,
) {
    let mut groups: BTreeMap<(u32, Partition), Vec<&Taken>> = BTreeMap::new();
    for taken in &history.taken {
        groups.entry((taken.group, taken.partition)).or_default().push(taken);
        if let Some(&record) = incomplete.get(&taken.transaction) {
            report.add(history.finding(Kind::OffsetMismatch, Some(taken.transaction)), || {
                format!("{}, but its {} is missing", said(history, taken), history.named(record))
            });
        }
    }
    for (&(group, partition), taken) in &groups {
        let at_end = history.groups.get(&(group, partition)).copied();
        let judged = Judged { history, fates, logs, group, partition, taken };
        judged.judge(judged.chosen(at_end.flatten()), at_end, report);
    }
}

/// One group and one partition.
struct Judged<'a> {
    history: &'a History,
    fates: &'a [Fate],
    logs: &'a Logs,
    group: u32,
    partition: Partition,
    /// What its transactions took, committed or not.
    taken: &'a [&'a Taken],
}

impl<'a> Judged<'a> {
    /// Those whose transactions ended like this.
    fn with(&self, fates: &[Fate]) -> Vec<&'a Taken> {
        let mut found = self.taken.to_vec();
        found.retain(|taken| fates.contains(&self.fates[taken.transaction as usize]));
        found
    }

    /// Those that are committed, in order; and of those in doubt without output the ones that fill what lies between.
    fn chosen(&self, at_end: Option<i64>) -> Vec<&'a Taken> {
        let mut committed = self.with(&[Fate::Committed, Fate::Torn]);
        committed.sort_by_key(|taken| (taken.offsets.end, taken.offsets.start));
        let in_doubt = self.with(&[Fate::Unknown]);
        let mut chosen = Vec::new();
        let mut passed = self.begin();
        for next in committed {
            chosen.extend(self.between(&in_doubt, passed, next.offsets.start));
            chosen.push(next);
            passed = passed.max(next.offsets.end);
        }
        chosen.extend(at_end.into_iter().flat_map(|at_end| self.between(&in_doubt, passed, at_end)));
        chosen
    }

    /// Some of these that together take every record from here to there, once each; none if there are no such.
    fn between(&self, in_doubt: &[&'a Taken], from: i64, to: i64) -> Vec<&'a Taken> {
        let records = self.logs.within(self.partition, from..to);
        if records.is_empty() {
            return Vec::new();
        }
        // How many records lie before an offset.
        let place = |offset: i64| records.partition_point(|(other, _)| *other < offset);
        let mut fitting: Vec<&Taken> = in_doubt.to_vec();
        fitting.retain(|taken| from <= taken.offsets.start && taken.offsets.end <= to);
        fitting.sort_by_key(|taken| taken.offsets.start);
        // By the place that a chain of them reaches, its last one.
        let mut reached: BTreeMap<usize, &Taken> = BTreeMap::new();
        for taken in fitting {
            let (start, end) = (place(taken.offsets.start), place(taken.offsets.end));
            if start < end && (start == 0 || reached.contains_key(&start)) {
                reached.insert(end, taken);
            }
        }
        let mut path = Vec::new();
        let mut at = records.len();
        while let Some(taken) = reached.get(&at) {
            path.push(*taken);
            at = place(taken.offsets.start);
        }
        path.reverse();
        path
    }

    /// The first offset that any transaction took.
    fn begin(&self) -> i64 {
        self.taken.iter().map(|taken| taken.offsets.start).min().unwrap_or(0)
    }

    fn judge(&self, chosen: Vec<&Taken>, at_end: Option<Option<i64>>, report: &mut Report) {
        let Judged { history, group, partition, .. } = *self;
        let begin = self.begin();
        let mut passed = begin;
        let mut before: Option<&Taken> = None;
        for next in chosen {
            let (start, end) = (next.offsets.start, next.offsets.end);
            if start < passed
                && let Some(before) = before
                && let [(_, record), ..] = self.logs.within(partition, start..end.min(passed))
            {
                report.add(self.finding(before, next), || {
                    let (name, one, other) = (history.named(*record), said(history, before), said(history, next));
                    format!("group {group} took {name} twice: {one}; {other}")
                });
            }
            if start > passed
                && let [(offset, record), ..] = self.logs.within(partition, passed..start)
            {
                report.add(self.finding_without_output(*offset, next), || {
                    let (name, next) = (history.named(*record), said(history, next));
                    format!("group {group} passed {name} without output: {next}{}", self.uncommitted(*offset))
                });
            }
            if end >= passed {
                (passed, before) = (end, Some(next));
            }
        }
        let (Some(at_end), nothing) = (at_end, before.is_none()) else { return };
        let fits = at_end == Some(passed) || nothing && at_end.is_none_or(|offset| offset <= begin);
        if !fits {
            let last = at_end.map_or(passed, |offset| offset - 1);
            let found = before
                .map_or(Finding::Violation(Kind::OffsetMismatch), |before| self.finding_without_output(last, before));
            report.add(found, || {
                let at_end = at_end.map_or_else(|| "no offset".to_owned(), |offset| format!("offset {offset}"));
                let before =
                    before.map_or_else(|| "no transaction took any".to_owned(), |before| said(history, before));
                format!("{partition}: group {group} has {at_end} at the end; {before}{}", self.uncommitted(last))
            });
        }
    }

    /// A transaction that took this offset and is not committed.
    fn uncommitted_at(&self, offset: i64) -> Option<&Taken> {
        let is_it = |taken: &&&Taken| {
            let is_committed = matches!(self.fates[taken.transaction as usize], Fate::Committed | Fate::Torn);
            !is_committed && taken.offsets.contains(&offset)
        };
        self.taken.iter().find(is_it).copied()
    }

    fn uncommitted(&self, offset: i64) -> String {
        self.uncommitted_at(offset).map_or_else(String::new, |taken| format!("; {}", said(self.history, taken)))
    }

    /// A violation of two transactions: KAFKA-17754 may explain it if it may explain what one of them did.
    fn finding(&self, one: &Taken, other: &Taken) -> Finding {
        let finding = |taken: &Taken| self.history.finding(Kind::OffsetMismatch, Some(taken.transaction));
        finding(one).max(finding(other))
    }

    fn finding_without_output(&self, offset: i64, next: &Taken) -> Finding {
        self.finding(self.uncommitted_at(offset).unwrap_or(next), next)
    }
}

fn said(history: &History, taken: &Taken) -> String {
    let transaction = &history.transactions[taken.transaction as usize];
    let (partition, start, end) = (taken.partition, taken.offsets.start, taken.offsets.end);
    format!("{transaction} ({:?}) took {partition}, offsets {start} to {end}", transaction.outcome)
}

//! Remembers what was seen, and judges at the end.
//!
//! What may be reported in any order is judged at the end: a consumer may be given a record before its producer hears
//! of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::report::{Kind, Report};
use crate::{Id, Operation, Outcome, Partition};

/// Takes operations, gives a [`Report`].
#[derive(Debug, Default)]
pub struct Checker {
    /// By producer, then by sequence.
    attempts: BTreeMap<u32, Vec<Attempt>>,
    partitions: BTreeMap<Partition, History>,
    /// What each consumer reads next.
    positions: HashMap<(u32, Partition), i64>,
    /// What consumers were not given: nothing may lie there.
    gaps: Vec<Gap>,
    /// The furthest that groups have committed.
    commits: HashMap<(u32, Partition), i64>,
    /// See [`Operation::CommitInDoubt`].
    commits_in_doubt: HashSet<(u32, Partition, i64)>,
    /// What is wrong in any case.
    report: Report,
}

/// One record, as its producer knows it, and where it was found.
#[derive(Clone, Debug, Default)]
struct Attempt {
    outcome: Option<Outcome>,
    aborted: bool,
    found: Option<Found>,
}

/// Where a record was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    partition: Partition,
    offset: i64,
    /// It may be a late copy, which may lie beside another one, and behind records that were sent later.
    is_late: bool,
}

/// One partition, as everybody saw it.
#[derive(Debug, Default)]
struct History {
    values: BTreeMap<i64, Value>,
    /// Beyond the last offset that any client has seen.
    known_end: i64,
    /// First offset and end, when it was read at last.
    log: Option<(i64, i64)>,
}

/// What an offset holds.
#[derive(Clone, Copy, Debug)]
struct Value {
    id: Option<Id>,
    /// A consumer was given it.
    read: bool,
    /// It was there at the end.
    logged: bool,
    /// See [`Operation::Late`].
    late: bool,
}

#[derive(Debug)]
struct Gap {
    reader: u32,
    partition: Partition,
    offsets: Range<i64>,
}

/// Who says what an offset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Witness {
    Producer,
    Consumer,
    Log,
}

impl Checker {
    /// Takes one thing that a client saw.
    pub fn observe(&mut self, operation: Operation) {
        match operation {
            Operation::Produced { id, outcome } => self.produced(id, outcome),
            Operation::Aborted { producer, sequences } => {
                for sequence in sequences {
                    self.attempt_mut(Id { producer, sequence }).aborted = true;
                }
            }
            Operation::Seeked { reader, partition, offset } => {
                self.positions.insert((reader, partition), offset);
            }
            Operation::Read { reader, partition, offset, id } => self.read(reader, partition, offset, id),
            Operation::EndRead { partition, offset, known } => {
                if offset < known {
                    self.report.add(Kind::Stale, || {
                        format!(
                            "{partition}: its end was said to be {offset} after records up to {known} were acknowledged"
                        )
                    });
                }
                let end = &mut self.partitions.entry(partition).or_default().known_end;
                *end = offset.max(*end);
            }
            Operation::Committed { group, partition, offset } => {
                let furthest = self.commits.entry((group, partition)).or_insert(offset);
                *furthest = offset.max(*furthest);
                self.commits_in_doubt.remove(&(group, partition, offset));
            }
            Operation::CommitInDoubt { group, partition, offset } => {
                self.commits_in_doubt.insert((group, partition, offset));
            }
            Operation::CommitRead { group, partition, offset, known } => {
                let may_be_late =
                    offset.is_some_and(|offset| self.commits_in_doubt.contains(&(group, partition, offset)));
                if offset < known && !may_be_late {
                    self.report.add(Kind::Stale, || {
                        format!("{partition}: group {group} was at {offset:?} after {known:?} was committed")
                    });
                }
            }
            Operation::Logged { partition, offset, id } => {
                self.report.counts.logged += 1;
                self.saw(partition, offset, id, Witness::Log);
            }
            Operation::Late { partition, offset } => {
                let history = self.partitions.entry(partition).or_default();
                if let Some(value) = history.values.get_mut(&offset) {
                    value.late = true;
                }
            }
            Operation::LogRead { partition, start, end } => {
                self.report.counts.partitions += 1;
                self.partitions.entry(partition).or_default().log = Some((start, end));
            }
        }
    }

    /// The offset that a partition's end has reached for certain: no later answer may be less.
    pub fn known_end(&self, partition: Partition) -> i64 {
        self.partitions.get(&partition).map_or(0, |history| history.known_end)
    }

    /// The furthest that a group has committed: no later answer may be less, unless it is that of a commit in
    /// doubt. For groups that never go back.
    pub fn known_commit(&self, group: u32, partition: Partition) -> Option<i64> {
        self.commits.get(&(group, partition)).copied()
    }

    /// Judges.
    pub fn report(mut self) -> Report {
        self.judge_values();
        self.judge_gaps();
        self.judge_producers();
        self.report
    }

    fn produced(&mut self, id: Id, outcome: Outcome) {
        match outcome {
            Outcome::Acknowledged { partition, offset } => {
                self.report.counts.acknowledged += 1;
                // Also without an offset: such a partition must be read at the end.
                let history = self.partitions.entry(partition).or_default();
                if let Some(offset) = offset {
                    history.known_end = history.known_end.max(offset + 1);
                    self.saw(partition, offset, Some(id), Witness::Producer);
                }
            }
            Outcome::Failed => self.report.counts.failed += 1,
            Outcome::Unknown => self.report.counts.unknown += 1,
        }
        self.attempt_mut(id).outcome = Some(outcome);
    }

    fn read(&mut self, reader: u32, partition: Partition, offset: i64, id: Option<Id>) {
        self.report.counts.read += 1;
        let expected = self.positions.insert((reader, partition), offset + 1).unwrap_or(offset);
        if offset < expected {
            self.report.add(Kind::Stale, || {
                format!("{partition}: consumer {reader} was given offset {offset} where {expected} comes next")
            });
        } else if offset > expected {
            self.gaps.push(Gap { reader, partition, offsets: expected..offset });
        }
        self.saw(partition, offset, id, Witness::Consumer);
    }

    fn saw(&mut self, partition: Partition, offset: i64, id: Option<Id>, witness: Witness) {
        let values = &mut self.partitions.entry(partition).or_default().values;
        let value = values.entry(offset).or_insert(Value { id, read: false, logged: false, late: false });
        let before = value.id;
        value.read |= witness == Witness::Consumer;
        value.logged |= witness == Witness::Log;
        if before != id {
            // What is in the log at the end is what the rest is measured by.
            if witness == Witness::Log {
                value.id = id;
            }
            self.report.add(Kind::TwoValues, || {
                format!("{partition}: offset {offset} held {}, and then {} ({witness:?})", named(before), named(id))
            });
        }
    }

    fn attempt_mut(&mut self, id: Id) -> &mut Attempt {
        let attempts = self.attempts.entry(id.producer).or_default();
        let index = id.sequence as usize;
        if attempts.len() <= index {
            attempts.resize(index + 1, Attempt::default());
        }
        &mut attempts[index]
    }

    /// Everything that anybody saw must have been sent, must not have failed, and must still be there.
    fn judge_values(&mut self) {
        let Checker { attempts, partitions, report, .. } = self;
        for (partition, History { values, log, .. }) in partitions {
            let Some((start, end)) = *log else {
                report.add(Kind::NotRead, || format!("{partition} was not read at the end"));
                continue;
            };
            for (&offset, value) in values.iter().filter(|(offset, _)| **offset >= start) {
                let attempt = value
                    .id
                    .and_then(|id| attempts.get_mut(&id.producer)?.get_mut(id.sequence as usize))
                    .filter(|attempt| attempt.outcome.is_some());
                let Some(attempt) = attempt else {
                    report.add(Kind::NeverWritten, || {
                        format!("{partition}: offset {offset} holds {}, which nobody sent", named(value.id))
                    });
                    continue;
                };
                let what = || format!("{partition}: offset {offset}, {}", named(value.id));
                if attempt.outcome == Some(Outcome::Failed) {
                    report.add(Kind::FailedButPresent, || format!("{}, failed for certain and is there", what()));
                }
                if attempt.aborted && (value.read || value.logged) {
                    report.add(Kind::AbortedRead, || format!("{}, is of an aborted transaction", what()));
                }
                if !value.logged {
                    if value.read && !attempt.aborted {
                        report.add(Kind::Lost, || {
                            format!("{}, was given to a consumer and is not in the log [{start}, {end})", what())
                        });
                    }
                    continue;
                }
                let found = Found { partition: *partition, offset, is_late: value.late };
                match attempt.found {
                    // Of two copies, the one that was acknowledged counts.
                    Some(_) if found.is_late => {
                        let told = Some(Outcome::Acknowledged { partition: *partition, offset: Some(offset) });
                        attempt.found = if attempt.outcome == told { Some(found) } else { attempt.found };
                        continue;
                    }
                    Some(Found { partition: elsewhere, offset: first, .. }) => {
                        report
                            .add(Kind::Duplicated, || format!("{}, lies at {elsewhere}, offset {first}, too", what()));
                    }
                    None => {}
                }
                attempt.found = Some(found);
            }
        }
    }

    /// What consumers were not given must not have been there.
    fn judge_gaps(&mut self) {
        for Gap { reader, partition, offsets } in &self.gaps {
            let Some(history) = self.partitions.get(partition) else { continue };
            for (offset, value) in history.values.range(offsets.clone()).filter(|(_, value)| value.logged) {
                self.report.add(Kind::Skipped, || {
                    let id = named(value.id);
                    format!("{partition}: consumer {reader} was not given offset {offset}, {id}, but one after it")
                });
            }
        }
    }

    /// What was acknowledged to producers must be so, in the order in which they sent.
    fn judge_producers(&mut self) {
        let Checker { attempts, partitions, report, .. } = self;
        for (&producer, attempts) in attempts.iter() {
            let mut last: HashMap<Partition, (i64, Id)> = HashMap::new();
            for (sequence, attempt) in (0..).zip(attempts) {
                let id = Id { producer, sequence };
                let (partition, told) = match attempt.outcome {
                    Some(Outcome::Acknowledged { partition, offset }) => (partition, offset),
                    Some(Outcome::Unknown) => {
                        report.counts.unknown_present += u64::from(attempt.found.is_some());
                        continue;
                    }
                    Some(Outcome::Failed) | None => continue,
                };
                let Some(found) = attempt.found else {
                    let log = partitions.get(&partition).and_then(|history| history.log);
                    let deleted = log.is_some_and(|(start, _)| told.map_or(start > 0, |told| told < start));
                    if let Some((start, end)) = log.filter(|_| !deleted && !attempt.aborted) {
                        report.add(Kind::Lost, || {
                            let told = told.map_or(String::new(), |told| format!(" at offset {told}"));
                            format!("{partition}: {id} was acknowledged{told} and is not in the log [{start}, {end})")
                        });
                    }
                    continue;
                };
                let Found { partition: place, offset: at, is_late } = found;
                if is_late {
                    // The copy that was acknowledged may be deleted, and this one comes behind later records.
                    continue;
                }
                if place != partition || told.is_some_and(|told| told != at) {
                    report.add(Kind::Misplaced, || {
                        format!(
                            "{id} was acknowledged at {partition}, offset {told:?}, and lies at {place}, offset {at}"
                        )
                    });
                }
                if let Some((before, earlier)) = last.insert(place, (at, id)).filter(|(before, _)| *before > at) {
                    report.add(Kind::Reordered, || {
                        format!("{place}: {id} lies at offset {at}, before {earlier} at {before}, which was sent first")
                    });
                }
            }
        }
    }
}

fn named(id: Option<Id>) -> String {
    id.map_or_else(|| "bytes that have no id".to_owned(), |id| format!("record {id}"))
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {}", self.0)
    }
}

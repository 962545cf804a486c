//! What must always hold, and what must be seen to happen.

use std::collections::BTreeSet;

use ottla_txn::{TransactionResult, TransactionState, TransactionVersion};
use stateright::{Expectation, Property};

use crate::Protocol;
use crate::mutant::Mutant;
use crate::rules::{
    ABORTED, AS_DECIDED, ATOMIC, COMMITTED, DECIDED_ONCE, NONE_HANGS, ONE_PRODUCER, OWN_RECORDS, OWN_REQUESTS,
    REPLACED, STABLE,
};
use crate::state::{Job, LogEntry, Partition, State, topic_partition};

/// Every property. A scenario names the witnesses that must be seen in it; the others may or may not happen.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(COMMITTED, |_, state: &State| {
            let mut committed = answered(state, TransactionResult::Commit);
            committed.all(|job| {
                let has_ended = state.written.job != Some(job)
                    || matches!(state.transaction().state, TransactionState::Complete(_));
                state.partitions.iter().all(|partition| {
                    let mut outcomes = outcomes(partition, job).peekable();
                    outcomes.peek().is_some()
                        && outcomes.all(|outcome| match outcome {
                            Some(outcome) => outcome == TransactionResult::Commit,
                            None => !has_ended,
                        })
                })
            })
        }),
        Property::always(ABORTED, |_, state: &State| {
            let mut aborted = answered(state, TransactionResult::Abort);
            aborted.all(|job| {
                let mut partitions = state.partitions.iter();
                partitions
                    .all(|partition| outcomes(partition, job).all(|outcome| outcome != Some(TransactionResult::Commit)))
            })
        }),
        Property::always(ATOMIC, |_, state: &State| {
            jobs(state).into_iter().all(|job| {
                let all = state.partitions.iter().flat_map(|partition| outcomes(partition, job)).flatten();
                all.collect::<BTreeSet<TransactionResult>>().len() <= 1
            })
        }),
        Property::always(ONE_PRODUCER, |_, state: &State| {
            let [one, other] = &state.producers;
            one.identity != other.identity || !(one.has_identity() && other.has_identity())
        }),
        Property::always(DECIDED_ONCE, |_, state: &State| !state.seen.decided_again),
        Property::always(AS_DECIDED, |_, state: &State| {
            jobs(state).into_iter().all(|job| {
                let mut all = state.partitions.iter().flat_map(|partition| outcomes(partition, job)).flatten();
                all.all(|outcome| state.decided.get(&job) == Some(&outcome))
            })
        }),
        Property::always(OWN_RECORDS, |_, state: &State| {
            state.partitions.iter().all(|partition| has_own_records(partition))
        }),
        Property::always(NONE_HANGS, |_, state: &State| {
            let transaction = state.transaction();
            let is_open = matches!(transaction.state, TransactionState::Ongoing | TransactionState::Prepare(_));
            state.partitions.iter().enumerate().all(|(number, partition)| {
                let mut open = partition.producers.iter().filter(|(_, producer)| producer.transaction_start.is_some());
                open.all(|(id, producer)| {
                    is_open
                        && id == transaction.producer_id
                        && producer.epoch <= transaction.producer_epoch
                        && transaction.partitions.contains(&topic_partition(number))
                        && partition.open(id).map(|(job, _)| job) == state.written.job
                })
            })
        }),
        Property::always(REPLACED, |_, state: &State| {
            state.partitions.iter().all(|partition| {
                let epochs = partition.log.iter().filter_map(|entry| match entry {
                    LogEntry::Marker { marker, .. } => Some((marker.producer_id, marker.coordinator_epoch)),
                    LogEntry::Record { .. } => None,
                });
                epochs.clone().zip(epochs.skip(1)).all(|(one, next)| one.0 != next.0 || one.1 <= next.1)
            })
        }),
        Property::always(OWN_REQUESTS, |_, state: &State| !state.seen.took_for_another),
        Property::always(STABLE, |model: &Protocol, state: &State| {
            let sees_all = model.is(Mutant::ReadsToTheHighWatermark);
            state.partitions.iter().all(|partition| {
                let seen = &partition.log[..if sees_all { partition.committed } else { partition.last_stable() }];
                seen.iter().all(|entry| !matches!(entry, LogEntry::Record { outcome: None, .. }))
            })
        }),
        Property::sometimes("a transaction is committed", |_, state: &State| {
            is_complete(state, TransactionResult::Commit) && answered(state, TransactionResult::Commit).next().is_some()
        }),
        Property::sometimes("a transaction is aborted by its producer", |_, state: &State| {
            is_complete(state, TransactionResult::Abort) && answered(state, TransactionResult::Abort).next().is_some()
        }),
        Property::sometimes("a transaction is aborted with its record in one partition", |_, state: &State| {
            let has = |job| {
                let with = state.partitions.iter().filter(|partition| outcomes(partition, job).next().is_some());
                with.count() == 1
            };
            is_complete(state, TransactionResult::Abort) && state.written.job.is_some_and(has)
        }),
        Property::sometimes("both producers commit", |_, state: &State| {
            answered(state, TransactionResult::Commit).map(|job| job.producer).collect::<BTreeSet<_>>().len() == 2
        }),
        Property::sometimes("a producer commits twice", |_, state: &State| {
            answered(state, TransactionResult::Commit).filter(|job| job.producer == 0).count() == 2
        }),
        Property::sometimes("a transaction is aborted for its time-out", |_, state: &State| {
            state.used.time_outs > 0 && is_complete(state, TransactionResult::Abort)
        }),
        Property::sometimes("a producer is fenced", |_, state: &State| state.seen.fenced),
        Property::sometimes("a marker of a replaced coordinator is refused", |_, state: &State| {
            state.seen.refused_coordinator
        }),
        Property::sometimes("a marker of an older epoch is refused", |_, state: &State| state.seen.refused_marker),
        Property::sometimes(
            "a producer gets another epoch because its record was not acknowledged",
            |_, state: &State| state.seen.renewed,
        ),
        Property::sometimes("a batch is not verified", |_, state: &State| state.seen.not_verified),
        Property::sometimes("a batch is refused whose verification is void", |_, state: &State| state.seen.void_guard),
        Property::sometimes("a batch comes again and is known", |_, state: &State| state.seen.duplicate),
        Property::sometimes("a coordinator ends what its predecessor has decided", |_, state: &State| {
            state.seen.inherited
        }),
        Property::sometimes("a coordinator finds a record of unknown fate committed", |_, state: &State| {
            state.seen.settled
        }),
        Property::sometimes("a new leader lacks what its predecessor had", |_, state: &State| state.seen.cut),
        Property::sometimes("a producer gets another producer id, and commits", |_, state: &State| {
            let first = state.partitions[0].log.first();
            let last = state.partitions[0].log.iter().rev().find_map(|entry| match entry {
                LogEntry::Record { producer, outcome: Some(TransactionResult::Commit), .. } => {
                    Some(producer.producer_id)
                }
                LogEntry::Record { .. } | LogEntry::Marker { .. } => None,
            });
            matches!((first, last), (Some(LogEntry::Record { producer, .. }), Some(id)) if producer.producer_id != id)
        }),
        Property::sometimes("a transaction of each protocol is committed", |model: &Protocol, state: &State| {
            let protocols = answered(state, TransactionResult::Commit).map(|job| model.protocol(job.producer));
            protocols.collect::<BTreeSet<TransactionVersion>>().len() == 2
        }),
    ]
}

/// Whether a property of this name must hold always.
pub fn is_rule(name: &str) -> bool {
    all().iter().any(|property| property.name == name && property.expectation == Expectation::Always)
}

fn answered(state: &State, outcome: TransactionResult) -> impl Iterator<Item = Job> {
    state.answered.iter().filter(move |(_, answered)| **answered == outcome).map(|(job, _)| *job)
}

fn is_complete(state: &State, outcome: TransactionResult) -> bool {
    state.transaction().state == TransactionState::Complete(outcome)
}

/// What became of the records of a job in a partition.
fn outcomes(partition: &Partition, job: Job) -> impl Iterator<Item = Option<TransactionResult>> {
    partition.log.iter().filter_map(move |entry| match entry {
        LogEntry::Record { job: of, outcome, .. } => (*of == job).then_some(*outcome),
        LogEntry::Marker { .. } => None,
    })
}

/// The jobs that have a record somewhere.
fn jobs(state: &State) -> BTreeSet<Job> {
    let entries = state.partitions.iter().flat_map(|partition| &partition.log);
    let job = |entry: &LogEntry| match entry {
        LogEntry::Record { job, .. } => Some(*job),
        LogEntry::Marker { .. } => None,
    };
    entries.filter_map(job).collect()
}

/// Whether what lies between two markers of a producer is of one job, and that of the marker which ends it.
fn has_own_records(partition: &Partition) -> bool {
    let mut open: Vec<(i64, Job)> = Vec::new();
    partition.log.iter().all(|entry| match entry {
        LogEntry::Record { job, producer, .. } => {
            open.push((producer.producer_id, *job));
            open.iter().all(|(id, other)| *id != producer.producer_id || other == job)
        }
        LogEntry::Marker { job, marker } => {
            let ended = open.extract_if(.., |(id, _)| *id == marker.producer_id).map(|(_, job)| Some(job));
            ended.collect::<Vec<_>>().iter().all(|of| of == job)
        }
    })
}

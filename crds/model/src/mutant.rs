//! One rule broken. The check must notice each: it proves that the rule is needed, and that the model can see why.

use std::sync::Arc;

use ottla_rules::assignment::{Assignment, IsrMember, LeaderEpoch, Live, RecoveryReport};

use crate::scenario::{Bounds, CALM};

/// A rule that does not hold. The comment says what happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A broker that lost its content is still who it was.
    BrokerIdsInsteadOfIncarnations,
    /// A broker leads when its id is named, whatever content joined.
    LeaderIgnoresItsIncarnation,
    /// While a change is in doubt only the committed ISR counts for the high watermark.
    CommittedIsr,
    /// A new leader takes in followers that have not reached its epoch's start.
    NoEpochStart,
    /// A leader's write changes whatever entry it meets.
    NoCompareAndSwap,
    /// The ISR may shrink to one.
    NoFloor,
    /// A follower joins below the high watermark.
    JoinBelowHighWatermark,
    /// A reassignment ends when one of its targets is in sync.
    EarlyCompletion,
    /// A replica leaves within a leader epoch.
    EpochKept,
    /// A recovery does not wait for the members that have not reported.
    RecoveryWithoutAllReports,
    /// A recovery ignores a replica that reported and looks dead.
    RecoveryWithoutWhoIsTakenForDead,
    /// Members that are gone are taken out while nobody is left to lead.
    ShrinkWithoutLeader,
    /// An order to recover is obeyed whenever nobody leads.
    OrderForAnyEpoch,
    /// A leader whose process is killed forgets the change that it proposed.
    ForgottenProposal,
    /// A broker whose process is killed goes back to an older leader epoch than one that it has acted in.
    ForgottenEpoch,
    /// A leader whose process is killed takes in followers that have got to where its epoch began, as before: but of
    /// what it acknowledged since it knows nothing any more.
    EpochStartOfTheFirstProcess,
    /// A broker copies a log again that it can't read, though it is in the ISR.
    CopiedInTheIsr,
    /// A broker copies a log again in a leader epoch in which it has reported its position in the log that it can't
    /// read.
    CopiedInTheSameEpoch,
}

impl Mutant {
    /// Every mutant, with bounds in which it shows.
    pub fn all() -> Vec<(Mutant, Bounds)> {
        let faults = Bounds { name: "mutant", suspicions: 2, shrinks: 2, crashes: 1, ..CALM };
        let moving = Bounds { replicas: 2, reassignments: 1, suspicions: 1, ..faults.clone() };
        let power_cut = Bounds { crashes: 2, suspicions: 0, shrinks: 0, ..faults.clone() };
        let killed = Bounds { restarts: 1, crashes: 0, records: 2, shrinks: 1, ..faults.clone() };
        let damaged = Bounds { name: "mutant", damages: 1, ..CALM };
        vec![
            (Mutant::BrokerIdsInsteadOfIncarnations, faults.clone()),
            (Mutant::LeaderIgnoresItsIncarnation, faults.clone()),
            (Mutant::CommittedIsr, faults.clone()),
            (Mutant::NoEpochStart, faults.clone()),
            (Mutant::NoCompareAndSwap, faults.clone()),
            (Mutant::NoFloor, faults.clone()),
            (Mutant::JoinBelowHighWatermark, faults.clone()),
            (Mutant::EarlyCompletion, moving),
            (Mutant::EpochKept, Bounds { name: "mutant", replicas: 2, reassignments: 2, ..CALM }),
            (Mutant::RecoveryWithoutAllReports, power_cut.clone()),
            (
                Mutant::RecoveryWithoutWhoIsTakenForDead,
                Bounds { in_sync: 1, min_in_sync: 1, suspicions: 1, shrinks: 0, ..faults.clone() },
            ),
            (Mutant::ShrinkWithoutLeader, Bounds { in_sync: 3, crashes: 3, min_in_sync: 1, ..power_cut }),
            (Mutant::OrderForAnyEpoch, Bounds { records: 0, suspicions: 3, shrinks: 0, orders: 1, ..faults }),
            (Mutant::ForgottenProposal, killed.clone()),
            (Mutant::ForgottenEpoch, killed.clone()),
            (Mutant::EpochStartOfTheFirstProcess, killed),
            (Mutant::CopiedInTheIsr, damaged.clone()),
            (Mutant::CopiedInTheSameEpoch, damaged),
        ]
    }
}

/// The end of a reassignment with one target in sync.
pub(crate) fn complete_with_any_target(entry: &Assignment, live: &Live) -> Option<Assignment> {
    let target: Vec<_> = entry.replicas.iter().filter(|broker| !entry.removing.contains(broker)).copied().collect();
    let isr: Vec<IsrMember> = entry.isr.iter().filter(|member| target.contains(&member.broker)).copied().collect();
    let valid = |member: &&IsrMember| live.get(&member.broker).is_some_and(|b| b.incarnation == member.incarnation);
    let leader = isr.iter().find(valid)?.broker;
    let (leader_epoch, partition_epoch) = (entry.leader_epoch.next()?, entry.partition_epoch.next()?);
    entry.is_reassigning().then(|| Assignment {
        replicas: target,
        adding: Vec::new(),
        removing: Vec::new(),
        leader: Some(leader),
        leader_epoch,
        partition_epoch,
        isr,
        ..entry.clone()
    })
}

/// Takes members out that are not there with what they joined with, as far as the floor allows.
pub(crate) fn drop_who_is_gone(entry: &mut Assignment, live: &Live, min_in_sync: usize) {
    let mut to_go = entry.isr.len().saturating_sub(entry.floor(min_in_sync));
    entry.isr.retain(|member| {
        let goes = to_go > 0 && live.get(&member.broker).is_none_or(|b| b.incarnation != member.incarnation);
        to_go -= usize::from(goes);
        !goes
    });
}

/// The entry as if every void member that has said nothing had said that it has nothing.
pub(crate) fn with_reports_of_the_missing(entry: &Arc<Assignment>, live: &Live) -> Assignment {
    let mut entry = (**entry).clone();
    if entry.reports.is_empty() {
        return entry;
    }
    for broker in entry.waits_for(live) {
        if let Some(there) = live.get(&broker) {
            entry.reports.retain(|report| report.broker != broker);
            let (incarnation, log_start) = (there.incarnation, Some(0));
            entry.reports.push(RecoveryReport {
                broker,
                incarnation,
                last_epoch: LeaderEpoch::NONE,
                log_end: 0,
                log_start,
            });
        }
    }
    entry
}

/// The entry without the reports of those that are taken for dead.
pub(crate) fn with_reports_of_the_living(entry: &Assignment, live: &Live) -> Assignment {
    let mut entry = entry.clone();
    entry.reports.retain(|report| live.contains_key(&report.broker));
    entry
}

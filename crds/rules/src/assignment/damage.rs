//! A replica whose log can't be read: its broker disowns the log, so that other replicas lead, and copies it again from
//! them.
//!
//! As long as a broker keeps its incarnation, others rely on its log: the ISR, its report in a recovery, and the leader
//! of an epoch in which it has fetched, which may add it to the ISR at any time. So before anything of the log is
//! removed, its member of the ISR becomes void, its report is removed, and the leader epoch ends. Leaders of later
//! epochs do not use what it reported before.
//!
//! The result is as if the broker had lost its disk: elections, the floor and recoveries treat both in the same way.

use super::{Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, RecoveryReport, Refusal};

/// What a broker must do about a log that it can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Write this change, which disowns the log.
    Disown(Assignment),
    /// Quarantine the log and copy it from the leader: no other replica relies on it.
    CopyAnew,
    /// Change nothing: there is no leader, and the log may be repaired and needed.
    Wait,
}

impl Assignment {
    /// What `broker` must do about its log. `acted_in` is the last leader epoch in which it led or followed with that
    /// log; none: never.
    pub fn remedy(&self, broker: BrokerId, incarnation: Incarnation, acted_in: LeaderEpoch) -> Remedy {
        let another_leads = self.leader.is_some_and(|leader| leader != broker);
        let is_in_sync = self.isr.contains(&IsrMember { broker, incarnation });
        let has_reported = |report: &RecoveryReport| (report.broker, report.incarnation) == (broker, incarnation);
        if is_in_sync || self.reports.iter().any(has_reported) || (another_leads && self.leader_epoch <= acted_in) {
            return self.disown(broker).map_or(Remedy::Wait, Remedy::Disown);
        }
        if another_leads { Remedy::CopyAnew } else { Remedy::Wait }
    }

    /// Disowns the log of `broker`. Its member of the ISR stays and is void, so the ISR does not fall below the floor.
    /// If it led, the partition has no leader until the operator elects. If another broker leads, it stays leader, in a
    /// new leader epoch.
    pub fn disown(&self, broker: BrokerId) -> Result<Self, Refusal> {
        if !self.replicas.contains(&broker) {
            return Err(Refusal::NotReplica);
        }
        let mut next = self.clone();
        next.reports.retain(|report| report.broker != broker);
        for member in next.isr.iter_mut().filter(|member| member.broker == broker) {
            member.incarnation = Incarnation::NONE;
        }
        next.leader = self.leader.filter(|leader| *leader != broker);
        if next.leader.is_none() {
            return self.changed_to(next);
        }
        next.partition_epoch = self.partition_epoch.next().ok_or(Refusal::Exhausted)?;
        next.leader_epoch = self.leader_epoch.next().ok_or(Refusal::Exhausted)?;
        Ok(next)
    }
}

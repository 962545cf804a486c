//! When no in-sync member is valid: brokers report what they still have, and the longest log leads.
//!
//! Always: nobody is elected before every last member of the ISR has reported, so nothing that still exists is given up.

use super::{Assignment, BrokerId, Incarnation, IsrMember, Live, RecoveryReport, Refusal, Standing};

impl Assignment {
    /// Whether a broker is to say what it still has: nobody leads, and neither the ISR nor a report speaks of what it holds now. In
    /// the last ISR or not: its log may be the longest.
    pub fn asks_for_report(&self, broker: BrokerId, incarnation: Incarnation) -> bool {
        let has_reported = |report: &RecoveryReport| report.broker == broker && report.incarnation == incarnation;
        self.leader.is_none()
            && self.replicas.contains(&broker)
            && !self.isr.contains(&IsrMember { broker, incarnation })
            && !self.reports.iter().any(has_reported)
    }

    /// Publishes what a broker still has of a partition that nobody leads.
    pub fn report(&self, report: RecoveryReport) -> Result<Self, Refusal> {
        if !self.replicas.contains(&report.broker) {
            return Err(Refusal::NotReplica);
        }
        if self.leader.is_some() {
            return Err(Refusal::NoRecovery);
        }
        if self.isr.contains(&IsrMember { broker: report.broker, incarnation: report.incarnation }) {
            return Err(Refusal::InIsr);
        }
        let mut next = self.clone();
        next.reports.retain(|other| other.broker != report.broker);
        next.reports.push(report);
        next.reports.sort();
        self.changed_to(next)
    }

    /// Elects the longest log (by epoch, then offset, then preference) among all replicas that reported, once every last
    /// member has.
    pub fn recover(&self, live: &Live) -> Result<Self, Refusal> {
        if self.leader.is_some() || self.successor(live).is_some() {
            return Err(Refusal::NoRecovery);
        }
        if !self.waits_for(live).is_empty() {
            return Err(Refusal::Behind);
        }
        // The last of equals wins in `max_by_key`, so the order of preference goes in backwards.
        let candidates = self.replicas.iter().rev().filter_map(|broker| self.current_report(*broker, live));
        let longest = candidates.max_by_key(|report| (report.last_epoch, report.log_end)).ok_or(Refusal::Behind)?;
        let mut next = self.clone();
        next.leader = Some(longest.broker);
        next.isr = vec![IsrMember { broker: longest.broker, incarnation: longest.incarnation }];
        next.reports.clear();
        self.changed_to(next)
    }

    /// The in-sync members that stand between a partition without a leader and its next one: those that are not there, and
    /// those that are and have not reported yet.
    pub fn waits_for(&self, live: &Live) -> Vec<BrokerId> {
        if self.leader.is_some() {
            return Vec::new();
        }
        let missing = |member: &&IsrMember| match member.standing(live) {
            Standing::Valid | Standing::Draining => false,
            Standing::Void => self.current_report(member.broker, live).is_none(),
            Standing::Dead => true,
        };
        self.isr.iter().filter(missing).map(|member| member.broker).collect()
    }

    /// A report counts only while its broker is there with what it reported.
    fn current_report(&self, broker: BrokerId, live: &Live) -> Option<&RecoveryReport> {
        let incarnation = live.get(&broker)?.incarnation;
        self.reports.iter().find(|report| report.broker == broker && report.incarnation == incarnation)
    }
}

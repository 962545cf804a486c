//! When no in-sync member is valid: brokers report what they still have, and the longest log leads.
//!
//! Always: nobody is elected before every last member of the ISR has reported, nor while a replica that reported more
//! is not seen, so nothing that still exists is given up; unless an administrator orders it for the very leader epoch
//! in which the partition waits, so that an order is obeyed once.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assignment, BrokerId, Incarnation, IsrMember, Live, RecoveryReport, Refusal, Standing};

/// An administrator's word that a partition goes on with what one broker has of it, though in-sync replicas are
/// missing.
// The leader epoch makes it an order for one occasion: while nobody leads the epoch stands still, and whoever is
// elected, by this order or because a missing broker came back, begins the next one. So it may stay in a spec that is
// applied again and again, needs no record of having been obeyed, and two operators can't obey it twice. In a cluster
// that is made again epochs begin anew: `Recovery` names the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryOrder {
    /// The partition's number.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The leader epoch in which the partition waits without a leader. The order is about no other.
    #[schemars(range(min = 0))]
    pub leader_epoch: i32,
    /// The broker whose records the partition goes on with.
    #[schemars(range(min = 0))]
    pub broker: BrokerId,
}

impl Assignment {
    /// Whether a broker is to say what it still has: nobody leads, and neither the ISR nor a report speaks of what it
    /// holds now. In the last ISR or not: its log may be the longest.
    pub fn asks_for_report(&self, broker: BrokerId, incarnation: Incarnation) -> bool {
        let has_reported = |report: &RecoveryReport| report.broker == broker && report.incarnation == incarnation;
        self.leader.is_none()
            && self.replicas.contains(&broker)
            && !self.isr.contains(&IsrMember { broker, incarnation })
            && !self.reports.iter().any(has_reported)
    }

    /// Publishes what a broker still has of a partition that nobody leads. It was measured while nobody led in
    /// `leader_epoch`: since then somebody may have, whom its log has followed.
    pub fn report(&self, leader_epoch: i32, report: RecoveryReport) -> Result<Self, Refusal> {
        if !self.replicas.contains(&report.broker) {
            return Err(Refusal::NotReplica);
        }
        if self.leader.is_some() {
            return Err(Refusal::NoRecovery);
        }
        if leader_epoch != self.leader_epoch {
            return Err(Refusal::OtherEpoch);
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

    /// Elects the longest log (by epoch, then offset, then preference) among all replicas that reported, once every
    /// last member has.
    pub fn recover(&self, live: &Live) -> Result<Self, Refusal> {
        if self.leader.is_some() || self.successor(live).is_some() {
            return Err(Refusal::NoRecovery);
        }
        if !self.waits_for(live).is_empty() {
            return Err(Refusal::Behind);
        }
        self.go_on_with(self.longest(live).ok_or(Refusal::Behind)?)
    }

    /// Elects the broker that an administrator has named, once it has reported, without those that are waited for: what
    /// only they have is given up.
    pub fn obey(&self, order: &RecoveryOrder, live: &Live) -> Result<Self, Refusal> {
        if (order.partition, order.leader_epoch) != (self.partition, self.leader_epoch) {
            return Err(Refusal::OtherEpoch);
        }
        if self.leader.is_some() || self.successor(live).is_some() || self.waits_for(live).is_empty() {
            return Err(Refusal::NoRecovery);
        }
        if !self.replicas.contains(&order.broker) {
            return Err(Refusal::NotReplica);
        }
        self.go_on_with(self.current_report(order.broker, live).ok_or(Refusal::Behind)?)
    }

    /// The order that gives up least, if this waits for somebody and another has reported.
    pub fn possible_order(&self, live: &Live) -> Option<RecoveryOrder> {
        let longest = self.longest(live).filter(|_| !self.waits_for(live).is_empty())?;
        Some(RecoveryOrder { partition: self.partition, leader_epoch: self.leader_epoch, broker: longest.broker })
    }

    /// The longest log that was reported, by epoch, then offset, then preference.
    fn longest(&self, live: &Live) -> Option<&RecoveryReport> {
        // The last of equals wins in `max_by_key`, so the order of preference goes in backwards.
        let candidates = self.replicas.iter().rev().filter_map(|broker| self.current_report(*broker, live));
        candidates.max_by_key(|report| report.length())
    }

    fn go_on_with(&self, chosen: &RecoveryReport) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.leader = Some(chosen.broker);
        next.isr = vec![IsrMember { broker: chosen.broker, incarnation: chosen.incarnation }];
        self.changed_to(next)
    }

    /// Whether content of in-sync members is known to be lost and nobody could take over yet.
    pub fn is_recovering(&self, live: &Live) -> bool {
        self.leader.is_none() && self.isr.iter().any(|member| member.standing(live) == Standing::Void)
    }

    /// Who stands between a partition without a leader and its next one: in-sync members that are not there, those that
    /// are and have not reported yet, and whoever has reported with other content than is seen there, or more than
    /// anybody who is there and is not seen any more.
    pub fn waits_for(&self, live: &Live) -> Vec<BrokerId> {
        if self.leader.is_some() {
            return Vec::new();
        }
        let missing = |member: &&IsrMember| match member.standing(live) {
            Standing::Valid | Standing::Draining => false,
            Standing::Void => self.current_report(member.broker, live).is_none(),
            Standing::Dead => true,
        };
        let longest = self.longest(live).map(RecoveryReport::length);
        let in_doubt = |report: &&RecoveryReport| match live.get(&report.broker) {
            // It has lost what it reported, and will report again; or it is not seen yet that it has come back with it,
            // and it may be the longest log of all.
            Some(broker) => broker.incarnation != report.incarnation,
            // It may be there all the same: a wrong guess must not cost what only it has.
            None => longest.is_none_or(|longest| report.length() > longest),
        };
        let members = self.isr.iter().filter(missing).map(|member| member.broker);
        let reporters = self.reports.iter().filter(in_doubt).map(|report| report.broker);
        members.chain(reporters).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A report counts only while its broker is there with what it reported.
    fn current_report(&self, broker: BrokerId, live: &Live) -> Option<&RecoveryReport> {
        let incarnation = live.get(&broker)?.incarnation;
        self.reports.iter().find(|report| report.broker == broker && report.incarnation == incarnation)
    }
}

impl RecoveryReport {
    /// By what logs are compared: the epoch first, then the offset.
    fn length(&self) -> (i32, i64) {
        (self.last_epoch, self.log_end)
    }
}

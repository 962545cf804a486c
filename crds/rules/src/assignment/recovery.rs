//! Elections without a valid in-sync replica: brokers report their logs, and the longest log leads.
//!
//! Always: no broker is elected before every member of the last ISR has reported, nor while a replica is dead that
//! reported more, so nothing is lost that still exists; unless an administrator orders an unclean election for the
//! leader epoch in which the partition waits, so that an order is obeyed once. Records that every in-sync replica had
//! deleted stay deleted, whichever log leads.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assignment, BrokerId, Incarnation, IsrMember, IsrMemberState, LeaderEpoch, Live, RecoveryReport, Refusal};

/// An administrator's order that a broker leads a partition with the records that it has, although in-sync replicas are
/// missing.
// The leader epoch makes the order effective once: while there is no leader, the epoch does not change, and the next
// election, by this order or because a missing broker returned, begins the next epoch. So the order may stay in a spec
// that is applied again and again, no record of it is needed, and two operators can't obey it twice. A cluster that is
// created again starts its epochs at 0, so `Recovery` names the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryOrder {
    /// The partition's number, from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The leader epoch in which the partition waits without a leader. In any other epoch the order has no effect.
    #[schemars(range(min = 0))]
    pub leader_epoch: LeaderEpoch,
    /// The id of the broker that will lead, with the records that it has.
    #[schemars(range(min = 0))]
    pub broker: BrokerId,
}

impl Assignment {
    /// Whether a broker should report its log: there is no leader, and neither the ISR nor a report has its
    /// incarnation. Brokers outside the last ISR report too, because their log may be the longest.
    pub fn asks_for_report(&self, broker: BrokerId, incarnation: Incarnation) -> bool {
        let has_reported = |report: &RecoveryReport| report.broker == broker && report.incarnation == incarnation;
        self.leader.is_none()
            && self.replicas.contains(&broker)
            && !self.isr.contains(&IsrMember { broker, incarnation })
            && !self.reports.iter().any(has_reported)
    }

    /// Adds the report of a broker about a partition without a leader. The report was measured in `leader_epoch`: if a
    /// leader was elected since, the log may have changed, and the report is refused.
    pub fn report(&self, leader_epoch: LeaderEpoch, report: RecoveryReport) -> Result<Self, Refusal> {
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

    /// Elects the longest log (by epoch, then offset, then membership of the last ISR, then preference) among all
    /// replicas that reported, once every member of the last ISR has.
    pub fn recover(&self, live: &Live) -> Result<Self, Refusal> {
        if self.leader.is_some() || self.successor(live).is_some() {
            return Err(Refusal::NoRecovery);
        }
        if !self.waits_for(live).is_empty() {
            return Err(Refusal::Behind);
        }
        self.led_with(self.longest(live).ok_or(Refusal::Behind)?, live)
    }

    /// Elects the broker that an administrator has named, once it has reported. The records that only the missing
    /// brokers have are lost.
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
        self.led_with(self.current_report(order.broker, live).ok_or(Refusal::Behind)?, live)
    }

    /// The order that loses least; `None` if the partition waits for no broker, or no other broker has reported.
    pub fn possible_order(&self, live: &Live) -> Option<RecoveryOrder> {
        let longest = self.longest(live).filter(|_| !self.waits_for(live).is_empty())?;
        Some(RecoveryOrder { partition: self.partition, leader_epoch: self.leader_epoch, broker: longest.broker })
    }

    /// The longest log that was reported, by epoch, then offset. Of equals a member of the last ISR: it alone may know
    /// which records were deleted. Then by preference.
    fn longest(&self, live: &Live) -> Option<&RecoveryReport> {
        // The last of equals wins in `max_by_key`, so the order of preference goes in backwards.
        let candidates = self.replicas.iter().rev().filter_map(|broker| self.current_report(*broker, live));
        let was_in_sync = |report: &RecoveryReport| self.isr.iter().any(|member| member.broker == report.broker);
        candidates.max_by_key(|report| (report.length(), was_in_sync(report)))
    }

    fn led_with(&self, chosen: &RecoveryReport, live: &Live) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.leader = Some(chosen.broker);
        next.isr = vec![IsrMember { broker: chosen.broker, incarnation: chosen.incarnation }];
        let must_begin_at = self.log_start.max(self.deleted_before(live));
        next.log_start = must_begin_at.filter(|offset| chosen.log_start.is_none_or(|begins| begins < *offset));
        self.changed_to(next)
    }

    /// The offset before which every member of the last ISR has deleted all records; `None` if one has not reported.
    /// DeleteRecords is acknowledged when every member has deleted them, so that records that were
    /// deleted for good are before this offset. A member with a blank log has lost its disk, and does not count.
    // The least offset, not the greatest: retention runs on each replica by itself, by the clock of its machine.
    fn deleted_before(&self, live: &Live) -> Option<i64> {
        let reports: Option<Vec<&RecoveryReport>> =
            self.isr.iter().map(|member| self.current_report(member.broker, live)).collect();
        let whole = reports?.into_iter().filter(|report| report.log_end > 0);
        whole.map(|report| report.log_start.unwrap_or(0)).min()
    }

    /// Whether the partition has no leader and a member of its ISR is void.
    pub fn is_recovering(&self, live: &Live) -> bool {
        self.leader.is_none() && self.isr.iter().any(|member| member.state(live) == IsrMemberState::Void)
    }

    /// The brokers that a partition without a leader waits for: dead members of its ISR; void members that have not
    /// reported yet; brokers that reported with another incarnation than they have now; and dead brokers that reported
    /// more than any live one.
    pub fn waits_for(&self, live: &Live) -> Vec<BrokerId> {
        if self.leader.is_some() {
            return Vec::new();
        }
        let missing = |member: &&IsrMember| match member.state(live) {
            IsrMemberState::Valid | IsrMemberState::Draining => false,
            IsrMemberState::Void => self.current_report(member.broker, live).is_none(),
            IsrMemberState::Dead => true,
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
    fn length(&self) -> (LeaderEpoch, i64) {
        (self.last_epoch, self.log_end)
    }
}

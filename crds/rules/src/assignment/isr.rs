//! The leader's transitions: it shrinks and expands the ISR.
//!
//! Always: one change of the ISR is in flight at most; while its outcome is unknown, the maximal ISR counts.

use std::time::Duration;

use super::{Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, Refusal};

/// A leader that wants to change the ISR, as it knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its id.
    pub broker: BrokerId,
    /// The incarnation of its data directory.
    pub incarnation: Incarnation,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The offset at which that epoch starts.
    pub epoch_start: i64,
    /// Its high watermark.
    pub high_watermark: i64,
    /// Where its log begins: what comes before was deleted.
    pub log_start: i64,
    /// Whether the outcome of an earlier change is unknown.
    pub write_in_flight: bool,
}

/// A follower, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its id.
    pub broker: BrokerId,
    /// The incarnation in its last fetch.
    pub incarnation: Incarnation,
    /// The leader epoch in its last fetch.
    pub leader_epoch: LeaderEpoch,
    /// The offset that its last fetch asked for: it has every record before.
    pub log_end: i64,
    /// Where its log begins, as its last fetch said.
    pub log_start: i64,
    /// Whether it is dead or draining.
    pub leaving: bool,
}

impl Assignment {
    /// Removes a follower that has not been at the log end for `behind_for`, if that is more than `limit`
    /// (`replica.lag.time.max.ms`).
    pub fn shrink(
        &self,
        leader: &Leader,
        follower: BrokerId,
        behind_for: Duration,
        limit: Duration,
        min_in_sync: usize,
    ) -> Result<Self, Refusal> {
        self.check_leader(leader)?;
        if follower == leader.broker || self.member(follower).is_none() {
            return Err(Refusal::NotInIsr);
        }
        if behind_for <= limit {
            return Err(Refusal::CaughtUp);
        }
        let floor = self.floor(min_in_sync);
        if self.isr.len() <= floor {
            return Err(Refusal::Floor(floor));
        }
        let mut next = self.clone();
        next.isr.retain(|member| member.broker != follower);
        self.changed_to(next)
    }

    /// Adds a follower, with the incarnation in its fetch.
    ///
    /// It must have fetched up to the high watermark, because it would lack acknowledged records otherwise; and up to
    /// the start of the leader's epoch, because a new leader's high watermark may be too low before that. It must have
    /// deleted what the leader has, or must have: deleted records would be back if it led.
    pub fn expand(&self, leader: &Leader, follower: &Follower) -> Result<Self, Refusal> {
        self.check_leader(leader)?;
        let joining = IsrMember { broker: follower.broker, incarnation: follower.incarnation };
        if !self.replicas.contains(&follower.broker) {
            return Err(Refusal::NotReplica);
        }
        if self.isr.contains(&joining) || follower.broker == leader.broker {
            return Err(Refusal::InIsr);
        }
        if follower.leaving {
            return Err(Refusal::Leaving);
        }
        if follower.leader_epoch != leader.leader_epoch
            || follower.log_end < leader.high_watermark
            || follower.log_end < leader.epoch_start
            || follower.log_start < leader.log_start.max(self.log_start.unwrap_or(0))
        {
            return Err(Refusal::Behind);
        }
        let mut next = self.clone();
        next.isr.retain(|member| member.broker != follower.broker);
        next.isr.push(joining);
        next.log_start = self.log_start.filter(|log_start| *log_start > leader.log_start);
        self.changed_to(next)
    }

    fn check_leader(&self, leader: &Leader) -> Result<(), Refusal> {
        if leader.leader_epoch != self.leader_epoch || !self.may_lead(leader.broker, leader.incarnation, None) {
            return Err(Refusal::NotLeader);
        }
        if leader.write_in_flight { Err(Refusal::WriteInFlight) } else { Ok(()) }
    }
}

/// The members that count for the high watermark while the outcome of `proposed` is unknown: those of both. A broker
/// that is in both with different incarnations counts with the proposed one.
pub fn maximal_isr(committed: &[IsrMember], proposed: Option<&[IsrMember]>) -> Vec<IsrMember> {
    let proposed = proposed.unwrap_or_default();
    let replaced = |member: &&IsrMember| proposed.iter().any(|other| other.broker == member.broker);
    committed.iter().filter(|member| !replaced(member)).chain(proposed).copied().collect()
}

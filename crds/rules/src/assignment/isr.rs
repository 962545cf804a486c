//! The leader's part: who is in sync.
//!
//! Always: one change of the ISR is in flight at most; while its outcome is unknown, the maximal ISR counts.

use std::time::Duration;

use super::{Assignment, BrokerId, Incarnation, IsrMember, Refusal};

/// A leader that wants to change the ISR: what it knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its id.
    pub broker: BrokerId,
    /// What its data directory holds.
    pub incarnation: Incarnation,
    /// The epoch in which it leads.
    pub leader_epoch: i32,
    /// The offset at which that epoch starts.
    pub epoch_start: i64,
    /// Its high watermark.
    pub high_watermark: i64,
    /// Whether the outcome of an earlier change is unknown.
    pub write_in_flight: bool,
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its id.
    pub broker: BrokerId,
    /// The incarnation that its last fetch carried.
    pub incarnation: Incarnation,
    /// The leader epoch that its last fetch carried.
    pub leader_epoch: i32,
    /// The offset that its last fetch asked for: it has everything before.
    pub log_end: i64,
    /// Whether it is known as dead or draining.
    pub leaving: bool,
}

impl Assignment {
    /// Takes a follower out that has not been caught up to the log end for `behind_for`, if that is more than `limit`
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

    /// Takes a follower in, with the incarnation that its fetch carried.
    ///
    /// It must have reached the high watermark, or it lacks acknowledged records; and the start of the leader's epoch,
    /// because a new leader's high watermark is not trusted before that.
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
        {
            return Err(Refusal::Behind);
        }
        let mut next = self.clone();
        next.isr.retain(|member| member.broker != follower.broker);
        next.isr.push(joining);
        self.changed_to(next)
    }

    fn check_leader(&self, leader: &Leader) -> Result<(), Refusal> {
        if leader.leader_epoch != self.leader_epoch || !self.may_lead(leader.broker, leader.incarnation, None) {
            return Err(Refusal::NotLeader);
        }
        if leader.write_in_flight { Err(Refusal::WriteInFlight) } else { Ok(()) }
    }
}

/// Who counts for the high watermark while it is unknown whether `proposed` was written: the members of both. A broker
/// that is in both with different content counts with what is proposed.
pub fn maximal_isr(committed: &[IsrMember], proposed: Option<&[IsrMember]>) -> Vec<IsrMember> {
    let proposed = proposed.unwrap_or_default();
    let replaced = |member: &&IsrMember| proposed.iter().any(|other| other.broker == member.broker);
    committed.iter().filter(|member| !replaced(member)).chain(proposed).copied().collect()
}

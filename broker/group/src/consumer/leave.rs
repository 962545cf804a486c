//! Members that leave, and those that are removed: silent for a session, or too slow to revoke.

use crate::consumer::group::{AWAY, ConsumerGroup, LEAVING};
use crate::error::GroupError;
use crate::ids::MemberId;
use crate::record::{Assigned, ConsumerRecord, CurrentValue, MemberState};
use crate::request::{ConsumerHeartbeat, ConsumerHeartbeatRequest};
use crate::timers::{TimerKey, millis};
use crate::turn::Turn;

impl ConsumerGroup {
    /// A heartbeat with epoch −1 or −2.
    pub(crate) fn leave(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        let id = &request.member;
        match &request.instance {
            None if !self.members.contains_key(id) => return Err(GroupError::UnknownMemberId),
            None => {}
            Some(instance) => match self.static_member(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some((holder, _)) if holder != id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            },
        }
        if request.epoch == AWAY {
            self.go_away(id, turn);
        } else {
            self.fence(id, turn);
        }
        Ok(ConsumerHeartbeat {
            member: id.clone(),
            epoch: request.epoch,
            interval: Default::default(),
            assignment: None,
        })
    }

    /// A static member stops for a while: it keeps its partitions until its session ends. For commits of the member
    /// that comes back they count as assigned since ever.
    fn go_away(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get(id) else { return };
        let current = &member.current;
        let since_ever = current
            .assigned
            .iter()
            .map(|(topic, partitions)| (*topic, partitions.keys().map(|partition| (*partition, 0)).collect()));
        let away = CurrentValue {
            epoch: AWAY,
            previous_epoch: current.previous_epoch,
            state: current.state,
            assigned: since_ever.collect(),
            revoking: Assigned::new(),
        };
        turn.timers.cancel(&TimerKey::Revocation(self.id.clone(), id.clone()));
        self.write(ConsumerRecord::Current(id.clone(), Some(away)));
    }

    /// Removes a member; the others share its partitions.
    pub(crate) fn fence(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get(id) else { return };
        let pattern = member.pattern().map(str::to_owned);
        self.remove_member(id, turn);
        if let Some(pattern) = pattern.filter(|pattern| self.subscribers(pattern) == 0)
            && self.patterns.contains_key(&pattern)
        {
            self.write(ConsumerRecord::Pattern(pattern, None));
        }
        if self.downgraded(turn).is_none() {
            self.bump(turn.topics);
        }
    }

    /// Its records and timers, and nothing else.
    pub(crate) fn remove_member(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        self.cancel_timers(id, turn);
        self.write(ConsumerRecord::Current(id.clone(), None));
        self.write(ConsumerRecord::TargetMember(id.clone(), None));
        self.write(ConsumerRecord::Member(id.clone(), None));
    }

    pub(crate) fn cancel_timers(&self, id: &MemberId, turn: &mut Turn<'_>) {
        let kinds = [TimerKey::Session, TimerKey::Revocation, TimerKey::MemberJoin, TimerKey::MemberSync];
        for kind in kinds {
            turn.timers.cancel(&kind(self.id.clone(), id.clone()));
        }
    }

    /// A member has not revoked its partitions in time.
    pub(crate) fn revocation_expired(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        if self.members.get(id).is_some_and(|member| member.current.state == MemberState::Unrevoked) {
            self.fence(id, turn);
        }
    }

    /// The group is loaded: every member gets the time of a session, and of a revocation if it is to revoke.
    pub(crate) fn begin(&self, turn: &mut Turn<'_>) {
        for (id, member) in &self.members {
            self.restart_session(id, turn);
            let is_to_revoke = member.current.state == MemberState::Unrevoked && member.current.epoch > LEAVING;
            if is_to_revoke && member.value.classic.is_none() {
                let timeout = millis(member.value.rebalance_timeout_ms);
                turn.schedule(TimerKey::Revocation(self.id.clone(), id.clone()), timeout);
            }
        }
    }
}

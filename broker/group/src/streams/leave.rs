//! Members that leave, and those that are removed: silent for a session, or too slow to revoke.

use crate::error::GroupError;
use crate::ids::MemberId;
use crate::record::{MemberState, StreamsGroupValue, StreamsRecord};
use crate::request::{StreamsHeartbeat, StreamsHeartbeatRequest};
use crate::streams::group::{LEAVING, StreamsGroup};
use crate::timers::{TimerKey, millis};
use crate::turn::Turn;

impl StreamsGroup {
    /// A heartbeat with epoch −1. A member may ask all others to shut down while it leaves.
    pub(super) fn leave(
        &mut self,
        request: &StreamsHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<StreamsHeartbeat, GroupError> {
        let id = &request.member;
        if !self.members.contains_key(id) {
            return Err(GroupError::UnknownMemberId);
        }
        if request.shuts_down {
            self.ask_for_shutdown(id);
        }
        self.fence(id, turn);
        Ok(StreamsHeartbeat {
            member: id.clone(),
            epoch: LEAVING,
            interval: Default::default(),
            tasks: None,
            statuses: Vec::new(),
            endpoint_epoch: 0,
            endpoints: None,
            missing: Vec::new(),
        })
    }

    /// Removes a member; the others share its tasks.
    pub(super) fn fence(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        if !self.members.contains_key(id) {
            return;
        }
        for kind in [TimerKey::Session, TimerKey::Revocation] {
            turn.timers.cancel(&kind(self.id.clone(), id.clone()));
        }
        self.write(StreamsRecord::Current(id.clone(), None));
        self.write(StreamsRecord::TargetMember(id.clone(), None));
        self.write(StreamsRecord::Member(id.clone(), None));
        let value = StreamsGroupValue { epoch: self.epoch.saturating_add(1), ..self.value() };
        self.write(StreamsRecord::Group(Some(value)));
    }

    /// A member has not revoked its tasks in time.
    pub(super) fn revocation_expired(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        if self.members.get(id).is_some_and(|member| member.current.state == MemberState::Unrevoked) {
            self.fence(id, turn);
        }
    }

    /// The group is loaded: every member gets the time of a session, and of a revocation if it is to revoke.
    pub(crate) fn begin(&self, turn: &mut Turn<'_>) {
        for (id, member) in &self.members {
            self.restart_session(id, turn);
            if member.current.state == MemberState::Unrevoked && member.current.epoch > LEAVING {
                let timeout = millis(member.value.rebalance_timeout_ms);
                turn.schedule(TimerKey::Revocation(self.id.clone(), id.clone()), timeout);
            }
        }
    }
}

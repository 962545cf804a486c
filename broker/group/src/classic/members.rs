//! Changes of one member or of the phase that need the time, a timer or a reply.

use crate::classic::group::{ClassicGroup, Member, Phase};
use crate::error::GroupError;
use crate::ids::MemberId;
use crate::request::{GroupReply, JoinRefused};
use crate::timers::{TimerKey, millis};
use crate::turn::Turn;

impl ClassicGroup {
    pub(crate) fn enter(&mut self, phase: Phase, turn: &Turn<'_>) {
        self.phase = phase;
        self.since_ms = Some(turn.now.wall_ms);
    }

    pub(crate) fn restart_session(&self, id: &MemberId, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(id) {
            let timeout = millis(member.session_timeout_ms);
            turn.schedule(TimerKey::Session(self.id.clone(), id.clone()), timeout);
        }
    }

    /// Removes a member, or a pending id. Whatever it waits for is answered.
    pub(crate) fn remove(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        turn.timers.cancel(&TimerKey::Session(self.id.clone(), id.clone()));
        self.pending.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        // The client joins again if it is still there.
        member.release(&MemberId::from(""), GroupError::UnknownMemberId, turn);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}

impl Member {
    /// Answers whatever it waits for with an error.
    pub(crate) fn release(&mut self, id_in_reply: &MemberId, error: GroupError, turn: &mut Turn<'_>) {
        if let Some(ticket) = self.awaiting_join.take() {
            turn.reply(ticket, GroupReply::Join(Err(JoinRefused { error, member: id_in_reply.clone() })));
        }
        if let Some(ticket) = self.awaiting_sync.take() {
            turn.reply(ticket, GroupReply::Sync(Err(error)));
        }
    }
}

//! The join phase of a group: begin, wait for members, complete; and what happens to those who keep silent.

use std::time::Duration;

use bytes::Bytes;

use crate::classic::group::{ClassicGroup, JoinPhase, Member, Phase};
use crate::error::GroupError;
use crate::ids::MemberId;
use crate::request::{GroupReply, Joined};
use crate::timers::TimerKey;
use crate::turn::{Then, Turn};

/// How long a join phase in which nobody joined continues at least: a rebalance timeout of 0 must not make us spin.
const SHORTEST_EXTENSION: Duration = Duration::from_secs(1);

impl ClassicGroup {
    /// Something changed that needs a new generation: begin one, or see whether the one under way is complete.
    pub(crate) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => self.prepare_rebalance(turn),
            Phase::PreparingRebalance(_) => self.complete_join_if_all_joined(turn),
        }
    }

    pub(crate) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::CompletingRebalance {
            self.abandon_sync(GroupError::RebalanceInProgress, turn);
        }
        turn.timers.cancel(&TimerKey::Sync(self.id.clone()));
        self.members.values_mut().for_each(|member| member.owes_sync = false);

        if self.is_empty() {
            let delay = turn.config.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            let initial = JoinPhase::Initial { newcomers: false, delay, remaining };
            self.enter(Phase::PreparingRebalance(initial), turn);
            turn.schedule(TimerKey::Join(self.id.clone()), delay);
        } else {
            self.enter(Phase::PreparingRebalance(JoinPhase::Rejoin), turn);
            if self.all_joined() {
                self.complete_join(turn);
            } else {
                turn.schedule(TimerKey::Join(self.id.clone()), self.rebalance_timeout());
            }
        }
    }

    /// An initial rebalance waits for its timer even so: more members may come.
    pub(crate) fn complete_join_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::PreparingRebalance(JoinPhase::Rejoin) && self.all_joined() {
            self.complete_join(turn);
        }
    }

    /// The timer of the join phase fired.
    pub(crate) fn join_expired(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::PreparingRebalance(JoinPhase::Initial { newcomers: true, delay, remaining })
                if !remaining.is_zero() =>
            {
                let next = turn.config.initial_rebalance_delay.min(remaining);
                let remaining = remaining.saturating_sub(delay);
                self.phase = Phase::PreparingRebalance(JoinPhase::Initial { newcomers: false, delay: next, remaining });
                turn.schedule(TimerKey::Join(self.id.clone()), next);
            }
            Phase::PreparingRebalance(_) => self.complete_join(turn),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => {}
        }
    }

    /// The next generation begins with those who joined. Static members stay in it even if they have not: they are
    /// expected back until their session ends.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        turn.timers.cancel(&TimerKey::Join(self.id.clone()));
        let late = |member: &Member| member.awaiting_join.is_none() && member.instance.is_none();
        let late: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| id.clone()).collect();
        for member in &late {
            self.remove(member, turn);
        }

        if self.members.is_empty() {
            self.become_empty(turn);
        } else if self.elect_leader() {
            self.begin_generation(turn);
        } else {
            self.phase = Phase::PreparingRebalance(JoinPhase::Rejoin);
            turn.schedule(TimerKey::Join(self.id.clone()), self.rebalance_timeout().max(SHORTEST_EXTENSION));
        }
    }

    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.generation = self.generation.saturating_add(1);
        self.protocol_name = None;
        self.enter(Phase::Empty, turn);
        // If this is lost, the last generation comes back at the next load, and its members time out.
        turn.write(vec![self.to_record(|_, _| Bytes::new())], Then::Nothing);
    }

    /// Keeps the leader if it joined, else takes another who did. False if nobody did.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(next) = self.members.keys().find(|id| joined(id)).cloned() else { return false };
            self.leader = Some(next);
        }
        true
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = self.generation.saturating_add(1);
        self.protocol_name = self.select_protocol();
        self.enter(Phase::CompletingRebalance, turn);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let joined = self.joined(id);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
                member.owes_sync = true;
                if let Some(ticket) = member.awaiting_join.take() {
                    turn.reply(ticket, GroupReply::Join(Ok(joined)));
                }
            }
            self.restart_session(id, turn);
        }
        turn.schedule(TimerKey::Sync(self.id.clone()), self.rebalance_timeout());
    }

    /// What JoinGroup answers about the current generation. Only the leader learns who is in it.
    pub(crate) fn joined(&self, id: &MemberId) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| MemberId::from("")),
            member: id.clone(),
            members: if self.is_leader(id) { self.joined_members() } else { Vec::new() },
            skip_assignment: false,
        }
    }

    /// The generation will not get an assignment: those who wait for one hear why.
    pub(crate) fn abandon_sync(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        let mut waiting = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                turn.reply(ticket, GroupReply::Sync(Err(error)));
                waiting.push(id.clone());
            }
        }
        for id in &waiting {
            self.restart_session(id, turn);
        }
    }

    /// A member, or an id that was handed out, has been silent for its session timeout.
    pub(crate) fn session_expired(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        let was_member = match self.members.get(id) {
            Some(member) if member.may_be_silent() => return, // its session starts again with our answer
            Some(_) => true,
            None if self.pending.contains(id) => false,
            None => return,
        };
        self.remove(id, turn);
        match self.phase {
            Phase::CompletingRebalance | Phase::Stable if was_member => self.prepare_rebalance(turn),
            Phase::PreparingRebalance(_) if self.all_joined() => self.complete_join(turn),
            _ => {}
        }
    }

    /// Members of the new generation that never sent SyncGroup do not hold it up for ever (KAFKA-13419).
    pub(crate) fn sync_expired(&mut self, turn: &mut Turn<'_>) {
        let late: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.owes_sync).map(|(id, _)| id.clone()).collect();
        if late.is_empty() {
            return;
        }
        for member in &late {
            self.remove(member, turn);
        }
        self.prepare_rebalance(turn);
    }
}

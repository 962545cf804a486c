//! SyncGroup, by which the leader's assignment reaches every member; and Heartbeat.

use std::collections::HashMap;

use bytes::Bytes;

use crate::classic::group::{ClassicGroup, Phase};
use crate::consumer::requests;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{MemberId, Now, Ticket};
use crate::record::{GroupValue, Record};
use crate::request::{GroupReply, HeartbeatRequest, SyncRequest, Synced};
use crate::shard::Shard;
use crate::timers::TimerKey;
use crate::turn::{Then, Turn};

impl Shard {
    /// SyncGroup. A follower's ticket waits until the leader's assignment is durable.
    pub fn sync(&mut self, request: SyncRequest, ticket: Ticket, now: Now) -> Effects {
        self.turn(now, |groups, turn| match groups.get_mut(&request.group) {
            _ if request.group.is_empty() => turn.reply(ticket, GroupReply::Sync(Err(GroupError::InvalidGroupId))),
            Some(Group::Classic(group)) => group.sync(request, ticket, turn),
            None | Some(Group::Streams(_) | Group::Share(_)) => {
                turn.reply(ticket, GroupReply::Sync(Err(GroupError::UnknownMemberId)));
            }
            Some(Group::Consumer(group)) if group.is_changing() => {
                turn.reply(ticket, GroupReply::Sync(Err(GroupError::CoordinatorNotAvailable)));
            }
            Some(Group::Consumer(group)) => match group.sync(&request, turn) {
                Ok(synced) => requests::conclude(groups, &request.group, ticket, GroupReply::Sync(Ok(synced)), turn),
                Err(error) => turn.reply(ticket, GroupReply::Sync(Err(error))),
            },
        })
    }

    /// Heartbeat. REBALANCE_IN_PROGRESS is the coordinator's only way to call a member to the next join phase.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), GroupError> {
        if request.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let mut turn = Turn::new(&self.config, &self.topics, &mut self.timers, now);
        let group = match self.groups.get(&request.group).ok_or(GroupError::UnknownMemberId)? {
            Group::Classic(group) => group,
            Group::Consumer(group) if group.is_changing() => return Err(GroupError::CoordinatorNotAvailable),
            Group::Consumer(group) => return group.beat(request, &mut turn),
            Group::Streams(_) | Group::Share(_) => return Err(GroupError::UnknownMemberId),
        };
        group.validate(&request.member, request.instance.as_ref())?;
        if request.generation != group.generation {
            return Err(GroupError::IllegalGeneration);
        }
        group.restart_session(&request.member, &mut turn);
        match group.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::PreparingRebalance(_) => Err(GroupError::RebalanceInProgress),
            // A member may send heartbeats before it has its assignment.
            Phase::CompletingRebalance | Phase::Stable => Ok(()),
        }
    }
}

impl ClassicGroup {
    fn sync(&mut self, request: SyncRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        let refused = self.check_sync(&request).err();
        match (self.phase, refused) {
            (_, Some(error)) => turn.reply(ticket, GroupReply::Sync(Err(error))),
            (Phase::Empty, None) => turn.reply(ticket, GroupReply::Sync(Err(GroupError::UnknownMemberId))),
            (Phase::PreparingRebalance(_), None) => {
                turn.reply(ticket, GroupReply::Sync(Err(GroupError::RebalanceInProgress)));
            }
            (Phase::CompletingRebalance, None) => self.await_assignment(request, ticket, turn),
            (Phase::Stable, None) => {
                self.has_synced(&request.member, turn);
                let synced = self.synced(&request.member);
                turn.reply(ticket, GroupReply::Sync(Ok(synced)));
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        self.validate(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn await_assignment(&mut self, request: SyncRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        self.has_synced(&request.member, turn);
        let waiting = self.members.get_mut(&request.member).map(|member| &mut member.awaiting_sync);
        if let Some(displaced) = waiting.and_then(|waiting| waiting.replace(ticket)) {
            // A leader that asks again has its assignment in flight already. That one stands: of two that are written
            // down for one generation, some members could be given the first and others, after a restart, the second.
            turn.reply(displaced, GroupReply::Sync(Err(GroupError::RebalanceInProgress)));
        } else if self.is_leader(&request.member) {
            let assignments: HashMap<MemberId, Bytes> = request.assignments.into_iter().collect();
            // Copied: the shard keeps assignments, and must not pin the request's frame.
            let copy = |assignment: &Bytes| Bytes::copy_from_slice(assignment);
            let record = self.to_record(|id, _| assignments.get(id).map(copy).unwrap_or_default());
            turn.write(vec![record], Then::Assigned { group: self.id.clone(), generation: self.generation });
        }
    }

    fn has_synced(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            member.owes_sync = false;
        }
        if self.members.values().all(|member| !member.owes_sync) {
            turn.timers.cancel(&TimerKey::Sync(self.id.clone()));
        }
    }

    fn synced(&self, id: &MemberId) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The assignments of a generation are written down, or could not be. Another generation may have begun meanwhile.
    pub(crate) fn assigned(
        &mut self,
        generation: i32,
        records: &[Record],
        result: Result<(), GroupError>,
        turn: &mut Turn<'_>,
    ) {
        if self.phase != Phase::CompletingRebalance || self.generation != generation {
            return;
        }
        if let Err(error) = result {
            self.abandon_sync(error, turn);
            return self.prepare_rebalance(turn);
        }
        let [Record::GroupMetadata { value: Some(GroupValue { members, .. }), .. }] = records else { return };
        for written in members {
            if let Some(member) = self.members.get_mut(&written.member) {
                member.assignment = written.assignment.clone();
            }
        }
        self.enter(Phase::Stable, turn);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let synced = self.synced(id);
            let waiting = self.members.get_mut(id).and_then(|member| member.awaiting_sync.take());
            if let Some(ticket) = waiting {
                turn.reply(ticket, GroupReply::Sync(Ok(synced)));
                self.restart_session(id, turn);
            }
        }
    }
}

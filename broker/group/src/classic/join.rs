//! JoinGroup: newcomers, pending members, members that join again, static members that come back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::classic::group::{ClassicGroup, JoinPhase, Member, Phase};
use crate::config::Config;
use crate::consumer::requests;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, MemberId, Now, Ticket};
use crate::record::Record;
use crate::request::{GroupReply, JoinRequest, Joined, Protocol};
use crate::shard::Shard;
use crate::timers::{TimerKey, millis};
use crate::turn::{Replacement, Then, Turn};

/// A new member's JoinGroup may wait this long; then its client is taken for gone. Kafka's constant.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Shard {
    /// JoinGroup. The ticket waits until the rebalance completes, for the longest rebalance timeout among the members.
    pub fn join(&mut self, mut request: JoinRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            if let Err(error) = check(&request, turn.config) {
                return turn.refuse_join(ticket, error, &request.member);
            }
            if let Some(group) = groups.get_mut(&request.group).and_then(Group::consumer_mut) {
                group.make_room(&request, turn);
                requests::act(groups, &request.group, turn, |_, _| {});
            }
            match groups.get_mut(&request.group) {
                Some(Group::Consumer(group)) if group.is_changing() => {
                    turn.refuse_join(ticket, GroupError::CoordinatorNotAvailable, &request.member);
                }
                Some(Group::Consumer(group)) if !group.members.is_empty() => {
                    let reply = group.join(&mut request, turn);
                    join_consumers(groups, &request, reply, ticket, turn);
                }
                Some(Group::Classic(group)) => group.join(request, ticket, turn),
                // A consumer group without members becomes a classic one.
                Some(Group::Consumer(group)) if request.member.is_empty() => {
                    let tombstones = group.tombstones();
                    create(groups, tombstones, request, ticket, turn);
                }
                Some(Group::Streams(group)) if group.is_changing() => {
                    turn.refuse_join(ticket, GroupError::CoordinatorNotAvailable, &request.member);
                }
                Some(Group::Streams(group)) if !group.members.is_empty() => {
                    turn.refuse_join(ticket, GroupError::InconsistentGroupProtocol, &MemberId::from(""));
                }
                // So does a streams group.
                Some(Group::Streams(group)) if request.member.is_empty() => {
                    let tombstones = group.tombstones();
                    create(groups, tombstones, request, ticket, turn);
                }
                Some(Group::Share(_)) => {
                    turn.refuse_join(ticket, GroupError::InconsistentGroupProtocol, &MemberId::from(""));
                }
                Some(Group::Consumer(_) | Group::Streams(_)) => {
                    turn.refuse_join(ticket, GroupError::UnknownMemberId, &request.member);
                }
                None if is_opaque => {
                    turn.refuse_join(ticket, GroupError::InconsistentGroupProtocol, &request.member);
                }
                None if !request.member.is_empty() => {
                    turn.refuse_join(ticket, GroupError::UnknownMemberId, &request.member);
                }
                None => create(groups, Vec::new(), request, ticket, turn),
            }
        })
    }
}

/// A classic member joins a consumer group, or is refused.
fn join_consumers(
    groups: &mut BTreeMap<GroupId, Group>,
    request: &JoinRequest,
    reply: Result<Joined, GroupError>,
    ticket: Ticket,
    turn: &mut Turn<'_>,
) {
    match reply {
        Ok(joined) => requests::conclude(groups, &request.group, ticket, GroupReply::Join(Ok(joined)), turn),
        Err(error) => {
            turn.refuse_join(ticket, error, &request.member);
            requests::act(groups, &request.group, turn, |_, _| {});
        }
    }
}

/// The member's group begins; the tombstones are of what was there before.
fn create(
    groups: &mut BTreeMap<GroupId, Group>,
    tombstones: Vec<Record>,
    request: JoinRequest,
    ticket: Ticket,
    turn: &mut Turn<'_>,
) {
    let id = request.group.clone();
    let mut group = ClassicGroup::new(id.clone(), turn.now.wall_ms);
    let record = group.to_record(|_, _| Bytes::new());
    turn.write([tombstones, vec![record]].concat(), Then::Created(id.clone()));
    group.join(request, ticket, turn);
    groups.insert(id, Group::Classic(group));
}

fn check(request: &JoinRequest, config: &Config) -> Result<(), GroupError> {
    if request.group.is_empty() {
        return Err(GroupError::InvalidGroupId);
    }
    let allowed = config.min_session_timeout..=config.max_session_timeout;
    if request.session_timeout_ms < 0 || !allowed.contains(&millis(request.session_timeout_ms)) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    Ok(())
}

impl ClassicGroup {
    fn join(&mut self, request: JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        if !self.has_room_for(&request.member, turn.config.max_size) {
            self.remove(&request.member, turn);
            return turn.refuse_join(ticket, GroupError::GroupMaxSizeReached, &MemberId::from(""));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return turn.refuse_join(ticket, GroupError::InconsistentGroupProtocol, &request.member);
        }
        if request.member.is_empty() {
            self.join_as_newcomer(request, ticket, turn);
        } else if self.pending.contains(&request.member) && request.instance.is_none() {
            let id = request.member.clone();
            self.add(id, request, ticket, turn);
        } else {
            self.join_again(request, ticket, turn);
        }
    }

    /// While members join, those who did so first have the places: the limit may have been lowered.
    fn has_room_for(&self, id: &MemberId, max_size: usize) -> bool {
        match self.phase {
            Phase::Empty => true,
            Phase::PreparingRebalance(_) => {
                self.members.get(id).is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join() < max_size
            }
            Phase::CompletingRebalance | Phase::Stable => {
                self.members.contains_key(id) || self.members.len() < max_size
            }
        }
    }

    fn join_as_newcomer(&mut self, request: JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        let prefix = request.instance.as_deref().unwrap_or(&request.client_id);
        let id = MemberId::from(format!("{prefix}-{}", request.fresh).as_str());
        match &request.instance {
            Some(instance) => match self.static_member(instance).cloned() {
                Some(old) => self.replace(old, id, request, ticket, turn),
                None => self.add(id, request, ticket, turn),
            },
            None if request.can_be_sent_an_id => {
                // A client that stopped waiting would otherwise leave a member behind with every retry (KIP-394).
                self.pending.insert(id.clone());
                turn.schedule(TimerKey::Session(self.id.clone(), id.clone()), millis(request.session_timeout_ms));
                turn.refuse_join(ticket, GroupError::MemberIdRequired, &id);
            }
            None => self.add(id, request, ticket, turn),
        }
    }

    fn add(&mut self, id: MemberId, request: JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        if let Phase::PreparingRebalance(JoinPhase::Initial { newcomers, .. }) = &mut self.phase {
            *newcomers = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.pending.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        let member = Member {
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: owned(request.protocols),
            assignment: Bytes::new(),
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
            owes_sync: false,
        };
        self.members.insert(id.clone(), member);
        turn.schedule(TimerKey::Session(self.id.clone(), id), NEW_MEMBER_JOIN_TIMEOUT);
        self.rebalance(turn);
    }

    fn join_again(&mut self, request: JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        let id = &request.member;
        if let Err(error) = self.validate(id, request.instance.as_ref()) {
            return turn.refuse_join(ticket, error, id);
        }
        let unchanged = self.members.get(id).is_some_and(|member| member.protocols == request.protocols);
        match self.phase {
            // It did not get the answer to its last JoinGroup: here it is again.
            Phase::CompletingRebalance if unchanged => turn.reply(ticket, GroupReply::Join(Ok(self.joined(id)))),
            // A follower that asks again may continue with SyncGroup. A leader that does so wants to assign again:
            // topics may have changed, which its metadata does not show.
            Phase::Stable if unchanged && !self.is_leader(id) => {
                turn.reply(ticket, GroupReply::Join(Ok(self.joined(id))))
            }
            Phase::Empty | Phase::PreparingRebalance(_) | Phase::CompletingRebalance | Phase::Stable => {
                self.update(id, &request, ticket, turn);
                self.rebalance(turn);
            }
        }
    }

    fn update(&mut self, id: &MemberId, request: &JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = owned(request.protocols.clone());
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        if let Some(displaced) = member.awaiting_join.replace(ticket) {
            turn.refuse_join(displaced, GroupError::RebalanceInProgress, id);
        }
    }

    /// A static member is back under a new id. If nothing else changes, nobody else needs to know (KIP-345).
    fn replace(&mut self, old: MemberId, id: MemberId, request: JoinRequest, ticket: Ticket, turn: &mut Turn<'_>) {
        let leader_before = self.leader.clone();
        let Some(mut member) = self.members.remove(&old) else { return };
        turn.timers.cancel(&TimerKey::Session(self.id.clone(), old.clone()));
        member.release(&old, GroupError::FencedInstanceId, turn);
        let before = member.clone();
        self.members.insert(id.clone(), member);
        if self.is_leader(&old) {
            self.leader = Some(id.clone());
        }
        self.update(&id, &request, ticket, turn);
        self.restart_session(&id, turn);

        match self.phase {
            Phase::Stable if self.select_protocol() == self.protocol_name => {
                let record = self.to_record(|_, member| member.assignment.clone());
                let can_skip_assignment = request.can_skip_assignment;
                let replacement = Replacement { ticket, old, before, leader_before, id, can_skip_assignment };
                let group = self.id.clone();
                turn.write(vec![record], Then::Replaced { group, replacement: Box::new(replacement) });
            }
            // The leader may know the old id, and would assign to it.
            Phase::Stable | Phase::CompletingRebalance => self.prepare_rebalance(turn),
            Phase::Empty | Phase::PreparingRebalance(_) => self.complete_join_if_all_joined(turn),
        }
    }

    /// The new id of a static member is written down, or could not be.
    pub(crate) fn replaced(&mut self, done: Replacement, result: Result<(), GroupError>, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get_mut(&done.id) else { return };
        if member.awaiting_join != Some(done.ticket) {
            return; // a rebalance came before, and answered
        }
        match result {
            Ok(()) if self.phase == Phase::Stable => {
                member.awaiting_join = None;
                let joined = self.joined(&done.id);
                let joined = if done.can_skip_assignment {
                    Joined { skip_assignment: self.is_leader(&done.id), ..joined }
                } else {
                    // Older clients must not assign either: their answer names another leader.
                    let leader = done.leader_before.unwrap_or_else(|| MemberId::from(""));
                    Joined { leader, members: Vec::new(), ..joined }
                };
                turn.reply(done.ticket, GroupReply::Join(Ok(joined)));
            }
            Ok(()) => {} // a rebalance began meanwhile, and will answer
            Err(error) => {
                turn.refuse_join(done.ticket, error, &MemberId::from(""));
                turn.timers.cancel(&TimerKey::Session(self.id.clone(), done.id.clone()));
                self.members.remove(&done.id);
                if self.is_leader(&done.id) {
                    self.leader = Some(done.old.clone());
                }
                self.members.insert(done.old.clone(), done.before);
                self.restart_session(&done.old, turn);
            }
        }
    }
}

/// Metadata is kept as long as the member: not as a view that pins the request's frame.
fn owned(protocols: Vec<Protocol>) -> Vec<Protocol> {
    let copy = |protocol: Protocol| Protocol { metadata: Bytes::copy_from_slice(&protocol.metadata), ..protocol };
    protocols.into_iter().map(copy).collect()
}

//! Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup take the place
//! of its heartbeats. A member rejoins for each step towards its assignment, without waiting for the others.

use ottla_wire::consumer_protocol::{self, ConsumerProtocolSubscription};

use crate::config::Config;
use crate::consumer::group::{ConsumerGroup, Member};
use crate::consumer::heartbeat::{MemberStanding, without_epochs};
use crate::consumer::migration::by_id;
use crate::error::GroupError;
use crate::ids::{InstanceId, MemberId};
use crate::record::{ClassicMember, ConsumerMemberValue, MemberState, each_partition};
use crate::request::{HeartbeatRequest, JoinRequest, Joined, Leaving, SyncRequest, Synced};
use crate::timers::{TimerKey, millis};
use crate::turn::Turn;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

impl ConsumerGroup {
    /// JoinGroup: a member joins, or takes a step towards its assignment. The answer holds once what the group has
    /// changed is durable. With MEMBER_ID_REQUIRED, the id is in the request.
    pub(crate) fn join(&mut self, request: &mut JoinRequest, turn: &mut Turn<'_>) -> Result<Joined, GroupError> {
        if !turn.config.consumer_migration.is_possible() || !self.supports(request) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let is_new = request.member.is_empty();
        if is_new {
            let prefix = request.instance.as_deref().unwrap_or(&request.client_id);
            request.member = MemberId::from(format!("{prefix}-{}", request.fresh).as_str());
            if request.instance.is_none() && request.can_be_sent_an_id {
                return Err(GroupError::MemberIdRequired);
            }
        }
        let first = request.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        let subscription: ConsumerProtocolSubscription =
            consumer_protocol::decode(first.metadata.clone()).map_err(|_| GroupError::InconsistentGroupProtocol)?;

        let id = request.member.clone();
        let standing = self.standing_of(request, is_new, turn.config)?;
        let before = self.before(&standing, &id);
        let value = ConsumerMemberValue {
            instance: request.instance.clone().or_else(|| before.value.instance.clone()),
            rack: subscription.rack_id.as_ref().map(|rack| rack.to_string()).or_else(|| before.value.rack.clone()),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            topics: subscription.topics.iter().map(|name| (&**name).into()).collect(),
            pattern: None,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            assignor: before.value.assignor.clone(),
            classic: Some(ClassicMember {
                session_timeout_ms: request.session_timeout_ms,
                protocols: request.protocols.clone(),
            }),
        };
        let has_resubscribed = value.topics != before.value.topics || before.pattern().is_some();
        self.update(standing, &id, value, turn)?;
        self.pattern_changed(&before, &id);
        let owned = by_id(&subscription.owned_partitions, turn.topics);
        let current = self.advance(&id, has_resubscribed, has_resubscribed, Some(&owned), turn)?;

        turn.timers.cancel(&TimerKey::MemberJoin(self.id.clone(), id.clone()));
        self.restart_session(&id, turn);
        turn.schedule(TimerKey::MemberSync(self.id.clone(), id.clone()), millis(request.rebalance_timeout_ms));
        Ok(Joined {
            generation: current.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: Some(first.name.clone()),
            leader: MemberId::from(""),
            member: id,
            members: Vec::new(),
            skip_assignment: false,
        })
    }

    /// Whether the member can be in the group with the other classic members.
    fn supports(&self, request: &JoinRequest) -> bool {
        let others: Vec<_> = self.members.values().filter_map(|member| member.value.classic.as_ref()).collect();
        let has = |member: &ClassicMember, name: &str| member.protocols.iter().any(|protocol| protocol.name == name);
        let is_common = |name: &str| others.iter().all(|member| has(member, name));
        request.protocol_type == CONSUMER && request.protocols.iter().any(|protocol| is_common(&protocol.name))
    }

    /// Who joins. A static member takes the place of the one before, whichever protocol that spoke.
    fn standing_of(&self, request: &JoinRequest, is_new: bool, config: &Config) -> Result<MemberStanding, GroupError> {
        let id = &request.member;
        let holder = request.instance.as_ref().and_then(|instance| self.static_member(instance));
        match holder {
            Some((old, _)) if is_new => return Ok(MemberStanding::Returned(old.clone())),
            Some((holder, _)) if holder != id => return Err(GroupError::FencedInstanceId),
            None if request.instance.is_some() && !is_new => return Err(GroupError::UnknownMemberId),
            Some(_) | None => {}
        }
        if self.members.contains_key(id) { Ok(MemberStanding::Known) } else { self.newcomer(config) }
    }

    /// The last member of the consumer protocol comes back as a classic one: its place is free, and the group becomes a
    /// classic one before it joins.
    pub(crate) fn make_room(&mut self, request: &JoinRequest, turn: &mut Turn<'_>) {
        let holder = request.instance.as_ref().and_then(|instance| self.static_member(instance));
        let holder = holder.filter(|_| self.supports(request));
        let Some((holder, _)) = holder.filter(|(_, member)| member.value.classic.is_none()) else { return };
        let holder = holder.clone();
        let is_last = self.members.iter().all(|(id, member)| *id == holder || member.value.classic.is_some());
        if is_last && request.member.is_empty() && turn.config.consumer_migration.may_downgrade() {
            self.fence(&holder, turn);
        }
    }

    /// SyncGroup: what the member has, once that is durable.
    pub(crate) fn sync(&self, request: &SyncRequest, turn: &mut Turn<'_>) -> Result<Synced, GroupError> {
        let id = &request.member;
        let (member, classic) = self.classic_member(id, request.instance.as_ref(), request.generation)?;
        let first = classic.protocols.first().map(|protocol| protocol.name.as_str());
        let differs = |asked: &Option<String>, ours: Option<&str>| asked.is_some() && asked.as_deref() != ours;
        if differs(&request.protocol_type, Some(CONSUMER)) || differs(&request.protocol_name, first) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        // One that is to revoke has rejoined already, and gets what it keeps first.
        if self.target_epoch > member.current.epoch && member.current.state != MemberState::Unrevoked {
            self.expect_join(id, member, turn);
            return Err(GroupError::RebalanceInProgress);
        }
        turn.timers.cancel(&TimerKey::MemberSync(self.id.clone(), id.clone()));
        self.restart_session(id, turn);
        let assigned = without_epochs(&member.current.assigned);
        Ok(Synced {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: member.assignment_bytes(&assigned, turn.topics),
        })
    }

    /// Heartbeat. The member is to rejoin if there is a new target, if it is to revoke, or if what it waits for is
    /// free.
    pub(crate) fn beat(&self, request: &HeartbeatRequest, turn: &mut Turn<'_>) -> Result<(), GroupError> {
        let id = &request.member;
        let (member, _) = self.classic_member(id, request.instance.as_ref(), request.generation)?;
        self.restart_session(id, turn);
        let is_due = match member.current.state {
            MemberState::Unrevoked => true,
            MemberState::Unreleased if !self.waits_for_others(id, member) => true,
            MemberState::Stable | MemberState::Unreleased | MemberState::Unknown => {
                member.current.epoch < self.target_epoch
            }
        };
        if is_due {
            self.expect_join(id, member, turn);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup.
    pub(crate) fn leave_classic(&mut self, leaving: &[Leaving], turn: &mut Turn<'_>) -> Vec<Result<(), GroupError>> {
        let mut leave = |leaving: &Leaving| {
            let id = match &leaving.instance {
                None => leaving.member.clone(),
                Some(instance) => match self.static_member(instance) {
                    None => return Err(GroupError::UnknownMemberId),
                    Some((id, _)) if !leaving.member.is_empty() && *id != leaving.member => {
                        return Err(GroupError::FencedInstanceId);
                    }
                    Some((id, _)) => id.clone(),
                },
            };
            if !self.members.contains_key(&id) {
                return Err(GroupError::UnknownMemberId);
            }
            self.fence(&id, turn);
            Ok(())
        };
        leaving.iter().map(&mut leave).collect()
    }

    fn classic_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMember), GroupError> {
        if let Some(instance) = instance {
            let (holder, _) = self.static_member(instance).ok_or(GroupError::UnknownMemberId)?;
            if holder != id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        let member = self.members.get(id).ok_or(GroupError::UnknownMemberId)?;
        let classic = member.value.classic.as_ref().ok_or(GroupError::UnknownMemberId)?;
        if member.current.epoch != generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((member, classic))
    }

    /// Whether a partition that it is to have belongs to another member still.
    fn waits_for_others(&self, id: &MemberId, member: &Member) -> bool {
        self.target.get(id).into_iter().flat_map(each_partition).any(|at| self.is_taken(&member.current, at))
    }

    /// It has the rebalance timeout to join.
    fn expect_join(&self, id: &MemberId, member: &Member, turn: &mut Turn<'_>) {
        let key = TimerKey::MemberJoin(self.id.clone(), id.clone());
        if !turn.timers.is_scheduled(&key) {
            turn.schedule(key, millis(member.value.rebalance_timeout_ms));
        }
    }

    /// A session of the member's own length, if it is a classic one.
    pub(crate) fn restart_session(&self, id: &MemberId, turn: &mut Turn<'_>) {
        let classic = self.members.get(id).and_then(|member| member.value.classic.as_ref());
        let timeout = match classic {
            Some(classic) => millis(classic.session_timeout_ms),
            None => turn.config.of_group(&self.id).consumer_session_timeout,
        };
        turn.schedule(TimerKey::Session(self.id.clone(), id.clone()), timeout);
    }
}

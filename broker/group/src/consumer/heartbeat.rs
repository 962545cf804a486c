//! ConsumerGroupHeartbeat: a member joins, stays, changes its subscription, moves on to its assignment, or leaves.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::consumer::assignor::Assignor;
use crate::consumer::group::{AWAY, ConsumerGroup, JOINING, LEAVING, Member};
use crate::consumer::reconcile::{self, Goal};
use crate::error::{GroupAppendError, GroupError};
use crate::ids::{InstanceId, MemberId};
use crate::patterns::Pattern;
use crate::record::{Assigned, ConsumerMemberValue, ConsumerRecord, CurrentValue, MemberState, Partitions};
use crate::request::{ConsumerHeartbeat, ConsumerHeartbeatRequest};
use crate::timers::{TimerKey, millis};
use crate::turn::Turn;

/// What a request says that can be seen without the group.
///
/// # Errors
/// That it makes no sense.
pub(crate) fn check(request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
    let is_blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
    let must_have_id = request.makes_its_own_id || request.epoch > 0 || request.epoch == LEAVING;
    let invalid = |why| Err(GroupError::InvalidRequest(why));
    if request.group.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if must_have_id && request.member.trim().is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(request.instance.as_deref()) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(request.rack.as_deref()) {
        return invalid("RackId can't be empty.");
    }
    match request.epoch {
        JOINING if request.rebalance_timeout_ms.is_none() => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        JOINING if !request.owned.as_ref().is_some_and(Partitions::is_empty) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        JOINING if request.topics.is_none() && request.pattern.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        AWAY if request.instance.is_none() => return invalid("InstanceId can't be null."),
        ..AWAY => return invalid("MemberEpoch is invalid."),
        JOINING | AWAY | LEAVING | 1.. => {}
    }
    match &request.assignor {
        Some(assignor) if Assignor::by_name(assignor).is_none() => Err(GroupError::UnsupportedAssignor),
        _ => Ok(()),
    }
}

/// How the member of a request stands to the group.
pub(super) enum MemberStanding {
    New,
    Known,
    /// A static member that comes back: the one whose place it takes.
    Returned(MemberId),
}

impl ConsumerGroup {
    /// A member joins or stays. The answer holds once what the group has changed is durable.
    pub(crate) fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        let id = &request.member;
        let standing = self.standing(request, turn.config)?;
        self.check_pattern(request)?;

        let before = self.before(&standing, id);
        let value = updated(&before.value, request);
        let has_renamed = value.topics != before.value.topics;
        let has_other_pattern = value.pattern != before.value.pattern;
        self.update(standing, id, value, turn)?;
        let has_settled_pattern = has_other_pattern && self.pattern_changed(&before, id);
        self.look_up_patterns(request, turn);

        let (is_new, has_resubscribed) = (has_renamed || has_settled_pattern, has_renamed || has_other_pattern);
        let current = self.advance(id, is_new, has_resubscribed, request.owned.as_ref(), turn)?;
        self.restart_session(id, turn);

        let is_full = request.rebalance_timeout_ms.is_some()
            && (request.topics.is_some() || request.pattern.is_some())
            && request.owned.is_some();
        let is_needed = request.epoch == JOINING || is_full || current.assigned != before.current.assigned;
        Ok(ConsumerHeartbeat {
            member: id.clone(),
            epoch: current.epoch,
            interval: turn.config.of_group(&self.id).consumer_heartbeat_interval,
            assignment: is_needed.then(|| without_epochs(&current.assigned)),
        })
    }

    /// The member of a request, or the one whose place it takes, as it was before; or a member as it begins.
    pub(super) fn before(&self, standing: &MemberStanding, id: &MemberId) -> Member {
        let known = match standing {
            MemberStanding::New => None,
            MemberStanding::Known => self.members.get(id),
            MemberStanding::Returned(old) => self.members.get(old),
        };
        known.cloned().unwrap_or_else(Member::new)
    }

    /// Takes over what a member says about itself. A refusal changes nothing.
    pub(super) fn update(
        &mut self,
        standing: MemberStanding,
        id: &MemberId,
        value: ConsumerMemberValue,
        turn: &mut Turn<'_>,
    ) -> Result<(), GroupError> {
        let is_news = |group: &Self| group.members.get(id).is_none_or(|member| member.value != value);
        if matches!(standing, MemberStanding::Known) && !is_news(self) {
            return Ok(());
        }
        let record = ConsumerRecord::Member(id.clone(), Some(Box::new(value.clone())));
        turn.check_size(&self.record(record.clone()))?;
        if let MemberStanding::Returned(old) = standing {
            self.replace(&old, id, turn);
        }
        if is_news(self) {
            self.write(record);
        }
        Ok(())
    }

    /// The group and its member take a step: a new epoch if the member's subscription needs one or topics have changed,
    /// a new target for that, and towards that the member.
    pub(crate) fn advance(
        &mut self,
        id: &MemberId,
        needs_epoch: bool,
        has_resubscribed: bool,
        owned: Option<&Partitions>,
        turn: &mut Turn<'_>,
    ) -> Result<CurrentValue, GroupError> {
        if needs_epoch || self.topics_differ(turn.topics) {
            self.bump(turn.topics);
        } else {
            self.topics_checked(turn.topics);
        }
        self.assign_if_due(turn);
        if self.overload.includes(self.epoch, id) {
            if self.members.get(id).is_some_and(|member| member.current.epoch == JOINING) {
                self.fence(id, turn); // it has just joined, and is not let in
            }
            return Err(GroupAppendError::TooLarge.into());
        }
        self.reconcile(id, has_resubscribed, owned, turn)
    }

    /// Who is the member? A refusal changes nothing.
    fn standing(&self, request: &ConsumerHeartbeatRequest, config: &Config) -> Result<MemberStanding, GroupError> {
        let (id, is_joining) = (&request.member, request.epoch == JOINING);
        let known = self.members.get_key_value(id);
        let Some(instance) = &request.instance else {
            return match known {
                Some((_, member)) => check_epoch(member, request).map(|()| MemberStanding::Known),
                None if is_joining => self.newcomer(config),
                None => Err(GroupError::UnknownMemberId),
            };
        };
        match self.static_member(instance) {
            None if is_joining && known.is_some() => Ok(MemberStanding::Known),
            None if is_joining => self.newcomer(config),
            None => Err(GroupError::UnknownMemberId),
            Some((holder, member)) if is_joining => match member.current.epoch {
                AWAY => Ok(MemberStanding::Returned(holder.clone())),
                _ if member.value.classic.is_some() => Ok(MemberStanding::Returned(holder.clone())),
                _ => Err(GroupError::UnreleasedInstanceId),
            },
            Some((holder, _)) if holder != id => Err(GroupError::FencedInstanceId),
            Some((_, member)) => check_epoch(member, request).map(|()| MemberStanding::Known),
        }
    }

    pub(super) fn newcomer(&self, config: &Config) -> Result<MemberStanding, GroupError> {
        if self.members.len() >= config.consumer_max_size {
            return Err(GroupError::GroupMaxSizeReached);
        }
        self.history.admit().map(|()| MemberStanding::New)
    }

    /// An expression that nobody in the group has is compiled once, to refuse it here if it is none.
    fn check_pattern(&self, request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
        match request.pattern.as_deref() {
            None | Some("") => Ok(()),
            Some(pattern) if self.subscribers(pattern) > 0 => Ok(()),
            Some(pattern) => Pattern::new(pattern).map(|_| ()).map_err(|_| GroupError::InvalidRegularExpression),
        }
    }

    /// A static member is back, maybe under another id: it takes over what its former self had, and joins.
    fn replace(&mut self, old: &MemberId, id: &MemberId, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get(old).cloned() else { return };
        let target = self.target.get(old).cloned().unwrap_or_default();
        self.remove_member(old, turn);
        let current = CurrentValue { epoch: JOINING, previous_epoch: 0, ..member.current };
        self.write(ConsumerRecord::Member(id.clone(), Some(Box::new(member.value))));
        self.write(ConsumerRecord::TargetMember(id.clone(), Some(target)));
        self.write(ConsumerRecord::Current(id.clone(), Some(current)));
    }

    fn reconcile(
        &mut self,
        id: &MemberId,
        has_resubscribed: bool,
        owned: Option<&Partitions>,
        turn: &mut Turn<'_>,
    ) -> Result<CurrentValue, GroupError> {
        let Some(member) = self.members.get(id) else { return Err(GroupError::UnknownMemberId) };
        if !has_resubscribed && member.is_reconciled(self.target_epoch) {
            return Ok(member.current.clone());
        }
        let nothing = Partitions::new();
        let goal = Goal {
            epoch: self.target_epoch,
            target: self.target.get(id).unwrap_or(&nothing),
            subscribed: &self.subscribed_ids(&member.value, turn.topics),
            has_resubscribed,
            owned,
            is_taken: &|at| self.is_taken(&member.current, at),
        };
        let next = reconcile::step(&member.current, &goal)?;
        if next != member.current {
            let key = TimerKey::Revocation(self.id.clone(), id.clone());
            // A classic member has the time of its join instead.
            if next.state == MemberState::Unrevoked && member.value.classic.is_none() {
                turn.schedule(key, millis(member.value.rebalance_timeout_ms));
            } else {
                turn.timers.cancel(&key);
            }
            self.write(ConsumerRecord::Current(id.clone(), Some(next.clone())));
        }
        Ok(next)
    }
}

/// A member that has not got the answer with its new epoch sends the one before, and must not own more than it was
/// given by then.
fn check_epoch(member: &Member, request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
    let current = &member.current;
    let may_be_late = request.epoch == current.previous_epoch
        && request.owned.as_ref().is_some_and(|owned| are_assigned(owned, &current.assigned));
    let is_current = request.epoch == JOINING || request.epoch == current.epoch;
    // A state of a newer version: only one that brings nothing can continue.
    let is_known = current.state != MemberState::Unknown || request.owned.as_ref().is_some_and(Partitions::is_empty);
    if (is_current || (request.epoch < current.epoch && may_be_late)) && is_known {
        Ok(())
    } else {
        Err(GroupError::FencedMemberEpoch)
    }
}

fn are_assigned(owned: &Partitions, assigned: &Assigned) -> bool {
    owned.iter().all(|(topic, partitions)| {
        assigned.get(topic).is_some_and(|assigned| partitions.iter().all(|partition| assigned.contains_key(partition)))
    })
}

/// What the member says now; what it does not say has not changed.
fn updated(before: &ConsumerMemberValue, request: &ConsumerHeartbeatRequest) -> ConsumerMemberValue {
    let instance: Option<&InstanceId> = request.instance.as_ref().or(before.instance.as_ref());
    let topics: Option<BTreeSet<_>> = request.topics.as_ref().map(|topics| topics.iter().cloned().collect());
    ConsumerMemberValue {
        instance: instance.cloned(),
        rack: request.rack.clone().or_else(|| before.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: topics.unwrap_or_else(|| before.topics.clone()),
        pattern: request.pattern.clone().or_else(|| before.pattern.clone()),
        rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(before.rebalance_timeout_ms),
        assignor: request.assignor.clone().or_else(|| before.assignor.clone()),
        classic: None,
    }
}

pub(crate) fn without_epochs(assigned: &Assigned) -> Partitions {
    assigned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

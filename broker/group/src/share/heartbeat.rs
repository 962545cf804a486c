//! ShareGroupHeartbeat: a member joins, stays, moves to its assignment, and leaves.

use crate::error::{GroupAppendError, GroupError};
use crate::ids::MemberId;
use crate::record::{Partitions, ShareCurrentValue, ShareMemberValue, ShareRecord};
use crate::request::{ShareHeartbeat, ShareHeartbeatRequest};
use crate::share::group::{JOINING, LEAVING, Member, ShareGroup, existing};
use crate::timers::TimerKey;
use crate::topics::Topics;
use crate::turn::Turn;

/// What a request says that can be seen without the group.
///
/// # Errors
/// That it makes no sense.
pub(super) fn check(request: &ShareHeartbeatRequest) -> Result<(), GroupError> {
    let is_blank = |text: &str| text.trim().is_empty();
    let invalid = |why| Err(GroupError::InvalidRequest(why));
    if is_blank(&request.member) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group) {
        return invalid("GroupId can't be empty.");
    }
    if request.rack.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match request.epoch {
        JOINING if request.topics.as_ref().is_none_or(Vec::is_empty) => {
            invalid("SubscribedTopicNames must be set in first request.")
        }
        ..LEAVING => invalid("MemberEpoch is invalid."),
        LEAVING.. => Ok(()),
    }
}

impl ShareGroup {
    /// A member joins or stays. The answer holds once what the group has changed is durable.
    pub(super) fn heartbeat(
        &mut self,
        request: &ShareHeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<ShareHeartbeat, GroupError> {
        let id = &request.member;
        let before = self.before(request, turn.config.share_max_size)?;
        let value = updated(&before.value, request);
        let has_resubscribed = value.topics != before.value.topics;
        let is_news = self.target_epoch >= self.epoch && self.has_unassigned(turn.topics);
        if value != before.value || !self.members.contains_key(id) {
            if has_resubscribed {
                self.check_topics(&value.topics, turn)?;
            }
            let record = ShareRecord::Member(id.clone(), Some(Box::new(value)));
            turn.check_size(&self.record(record.clone()))?;
            self.write(record);
        }
        let has_moved_on = has_resubscribed || is_news || self.topics_differ(turn.topics);
        if has_moved_on {
            self.bump(turn.topics);
        }
        self.checked_topics = Some(turn.topics.version());
        self.assign_if_due(turn);
        if self.overload.includes(self.epoch, id) {
            if before.current.epoch == JOINING {
                self.fence(id, turn); // it has just joined, and is not let in
            }
            return Err(GroupAppendError::TooLarge.into());
        }
        let current = self.reconcile(id, has_moved_on, turn.topics)?;
        self.restart_session(id, turn);
        self.initialize_missing(turn);
        // A member that is of an older epoch may have lost an answer, which Kafka 4.3.1 does not repeat.
        let is_behind = request.epoch != before.current.epoch;
        let has_changed = current.assigned != before.current.assigned;
        Ok(ShareHeartbeat {
            member: id.clone(),
            epoch: current.epoch,
            interval: turn.config.of_share_group(&self.id).heartbeat_interval,
            assignment: (is_behind || has_changed || request.topics.is_some()).then_some(current.assigned),
        })
    }

    /// A heartbeat with epoch −1.
    pub(super) fn leave(&mut self, id: &MemberId, turn: &mut Turn<'_>) -> Result<ShareHeartbeat, GroupError> {
        if !self.members.contains_key(id) {
            return Err(GroupError::UnknownMemberId);
        }
        self.fence(id, turn);
        Ok(ShareHeartbeat { member: id.clone(), epoch: LEAVING, interval: Default::default(), assignment: None })
    }

    /// Removes a member; the others share its partitions.
    pub(super) fn fence(&mut self, id: &MemberId, turn: &mut Turn<'_>) {
        if !self.members.contains_key(id) {
            return;
        }
        turn.timers.cancel(&TimerKey::Session(self.id.clone(), id.clone()));
        self.write(ShareRecord::Current(id.clone(), None));
        self.write(ShareRecord::TargetMember(id.clone(), None));
        self.write(ShareRecord::Member(id.clone(), None));
        self.bump(turn.topics);
    }

    /// The group is loaded: every member gets the time of a session.
    pub(crate) fn begin(&self, turn: &mut Turn<'_>) {
        for id in self.members.keys() {
            self.restart_session(id, turn);
        }
    }

    /// The member as it was, or as it begins.
    fn before(&self, request: &ShareHeartbeatRequest, max_size: usize) -> Result<Member, GroupError> {
        match self.members.get(&request.member) {
            Some(member) => check_epoch(&member.current, request.epoch).map(|()| member.clone()),
            None if self.members.len() >= max_size => Err(GroupError::GroupMaxSizeReached),
            None if request.epoch != JOINING => Err(GroupError::UnknownMemberId),
            None => self.history.admit().map(|()| Member::new()),
        }
    }

    fn topics_differ(&self, topics: &Topics) -> bool {
        self.checked_topics != Some(topics.version()) && topics.hash(self.subscribed_names()) != self.metadata_hash
    }

    /// There is no barrier: several members may have a partition, so each moves at once.
    fn reconcile(&mut self, id: &MemberId, is_due: bool, topics: &Topics) -> Result<ShareCurrentValue, GroupError> {
        let Some(member) = self.members.get(id) else { return Err(GroupError::UnknownMemberId) };
        let current = &member.current;
        if !is_due && current.epoch == self.target_epoch {
            return Ok(current.clone());
        }
        let subscribed = existing(member, topics);
        let target = self.target.get(id).into_iter().flatten();
        let target = target.filter(|(topic, _)| subscribed.contains(*topic));
        let assigned: Partitions = target.map(|(topic, all)| (*topic, all.clone())).collect();
        let previous_epoch = if current.epoch == self.target_epoch { current.previous_epoch } else { current.epoch };
        let next = ShareCurrentValue { epoch: self.target_epoch, previous_epoch, assigned };
        if next != *current {
            self.write(ShareRecord::Current(id.clone(), Some(next.clone())));
        }
        Ok(next)
    }

    fn restart_session(&self, id: &MemberId, turn: &mut Turn<'_>) {
        let key = TimerKey::Session(self.id.clone(), id.clone());
        turn.schedule(key, turn.config.of_share_group(&self.id).session_timeout);
    }
}

fn updated(before: &ShareMemberValue, request: &ShareHeartbeatRequest) -> ShareMemberValue {
    ShareMemberValue {
        rack: request.rack.clone().or_else(|| before.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: match &request.topics {
            Some(topics) => topics.iter().cloned().collect(),
            None => before.topics.clone(),
        },
    }
}

/// A member that has not got the answer with its new epoch sends the one before.
fn check_epoch(current: &ShareCurrentValue, epoch: i32) -> Result<(), GroupError> {
    match epoch {
        JOINING => Ok(()),
        _ if epoch == current.epoch || (epoch == current.previous_epoch && epoch < current.epoch) => Ok(()),
        _ => Err(GroupError::FencedMemberEpoch),
    }
}

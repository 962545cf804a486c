//! ConsumerGroupHeartbeat and ConsumerGroupDescribe, and what the shard does for consumer groups without a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::classic::group::ClassicGroup;
use crate::consumer::group::{AWAY, ConsumerGroup, JOINING, LEAVING};
use crate::consumer::heartbeat;
use crate::consumer::lookup::ResolvedExpressions;
use crate::consumer::migration;
use crate::effects::{Effects, Lookup};
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, MemberId, Now, Ticket};
use crate::request::{
    ConsumerHeartbeatReply, ConsumerHeartbeatRequest, DescribedConsumerGroup, DescribedConsumerMember, GroupReply,
};
use crate::shard::Shard;
use crate::timers::TimerKey;
use crate::topics::Topics;
use crate::turn::{Then, Turn};

/// How long after a failed append its records are written again, unless a request comes before.
const REWRITE_AFTER: Duration = Duration::from_secs(1);

impl Shard {
    /// ConsumerGroupHeartbeat. The reply waits until what it says is durable.
    pub fn consumer_heartbeat(&mut self, request: ConsumerHeartbeatRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            if let Err(error) = heartbeat::check(&request) {
                return turn.reply(ticket, GroupReply::ConsumerHeartbeat(Err(error)));
            }
            let mut request = request;
            if request.member.is_empty() {
                request.member = MemberId::from(request.fresh.to_string().as_str());
            }
            let id = request.group.clone();
            let before = match find(groups, &request, is_opaque, ticket, turn) {
                Ok(before) => before,
                Err(error) => return turn.reply(ticket, GroupReply::ConsumerHeartbeat(Err(error))),
            };
            let Some(group) = groups.get_mut(&id).and_then(Group::consumer_mut) else { return };
            if group.successor.is_some() {
                let refused = GroupReply::ConsumerHeartbeat(Err(GroupError::CoordinatorNotAvailable));
                return turn.reply(ticket, refused);
            }
            let reply: ConsumerHeartbeatReply = match request.epoch {
                AWAY | LEAVING => group.leave(&request, turn),
                _ => group.heartbeat(&request, turn),
            };
            match (before, &reply) {
                // The group was made for a member that is not let in: it is as it was.
                (Before::Nothing, Err(_)) => _ = groups.remove(&id),
                (Before::Classic(classic), Err(_)) => _ = groups.insert(id, Group::Classic(*classic)),
                (Before::Consumer, Err(_)) => flush(group, turn),
                (Before::Nothing | Before::Consumer, Ok(_)) => {}
                (Before::Classic(classic), Ok(_)) => migration::upgraded(*classic, group, turn),
            }
            match reply {
                Ok(_) => conclude(groups, &request.group, ticket, GroupReply::ConsumerHeartbeat(reply), turn),
                Err(_) => turn.reply(ticket, GroupReply::ConsumerHeartbeat(reply)),
            }
        })
    }

    /// ConsumerGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is of another kind.
    pub fn describe_consumer(&self, group: &GroupId) -> Result<DescribedConsumerGroup, GroupError> {
        let group = self.groups.get(group).and_then(Group::consumer).ok_or(GroupError::GroupIdNotFound)?;
        let members = group.members.iter().map(|(id, member)| DescribedConsumerMember {
            member: id.clone(),
            epoch: member.current.epoch,
            value: member.value.clone(),
            assigned: member.current.by_topic(),
            target: group.target.get(id).cloned().unwrap_or_default(),
        });
        Ok(DescribedConsumerGroup {
            state: group.state(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            assignor: group.assignor().name(),
            members: members.collect(),
        })
    }

    /// The topics of the cluster have changed. Groups notice with the next heartbeat of a member.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.topics = topics;
    }

    /// The answer to a [`Lookup`]; `None` if it failed.
    pub fn looked_up(&mut self, lookup: &Lookup, found: Option<ResolvedExpressions>, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            act(groups, &lookup.group, turn, |group, turn| group.looked_up(&lookup.topics, found, turn));
        })
    }
}

/// What was there before the group.
enum Before {
    Nothing,
    /// A classic group, which becomes a consumer group.
    Classic(Box<ClassicGroup>),
    Consumer,
}

/// Makes sure that there is a consumer group if the member may create one.
fn find(
    groups: &mut BTreeMap<GroupId, Group>,
    request: &ConsumerHeartbeatRequest,
    is_opaque: bool,
    ticket: Ticket,
    turn: &mut Turn<'_>,
) -> Result<Before, GroupError> {
    let id = &request.group;
    let life = ticket.0 + 1;
    let (before, group) = match groups.remove(id) {
        Some(group @ Group::Consumer(_)) => {
            groups.insert(id.clone(), group);
            return Ok(Before::Consumer);
        }
        Some(group @ (Group::Streams(_) | Group::Share(_))) => {
            groups.insert(id.clone(), group);
            return Err(GroupError::GroupIdNotFound);
        }
        None if is_opaque || request.epoch != JOINING => return Err(GroupError::GroupIdNotFound),
        None => (Before::Nothing, ConsumerGroup::new(id.clone(), life)),
        Some(Group::Classic(classic)) => {
            let converted = match request.epoch {
                JOINING if classic.is_empty() => Some(ConsumerGroup::of_empty(&classic, life)),
                JOINING => ConsumerGroup::from_classic(&classic, life, turn),
                _ => None,
            };
            let Some(group) = converted else {
                groups.insert(id.clone(), Group::Classic(classic));
                return Err(GroupError::GroupIdNotFound);
            };
            (Before::Classic(Box::new(classic)), group)
        }
    };
    groups.insert(id.clone(), Group::Consumer(Box::new(group)));
    Ok(before)
}

/// Lets a consumer group do something without a request, and writes down what comes of it.
pub(crate) fn act(
    groups: &mut BTreeMap<GroupId, Group>,
    id: &GroupId,
    turn: &mut Turn<'_>,
    act: impl FnOnce(&mut ConsumerGroup, &mut Turn<'_>),
) {
    if let Some(group) = groups.get_mut(id).and_then(Group::consumer_mut) {
        if group.successor.is_none() {
            act(group, turn);
            migration::downgrade_if_due(group, turn);
        }
        flush(group, turn);
    }
}

/// Replies when everything that the group has changed is durable.
pub(crate) fn conclude(
    groups: &mut BTreeMap<GroupId, Group>,
    id: &GroupId,
    ticket: Ticket,
    reply: GroupReply,
    turn: &mut Turn<'_>,
) {
    match groups.get_mut(id).and_then(Group::consumer_mut) {
        Some(group) => turn.replies.extend(group.history.reply(ticket, reply)),
        None => turn.reply(ticket, reply),
    }
    act(groups, id, turn, |_, _| {});
}

/// Appends what the group has changed, unless an append of it is under way.
pub(crate) fn flush(group: &mut ConsumerGroup, turn: &mut Turn<'_>) {
    let records = group.history.next(turn.batch_bytes());
    turn.write(records, Then::Consumer { group: group.id.clone(), life: group.life });
}

/// The fate of the append that was under way.
pub(crate) fn decided(group: &mut ConsumerGroup, result: Result<(), GroupError>, turn: &mut Turn<'_>) {
    match result {
        Ok(()) => {
            turn.replies.extend(group.history.succeeded());
            flush(group, turn);
        }
        Err(error) => {
            turn.replies.extend(group.history.failed(error));
            turn.schedule(TimerKey::Unwritten(group.id.clone()), REWRITE_AFTER);
        }
    }
}

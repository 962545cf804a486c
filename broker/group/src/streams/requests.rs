//! StreamsGroupHeartbeat and StreamsGroupDescribe, and what the shard does for streams groups without a request.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::classic::group::ClassicGroup;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket};
use crate::record::Record;
use crate::request::{DescribedStreamsGroup, DescribedStreamsMember, GroupReply, StreamsHeartbeatRequest};
use crate::shard::Shard;
use crate::streams::group::{JOINING, LEAVING, StreamsGroup};
use crate::streams::{heartbeat, topology};
use crate::timers::TimerKey;
use crate::turn::{Then, Turn};

/// How long after a failed append its records are written again, unless a request comes before.
const REWRITE_AFTER: Duration = Duration::from_secs(1);

impl Shard {
    /// StreamsGroupHeartbeat. The reply waits until what it says is durable.
    pub fn streams_heartbeat(&mut self, request: &StreamsHeartbeatRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            let refuse = |error| GroupReply::StreamsHeartbeat(Err(error));
            if let Err(error) = heartbeat::check(request) {
                return turn.reply(ticket, refuse(error));
            }
            let before = match find(groups, request, is_opaque, ticket) {
                Ok(before) => before,
                Err(error) => return turn.reply(ticket, refuse(error)),
            };
            if !matches!(before, Before::Streams) {
                // Of a group of the same name that was deleted.
                turn.timers.cancel(&TimerKey::InitialDelay(request.group.clone()));
            }
            let Some(group) = groups.get_mut(&request.group).and_then(Group::streams_mut) else { return };
            let reply = match request.epoch {
                LEAVING => group.leave(request, turn),
                _ => group.heartbeat(request, turn),
            };
            match reply {
                Ok(reply) => {
                    if let Before::Classic(classic) = before {
                        cancel_timers(&classic, turn);
                    }
                    turn.replies.extend(group.history.reply(ticket, GroupReply::StreamsHeartbeat(Ok(reply))));
                    flush(group, turn);
                }
                Err(error) => {
                    match before {
                        // The group was made for a member that is not let in: it is as it was.
                        Before::Nothing => _ = groups.remove(&request.group),
                        Before::Classic(classic) => {
                            groups.insert(request.group.clone(), Group::Classic(*classic));
                        }
                        Before::Streams => flush(group, turn),
                    }
                    turn.reply(ticket, refuse(error));
                }
            }
        })
    }

    /// StreamsGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is of another kind.
    pub fn describe_streams(&self, group: &GroupId) -> Result<DescribedStreamsGroup, GroupError> {
        let group = self.groups.get(group).and_then(Group::streams).ok_or(GroupError::GroupIdNotFound)?;
        let members = group.members.iter().map(|(id, member)| DescribedStreamsMember {
            member: id.clone(),
            epoch: member.current.epoch,
            value: member.value.clone(),
            assigned: member.current.assigned.tasks(),
            target: group.target.get(id).cloned().unwrap_or_default(),
        });
        Ok(DescribedStreamsGroup {
            state: group.state(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            topology: group.topology.as_ref().map(|own| topology::describe(own, group.configured.as_deref())),
            members: members.collect(),
        })
    }
}

/// What was there before the group.
enum Before {
    Nothing,
    /// A classic group without members, which becomes a streams group.
    Classic(Box<ClassicGroup>),
    Streams,
}

/// Makes sure that there is a streams group if the member may create one.
fn find(
    groups: &mut BTreeMap<GroupId, Group>,
    request: &StreamsHeartbeatRequest,
    is_opaque: bool,
    ticket: Ticket,
) -> Result<Before, GroupError> {
    let id = &request.group;
    let mut group = StreamsGroup::new(id.clone(), ticket.0 + 1);
    let before = match groups.get(id) {
        Some(Group::Streams(_)) => return Ok(Before::Streams),
        None if is_opaque || request.epoch != JOINING => return Err(GroupError::GroupIdNotFound),
        None => Before::Nothing,
        Some(Group::Classic(classic)) if request.epoch == JOINING && classic.is_empty() => {
            group.history.push(Record::GroupMetadata { group: id.clone(), value: None });
            match groups.remove(id) {
                Some(Group::Classic(classic)) => Before::Classic(Box::new(classic)),
                _ => Before::Nothing,
            }
        }
        Some(_) => return Err(GroupError::GroupIdNotFound),
    };
    groups.insert(id.clone(), Group::Streams(Box::new(group)));
    Ok(before)
}

/// A classic group without members may wait for some.
fn cancel_timers(classic: &ClassicGroup, turn: &mut Turn<'_>) {
    let id = &classic.id;
    turn.timers.cancel(&TimerKey::Join(id.clone()));
    turn.timers.cancel(&TimerKey::Sync(id.clone()));
    for pending in &classic.pending {
        turn.timers.cancel(&TimerKey::Session(id.clone(), pending.clone()));
    }
}

/// A deadline of the group has passed.
pub(crate) fn expired(group: &mut StreamsGroup, key: &TimerKey, turn: &mut Turn<'_>) {
    match key {
        TimerKey::Session(_, member) => group.fence(member, turn),
        TimerKey::Revocation(_, member) => group.revocation_expired(member, turn),
        TimerKey::InitialDelay(_) => group.delay_expired(turn),
        TimerKey::Unwritten(_)
        | TimerKey::StateCall(_)
        | TimerKey::Join(_)
        | TimerKey::Sync(_)
        | TimerKey::MemberJoin(..)
        | TimerKey::MemberSync(..) => {}
    }
    flush(group, turn);
}

/// Appends what the group has changed, unless an append of it is under way.
pub(crate) fn flush(group: &mut StreamsGroup, turn: &mut Turn<'_>) {
    let records = group.history.next(turn.batch_bytes());
    turn.write(records, Then::Streams { group: group.id.clone(), life: group.life });
}

/// The fate of the append that was under way.
pub(crate) fn decided(group: &mut StreamsGroup, result: Result<(), GroupError>, turn: &mut Turn<'_>) {
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

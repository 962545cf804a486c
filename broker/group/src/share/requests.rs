//! ShareGroupHeartbeat and ShareGroupDescribe; the answers of share coordinators; deleted topics.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::effects::{Effects, StateCall, StateResults};
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket};
use crate::request::{DescribedShareGroup, DescribedShareMember, GroupReply, ShareHeartbeatRequest};
use crate::shard::Shard;
use crate::share::group::{JOINING, LEAVING, ShareGroup};
use crate::share::writing::flush;
use crate::share::{assignor, heartbeat};

impl Shard {
    /// ShareGroupHeartbeat. The reply waits until what it says is durable.
    pub fn share_heartbeat(&mut self, request: &ShareHeartbeatRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            let refuse = |error| GroupReply::ShareHeartbeat(Err(error));
            if let Err(error) = heartbeat::check(request) {
                return turn.reply(ticket, refuse(error));
            }
            let is_new = match find(groups, request, is_opaque, ticket) {
                Ok(is_new) => is_new,
                Err(error) => return turn.reply(ticket, refuse(error)),
            };
            let Some(group) = groups.get_mut(&request.group).and_then(Group::share_mut) else { return };
            let reply = match request.epoch {
                LEAVING => group.leave(&request.member, turn),
                _ => group.heartbeat(request, turn),
            };
            match reply {
                Ok(reply) => {
                    turn.replies.extend(group.history.reply(ticket, GroupReply::ShareHeartbeat(Ok(reply))));
                    flush(group, turn);
                }
                Err(error) => {
                    if is_new {
                        groups.remove(&request.group); // it was made for a member that is not let in
                    } else {
                        flush(group, turn);
                    }
                    turn.reply(ticket, refuse(error));
                }
            }
        })
    }

    /// ShareGroupDescribe, of one group.
    ///
    /// # Errors
    /// That there is none, or that it is of another kind.
    pub fn describe_share(&self, group: &GroupId) -> Result<DescribedShareGroup, GroupError> {
        let group = self.groups.get(group).and_then(Group::share).ok_or(GroupError::GroupIdNotFound)?;
        let members = group.members.iter().map(|(id, member)| DescribedShareMember {
            member: id.clone(),
            epoch: member.current.epoch,
            value: member.value.clone(),
            assigned: member.current.assigned.clone(),
        });
        Ok(DescribedShareGroup {
            state: group.state(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            assignor: assignor::NAME,
            members: members.collect(),
        })
    }

    /// The answer to a [`StateCall`]. What has no result has failed.
    pub fn state_call_answered(&mut self, call: &StateCall, results: &StateResults, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            let group = groups.get_mut(&call.group).and_then(Group::share_mut);
            if let Some(group) = group.filter(|group| group.life == call.life) {
                group.answered(call, results, turn);
                flush(group, turn);
            }
        })
    }

    /// Topics were deleted: share groups have nothing there any more. The share coordinators hear of it themselves.
    pub fn shared_topics_deleted(&mut self, topics: &BTreeSet<Uuid>, now: Now) -> Effects {
        let unsettled = self.unsettled.clone();
        self.turn(now, |groups, turn| {
            let groups = groups.values_mut().filter(|group| !unsettled.contains(group.id()));
            for group in groups.filter_map(Group::share_mut) {
                group.topics_deleted(topics);
                flush(group, turn);
            }
        })
    }
}

/// Makes sure that there is a share group if the member may create one; whether it is new.
fn find(
    groups: &mut BTreeMap<GroupId, Group>,
    request: &ShareHeartbeatRequest,
    is_opaque: bool,
    ticket: Ticket,
) -> Result<bool, GroupError> {
    let id = &request.group;
    match groups.get(id) {
        Some(Group::Share(_)) => Ok(false),
        None if !is_opaque && request.epoch == JOINING => {
            groups.insert(id.clone(), Group::Share(Box::new(ShareGroup::new(id.clone(), ticket.0 + 1))));
            Ok(true)
        }
        Some(Group::Classic(_) | Group::Consumer(_) | Group::Streams(_)) | None => Err(GroupError::GroupIdNotFound),
    }
}

//! LeaveGroup: members that go, and static members that an administrator removes.

use crate::classic::group::{ClassicGroup, Phase};
use crate::consumer::requests;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{MemberId, Now, Ticket};
use crate::request::{GroupReply, LeaveRequest, Leaving};
use crate::shard::Shard;
use crate::turn::Turn;

impl Shard {
    /// LeaveGroup. If the group is empty after it, the reply waits until that is durable.
    pub fn leave(&mut self, request: &LeaveRequest, ticket: Ticket, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            let reply = match groups.get_mut(&request.group) {
                _ if request.group.is_empty() => Err(GroupError::InvalidGroupId),
                Some(Group::Classic(group)) => Ok(group.leave(&request.members, turn)),
                None | Some(Group::Streams(_) | Group::Share(_)) => {
                    Ok(request.members.iter().map(|_| Err(GroupError::UnknownMemberId)).collect())
                }
                Some(Group::Consumer(group)) if group.is_changing() => Err(GroupError::CoordinatorNotAvailable),
                Some(Group::Consumer(group)) => {
                    let reply = GroupReply::Leave(Ok(group.leave_classic(&request.members, turn)));
                    return requests::conclude(groups, &request.group, ticket, reply, turn);
                }
            };
            turn.reply_when_durable(ticket, GroupReply::Leave(reply));
        })
    }
}

impl ClassicGroup {
    fn leave(&mut self, leaving: &[Leaving], turn: &mut Turn<'_>) -> Vec<Result<(), GroupError>> {
        let results: Vec<_> = leaving
            .iter()
            .map(|leaving| {
                let id = self.who_leaves(leaving)?;
                self.remove(&id, turn);
                Ok(())
            })
            .collect();
        if results.iter().any(Result::is_ok) {
            match self.phase {
                Phase::Empty => {}
                Phase::PreparingRebalance(_) => self.complete_join_if_all_joined(turn),
                Phase::CompletingRebalance | Phase::Stable => self.prepare_rebalance(turn),
            }
        }
        results
    }

    fn who_leaves(&self, leaving: &Leaving) -> Result<MemberId, GroupError> {
        if leaving.member.is_empty() {
            let removed = leaving.instance.as_ref().and_then(|instance| self.static_member(instance));
            return removed.cloned().ok_or(GroupError::UnknownMemberId);
        }
        if !self.pending.contains(&leaving.member) {
            self.validate(&leaving.member, leaving.instance.as_ref())?;
        }
        Ok(leaving.member.clone())
    }
}

//! The target assignment of a group: when it is computed, and whether the group adopts it.

use crate::ids::MemberId;
use crate::overload::Overload;
use crate::record::{Partitions, ShareCurrentValue, ShareRecord, TargetValue};
use crate::share::assignor::{self, MemberSpec};
use crate::share::group::{Member, ShareGroup, existing};
use crate::turn::Turn;

impl ShareGroup {
    /// Computes a target of the group's epoch if the group has none, and may have one now.
    pub(super) fn assign_if_due(&mut self, turn: &Turn<'_>) {
        let interval = turn.config.of_share_group(&self.id).assignment_interval;
        let is_due = self.target_epoch < self.epoch && !self.overload.is_of(self.epoch);
        if is_due && turn.may_assign(self.target_ms, interval) {
            self.assign(turn);
        }
    }

    /// The target is not adopted if a member is to have too much.
    fn assign(&mut self, turn: &Turn<'_>) {
        let topics = turn.topics;
        let spec = |(id, member)| {
            let member: &Member = member;
            (id, MemberSpec { topics: existing(member, topics), before: self.target.get(id) })
        };
        let members = self.members.iter().map(spec).collect();
        let target = assignor::assign(&members, &self.assignable(topics));
        self.overload = Overload::of(self.epoch, &target, |id, its| self.can_have(id, its, turn));
        if self.overload.is_of(self.epoch) {
            return;
        }
        for (id, partitions) in target {
            if self.target.get(&id) != Some(&partitions) {
                self.write(ShareRecord::TargetMember(id, Some(partitions)));
            }
        }
        let value = TargetValue { epoch: self.epoch, computed_ms: Some(turn.now.wall_ms) };
        self.write(ShareRecord::Target(Some(value)));
    }

    /// Whether the log accepts the records of a member that is to have these partitions.
    fn can_have(&self, id: &MemberId, partitions: &Partitions, turn: &Turn<'_>) -> bool {
        let empty = self.record(ShareRecord::Current(id.clone(), None)).size();
        turn.accepts(empty + ShareCurrentValue::most_bytes(partitions))
    }
}

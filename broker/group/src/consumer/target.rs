//! The target assignment of a group: when it is computed, and whether the group adopts it.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use uuid::Uuid;

use crate::consumer::assignor::{Counts, MemberSpec, Members};
use crate::consumer::group::ConsumerGroup;
use crate::ids::MemberId;
use crate::overload::Overload;
use crate::record::{ConsumerRecord, CurrentValue, Partitions, TargetValue};
use crate::turn::Turn;

impl ConsumerGroup {
    /// Computes a target of the group's epoch if the group has none, and may have one now.
    pub(super) fn assign_if_due(&mut self, turn: &Turn<'_>) {
        let interval = turn.config.of_group(&self.id).consumer_assignment_interval;
        let is_due = self.target_epoch < self.epoch && !self.overload.is_of(self.epoch);
        if is_due && turn.may_assign(self.target_ms, interval) {
            self.assign(turn);
        }
    }

    /// The target is not adopted if a member is to have too much.
    fn assign(&mut self, turn: &Turn<'_>) {
        let topics = turn.topics;
        // Members with one subscription share it.
        let mut subscriptions: HashMap<_, Rc<BTreeSet<Uuid>>> = HashMap::new();
        let mut members = Members::new();
        for (id, member) in &self.members {
            let key = (&member.value.topics, member.pattern());
            let subscribed = || Rc::new(self.subscribed_ids(&member.value, topics));
            let spec = MemberSpec {
                instance: member.value.instance.clone(),
                topics: subscriptions.entry(key).or_insert_with(subscribed).clone(),
                before: self.target.get(id).cloned().unwrap_or_default(),
            };
            members.insert(id.clone(), spec);
        }
        let ids: BTreeSet<Uuid> = subscriptions.values().flat_map(|ids| ids.iter().copied()).collect();
        let counts: Counts = ids.into_iter().filter_map(|id| Some((id, topics.partitions(id)?))).collect();
        let target = self.assignor().assign(&members, &counts);
        self.overload = Overload::of(self.epoch, &target, |id, its| self.can_have(id, its, turn));
        if self.overload.is_of(self.epoch) {
            return;
        }
        for (id, partitions) in target {
            if self.target.get(&id) != Some(&partitions) {
                self.write(ConsumerRecord::TargetMember(id, Some(partitions)));
            }
        }
        let computed_ms = Some(turn.now.wall_ms);
        self.write(ConsumerRecord::Target(Some(TargetValue { epoch: self.epoch, computed_ms })));
    }

    /// Whether the log accepts the records of a member that is to have these partitions.
    pub(super) fn can_have(&self, id: &MemberId, partitions: &Partitions, turn: &Turn<'_>) -> bool {
        let empty = self.record(ConsumerRecord::Current(id.clone(), None)).size();
        turn.accepts(empty + CurrentValue::most_bytes(partitions))
    }
}

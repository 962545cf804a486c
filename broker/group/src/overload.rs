//! Members that are to have more than a record can hold. The group keeps its former target assignment then: each
//! heartbeat of such a member is refused, until it leaves or its session ends; the other members continue.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::MemberId;

/// The last target assignment that a group has computed, if it was not adopted.
#[derive(Default, Debug)]
pub(crate) struct Overload {
    /// The epoch of the group. The assignment is not computed again before the next one.
    epoch: i32,
    /// The members that were to have too much.
    members: BTreeSet<MemberId>,
}

impl Overload {
    /// Of a target for this epoch: the members that cannot have what they are to have.
    pub(crate) fn of<T>(epoch: i32, target: &BTreeMap<MemberId, T>, can_have: impl Fn(&MemberId, &T) -> bool) -> Self {
        let overloaded = target.iter().filter(|(id, its)| !can_have(id, its));
        Overload { epoch, members: overloaded.map(|(id, _)| id.clone()).collect() }
    }

    /// Whether the assignment of this epoch is not to be adopted.
    pub(crate) fn is_of(&self, epoch: i32) -> bool {
        self.epoch == epoch && !self.members.is_empty()
    }

    /// Whether the member was to have too much in this epoch.
    pub(crate) fn includes(&self, epoch: i32, member: &MemberId) -> bool {
        self.epoch == epoch && self.members.contains(member)
    }
}

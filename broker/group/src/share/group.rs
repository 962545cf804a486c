//! A share group: what its records say, and what follows from that. Every change goes through [`ShareGroup::write`], so
//! the group after a restart is the group before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::History;
use crate::ids::{GroupId, MemberId, TopicName};
use crate::overload::Overload;
use crate::record::{
    Partitions, Record, ShareCurrentValue, ShareGroupValue, ShareMemberValue, ShareRecord, SharedPartitions,
    TargetValue,
};
use crate::share::calls::Calls;
use crate::state::GroupState;
use crate::topics::Topics;

/// What a member sends to join.
pub(super) const JOINING: i32 = 0;
/// What a member sends to leave, and the epoch of one whose end is written down in part.
pub(super) const LEAVING: i32 = -1;
/// The epoch of a group, and of its target assignment, before there is a record of it.
const FIRST_EPOCH: i32 = 1;

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// What it has said about itself.
    pub(crate) value: ShareMemberValue,
    /// What it has.
    pub(crate) current: ShareCurrentValue,
}

#[derive(Debug)]
pub(crate) struct ShareGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: i32,
    pub(super) metadata_hash: i64,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(super) target_epoch: i32,
    /// Wall clock at which the target assignment was computed; `None`: not known, or there is none yet.
    pub(super) target_ms: Option<i64>,
    pub(super) target: BTreeMap<MemberId, Partitions>,
    pub(super) partitions: SharedPartitions,

    /// The version of the topics that `metadata_hash` was last compared with; `None`: not compared yet.
    pub(super) checked_topics: Option<u64>,
    /// The target assignment that was computed last, if it is too large for the log.
    pub(super) overload: Overload,
    /// What share coordinators are asked to do.
    pub(super) calls: Calls,
    /// What it has changed, and what of it is in the log.
    pub(crate) history: History,
    /// Distinguishes the group from one of the same name before it, whose append or call may be under way.
    pub(crate) life: u64,
}

impl ShareGroup {
    /// A group without members. `life` is of every group of the name another one.
    pub(crate) fn new(id: GroupId, life: u64) -> Self {
        ShareGroup {
            id,
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            members: BTreeMap::new(),
            target_epoch: FIRST_EPOCH,
            target_ms: None,
            target: BTreeMap::new(),
            partitions: SharedPartitions::default(),
            checked_topics: None,
            overload: Overload::default(),
            calls: Calls::default(),
            history: History::default(),
            life,
        }
    }

    /// Changes the group, and remembers the change for the log.
    pub(super) fn write(&mut self, record: ShareRecord) {
        self.apply(record.clone());
        self.history.push(self.record(record));
    }

    /// A part of the group as a record.
    pub(super) fn record(&self, record: ShareRecord) -> Record {
        Record::Share { group: self.id.clone(), record }
    }

    /// Takes a record in, from the log or on its way there.
    pub(crate) fn apply(&mut self, record: ShareRecord) {
        match record {
            ShareRecord::Group(value) => {
                let value = value.unwrap_or(ShareGroupValue { epoch: FIRST_EPOCH, metadata_hash: 0 });
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            ShareRecord::Member(id, Some(value)) => {
                self.members.entry(id).or_insert_with(Member::new).value = *value;
            }
            ShareRecord::Member(id, None) => _ = self.members.remove(&id),
            ShareRecord::Target(value) => {
                let value = value.unwrap_or(TargetValue { epoch: -1, computed_ms: None });
                (self.target_epoch, self.target_ms) = (value.epoch, value.computed_ms);
            }
            ShareRecord::TargetMember(id, Some(partitions)) => _ = self.target.insert(id, partitions),
            ShareRecord::TargetMember(id, None) => _ = self.target.remove(&id),
            ShareRecord::Current(id, Some(value)) => {
                self.members.entry(id).or_insert_with(Member::new).current = value;
            }
            ShareRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(&id) {
                    let assigned = Partitions::new();
                    member.current = ShareCurrentValue { epoch: LEAVING, previous_epoch: LEAVING, assigned };
                }
            }
            ShareRecord::Partitions(value) => self.partitions = value.map(|value| *value).unwrap_or_default(),
        }
    }

    /// It has no members, but that is not durable yet.
    pub(crate) fn is_changing(&self) -> bool {
        self.members.is_empty() && !self.history.is_settled()
    }

    /// What a group without members has in the log.
    pub(crate) fn write_again(&mut self) {
        self.write(ShareRecord::Partitions(Some(Box::new(self.partitions.clone()))));
        self.write(ShareRecord::Group(Some(self.value())));
        let value = TargetValue { epoch: self.target_epoch, computed_ms: self.target_ms };
        self.write(ShareRecord::Target(Some(value)));
    }

    pub(super) fn value(&self) -> ShareGroupValue {
        ShareGroupValue { epoch: self.epoch, metadata_hash: self.metadata_hash }
    }

    /// What deletes the group from the log. The group itself comes last: a reader that stops before it knows that the
    /// rest is no other group's.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        let ids: BTreeSet<&MemberId> = self.members.keys().chain(self.target.keys()).collect();
        let of_members = ids.into_iter().flat_map(|id| {
            [
                ShareRecord::Current(id.clone(), None),
                ShareRecord::TargetMember(id.clone(), None),
                ShareRecord::Member(id.clone(), None),
            ]
        });
        let last = [ShareRecord::Target(None), ShareRecord::Partitions(None), ShareRecord::Group(None)];
        of_members.chain(last).map(|record| self.record(record)).collect()
    }

    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() { GroupState::Empty } else { GroupState::Stable }
    }

    /// The topics that members are subscribed to.
    pub(super) fn subscribed_names(&self) -> BTreeSet<&TopicName> {
        self.members.values().flat_map(|member| &member.value.topics).collect()
    }

    /// The epoch after this one.
    pub(super) fn bump(&mut self, topics: &Topics) {
        let metadata_hash = topics.hash(self.subscribed_names());
        let value = ShareGroupValue { epoch: self.epoch.saturating_add(1), metadata_hash };
        self.write(ShareRecord::Group(Some(value)));
        self.checked_topics = Some(topics.version());
    }
}

/// The topics that the member is subscribed to, as far as they exist.
pub(super) fn existing(member: &Member, topics: &Topics) -> BTreeSet<uuid::Uuid> {
    member.value.topics.iter().filter_map(|name| Some(topics.get(name)?.id)).collect()
}

impl Member {
    pub(super) fn new() -> Self {
        let current = ShareCurrentValue { epoch: JOINING, previous_epoch: LEAVING, assigned: Partitions::new() };
        Member { value: ShareMemberValue::default(), current }
    }
}

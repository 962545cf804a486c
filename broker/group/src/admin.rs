//! DescribeGroups, ListGroups, DeleteGroups.

use std::collections::{BTreeMap, BTreeSet};

use crate::classic::group::ClassicGroup;
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket};
use crate::record::{OffsetKey, Record};
use crate::request::{DescribedGroup, GroupReply, ListedGroup};
use crate::shard::Shard;
use crate::state::GroupKind;
use crate::turn::Then;

impl Shard {
    /// DescribeGroups, of one classic group. How an unknown one is shown depends on the request's version.
    pub fn describe(&self, group: &GroupId) -> Result<DescribedGroup, GroupError> {
        let group = self.groups.get(group).and_then(Group::classic);
        group.map(ClassicGroup::describe).ok_or(GroupError::GroupIdNotFound)
    }

    /// The kind of a group, if there is one.
    pub fn kind(&self, group: &GroupId) -> Option<GroupKind> {
        self.groups.get(group).map(|group| group.listed().kind)
    }

    /// ListGroups: every group of the partition. The caller filters.
    pub fn list(&self) -> impl Iterator<Item = ListedGroup> {
        self.groups.values().map(Group::listed)
    }

    /// DeleteGroups: the groups and their offsets. Those of share groups are deleted by the share coordinators, first.
    pub fn delete_groups(&mut self, ids: &[GroupId], ticket: Ticket, now: Now) -> Effects {
        match self.delete_states(ids, ticket, now) {
            Some(effects) => effects,
            None => self.delete_now(ids, &BTreeMap::new(), ticket, now),
        }
    }

    /// The same without share coordinators, but for groups that they have refused.
    pub(crate) fn delete_now(
        &mut self,
        ids: &[GroupId],
        refused: &BTreeMap<GroupId, GroupError>,
        ticket: Ticket,
        now: Now,
    ) -> Effects {
        let mut records = Vec::new();
        let mut deleted = Vec::new();
        let mut results = Vec::new();
        for id in ids {
            let result = refused.get(id).map_or_else(|| self.may_delete(id), |error| Err(*error));
            if result.is_ok() {
                records.extend(self.tombstones_of(id));
                deleted.extend(self.groups.remove(id));
            }
            results.push(result);
        }
        self.turn(now, |_, turn| {
            turn.write_tombstones(records, Then::Deleted(deleted));
            turn.reply_when_durable(ticket, GroupReply::DeleteGroups(Ok(results)));
        })
    }

    fn may_delete(&self, id: &GroupId) -> Result<(), GroupError> {
        match self.groups.get(id) {
            None => Err(GroupError::GroupIdNotFound),
            Some(group) if !group.is_empty() => Err(GroupError::NonEmptyGroup),
            Some(Group::Consumer(group)) if group.is_changing() => Err(GroupError::CoordinatorNotAvailable),
            Some(Group::Streams(group)) if group.is_changing() => Err(GroupError::CoordinatorNotAvailable),
            // Somebody was there while the states were deleted.
            Some(Group::Share(group)) if group.is_changing() || group.has_states() => {
                Err(GroupError::CoordinatorNotAvailable)
            }
            Some(_) => Ok(()),
        }
    }

    /// Offsets first: a reader that stops between them must not take the rest for those of another group.
    fn tombstones_of(&self, id: &GroupId) -> Vec<Record> {
        let committed = self.offsets.of_group(id).map(|(topic, partition, _)| OffsetKey {
            group: id.clone(),
            topic: topic.clone(),
            partition,
        });
        let in_flight = self.offsets_in_flight().map(|(key, _)| key).filter(|key| &key.group == id).cloned();
        let pending = self.pending.of_group(id).map(|(topic, partition)| OffsetKey {
            group: id.clone(),
            topic: topic.clone(),
            partition: *partition,
        });
        let keys: BTreeSet<OffsetKey> = committed.chain(in_flight).chain(pending).collect();
        let offsets = keys.into_iter().map(|key| Record::OffsetCommit { key, value: None });
        let group = self.groups.get(id).map(Group::tombstones).unwrap_or_default();
        offsets.chain(group).collect()
    }
}

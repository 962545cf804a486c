//! DeleteGroups of share groups: first the share coordinators delete their states, then the group goes. A group of the
//! same name later could not initialise partitions whose old state has a higher epoch.

use std::collections::{BTreeMap, BTreeSet};

use crate::effects::{Effects, StateCallKind};
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket};
use crate::record::{Partitions, SharedPartitions};
use crate::shard::Shard;
use crate::share::calls::Purpose;
use crate::share::group::ShareGroup;
use crate::share::writing::flush;
use crate::topics::Topics;

/// A DeleteGroups that waits for share coordinators.
#[derive(Debug)]
pub(crate) struct Deletion {
    /// The groups of the request, in its order, of any kind.
    ids: Vec<GroupId>,
    /// The share groups whose states are not deleted yet.
    left: BTreeSet<GroupId>,
    errors: BTreeMap<GroupId, GroupError>,
}

impl Shard {
    /// Lets the share coordinators delete the states of those groups that have some. `None` if there are none.
    pub(crate) fn delete_states(&mut self, ids: &[GroupId], ticket: Ticket, now: Now) -> Option<Effects> {
        let has_states = |id: &&GroupId| {
            let group = self.groups.get(*id).and_then(Group::share);
            group.is_some_and(|group| group.members.is_empty() && group.partitions != SharedPartitions::default())
        };
        let left: BTreeSet<GroupId> = ids.iter().filter(has_states).cloned().collect();
        if left.is_empty() {
            return None;
        }
        let deletion = Deletion { ids: ids.to_vec(), left: left.clone(), errors: BTreeMap::new() };
        self.deletions.insert(ticket, deletion);
        Some(self.turn(now, |groups, turn| {
            for id in &left {
                if let Some(group) = groups.get_mut(id).and_then(Group::share_mut) {
                    group.delete_states(ticket, turn.topics);
                    flush(group, turn);
                }
            }
        }))
    }

    /// The states of a group are deleted, or could not be: after those of the last group, the groups are deleted.
    pub(crate) fn states_deleted(
        &mut self,
        ticket: Ticket,
        id: &GroupId,
        result: Result<(), GroupError>,
        now: Now,
    ) -> Effects {
        let Some(deletion) = self.deletions.get_mut(&ticket) else { return Effects::default() };
        if let Err(error) = result {
            deletion.errors.insert(id.clone(), error);
        }
        deletion.left.remove(id);
        if !deletion.left.is_empty() {
            return Effects::default();
        }
        let Some(Deletion { ids, errors, .. }) = self.deletions.remove(&ticket) else { return Effects::default() };
        self.delete_now(&ids, &errors, ticket, now)
    }
}

impl ShareGroup {
    /// Whether share coordinators may have states that nobody is about to delete.
    pub(crate) fn has_states(&self) -> bool {
        !self.partitions.initialized.is_empty() || !self.partitions.initializing.is_empty() || !self.calls.is_empty()
    }

    fn delete_states(&mut self, ticket: Ticket, topics: &Topics) {
        let SharedPartitions { initializing, initialized, deleting } = self.partitions.clone();
        let mut shared = SharedPartitions { deleting, ..SharedPartitions::default() };
        let mut partitions = Partitions::new();
        for id in shared.deleting.keys() {
            // An earlier deletion was not completed. Those of a topic that is gone are deleted with the topic.
            if let Some(count) = topics.partitions(*id).filter(|count| *count > 0) {
                partitions.insert(*id, (0..count).collect());
            }
        }
        for (id, topic) in initializing.into_iter().chain(initialized) {
            partitions.entry(id).or_default().extend(topic.partitions);
            shared.deleting.insert(id, topic.name);
        }
        self.write_partitions(shared);
        let what = StateCallKind::Delete { partitions };
        self.calls.push(self.history.end(), what, Purpose::DeleteGroup(ticket));
    }
}

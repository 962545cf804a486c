//! DescribeShareGroupOffsets, AlterShareGroupOffsets and DeleteShareGroupOffsets, as far as the group decides: which
//! partitions there are. The offsets themselves are the share coordinators'.

use std::collections::BTreeSet;

use crate::effects::{Effects, StateCallKind};
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket, TopicName};
use crate::record::{Partitions, SharedTopics};
use crate::request::{AlterShareOffsetsRequest, AlteredShareOffsets, DeletedShareOffsets, GroupReply};
use crate::shard::Shard;
use crate::share::calls::{Offsets, Purpose};
use crate::share::group::ShareGroup;
use crate::share::partitions::add;
use crate::share::writing::flush;
use crate::share_state::StateError;
use crate::turn::Turn;

impl Shard {
    /// DescribeShareGroupOffsets of all topics: the partitions of the group that have offsets. `None` if there is no
    /// such group.
    pub fn initialized_partitions(&self, group: &GroupId) -> Option<&SharedTopics> {
        self.groups.get(group).and_then(Group::share).map(|group| &group.partitions.initialized)
    }

    /// AlterShareGroupOffsets. The reply waits for the share coordinators.
    pub fn alter_share_offsets(&mut self, request: &AlterShareOffsetsRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            let id = &request.group;
            let refuse = |error| GroupReply::AlterShareOffsets(Err(error));
            if id.is_empty() {
                return turn.reply(ticket, refuse(GroupError::InvalidGroupId));
            }
            if is_opaque {
                return turn.reply(ticket, refuse(GroupError::GroupIdNotFound));
            }
            let is_new = !groups.contains_key(id);
            let new = || Group::Share(Box::new(ShareGroup::new(id.clone(), ticket.0 + 1)));
            match groups.entry(id.clone()).or_insert_with(new) {
                Group::Share(group) if !group.members.is_empty() => {
                    turn.reply(ticket, refuse(GroupError::NonEmptyGroup));
                }
                Group::Share(group) => {
                    let alters = group.alter(request, ticket, turn);
                    flush(group, turn);
                    if is_new && !alters {
                        groups.remove(id);
                    }
                }
                Group::Classic(_) | Group::Consumer(_) | Group::Streams(_) => {
                    turn.reply(ticket, refuse(GroupError::GroupIdNotFound));
                }
            }
        })
    }

    /// DeleteShareGroupOffsets of these topics. The reply waits for the share coordinators.
    pub fn delete_share_offsets(&mut self, id: &GroupId, topics: &[TopicName], ticket: Ticket, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            let refuse = |error| GroupReply::DeleteShareOffsets(Err(error));
            if id.is_empty() {
                return turn.reply(ticket, refuse(GroupError::InvalidGroupId));
            }
            match groups.get_mut(id).and_then(Group::share_mut) {
                None => turn.reply(ticket, refuse(GroupError::GroupIdNotFound)),
                Some(group) if !group.members.is_empty() => turn.reply(ticket, refuse(GroupError::NonEmptyGroup)),
                Some(group) => {
                    group.delete_offsets(topics, ticket, turn);
                    flush(group, turn);
                }
            }
        })
    }
}

impl ShareGroup {
    /// The partitions are initialised again, in a new epoch: else a leader that has read the old one would not notice.
    /// Kafka 4.3.1 stays in the epoch (KAFKA-20910). False: none of the partitions exists, or they are too many, and
    /// nothing changes.
    fn alter(&mut self, request: &AlterShareOffsetsRequest, ticket: Ticket, turn: &mut Turn<'_>) -> bool {
        let mut partitions = self.partitions.clone();
        let mut offsets = Offsets::new();
        let mut altered = Vec::new();
        for (name, wanted) in &request.topics {
            let topic = turn.topics.get(name);
            let count = topic.map_or(0, |topic| topic.partitions);
            let outcome = |partition: i32| match (0..count).contains(&partition) {
                true => (partition, Ok(())),
                false => (partition, Err(StateError::UnknownTopicOrPartition)),
            };
            if let Some(topic) = topic {
                let known = wanted.iter().filter(|(partition, _)| (0..count).contains(partition));
                let known: Vec<(i32, i64)> = known.copied().collect();
                let numbers: BTreeSet<i32> = known.iter().map(|(partition, _)| *partition).collect();
                if !numbers.is_empty() {
                    add(&mut partitions.initializing, topic.id, name, &numbers);
                    partitions.deleting.remove(&topic.id);
                    offsets.entry(topic.id).or_default().extend(known);
                }
            }
            altered.push(AlteredShareOffsets {
                topic: name.clone(),
                id: topic.map(|topic| topic.id),
                partitions: wanted.iter().map(|(partition, _)| outcome(*partition)).collect(),
            });
        }
        if offsets.is_empty() {
            let reply = self.history.reply(ticket, GroupReply::AlterShareOffsets(Ok(altered)));
            turn.replies.extend(reply);
            return false;
        }
        if let Err(error) = self.check_partitions(&partitions, turn) {
            turn.reply(ticket, GroupReply::AlterShareOffsets(Err(error)));
            return false;
        }
        self.bump(turn.topics);
        self.write_partitions(partitions);
        let what = StateCallKind::Initialize { state_epoch: self.epoch, offsets };
        self.calls.push(self.history.end(), what, Purpose::Alter(ticket, altered));
        true
    }

    fn delete_offsets(&mut self, topics: &[TopicName], ticket: Ticket, turn: &mut Turn<'_>) {
        let mut shared = self.partitions.clone();
        let mut partitions = Partitions::new();
        let mut deleted = Vec::new();
        for name in topics {
            let topic = turn.topics.get(name);
            let all = topic.and_then(|topic| match shared.initialized.remove(&topic.id) {
                Some(initialized) => Some((topic.id, initialized.partitions)),
                // An earlier deletion was not completed.
                None if shared.deleting.contains_key(&topic.id) => Some((topic.id, (0..topic.partitions).collect())),
                None => None,
            });
            let id = all.as_ref().map(|(id, _)| *id);
            if let Some((id, all)) = all {
                shared.deleting.insert(id, name.clone());
                partitions.entry(id).or_insert(all);
            }
            let result = if id.is_some() { Ok(()) } else { Err(StateError::UnknownTopicOrPartition) };
            deleted.push(DeletedShareOffsets { topic: name.clone(), id, result });
        }
        self.write_partitions(shared);
        if partitions.is_empty() {
            let reply = self.history.reply(ticket, GroupReply::DeleteShareOffsets(Ok(deleted)));
            turn.replies.extend(reply);
            return;
        }
        let what = StateCallKind::Delete { partitions };
        self.calls.push(self.history.end(), what, Purpose::DeleteOffsets(ticket, deleted));
    }
}

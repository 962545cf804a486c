//! OffsetCommit, OffsetFetch, OffsetDelete.

use std::collections::BTreeSet;

use crate::classic::group::{ClassicGroup, Phase};
use crate::effects::Effects;
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, MemberId, Now, Producer, Ticket, TopicName};
use crate::record::{OffsetKey, OffsetValue, Record};
use crate::request::{CommitRequest, CommittedOffset, GroupReply, OffsetToCommit};
use crate::shard::Shard;
use crate::turn::Then;

impl Shard {
    /// OffsetCommit. Topics that do not exist are the caller's business; the reply waits for the records.
    pub fn commit_offsets(&mut self, request: CommitRequest, ticket: Ticket, now: Now) -> Effects {
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            let group = groups.get(&request.group);
            if group.is_none() && is_opaque {
                // It may have members, and the client is none that this version knows.
                return turn.reply(ticket, GroupReply::Commit(Err(GroupError::UnknownMemberId)));
            }
            if let Err(error) = may_commit(group, &request) {
                return turn.reply(ticket, GroupReply::Commit(Err(error)));
            }
            if let Some(group) = group.and_then(Group::classic).filter(|group| !group.is_empty()) {
                group.restart_session(&request.member, turn); // a commit is a sign of life
            }
            let (results, records) = to_records(&request, turn.config.offset_metadata_max, now);
            match group {
                Some(_) => turn.write(records, Then::Nothing),
                None if records.is_empty() => {}
                None => {
                    let id = request.group.clone();
                    groups.insert(id.clone(), Group::Classic(ClassicGroup::new(id.clone(), now.wall_ms)));
                    turn.write(records, Then::Created(id));
                }
            }
            turn.reply_when_durable(ticket, GroupReply::Commit(Ok(results)));
        })
    }

    /// TxnOffsetCommit. What is committed counts from the transaction's end on; the reply waits for the records only.
    /// `retention_ms` and `knows_group_id_not_found` mean nothing here.
    pub fn commit_offsets_in_transaction(
        &mut self,
        producer: Producer,
        request: CommitRequest,
        ticket: Ticket,
        now: Now,
    ) -> Effects {
        let request = CommitRequest { retention_ms: None, knows_group_id_not_found: false, ..request };
        let is_opaque = self.is_opaque(&request.group);
        self.turn(now, |groups, turn| {
            let group = groups.get(&request.group);
            if group.is_none() && is_opaque {
                return turn.reply(ticket, GroupReply::Commit(Err(GroupError::UnknownMemberId)));
            }
            if let Err(error) = may_commit_in_transaction(group, &request) {
                return turn.reply(ticket, GroupReply::Commit(Err(error)));
            }
            let (results, records) = to_records(&request, turn.config.offset_metadata_max, now);
            let then = match group {
                Some(_) => Then::Nothing,
                None if records.is_empty() => Then::Nothing,
                None => {
                    let id = request.group.clone();
                    groups.insert(id.clone(), Group::Classic(ClassicGroup::new(id.clone(), now.wall_ms)));
                    Then::Created(id)
                }
            };
            turn.write_in_transaction(producer, records, then);
            turn.reply_when_durable(ticket, GroupReply::Commit(Ok(results)));
        })
    }

    /// The partitions of which the group's offset is about to change: a transaction that has not ended has one for it,
    /// or a commit or deletion is on its way. Who must not read what is overtaken (OffsetFetch with `require_stable`)
    /// asks again.
    pub fn unstable_offsets(&self, group: &str) -> BTreeSet<(TopicName, i32)> {
        let in_flight = self.in_flight.values().flat_map(|write| &write.records).filter_map(|record| match record {
            Record::OffsetCommit { key, .. } if *key.group == *group => Some((key.topic.clone(), key.partition)),
            Record::OffsetCommit { .. }
            | Record::GroupMetadata { .. }
            | Record::Consumer { .. }
            | Record::Streams { .. }
            | Record::Share { .. }
            | Record::Opaque { .. } => None,
        });
        self.pending.of_group(group).cloned().chain(in_flight).collect()
    }

    /// The committed offset of a partition, if there is one.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<CommittedOffset> {
        self.offsets.get(group, topic, partition).map(committed)
    }

    /// OffsetFetch of version 9 and later: whether the member may read offsets. `None` for a client that does not say
    /// who it is. Only consumer and streams groups ask for that.
    ///
    /// # Errors
    /// That it is no member, or of another epoch.
    pub fn may_fetch_offsets(&self, group: &str, member: Option<&MemberId>, epoch: i32) -> Result<(), GroupError> {
        match self.groups.get(group) {
            Some(Group::Consumer(group)) => group.may_fetch(member, epoch),
            Some(Group::Streams(group)) => group.may_fetch(member, epoch),
            Some(Group::Share(_)) => Err(GroupError::GroupIdNotFound),
            Some(Group::Classic(_)) | None => Ok(()),
        }
    }

    /// Every committed offset of a group, by topic and partition.
    pub fn committed_offsets(&self, group: &str) -> impl Iterator<Item = (&TopicName, i32, CommittedOffset)> {
        self.offsets.of_group(group).map(|(topic, partition, value)| (topic, partition, committed(value)))
    }

    /// OffsetDelete. A partition without an offset is no error.
    pub fn delete_offsets(
        &mut self,
        group: &GroupId,
        partitions: &[(TopicName, i32)],
        ticket: Ticket,
        now: Now,
    ) -> Effects {
        let mut records = Vec::new();
        let reply = self.may_delete_offsets(group).map(|found| {
            let delete = |(topic, partition): &(TopicName, i32)| {
                if found.is_subscribed_to(topic) {
                    return Err(GroupError::GroupSubscribedToTopic);
                }
                let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                if self.has_offset(&key) {
                    records.push(Record::OffsetCommit { key, value: None });
                }
                Ok(())
            };
            partitions.iter().map(delete).collect()
        });
        self.turn(now, |_, turn| {
            turn.write_tombstones(records, Then::Nothing);
            turn.reply_when_durable(ticket, GroupReply::DeleteOffsets(reply));
        })
    }

    fn may_delete_offsets(&self, group: &GroupId) -> Result<&Group, GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let found = self.groups.get(group).ok_or(GroupError::GroupIdNotFound)?;
        found.may_delete_offsets().map(|()| found)
    }

    /// Whether the log has, or is about to have, an offset for the key.
    fn has_offset(&self, key: &OffsetKey) -> bool {
        self.offsets.get(&key.group, &key.topic, key.partition).is_some()
            || self.pending.contains(key)
            || self.offsets_in_flight().any(|(in_flight, _)| in_flight == key)
    }

    pub(crate) fn offsets_in_flight(&self) -> impl Iterator<Item = (&OffsetKey, &OffsetValue)> {
        self.in_flight.values().flat_map(|write| &write.records).filter_map(|record| match record {
            Record::OffsetCommit { key, value: Some(value) } => Some((key, value)),
            Record::OffsetCommit { .. }
            | Record::GroupMetadata { .. }
            | Record::Consumer { .. }
            | Record::Streams { .. }
            | Record::Share { .. }
            | Record::Opaque { .. } => None,
        })
    }
}

/// Who may commit: members of the current generation; and, without a generation, anybody while there are no members.
fn may_commit(group: Option<&Group>, request: &CommitRequest) -> Result<(), GroupError> {
    let Some(group) = group else {
        return match request.generation {
            ..0 => Ok(()),
            0.. if request.knows_group_id_not_found => Err(GroupError::GroupIdNotFound),
            0.. => Err(GroupError::IllegalGeneration),
        };
    };
    let group = match group {
        Group::Classic(group) => group,
        Group::Consumer(group) => return group.may_commit(request, false),
        Group::Streams(group) => return group.may_commit(request, false),
        Group::Share(_) => return Err(GroupError::GroupIdNotFound),
    };
    if request.generation < 0 && group.is_empty() {
        return Ok(());
    }
    if request.generation < 0 && request.member.is_empty() && request.instance.is_none() {
        return Err(GroupError::UnknownMemberId);
    }
    group.validate(&request.member, request.instance.as_ref())?;
    if request.generation != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    match group.phase {
        // It knows the generation, but not yet what it owns in it.
        Phase::CompletingRebalance => Err(GroupError::RebalanceInProgress),
        Phase::Empty | Phase::PreparingRebalance(_) | Phase::Stable => Ok(()),
    }
}

/// The same in a transaction: a producer of before KIP-447 says nothing about its member and is not checked, and the
/// member may commit what it has processed while the group rebalances.
fn may_commit_in_transaction(group: Option<&Group>, request: &CommitRequest) -> Result<(), GroupError> {
    let group = match group {
        None => return may_commit(None, request),
        Some(Group::Classic(group)) => group,
        Some(Group::Consumer(group)) => return group.may_commit(request, true),
        Some(Group::Streams(group)) => return group.may_commit(request, true),
        Some(Group::Share(_)) => return Err(GroupError::GroupIdNotFound),
    };
    let says_nothing = request.generation < 0 && request.member.is_empty() && request.instance.is_none();
    if says_nothing || (request.generation < 0 && group.is_empty()) {
        return Ok(());
    }
    group.validate(&request.member, request.instance.as_ref())?;
    if request.generation == group.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
}

/// A result for each offset, and a record for each that is kept.
fn to_records(request: &CommitRequest, metadata_max: usize, now: Now) -> (Vec<Result<(), GroupError>>, Vec<Record>) {
    let mut results = Vec::new();
    let mut records = Vec::new();
    for offset in &request.offsets {
        if offset.metadata.encode_utf16().count() > metadata_max {
            results.push(Err(GroupError::OffsetMetadataTooLarge));
        } else {
            results.push(Ok(()));
            records.push(to_record(request, offset, now));
        }
    }
    (results, records)
}

fn to_record(request: &CommitRequest, offset: &OffsetToCommit, now: Now) -> Record {
    let key = OffsetKey { group: request.group.clone(), topic: offset.topic.clone(), partition: offset.partition };
    let value = OffsetValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp_ms: now.wall_ms,
        expire_timestamp_ms: request.retention_ms.map(|retention| now.wall_ms.saturating_add(retention)),
        topic_id: offset.topic_id,
    };
    Record::OffsetCommit { key, value: Some(value) }
}

fn committed(value: &OffsetValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
        topic_id: value.topic_id,
    }
}

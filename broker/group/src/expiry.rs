//! Which offsets and groups are too old to keep, and what goes with a deleted topic.

use std::collections::{BTreeMap, BTreeSet};

use crate::effects::Effects;
use crate::group::Group;
use crate::ids::{GroupId, Now, TopicName};
use crate::record::{OffsetKey, OffsetValue, Record};
use crate::request::DeletedTopic;
use crate::shard::Shard;
use crate::turn::Then;

impl Shard {
    /// Removes offsets whose retention has passed, and groups that have neither members nor offsets; not in groups of a
    /// kind that this version does not know, which may have members. Called every
    /// `offsets.retention.check.interval.ms`.
    pub fn expire(&mut self, now: Now) -> Effects {
        let is_known = |id: &&GroupId| !self.unsettled.contains(*id) && !self.is_opaque(id);
        let ids: Vec<GroupId> = self.groups.keys().filter(is_known).cloned().collect();
        let mut effects = Effects::default();
        for id in ids {
            effects.extend(self.expire_group(&id, now));
        }
        effects
    }

    fn expire_group(&mut self, id: &GroupId, now: Now) -> Effects {
        // A group with a write on its way is not old.
        let Some(group) = self.groups.get(id).filter(|_| !self.is_in_flight(id)) else { return Effects::default() };
        let retention_ms = i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let mut records = Vec::new();
        let mut kept = false;
        for (topic, partition, value) in self.offsets.of_group(id) {
            let key = OffsetKey { group: id.clone(), topic: topic.clone(), partition };
            // A transaction is about to move it.
            let is_pending = self.pending.contains(&key);
            if !is_pending && is_expired(group, topic, value, retention_ms, now) {
                records.push(Record::OffsetCommit { key, value: None });
            } else {
                kept = true;
            }
        }
        let dead = !kept && !self.pending.has(id) && group.expires() && group.is_empty() && !group.is_busy();
        let mut deleted = Vec::new();
        if dead {
            records.extend(group.tombstones());
            deleted.extend(self.groups.remove(id));
        }
        self.turn(now, |_, turn| turn.write_tombstones(records, Then::Deleted(deleted)))
    }

    /// Topics were deleted, and every group's offsets in them go. An offset that is known to be of another topic of the
    /// same name stays: the name was given again, and a group has been quick.
    pub fn topics_deleted(&mut self, topics: &[DeletedTopic], now: Now) -> Effects {
        let in_flight = self.offsets_in_flight().map(|(key, value)| (key.clone(), value));
        // Of several offsets of a partition the last one counts.
        let offsets: BTreeMap<OffsetKey, &OffsetValue> = self.offsets.all().chain(in_flight).collect();
        let is_gone = |key: &OffsetKey, value: &OffsetValue| {
            let is_of = |topic: &DeletedTopic| {
                topic.name == key.topic && value.topic_id.map_or(topic.is_last, |of| of == topic.id)
            };
            topics.iter().any(is_of)
        };
        let gone = offsets.into_iter().filter(|(key, value)| is_gone(key, value)).map(|(key, _)| key);
        let pending = self.pending.all().filter(|(key, stored)| is_gone(key, &stored.value)).map(|(key, _)| key);
        let keys: BTreeSet<OffsetKey> = gone.chain(pending).collect();
        let mut tombstones: BTreeMap<GroupId, Vec<Record>> = BTreeMap::new();
        for key in keys {
            tombstones.entry(key.group.clone()).or_default().push(Record::OffsetCommit { key, value: None });
        }
        self.turn(now, |_, turn| {
            for tombstones in tombstones.into_values() {
                turn.write_tombstones(tombstones, Then::Nothing);
            }
        })
    }
}

/// A group with members loses only offsets of topics that it has unsubscribed from.
fn is_expired(group: &Group, topic: &TopicName, offset: &OffsetValue, retention_ms: i64, now: Now) -> bool {
    let Some(counted_from) = group.retention_starts(offset) else { return false };
    if group.is_subscribed_to(topic) {
        return false;
    }
    match offset.expire_timestamp_ms {
        Some(expires) => now.wall_ms >= expires,
        None => now.wall_ms.saturating_sub(counted_from) >= retention_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::config::Config;
    use crate::effects::GroupAppend;
    use crate::error::{GroupAppendError, GroupError};
    use crate::ids::Ticket;
    use crate::request::{CommitRequest, GroupReply, OffsetToCommit};

    const NOW: Now = Now { monotonic: Duration::ZERO, wall_ms: 0 };

    fn offset(topic_id: Option<Uuid>) -> OffsetToCommit {
        OffsetToCommit {
            topic: "t".into(),
            topic_id,
            partition: 0,
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }

    fn request() -> CommitRequest {
        CommitRequest {
            group: "g".into(),
            member: "".into(),
            instance: None,
            generation: -1,
            knows_group_id_not_found: true,
            retention_ms: None,
            offsets: Vec::new(),
        }
    }

    fn commit(shard: &mut Shard, topic_id: Option<Uuid>) -> Vec<GroupAppend> {
        let request = CommitRequest { offsets: vec![offset(topic_id)], ..request() };
        shard.commit_offsets(request, Ticket(0), NOW).appends
    }

    /// Offsets of one group, committed a thousand at a time by a simple consumer.
    fn with_offsets(partitions: i32) -> Shard {
        let mut shard = Shard::new(Config::default());
        for first in (0..partitions).step_by(1000) {
            let offset = |partition| OffsetToCommit { partition, ..offset(None) };
            let request = CommitRequest { offsets: (first..first + 1000).map(offset).collect(), ..request() };
            for append in shard.commit_offsets(request, Ticket(0), NOW).appends {
                let effects = shard.appended(append.id, Ok(0), NOW);
                assert_eq!(effects.appends, []);
            }
        }
        shard
    }

    fn decide(shard: &mut Shard, appends: &[GroupAppend], result: Result<(), GroupAppendError>) -> Vec<GroupReply> {
        let decided = appends.iter().flat_map(|append| shard.appended(append.id, result.map(|()| 0), NOW).replies);
        decided.map(|(_, reply)| reply).collect()
    }

    #[test]
    fn more_offsets_than_a_batch_can_hold_expire_and_are_deleted_in_several() {
        type Remove = Box<dyn Fn(&mut Shard) -> Effects>;
        let later = Now { wall_ms: 8 * 24 * 3_600_000, ..NOW };
        let topic = DeletedTopic { name: "t".into(), id: Uuid::nil(), is_last: true };
        let ways: [(&str, Remove); 3] = [
            ("expire", Box::new(move |shard| shard.expire(later))),
            ("delete", Box::new(|shard| shard.delete_groups(&["g".into()], Ticket(1), NOW))),
            ("topic", Box::new(move |shard| shard.topics_deleted(std::slice::from_ref(&topic), NOW))),
        ];
        for (way, remove) in ways {
            let mut shard = with_offsets(40_000);
            let Effects { appends, replies, .. } = remove(&mut shard);
            assert_eq!(replies, []);
            let encoded = |record: &Record| record.encode().unwrap().key.len() + 20;
            for append in &appends {
                let bytes: usize = append.records.iter().map(encoded).sum();
                assert!(bytes < 1_000_000, "{way}: {bytes} bytes in one batch");
            }
            assert!(appends.len() > 2, "{way}");
            let replies = decide(&mut shard, &appends, Ok(()));
            assert_eq!(shard.committed_offsets("g").count(), 0, "{way}");
            assert_eq!(replies.len(), usize::from(way == "delete"), "{way}");
            assert_eq!(shard.list().count(), usize::from(way == "topic"), "{way}");
        }
    }

    #[test]
    fn batches_of_tombstones_fit_a_limit_that_was_lowered() {
        let later = Now { wall_ms: 8 * 24 * 3_600_000, ..NOW };
        let mut shard = with_offsets(1000);
        shard.set_max_batch(2000);
        let appends = shard.expire(later).appends;
        for append in &appends {
            let bytes: usize = append.records.iter().map(|record| record.encode().unwrap().key.len() + 10).sum();
            assert!(61 + bytes <= 2000, "{bytes} bytes in one batch");
        }
        assert_eq!(decide(&mut shard, &appends, Ok(())), []);
        assert_eq!(shard.list().count(), 0);
    }

    #[test]
    fn a_deletion_of_which_one_part_fails_has_failed() {
        let mut shard = with_offsets(40_000);
        let appends = shard.delete_groups(&["g".into()], Ticket(1), NOW).appends;
        let (first, others) = appends.split_first().unwrap();
        let failed = decide(&mut shard, std::slice::from_ref(first), Err(GroupAppendError::NotCommitted));
        assert_eq!(failed, []);
        let replies = decide(&mut shard, others, Ok(()));
        assert_eq!(replies, [GroupReply::DeleteGroups(Err(GroupError::CoordinatorNotAvailable))]);
        assert_eq!(shard.list().count(), 1, "it is there, to be deleted again");
        assert_eq!(shard.committed_offsets("g").count(), first.records.len());
    }

    #[test]
    fn only_offsets_of_the_deleted_topic_go_with_it() {
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        // The id of the offset that is there, of one that is on its way, whether `old` was the last of its name, and
        // whether the partition's offset goes with it.
        let cases = [
            (Some(old), None, true, true),
            (Some(old), None, false, true),
            (Some(new), None, true, false),
            (None, None, true, true),
            (None, None, false, false),
            (Some(old), Some(new), true, false),
            (Some(new), Some(old), true, true),
        ];
        for (committed, in_flight, is_last, goes) in cases {
            let mut shard = Shard::new(Config::default());
            for append in commit(&mut shard, committed) {
                let effects = shard.appended(append.id, Ok(0), NOW);
                assert_eq!(effects.appends, []);
            }
            if in_flight.is_some() {
                assert_eq!(commit(&mut shard, in_flight).len(), 1);
            }
            let topic = |name: &str, id| DeletedTopic { name: name.into(), id, is_last };
            let effects = shard.topics_deleted(&[topic("t", old), topic("other", new)], NOW);
            assert_eq!(!effects.appends.is_empty(), goes, "{committed:?} {in_flight:?} {is_last}");
        }
    }
}

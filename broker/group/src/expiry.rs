//! Which offsets and groups are too old to keep, and what goes with a deleted topic.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::group::{ClassicGroup, Phase};
use crate::ids::{GroupId, Now, TopicName};
use crate::record::{OffsetKey, OffsetValue, Record};
use crate::shard::{Effects, Shard};
use crate::turn::Then;

impl Shard {
    /// Removes offsets whose retention has passed, and groups that have neither members nor offsets. Called every
    /// `offsets.retention.check.interval.ms`.
    pub fn expire(&mut self, now: Now) -> Effects {
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
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
            if is_expired(group, topic, value, retention_ms, now) {
                let key = OffsetKey { group: id.clone(), topic: topic.clone(), partition };
                records.push(Record::OffsetCommit { key, value: None });
            } else {
                kept = true;
            }
        }
        let dead = !kept && group.is_empty() && group.pending.is_empty();
        let mut deleted = Vec::new();
        if dead {
            records.push(Record::GroupMetadata { group: id.clone(), value: None });
            deleted.extend(self.groups.remove(id));
        }
        self.turn(now, |_, turn| turn.write(records, Then::Deleted(deleted)))
    }

    /// Topics are gone, and every group's offsets in them. An offset that is known to be of another topic of the same name
    /// stays: it was made again, and a group has been quick.
    pub fn topics_deleted(&mut self, topics: &[(TopicName, Uuid)], now: Now) -> Effects {
        let in_flight = self.offsets_in_flight().map(|(key, value)| (key.clone(), value));
        // Of several offsets of a partition the last one counts.
        let offsets: BTreeMap<OffsetKey, &OffsetValue> = self.offsets.all().chain(in_flight).collect();
        let mut tombstones: BTreeMap<GroupId, Vec<Record>> = BTreeMap::new();
        for (key, value) in offsets {
            let is_of =
                |(name, id): &(TopicName, Uuid)| *name == key.topic && value.topic_id.is_none_or(|of| of == *id);
            if topics.iter().any(is_of) {
                tombstones.entry(key.group.clone()).or_default().push(Record::OffsetCommit { key, value: None });
            }
        }
        self.turn(now, |_, turn| {
            // Each group's by themselves: those of all groups may be more than a batch can hold.
            for records in tombstones.into_values() {
                turn.write(records, Then::Nothing);
            }
        })
    }
}

/// The retention counts from when the group became empty, not from the commit, so that a slow consumer keeps its place
/// (KIP-211). A group with members loses only offsets of topics that it has unsubscribed from.
fn is_expired(group: &ClassicGroup, topic: &TopicName, offset: &OffsetValue, retention_ms: i64, now: Now) -> bool {
    let Some(counted_from) = retention_starts(group, offset) else { return false };
    if group.is_subscribed_to(topic) {
        return false;
    }
    match offset.expire_timestamp_ms {
        Some(expires) => now.wall_ms >= expires,
        None => now.wall_ms.saturating_sub(counted_from) >= retention_ms,
    }
}

/// `None`: the group's offsets do not expire.
fn retention_starts(group: &ClassicGroup, offset: &OffsetValue) -> Option<i64> {
    match group.phase {
        _ if group.protocol_type.is_none() => Some(offset.commit_timestamp_ms),
        Phase::Empty => Some(group.since_ms.unwrap_or(offset.commit_timestamp_ms)),
        Phase::Stable if group.subscribed_topics().is_some() => Some(offset.commit_timestamp_ms),
        Phase::Stable | Phase::PreparingRebalance(_) | Phase::CompletingRebalance => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Ticket;
    use crate::request::{CommitRequest, OffsetToCommit};
    use crate::shard::{Append, Config};

    const NOW: Now = Now { monotonic: Duration::ZERO, wall_ms: 0 };

    fn commit(shard: &mut Shard, topic_id: Option<Uuid>) -> Vec<Append> {
        let offset = OffsetToCommit {
            topic: "t".into(),
            topic_id,
            partition: 0,
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let request = CommitRequest {
            group: "g".into(),
            member: "".into(),
            instance: None,
            generation: -1,
            knows_group_id_not_found: true,
            retention_ms: None,
            offsets: vec![offset],
        };
        shard.commit_offsets(request, Ticket(0), NOW).appends
    }

    #[test]
    fn only_offsets_of_the_deleted_topic_go_with_it() {
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        // The id of the offset that is there, of one that is on its way, and whether the partition's offset goes with `old`.
        let cases = [
            (Some(old), None, true),
            (Some(new), None, false),
            (None, None, true),
            (Some(old), Some(new), false),
            (Some(new), Some(old), true),
        ];
        for (committed, in_flight, goes) in cases {
            let mut shard = Shard::new(Config::default());
            for append in commit(&mut shard, committed) {
                let effects = shard.appended(append.id, Ok(()), NOW);
                assert_eq!(effects.appends, []);
            }
            if in_flight.is_some() {
                assert_eq!(commit(&mut shard, in_flight).len(), 1);
            }
            let effects = shard.topics_deleted(&[("t".into(), old), ("other".into(), new)], NOW);
            assert_eq!(!effects.appends.is_empty(), goes, "{committed:?} {in_flight:?}");
        }
    }
}

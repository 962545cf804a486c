//! Which offsets and groups are too old to keep, and what goes with a deleted topic.

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
            let one = self.expire_group(&id, now);
            effects.replies.extend(one.replies);
            effects.appends.extend(one.appends);
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

    /// Topics are gone, and every group's offsets in them.
    pub fn topics_deleted(&mut self, topics: &[TopicName], now: Now) -> Effects {
        let committed = self.offsets.groups().flat_map(|group| {
            let key = |(topic, partition, _): (&TopicName, i32, &OffsetValue)| OffsetKey {
                group: group.clone(),
                topic: topic.clone(),
                partition,
            };
            self.offsets.of_group(group).map(key)
        });
        let records: Vec<Record> = committed
            .chain(self.offsets_in_flight().cloned())
            .filter(|key| topics.contains(&key.topic))
            .map(|key| Record::OffsetCommit { key, value: None })
            .collect();
        self.turn(now, |_, turn| turn.write(records, Then::Nothing))
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

//! A consumer group: what its records say, and what follows from that. Every change goes through
//! [`ConsumerGroup::write`], so the group after a restart is the group before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

use super::assignor::Assignor;
use crate::classic::group::ClassicGroup;
use crate::history::History;
use crate::ids::{GroupId, InstanceId, MemberId, TopicName};
use crate::overload::Overload;
use crate::record::{
    Assigned, ConsumerGroupValue, ConsumerMemberValue, ConsumerRecord, CurrentValue, MemberState, Partitions,
    PatternValue, Record, TargetValue,
};
use crate::state::GroupState;
use crate::topics::Topics;

/// What a member sends to join.
pub(crate) const JOINING: i32 = 0;
/// What a member sends to leave, and the epoch of one whose end is written down in part.
pub(crate) const LEAVING: i32 = -1;
/// What a static member sends that will be back, and its epoch until then.
pub(crate) const AWAY: i32 = -2;

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// What it has said about itself.
    pub(crate) value: ConsumerMemberValue,
    /// What it has.
    pub(crate) current: CurrentValue,
}

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: i32,
    pub(crate) metadata_hash: i64,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) target_epoch: i32,
    /// Wall clock at which the target assignment was computed; `None`: not known, or there is none yet.
    pub(crate) target_ms: Option<i64>,
    pub(crate) target: BTreeMap<MemberId, Partitions>,
    /// What the regular expressions of members stand for.
    pub(crate) patterns: BTreeMap<String, PatternValue>,
    /// There is a record of Kafka before 4.1, to be deleted.
    has_old_partitions: bool,

    /// How many members have a partition: more than one only if an append failed between two that succeeded.
    holders: BTreeMap<TopicIdPartition, usize>,
    /// The version of the topics whose hash was last compared with the group's; `None`: not compared yet.
    pub(crate) checked_topics: Option<u64>,
    /// The version of names in which the expressions were last looked up; `None`: not looked up yet.
    pub(crate) looked_up_names: Option<u64>,
    /// Since when the host looks up expressions; `None`: it does not.
    pub(crate) looking_up_since: Option<Duration>,
    /// The target assignment that was computed last, if it is too large for the log.
    pub(crate) overload: Overload,
    /// What it has changed, and what of it is in the log.
    pub(crate) history: History,
    /// What it becomes, once its history is durable: nobody speaks the consumer protocol any longer. `None`: it stays a
    /// consumer group.
    pub(crate) successor: Option<Box<ClassicGroup>>,
    /// Distinguishes the group from one of the same name before it, whose append may be under way.
    pub(crate) life: u64,
}

impl ConsumerGroup {
    /// A group without members. `life` is of every group of the name another one.
    pub(crate) fn new(id: GroupId, life: u64) -> Self {
        ConsumerGroup {
            id,
            epoch: 1,
            metadata_hash: 0,
            members: BTreeMap::new(),
            target_epoch: 0,
            target_ms: None,
            target: BTreeMap::new(),
            patterns: BTreeMap::new(),
            has_old_partitions: false,
            holders: BTreeMap::new(),
            checked_topics: None,
            looked_up_names: None,
            looking_up_since: None,
            overload: Overload::default(),
            history: History::default(),
            successor: None,
            life,
        }
    }

    /// Changes the group, and remembers the change for the log.
    pub(crate) fn write(&mut self, record: ConsumerRecord) {
        self.apply(record.clone());
        self.history.push(self.record(record));
    }

    /// A part of the group as a record.
    pub(crate) fn record(&self, record: ConsumerRecord) -> Record {
        Record::Consumer { group: self.id.clone(), record }
    }

    /// Takes a record in, from the log or on its way there.
    pub(crate) fn apply(&mut self, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Group(value) => {
                let value = value.unwrap_or(ConsumerGroupValue { epoch: 1, metadata_hash: 0 });
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            ConsumerRecord::Partitions { is_tombstone } => self.has_old_partitions = !is_tombstone,
            ConsumerRecord::Member(id, Some(value)) => {
                self.members.entry(id).or_insert_with(Member::new).value = *value
            }
            ConsumerRecord::Member(id, None) => {
                if let Some(member) = self.members.remove(&id) {
                    self.release(&member.current);
                }
            }
            ConsumerRecord::Target(value) => {
                let value = value.unwrap_or(TargetValue { epoch: -1, computed_ms: None });
                (self.target_epoch, self.target_ms) = (value.epoch, value.computed_ms);
            }
            ConsumerRecord::TargetMember(id, Some(partitions)) => _ = self.target.insert(id, partitions),
            ConsumerRecord::TargetMember(id, None) => _ = self.target.remove(&id),
            ConsumerRecord::Current(id, Some(value)) => {
                self.hold(&value);
                let member = self.members.entry(id).or_insert_with(Member::new);
                let before = std::mem::replace(&mut member.current, value);
                self.release(&before);
            }
            ConsumerRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(&id) {
                    let gone = CurrentValue { epoch: LEAVING, previous_epoch: LEAVING, ..no_partitions() };
                    let before = std::mem::replace(&mut member.current, gone);
                    self.release(&before);
                }
            }
            ConsumerRecord::Pattern(pattern, Some(value)) => _ = self.patterns.insert(pattern, value),
            ConsumerRecord::Pattern(pattern, None) => _ = self.patterns.remove(&pattern),
        }
    }

    fn hold(&mut self, value: &CurrentValue) {
        for at in value.partitions() {
            *self.holders.entry(at).or_default() += 1;
        }
    }

    fn release(&mut self, value: &CurrentValue) {
        for at in value.partitions() {
            if let Some(count) = self.holders.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    self.holders.remove(&at);
                }
            }
        }
    }

    /// It becomes a classic group, or is to become one as soon as it is durable that it has no members.
    pub(crate) fn is_changing(&self) -> bool {
        self.successor.is_some() || (self.members.is_empty() && !self.history.is_settled())
    }

    /// Whether another member than this has the partition, or has not said that it does not.
    pub(crate) fn is_taken(&self, member: &CurrentValue, at: TopicIdPartition) -> bool {
        let mine =
            |assigned: &Assigned| assigned.get(&at.topic_id).is_some_and(|mine| mine.contains_key(&at.partition));
        let own = usize::from(mine(&member.assigned)) + usize::from(mine(&member.revoking));
        self.holders.get(&at).copied().unwrap_or(0) > own
    }

    /// What a group without members has in the log.
    pub(crate) fn write_again(&mut self) {
        let value = ConsumerGroupValue { epoch: self.epoch, metadata_hash: self.metadata_hash };
        self.write(ConsumerRecord::Group(Some(value)));
        if self.target_epoch >= 0 {
            let value = TargetValue { epoch: self.target_epoch, computed_ms: self.target_ms };
            self.write(ConsumerRecord::Target(Some(value)));
        }
    }

    /// What deletes the group from the log. The group itself comes last: a reader that stops before it knows that the
    /// rest is no other group's.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        let ids: BTreeSet<&MemberId> = self.members.keys().chain(self.target.keys()).collect();
        let of_members = ids.into_iter().flat_map(|id| {
            [
                ConsumerRecord::Current(id.clone(), None),
                ConsumerRecord::TargetMember(id.clone(), None),
                ConsumerRecord::Member(id.clone(), None),
            ]
        });
        let patterns = self.patterns.keys().map(|pattern| ConsumerRecord::Pattern(pattern.clone(), None));
        let old = self.has_old_partitions.then_some(ConsumerRecord::Partitions { is_tombstone: true });
        let last = [ConsumerRecord::Target(None), ConsumerRecord::Group(None)];
        let all = of_members.chain(patterns).chain(old).chain(last);
        all.map(|record| self.record(record)).collect()
    }

    pub(crate) fn state(&self) -> GroupState {
        let is_there = |member: &Member| member.is_reconciled(self.target_epoch);
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.target_epoch {
            GroupState::Assigning
        } else if self.members.values().all(is_there) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    pub(crate) fn static_member(&self, instance: &InstanceId) -> Option<(&MemberId, &Member)> {
        self.members.iter().find(|(_, member)| member.value.instance.as_ref() == Some(instance))
    }

    /// How many members subscribe to the expression.
    pub(crate) fn subscribers(&self, pattern: &str) -> usize {
        self.members.values().filter(|member| member.pattern() == Some(pattern)).count()
    }

    /// The names that its members subscribe to, and those that their expressions stand for.
    pub(crate) fn subscribed_names(&self) -> BTreeSet<&TopicName> {
        let by_name = self.members.values().flat_map(|member| &member.value.topics);
        by_name.chain(self.patterns.values().flat_map(|resolved| &resolved.topics)).collect()
    }

    /// The topics that a member subscribes to and that exist.
    pub(crate) fn subscribed_ids(&self, member: &ConsumerMemberValue, topics: &Topics) -> BTreeSet<Uuid> {
        let resolved = member.pattern.as_ref().and_then(|pattern| self.patterns.get(pattern));
        let names = member.topics.iter().chain(resolved.into_iter().flat_map(|resolved| &resolved.topics));
        names.filter_map(|name| Some(topics.get(name)?.id)).collect()
    }

    /// A change that may need another assignment.
    pub(crate) fn bump(&mut self, topics: &Topics) {
        let metadata_hash = topics.hash(self.subscribed_names());
        let value = ConsumerGroupValue { epoch: self.epoch.saturating_add(1), metadata_hash };
        self.write(ConsumerRecord::Group(Some(value)));
        self.topics_checked(topics);
    }

    /// Topics may have changed: whether those of the group have.
    pub(crate) fn topics_differ(&self, topics: &Topics) -> bool {
        self.checked_topics != Some(topics.version()) && topics.hash(self.subscribed_names()) != self.metadata_hash
    }

    pub(crate) fn topics_checked(&mut self, topics: &Topics) {
        self.checked_topics = Some(topics.version());
        if self.has_old_partitions {
            self.write(ConsumerRecord::Partitions { is_tombstone: true });
        }
    }

    /// The assignor that most members wish for.
    pub(crate) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for wish in self.members.values().filter_map(|member| Assignor::by_name(member.value.assignor.as_deref()?)) {
            *votes.entry(wish).or_default() += 1;
        }
        let most = votes.into_iter().min_by_key(|(assignor, votes)| (usize::MAX - votes, *assignor));
        most.map_or(Assignor::DEFAULT, |(assignor, _)| assignor)
    }

    /// Whether offsets of the topic must be kept.
    pub(crate) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        self.members.values().any(|member| member.value.topics.contains(topic))
            || self.patterns.values().any(|resolved| resolved.topics.contains(topic))
    }
}

impl Member {
    pub(crate) fn new() -> Self {
        let value = ConsumerMemberValue {
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            pattern: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        };
        Member { value, current: no_partitions() }
    }

    /// The expression that it subscribes to; `None`: to none.
    pub(crate) fn pattern(&self) -> Option<&str> {
        self.value.pattern.as_deref().filter(|pattern| !pattern.is_empty())
    }

    pub(crate) fn is_reconciled(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }
}

fn no_partitions() -> CurrentValue {
    CurrentValue {
        epoch: JOINING,
        previous_epoch: LEAVING,
        state: MemberState::Stable,
        assigned: Assigned::new(),
        revoking: Assigned::new(),
    }
}

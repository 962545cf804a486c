//! A group with members changes its protocol while they work: a classic group when the first consumer joins by the
//! consumer protocol, back when the last one has left. Meanwhile members of both are in it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::consumer_protocol::{self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition};
use ottla_wire::coordinator_records::encode_value;

use crate::classic::group::ClassicGroup;
use crate::consumer::group::{ConsumerGroup, Member};
use crate::error::GroupError;
use crate::group::Group;
use crate::ids::{GroupId, MemberId};
use crate::record::{
    Assigned, ClassicMember, ConsumerGroupValue, ConsumerMemberValue, ConsumerRecord, CurrentValue, GroupValue,
    MemberState, MemberValue, Partitions, Protocol, Record, TargetValue,
};
use crate::timers::TimerKey;
use crate::topics::Topics;
use crate::turn::Turn;

/// Versions of the consumers' messages that we write.
const NEWEST: i16 = 3;

impl ConsumerGroup {
    /// The group that takes the place of a classic one without members.
    pub(crate) fn of_empty(classic: &ClassicGroup, life: u64) -> ConsumerGroup {
        let mut group = ConsumerGroup::new(classic.id.clone(), life);
        group.history.push(Record::GroupMetadata { group: classic.id.clone(), value: None });
        group
    }

    /// The group with the members that it has had as a classic one, who keep what they have. `None` if that is not
    /// possible: its members are no consumers; their assignor keeps data in the assignment, which would be lost; or a
    /// record would be too large.
    pub(crate) fn from_classic(classic: &ClassicGroup, life: u64, turn: &Turn<'_>) -> Option<ConsumerGroup> {
        let config = turn.config;
        if !config.consumer_migration.may_upgrade()
            || !classic.uses_consumer_protocol()
            || classic.members.len() > config.consumer_max_size
        {
            return None;
        }
        let epoch = classic.generation;
        let mut group = ConsumerGroup::of_empty(classic, life);
        let mut all = Vec::new();
        for (id, member) in &classic.members {
            let chosen = classic.protocol_name.as_deref().and_then(|name| member.metadata(name));
            let metadata = chosen.or_else(|| member.protocols.first().map(|protocol| &protocol.metadata))?;
            let subscription: ConsumerProtocolSubscription = consumer_protocol::decode(metadata.clone()).ok()?;
            let value = ConsumerMemberValue {
                instance: member.instance.clone(),
                rack: subscription.rack_id.map(|rack| rack.to_string()),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topics: subscription.topics.iter().map(|name| (&**name).into()).collect(),
                pattern: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                assignor: None,
                classic: Some(ClassicMember {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            all.push((id.clone(), value, assignment(&member.assignment, turn.topics)?));
        }
        for (id, value, _) in &all {
            group.write(ConsumerRecord::Member(id.clone(), Some(Box::new(value.clone()))));
        }
        let metadata_hash = turn.topics.hash(group.subscribed_names());
        group.write(ConsumerRecord::Group(Some(ConsumerGroupValue { epoch, metadata_hash })));
        for (id, _, partitions) in &all {
            group.write(ConsumerRecord::TargetMember(id.clone(), Some(partitions.clone())));
        }
        group.write(ConsumerRecord::Target(Some(TargetValue { epoch, computed_ms: None })));
        for (id, _, partitions) in all {
            let with_epoch = |(topic, all): (_, BTreeSet<i32>)| {
                (topic, all.into_iter().map(|partition| (partition, epoch)).collect())
            };
            let current = CurrentValue {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                assigned: partitions.into_iter().map(with_epoch).collect(),
                revoking: Assigned::new(),
            };
            group.write(ConsumerRecord::Current(id, Some(current)));
        }
        let is_accepted = group.history.all().all(|record| turn.check_size(record).is_ok());
        let can_have = group.target.iter().all(|(id, partitions)| group.can_have(id, partitions, turn));
        (is_accepted && can_have).then_some(group)
    }

    /// The classic group that it is to become, and its record: nobody is left who speaks the consumer protocol, and the
    /// others may continue with the classic one. `None` also if the record of all members would be too large.
    pub(super) fn downgraded(&self, turn: &Turn<'_>) -> Option<(ClassicGroup, Record)> {
        let is_due = turn.config.consumer_migration.may_downgrade()
            && !self.members.is_empty()
            && self.members.len() <= turn.config.max_size
            && self.members.values().all(|member| member.value.classic.is_some());
        if !is_due {
            return None;
        }
        let classic = self.to_classic(turn.topics, turn.now.wall_ms);
        let record = classic.to_record(|_, member| member.assignment.clone());
        turn.check_size(&record).is_ok().then_some((classic, record))
    }

    /// What it is as a classic group. Each member has what it is to have.
    fn to_classic(&self, topics: &Topics, now_ms: i64) -> ClassicGroup {
        let member = |(id, member): (&MemberId, &Member)| {
            let classic = member.value.classic.as_ref();
            let target = self.target.get(id).cloned().unwrap_or_default();
            MemberValue {
                member: id.clone(),
                instance: member.value.instance.clone(),
                client_id: member.value.client_id.clone(),
                client_host: member.value.client_host.clone(),
                rebalance_timeout_ms: member.value.rebalance_timeout_ms,
                session_timeout_ms: classic.map_or(0, |classic| classic.session_timeout_ms),
                subscription: Bytes::new(),
                assignment: member.assignment_bytes(&target, topics),
            }
        };
        let value = GroupValue {
            protocol_type: "consumer".to_owned(),
            generation: self.epoch,
            protocol: None,
            leader: None,
            since_ms: Some(now_ms),
            members: self.members.iter().map(member).collect(),
        };
        let mut group = ClassicGroup::from_record(self.id.clone(), value);
        for (id, member) in &mut group.members {
            let classic = self.members.get(id).and_then(|member| member.value.classic.as_ref());
            member.protocols = classic.map(|classic| classic.protocols.clone()).unwrap_or_default();
        }
        group.protocol_name = group.select_protocol();
        group
    }
}

impl Member {
    /// Partitions in the bytes that a classic member reads.
    pub(crate) fn assignment_bytes(&self, partitions: &Partitions, topics: &Topics) -> Bytes {
        let mut by_name: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partitions) in partitions {
            if let Some(name) = topics.name(*topic) {
                by_name.entry(name).or_default().extend(partitions);
            }
        }
        let topic = |(name, partitions): (&str, Vec<i32>)| TopicPartition { topic: name.into(), partitions };
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: by_name.into_iter().map(topic).collect(),
            user_data: None,
        };
        let first = self.value.classic.as_ref().and_then(|classic| classic.protocols.first());
        encode_value(first.map_or(0, version_of), &assignment)
    }
}

/// The version in which the member writes, as far as we know it.
fn version_of(protocol: &Protocol) -> i16 {
    match protocol.metadata[..] {
        [high, low, ..] => i16::from_be_bytes([high, low]).clamp(0, NEWEST),
        _ => 0,
    }
}

/// What a classic member was assigned; `None` if it cannot be read, or says more than that.
fn assignment(bytes: &Bytes, topics: &Topics) -> Option<Partitions> {
    if bytes.is_empty() {
        return Some(Partitions::new()); // it has joined, and not got one yet
    }
    let assignment: ConsumerProtocolAssignment = consumer_protocol::decode(bytes.clone()).ok()?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return None;
    }
    Some(by_id(&assignment.assigned_partitions, topics))
}

/// Those of the partitions that exist: a topic may have been deleted and created again with fewer.
pub(crate) fn by_id(partitions: &[TopicPartition], topics: &Topics) -> Partitions {
    let mut by_id = Partitions::new();
    for TopicPartition { topic, partitions } in partitions {
        let Some(topic) = topics.get(topic) else { continue };
        for partition in partitions.iter().filter(|partition| (0..topic.partitions).contains(*partition)) {
            by_id.entry(topic.id).or_default().insert(*partition);
        }
    }
    by_id
}

/// A classic group has become a consumer group: those who wait join again, and all get the time of a session.
pub(crate) fn upgraded(mut classic: ClassicGroup, group: &ConsumerGroup, turn: &mut Turn<'_>) {
    let id = &classic.id;
    turn.timers.cancel(&TimerKey::Join(id.clone()));
    turn.timers.cancel(&TimerKey::Sync(id.clone()));
    for pending in &classic.pending {
        turn.timers.cancel(&TimerKey::Session(id.clone(), pending.clone()));
    }
    for (member, waiting) in &mut classic.members {
        waiting.release(member, GroupError::RebalanceInProgress, turn);
        group.restart_session(member, turn);
    }
}

/// Begins to make a classic group of one in which nobody speaks the consumer protocol any longer. Until that is
/// durable, the group does nothing else: what it writes must not come behind what it was before.
pub(crate) fn downgrade_if_due(group: &mut ConsumerGroup, turn: &mut Turn<'_>) {
    if group.successor.is_some() {
        return;
    }
    let Some((classic, record)) = group.downgraded(turn) else { return };
    group.tombstones().into_iter().chain([record]).for_each(|record| group.history.push(record));
    for member in group.members.keys() {
        group.cancel_timers(member, turn);
    }
    group.successor = Some(Box::new(classic));
}

/// The change to a classic group is durable: its members rebalance.
pub(crate) fn succeed(groups: &mut BTreeMap<GroupId, Group>, id: &GroupId, turn: &mut Turn<'_>) {
    let Some(group) = groups.get_mut(id).and_then(Group::consumer_mut) else { return };
    if !group.history.is_settled() {
        return;
    }
    let Some(mut classic) = group.successor.take() else { return };
    for member in classic.members.keys() {
        classic.restart_session(member, turn);
    }
    classic.prepare_rebalance(turn);
    groups.insert(id.clone(), Group::Classic(*classic));
}

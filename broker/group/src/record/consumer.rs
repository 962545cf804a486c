//! The records of consumer groups (KIP-848): typed, and in Kafka's format. A group's state is what its records say;
//! there is nothing in memory besides that must outlive a restart.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::consumer_group_records::{
    self as wire, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberKey, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue, CurrentTopicPartitions,
    TargetTopicPartitions,
};
use ottla_wire::coordinator_records::{CoordinatorKey, GroupMetadataKey, decode_value, encode_value};
use ottla_wire::{Str, TopicIdPartition};
use uuid::Uuid;

use super::shared::{MemberState, Partitions, TargetValue};
use super::{Encoded, Malformed, Protocol, Record, TooLong, text};
use crate::ids::{GroupId, InstanceId, MemberId, TopicName};

/// A record of a consumer group; no value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerRecord {
    /// The group itself.
    Group(Option<ConsumerGroupValue>),
    /// Kafka before 4.1 kept the partitions of topics here. What is there is to be deleted.
    Partitions {
        /// Whether it deletes.
        is_tombstone: bool,
    },
    /// What a member has said about itself.
    Member(MemberId, Option<Box<ConsumerMemberValue>>),
    /// When the target assignment was computed.
    Target(Option<TargetValue>),
    /// What a member is to have.
    TargetMember(MemberId, Option<Partitions>),
    /// What a member has.
    Current(MemberId, Option<CurrentValue>),
    /// The topics that a regular expression stands for.
    Pattern(String, Option<PatternValue>),
}

/// Partitions by topic, each with the member's epoch when it got it (KIP-1251). Always: no topic without partitions.
pub type Assigned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// A consumer group as it is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerGroupValue {
    /// Grows with every change that may need another assignment.
    pub epoch: i32,
    /// Of the topics that it subscribes to: see [`Topics`](crate::topics::Topics).
    pub metadata_hash: i64,
}

/// What a member has said about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerMemberValue {
    /// Its instance id; `None`: a dynamic member.
    pub instance: Option<InstanceId>,
    /// The rack where it is; `None`: it did not say.
    pub rack: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where the client is, as Kafka prints it.
    pub client_host: String,
    /// The topics that it subscribes to by name.
    pub topics: BTreeSet<TopicName>,
    /// The regular expression that it subscribes to; empty as good as none.
    pub pattern: Option<String>,
    /// How long it may take to revoke partitions.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers; `None`: it has no preference.
    pub assignor: Option<String>,
    /// What a member of the classic protocol said; `None`: it speaks the consumer protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol has said besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicMember {
    /// Silence after which it is dead.
    pub session_timeout_ms: i32,
    /// What it can do, best first.
    pub protocols: Vec<Protocol>,
}

/// What a member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentValue {
    /// The epoch that it is expected to send.
    pub epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// Its partitions.
    pub assigned: Assigned,
    /// Those that it is to revoke, and owns until it says that it does not.
    pub revoking: Assigned,
}

impl CurrentValue {
    /// All partitions that the member may own.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicIdPartition> {
        let topics = self.assigned.iter().chain(&self.revoking);
        topics.flat_map(|(id, partitions)| partitions.keys().map(|number| TopicIdPartition::new(*id, *number)))
    }

    /// The same by topic.
    pub(crate) fn by_topic(&self) -> Partitions {
        let mut by_topic = Partitions::new();
        for at in self.partitions() {
            by_topic.entry(at.topic_id).or_default().insert(at.partition);
        }
        by_topic
    }

    /// About how many bytes the value has at most while the member moves to the target: each partition has an epoch,
    /// and the member may have some partitions of a topic and revoke others.
    pub(crate) fn most_bytes(target: &Partitions) -> usize {
        16 + target.values().map(|all| 30 * all.len().min(2) + 8 * all.len()).sum::<usize>()
    }
}

/// The topics that a regular expression stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PatternValue {
    /// Their names.
    pub topics: BTreeSet<TopicName>,
    /// Of the topics in which they were looked up.
    pub version: i64,
    /// When.
    pub resolved_ms: i64,
}

impl ConsumerRecord {
    /// About how many bytes its value has.
    pub(super) fn value_size(&self) -> usize {
        let names = |names: &BTreeSet<TopicName>| names.iter().map(|name| name.len() + 2).sum::<usize>();
        let assigned = |assigned: &Assigned| assigned.values().map(|all| 30 + 8 * all.len()).sum::<usize>();
        match self {
            ConsumerRecord::Group(_) | ConsumerRecord::Partitions { .. } | ConsumerRecord::Target(_) => 20,
            ConsumerRecord::Member(_, None) | ConsumerRecord::TargetMember(_, None) => 0,
            ConsumerRecord::Current(_, None) | ConsumerRecord::Pattern(_, None) => 0,
            ConsumerRecord::Member(_, Some(value)) => {
                let ConsumerMemberValue { instance, rack, client_id, client_host, topics, pattern, assignor, .. } =
                    &**value;
                let optional = [rack, pattern, assignor].into_iter().flatten().map(String::len).sum::<usize>();
                let instance = instance.as_ref().map_or(0, |instance| instance.len());
                let protocols = value.classic.iter().flat_map(|classic| &classic.protocols);
                let protocols = protocols.map(|protocol| protocol.name.len() + protocol.metadata.len() + 8);
                40 + instance
                    + optional
                    + client_id.len()
                    + client_host.len()
                    + names(topics)
                    + protocols.sum::<usize>()
            }
            ConsumerRecord::TargetMember(_, Some(target)) => target.values().map(|all| 24 + 4 * all.len()).sum(),
            ConsumerRecord::Current(_, Some(value)) => 16 + assigned(&value.assigned) + assigned(&value.revoking),
            ConsumerRecord::Pattern(_, Some(value)) => 24 + names(&value.topics),
        }
    }

    /// Whether it deletes.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ConsumerRecord::Group(value) => value.is_none(),
            ConsumerRecord::Partitions { is_tombstone } => *is_tombstone,
            ConsumerRecord::Member(_, value) => value.is_none(),
            ConsumerRecord::Target(value) => value.is_none(),
            ConsumerRecord::TargetMember(_, value) => value.is_none(),
            ConsumerRecord::Current(_, value) => value.is_none(),
            ConsumerRecord::Pattern(_, value) => value.is_none(),
        }
    }

    /// The bytes of the name in its key, besides the group's.
    pub(super) fn name_len(&self) -> usize {
        match self {
            ConsumerRecord::Group(_) | ConsumerRecord::Partitions { .. } | ConsumerRecord::Target(_) => 0,
            ConsumerRecord::Member(member, _)
            | ConsumerRecord::TargetMember(member, _)
            | ConsumerRecord::Current(member, _) => member.len(),
            ConsumerRecord::Pattern(pattern, _) => pattern.len(),
        }
    }
}

pub(super) fn encode(group: &GroupId, record: &ConsumerRecord) -> Result<Encoded, TooLong> {
    let of_group = || Ok(GroupMetadataKey { group: text(group)? });
    let of_member = |member: &MemberId| Ok(ConsumerGroupMemberKey { group: text(group)?, member: text(member)? });
    let (key, value) = match record {
        ConsumerRecord::Group(value) => {
            let value = value
                .map(|value| ConsumerGroupMetadataValue { epoch: value.epoch, metadata_hash: value.metadata_hash });
            (CoordinatorKey::ConsumerGroup(of_group()?), value.map(|value| encode_value(0, &value)))
        }
        ConsumerRecord::Partitions { .. } => (CoordinatorKey::ConsumerGroupPartitions(of_group()?), None),
        ConsumerRecord::Member(member, value) => {
            let value = value.as_deref().map(encode_member).transpose()?;
            (CoordinatorKey::ConsumerGroupMember(of_member(member)?), value)
        }
        ConsumerRecord::Target(value) => {
            let value = value.map(|value| ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: value.epoch,
                assignment_timestamp: value.computed_ms.unwrap_or(0),
            });
            (CoordinatorKey::ConsumerGroupTarget(of_group()?), value.map(|value| encode_value(0, &value)))
        }
        ConsumerRecord::TargetMember(member, value) => {
            let topic = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| TargetTopicPartitions {
                topic_id: *topic,
                partitions: partitions.iter().copied().collect(),
            };
            let value = value.as_ref().map(|partitions| ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: partitions.iter().map(topic).collect(),
            });
            let key = CoordinatorKey::ConsumerGroupTargetMember(of_member(member)?);
            (key, value.map(|value| encode_value(0, &value)))
        }
        ConsumerRecord::Current(member, value) => {
            let value = value.as_ref().map(|value| encode_value(0, &current(value)));
            (CoordinatorKey::ConsumerGroupCurrentMember(of_member(member)?), value)
        }
        ConsumerRecord::Pattern(pattern, value) => {
            let key = ConsumerGroupRegularExpressionKey { group: text(group)?, regular_expression: text(pattern)? };
            let value = value.as_ref().map(encode_pattern).transpose()?;
            (CoordinatorKey::ConsumerGroupRegularExpression(key), value)
        }
    };
    Ok(Encoded { key: key.encode(), value })
}

fn encode_member(value: &ConsumerMemberValue) -> Result<Bytes, TooLong> {
    let optional = |value: Option<&str>| value.map(text).transpose();
    let classic = |classic: &ClassicMember| {
        let protocol = |protocol: &Protocol| {
            Ok(wire::ClassicProtocol { name: text(&protocol.name)?, metadata: protocol.metadata.clone() })
        };
        Ok(wire::ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic.protocols.iter().map(protocol).collect::<Result<_, _>>()?,
        })
    };
    let value = ConsumerGroupMemberMetadataValue {
        instance_id: optional(value.instance.as_deref())?,
        rack_id: optional(value.rack.as_deref())?,
        client_id: text(&value.client_id)?,
        client_host: text(&value.client_host)?,
        subscribed_topic_names: value.topics.iter().map(|name| text(name)).collect::<Result<_, _>>()?,
        subscribed_topic_regex: optional(value.pattern.as_deref())?,
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: optional(value.assignor.as_deref())?,
        classic_member_metadata: value.classic.as_ref().map(classic).transpose()?,
    };
    Ok(encode_value(0, &value))
}

fn current(value: &CurrentValue) -> ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |assigned: &Assigned| {
        let topic = |(topic, partitions): (&Uuid, &BTreeMap<i32, i32>)| CurrentTopicPartitions {
            topic_id: *topic,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
        assigned.iter().map(topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: value.epoch,
        previous_member_epoch: value.previous_epoch,
        state: value.state.number(),
        assigned_partitions: topics(&value.assigned),
        partitions_pending_revocation: topics(&value.revoking),
    }
}

fn encode_pattern(value: &PatternValue) -> Result<Bytes, TooLong> {
    let value = ConsumerGroupRegularExpressionValue {
        topics: value.topics.iter().map(|name| text(name)).collect::<Result<_, _>>()?,
        version: value.version,
        timestamp: value.resolved_ms,
    };
    Ok(encode_value(0, &value))
}

/// A part of a consumer group.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, Malformed> {
    let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
    let (group, record) = match CoordinatorKey::decode(key)? {
        CoordinatorKey::OffsetCommit(_)
        | CoordinatorKey::GroupMetadata(_)
        | CoordinatorKey::ShareGroup(_)
        | CoordinatorKey::ShareGroupMember(_)
        | CoordinatorKey::ShareGroupTarget(_)
        | CoordinatorKey::ShareGroupTargetMember(_)
        | CoordinatorKey::ShareGroupCurrentMember(_)
        | CoordinatorKey::ShareGroupPartitions(_)
        | CoordinatorKey::StreamsGroup(_)
        | CoordinatorKey::StreamsGroupMember(_)
        | CoordinatorKey::StreamsGroupTarget(_)
        | CoordinatorKey::StreamsGroupTargetMember(_)
        | CoordinatorKey::StreamsGroupCurrentMember(_)
        | CoordinatorKey::StreamsGroupTopology(_)
        | CoordinatorKey::Other(_) => return Err(Malformed),
        CoordinatorKey::ConsumerGroup(key) => {
            let value = value.map(decode_value::<ConsumerGroupMetadataValue>).transpose()?;
            let value =
                value.map(|value| ConsumerGroupValue { epoch: value.epoch, metadata_hash: value.metadata_hash });
            (key.group, ConsumerRecord::Group(value))
        }
        CoordinatorKey::ConsumerGroupPartitions(key) => {
            (key.group, ConsumerRecord::Partitions { is_tombstone: value.is_none() })
        }
        CoordinatorKey::ConsumerGroupMember(key) => {
            let value = value.map(decode_member).transpose()?;
            (key.group, ConsumerRecord::Member((&*key.member).into(), value.map(Box::new)))
        }
        CoordinatorKey::ConsumerGroupTarget(key) => {
            let value = value.map(decode_value::<ConsumerGroupTargetAssignmentMetadataValue>).transpose()?;
            let value = value.map(|value| TargetValue {
                epoch: value.assignment_epoch,
                computed_ms: Some(value.assignment_timestamp).filter(|time_ms| *time_ms != 0),
            });
            (key.group, ConsumerRecord::Target(value))
        }
        CoordinatorKey::ConsumerGroupTargetMember(key) => {
            let value = value.map(decode_value::<ConsumerGroupTargetAssignmentMemberValue>).transpose()?;
            let value = value.map(|value| {
                let topics = value.topic_partitions.into_iter();
                let topics = topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()));
                topics.filter(|(_, partitions): &(_, BTreeSet<i32>)| !partitions.is_empty()).collect()
            });
            (key.group, ConsumerRecord::TargetMember((&*key.member).into(), value))
        }
        CoordinatorKey::ConsumerGroupCurrentMember(key) => {
            let value = value.map(decode_current).transpose()?;
            (key.group, ConsumerRecord::Current((&*key.member).into(), value))
        }
        CoordinatorKey::ConsumerGroupRegularExpression(key) => {
            let value = value.map(decode_value::<ConsumerGroupRegularExpressionValue>).transpose()?;
            let value = value.map(|value| PatternValue {
                topics: names(&value.topics),
                version: value.version,
                resolved_ms: value.timestamp,
            });
            (key.group, ConsumerRecord::Pattern(key.regular_expression.to_string(), value))
        }
    };
    Ok(Record::Consumer { group: (&*group).into(), record })
}

fn names(names: &[Str]) -> BTreeSet<TopicName> {
    names.iter().map(|name| (&**name).into()).collect()
}

fn decode_member(bytes: Bytes) -> Result<ConsumerMemberValue, Malformed> {
    let value: ConsumerGroupMemberMetadataValue = decode_value(bytes)?;
    let classic = value.classic_member_metadata.map(|classic| ClassicMember {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .into_iter()
            .map(|protocol| Protocol { name: protocol.name.to_string(), metadata: protocol.metadata })
            .collect(),
    });
    Ok(ConsumerMemberValue {
        instance: value.instance_id.map(|id| (&*id).into()),
        rack: value.rack_id.map(|rack| rack.to_string()),
        client_id: value.client_id.to_string(),
        client_host: value.client_host.to_string(),
        topics: names(&value.subscribed_topic_names),
        pattern: value.subscribed_topic_regex.map(|pattern| pattern.to_string()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.map(|name| name.to_string()),
        classic,
    })
}

fn decode_current(bytes: Bytes) -> Result<CurrentValue, Malformed> {
    let value: ConsumerGroupCurrentMemberAssignmentValue = decode_value(bytes)?;
    let epoch = value.member_epoch;
    // Kafka before 4.3 wrote no epochs: the member's counts. One that is away has none.
    let assigned = |topics: Vec<CurrentTopicPartitions>| {
        let topic = |topic: CurrentTopicPartitions| {
            let epochs = topic.assignment_epochs.filter(|epochs| epochs.len() == topic.partitions.len());
            let epochs = epochs.unwrap_or_else(|| vec![epoch.max(0); topic.partitions.len()]);
            (topic.topic_id, topic.partitions.into_iter().zip(epochs).collect())
        };
        let topics = topics.into_iter().map(topic);
        topics.filter(|(_, partitions): &(_, BTreeMap<i32, i32>)| !partitions.is_empty()).collect()
    };
    Ok(CurrentValue {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::numbered(value.state),
        assigned: assigned(value.assigned_partitions),
        revoking: assigned(value.partitions_pending_revocation),
    })
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;

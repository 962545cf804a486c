//! The records of share groups (KIP-932), typed. A group's state is what its records say.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::shared::{Partitions, TargetValue};
use crate::ids::{MemberId, TopicName};

/// A record of a share group; no value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShareRecord {
    /// The group itself.
    Group(Option<ShareGroupValue>),
    /// What a member has said about itself.
    Member(MemberId, Option<Box<ShareMemberValue>>),
    /// When the target assignment was computed.
    Target(Option<TargetValue>),
    /// What a member is to have.
    TargetMember(MemberId, Option<Partitions>),
    /// What a member has.
    Current(MemberId, Option<ShareCurrentValue>),
    /// Which partitions the share coordinators know.
    Partitions(Option<Box<SharedPartitions>>),
}

/// A share group as it is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareGroupValue {
    /// Grows with every change that may need another assignment.
    pub epoch: i32,
    /// Of the topics that it is subscribed to: see [`Topics`](crate::topics::Topics).
    pub metadata_hash: i64,
}

/// What a member has said about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShareMemberValue {
    /// The rack where it is; `None`: it did not say.
    pub rack: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where the client is, as Kafka prints it.
    pub client_host: String,
    /// The topics that it is subscribed to.
    pub topics: BTreeSet<TopicName>,
}

/// What a member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareCurrentValue {
    /// The epoch that it is expected to send.
    pub epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_epoch: i32,
    /// The partitions.
    pub assigned: Partitions,
}

impl ShareCurrentValue {
    /// About how many bytes the value of a member has at most that is to have these partitions.
    pub(crate) fn most_bytes(target: &Partitions) -> usize {
        16 + partitions(target)
    }
}

/// Which partitions the share coordinators know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SharedPartitions {
    /// Those that are to be initialised. A partition may be initialised again.
    pub initializing: SharedTopics,
    /// Those that are. Only they are assigned.
    pub initialized: SharedTopics,
    /// The topics whose states are to be deleted.
    pub deleting: BTreeMap<Uuid, TopicName>,
}

/// Partitions of topics. Always: no topic without partitions.
pub type SharedTopics = BTreeMap<Uuid, SharedTopic>;

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedTopic {
    /// The topic's name.
    pub name: TopicName,
    /// Their numbers.
    pub partitions: BTreeSet<i32>,
}

impl ShareRecord {
    /// Whether it deletes.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ShareRecord::Group(value) => value.is_none(),
            ShareRecord::Member(_, value) => value.is_none(),
            ShareRecord::Target(value) => value.is_none(),
            ShareRecord::TargetMember(_, value) => value.is_none(),
            ShareRecord::Current(_, value) => value.is_none(),
            ShareRecord::Partitions(value) => value.is_none(),
        }
    }

    /// The bytes of the name in its key, besides the group's.
    pub(super) fn name_len(&self) -> usize {
        match self {
            ShareRecord::Group(_) | ShareRecord::Target(_) | ShareRecord::Partitions(_) => 0,
            ShareRecord::Member(member, _) | ShareRecord::TargetMember(member, _) | ShareRecord::Current(member, _) => {
                member.len()
            }
        }
    }

    /// About how many bytes its value has.
    pub(super) fn value_size(&self) -> usize {
        match self {
            _ if self.is_tombstone() => 0,
            ShareRecord::Group(_) | ShareRecord::Target(_) => 20,
            ShareRecord::Member(_, value) => value.as_deref().map_or(0, |value| {
                let names: usize = value.topics.iter().map(|name| name.len() + 4).sum();
                let rack = value.rack.as_ref().map_or(0, String::len);
                20 + value.client_id.len() + value.client_host.len() + rack + names
            }),
            ShareRecord::TargetMember(_, value) => value.as_ref().map_or(0, partitions),
            ShareRecord::Current(_, value) => {
                value.as_ref().map_or(0, |value| ShareCurrentValue::most_bytes(&value.assigned))
            }
            ShareRecord::Partitions(value) => value.as_deref().map_or(0, |value| {
                let topics = value.initializing.values().chain(value.initialized.values());
                let topics = topics.map(|topic| 30 + topic.name.len() + 4 * topic.partitions.len());
                let deleting = value.deleting.values().map(|name| 24 + name.len());
                8 + topics.chain(deleting).sum::<usize>()
            }),
        }
    }
}

fn partitions(partitions: &Partitions) -> usize {
    8 + partitions.values().map(|all| 24 + 4 * all.len()).sum::<usize>()
}

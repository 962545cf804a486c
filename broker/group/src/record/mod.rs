//! What is persisted in `__consumer_offsets`: typed records, and Kafka's format of them.
//!
//! The layouts are those of Kafka's `OffsetCommitKey/Value`, `GroupMetadataKey/Value` and so on, so that Kafka's
//! formatters can print our log and we can load Kafka's. Written are the versions that Kafka 4.3 writes; read are all
//! of them.

mod consumer;
mod format;
mod share;
mod share_format;
mod shared;
mod streams;
mod streams_format;

pub use consumer::{
    Assigned, ClassicMember, ConsumerGroupValue, ConsumerMemberValue, ConsumerRecord, CurrentValue, PatternValue,
};
pub use share::{
    ShareCurrentValue, ShareGroupValue, ShareMemberValue, ShareRecord, SharedPartitions, SharedTopic, SharedTopics,
};
pub(crate) use shared::each_partition;
pub use shared::{MemberState, Partitions, TargetValue};
pub use streams::{
    Copartition, Endpoint, InternalTopic, StreamsAssigned, StreamsCurrentValue, StreamsGroupValue, StreamsMemberValue,
    StreamsRecord, StreamsTasks, Subtopology, Tasks, TasksWithEpochs, Topology,
};

use bytes::Bytes;
use ottla_wire::Str;
use thiserror::Error;
use uuid::Uuid;

use crate::ids::{GroupId, InstanceId, MemberId, TopicName};

/// A record; no value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A committed offset.
    OffsetCommit {
        /// Whose, and where.
        key: OffsetKey,
        /// `None`: deleted.
        value: Option<OffsetValue>,
    },
    /// A generation of a classic group.
    GroupMetadata {
        /// Which group.
        group: GroupId,
        /// `None`: deleted.
        value: Option<GroupValue>,
    },
    /// A part of a consumer group.
    Consumer {
        /// Which group.
        group: GroupId,
        /// Which part, and what it is.
        record: ConsumerRecord,
    },
    /// A part of a streams group.
    Streams {
        /// Which group.
        group: GroupId,
        /// Which part, and what it is.
        record: StreamsRecord,
    },
    /// A part of a share group.
    Share {
        /// Which group.
        group: GroupId,
        /// Which part, and what it is.
        record: ShareRecord,
    },
    /// A record of a type that this version does not know: a newer one wrote it before a rollback. It belongs to a
    /// group of another kind, of which nothing else is known.
    Opaque {
        /// The group: every key of `__consumer_offsets` begins with its type and the group.
        group: GroupId,
        /// The record's key.
        key: Bytes,
        /// `None`: deleted.
        value: Option<Bytes>,
    },
}

/// What an offset belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OffsetKey {
    /// The group.
    pub group: GroupId,
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
}

/// A committed offset as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last consumed record, or -1.
    pub leader_epoch: i32,
    /// Whatever the client wants to find again.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the client said so; `None`: by the broker's retention.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id, if it was known.
    pub topic_id: Option<Uuid>,
}

/// A generation as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    /// Empty for a group that never had members.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol; none without members.
    pub protocol: Option<String>,
    /// The leader; none without members.
    pub leader: Option<MemberId>,
    /// When the group came into its state, in ms since 1970; `None` in records of Kafka before 2.1.
    pub since_ms: Option<i64>,
    /// The members.
    pub members: Vec<MemberValue>,
}

impl GroupValue {
    fn size(&self) -> usize {
        let names = |texts: [Option<&str>; 4]| texts.into_iter().flatten().map(str::len).sum::<usize>();
        let GroupValue { protocol_type, protocol, leader, members, .. } = self;
        let member = |value: &MemberValue| {
            let MemberValue { member, instance, client_id, client_host, subscription, assignment, .. } = value;
            let names = names([Some(member), instance.as_deref(), Some(client_id), Some(client_host)]);
            30 + names + subscription.len() + assignment.len()
        };
        let own = names([Some(protocol_type), protocol.as_deref(), leader.as_deref(), None]);
        30 + own + members.iter().map(member).sum::<usize>()
    }
}

/// A member as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    /// Its id.
    pub member: MemberId,
    /// Its instance id; `None`: a dynamic member.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// Silence after which it is dead.
    pub session_timeout_ms: i32,
    /// Its metadata under the chosen protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// One assignment strategy of a member, with what the member has to say under it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// `range`, `cooperative-sticky`, ...
    pub name: String,
    /// Opaque to the coordinator.
    pub metadata: Bytes,
}

/// A key and value as they stand in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// The record's key.
    pub key: Bytes,
    /// The record's value; none for a tombstone.
    pub value: Option<Bytes>,
}

/// A text or list does not fit Kafka's format. To the shard this is
/// [`GroupAppendError::TooLarge`](crate::GroupAppendError).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a field is too long for the record format")]
pub struct TooLong;

/// The bytes are not what their version says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("malformed coordinator record")]
pub struct Malformed;

impl Record {
    /// The record in Kafka's format.
    pub fn encode(&self) -> Result<Encoded, TooLong> {
        match (self, format::encode(self)?) {
            (Record::Consumer { group, record }, _) => consumer::encode(group, record),
            (Record::Streams { group, record }, _) => streams_format::encode(group, record),
            (Record::Share { group, record }, _) => share_format::encode(group, record),
            (_, encoded) => encoded.ok_or(TooLong),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is not what its type and version say.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, Malformed> {
        if let Some(record) = format::decode(key, value)? {
            return Ok(record);
        }
        if let Some(record) = share_format::decode(key, value)? {
            return Ok(record);
        }
        match streams_format::decode(key, value)? {
            Some(record) => Ok(record),
            None => consumer::decode(key, value),
        }
    }

    /// About how many bytes it has in the log, without the value of an offset or of a kind of group that this version
    /// does not know.
    pub(crate) fn size(&self) -> usize {
        let value = match self {
            Record::Consumer { record, .. } => record.value_size(),
            Record::Streams { record, .. } => record.value_size(),
            Record::Share { record, .. } => record.value_size(),
            Record::GroupMetadata { value, .. } => value.as_ref().map_or(0, GroupValue::size),
            Record::OffsetCommit { .. } | Record::Opaque { .. } => 0,
        };
        40 + self.names_len() + value
    }

    /// The bytes of the names in its key.
    pub(crate) fn names_len(&self) -> usize {
        match self {
            Record::OffsetCommit { key, .. } => key.group.len() + key.topic.len(),
            Record::GroupMetadata { group, .. } => group.len(),
            Record::Consumer { group, record } => group.len() + record.name_len(),
            Record::Streams { group, record } => group.len() + record.name_len(),
            Record::Share { group, record } => group.len() + record.name_len(),
            Record::Opaque { key, .. } => key.len(),
        }
    }

    /// The group it belongs to.
    pub fn group(&self) -> &GroupId {
        match self {
            Record::OffsetCommit { key, .. } => &key.group,
            Record::GroupMetadata { group, .. }
            | Record::Consumer { group, .. }
            | Record::Streams { group, .. }
            | Record::Share { group, .. }
            | Record::Opaque { group, .. } => group,
        }
    }
}

/// The wire would cut what is too long for a string: two groups could become one.
fn text(text: &str) -> Result<Str, TooLong> {
    if text.len() > i16::MAX as usize { Err(TooLong) } else { Ok(Str::from(text)) }
}

#[cfg(test)]
pub(crate) mod tests;

//! Typed records as the wire's messages, and back.
//!
//! What is read is copied: a shard keeps it long after the piece of log that it stood in.

use bytes::Bytes;
use ottla_wire::Uuid;
use ottla_wire::codec::{Version, Wire};
use ottla_wire::coordinator_records::{
    CoordinatorKey, GroupMetadataKey, GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue,
    decode_value, encode_value,
};
use ottla_wire::decoder::{DecodeError, Decoder};

use super::{Encoded, GroupValue, Malformed, MemberValue, OffsetKey, OffsetValue, Record, TooLong, text};
use crate::ids::GroupId;

/// Only this version has an expire timestamp (KIP-211).
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const OFFSET_VALUE: i16 = 4;
const GROUP_VALUE: i16 = 3;

/// `None` for a part of a consumer, streams or share group.
pub(super) fn encode(record: &Record) -> Result<Option<Encoded>, TooLong> {
    let (key, value) = match record {
        Record::OffsetCommit { key: OffsetKey { group, topic, partition }, value } => {
            let key = OffsetCommitKey { group: text(group)?, topic: text(topic)?, partition: *partition };
            (CoordinatorKey::OffsetCommit(key), value.as_ref().map(encode_offset).transpose()?)
        }
        Record::GroupMetadata { group, value } => {
            let key = GroupMetadataKey { group: text(group)? };
            (CoordinatorKey::GroupMetadata(key), value.as_ref().map(encode_group).transpose()?)
        }
        Record::Consumer { .. } | Record::Streams { .. } | Record::Share { .. } => return Ok(None),
        Record::Opaque { key, value, .. } => return Ok(Some(Encoded { key: key.clone(), value: value.clone() })),
    };
    Ok(Some(Encoded { key: key.encode(), value }))
}

fn encode_offset(value: &OffsetValue) -> Result<Bytes, TooLong> {
    let version = if value.expire_timestamp_ms.is_some() { OFFSET_VALUE_WITH_EXPIRY } else { OFFSET_VALUE };
    let value = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: text(&value.metadata)?,
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms.unwrap_or(-1),
        topic_id: value.topic_id.unwrap_or_default(),
    };
    Ok(encode_value(version, &value))
}

fn encode_group(value: &GroupValue) -> Result<Bytes, TooLong> {
    let value = GroupMetadataValue {
        protocol_type: text(&value.protocol_type)?,
        generation: value.generation,
        protocol: value.protocol.as_deref().map(text).transpose()?,
        leader: value.leader.as_deref().map(text).transpose()?,
        current_state_timestamp: value.since_ms.unwrap_or(-1),
        members: value.members.iter().map(member).collect::<Result<_, _>>()?,
    };
    Ok(encode_value(GROUP_VALUE, &value))
}

fn member(value: &MemberValue) -> Result<MemberMetadata, TooLong> {
    Ok(MemberMetadata {
        member_id: text(&value.member)?,
        group_instance_id: value.instance.as_deref().map(text).transpose()?,
        client_id: text(&value.client_id)?,
        client_host: text(&value.client_host)?,
        rebalance_timeout: value.rebalance_timeout_ms,
        session_timeout: value.session_timeout_ms,
        subscription: value.subscription.clone(),
        assignment: value.assignment.clone(),
    })
}

/// `None` for a part of a consumer, streams or share group.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
    let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
    Ok(Some(match CoordinatorKey::decode(key.clone())? {
        CoordinatorKey::OffsetCommit(OffsetCommitKey { group, topic, partition }) => {
            let key = OffsetKey { group: (&*group).into(), topic: (&*topic).into(), partition };
            Record::OffsetCommit { key, value: value.map(decode_offset).transpose()? }
        }
        CoordinatorKey::GroupMetadata(GroupMetadataKey { group }) => {
            Record::GroupMetadata { group: (&*group).into(), value: value.map(decode_group).transpose()? }
        }
        CoordinatorKey::ConsumerGroup(_)
        | CoordinatorKey::ConsumerGroupPartitions(_)
        | CoordinatorKey::ConsumerGroupMember(_)
        | CoordinatorKey::ConsumerGroupTarget(_)
        | CoordinatorKey::ConsumerGroupTargetMember(_)
        | CoordinatorKey::ConsumerGroupCurrentMember(_)
        | CoordinatorKey::ConsumerGroupRegularExpression(_)
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
        | CoordinatorKey::StreamsGroupTopology(_) => return Ok(None),
        CoordinatorKey::Other(_) => Record::Opaque { group: group_of(&key)?, key, value },
    }))
}

/// The group in a key of any type: it comes after the type's number, in all of Kafka's.
fn group_of(key: &Bytes) -> Result<GroupId, Malformed> {
    let mut decoder = Decoder::new(key.clone());
    decoder.i16()?;
    let GroupMetadataKey { group } = GroupMetadataKey::decode(&mut decoder, Version::of::<GroupMetadataKey>(0))?;
    Ok((&*group).into())
}

fn decode_offset(bytes: Bytes) -> Result<OffsetValue, Malformed> {
    let value: OffsetCommitValue = decode_value(bytes)?;
    Ok(OffsetValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.to_string(),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: known(value.expire_timestamp),
        topic_id: Some(value.topic_id).filter(|id| *id != Uuid::nil()),
    })
}

fn decode_group(bytes: Bytes) -> Result<GroupValue, Malformed> {
    let value: GroupMetadataValue = decode_value(bytes)?;
    let members = value.members.into_iter().map(|member| MemberValue {
        member: (&*member.member_id).into(),
        instance: member.group_instance_id.map(|id| (&*id).into()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        // Version 0 has none.
        rebalance_timeout_ms: if member.rebalance_timeout == -1 {
            member.session_timeout
        } else {
            member.rebalance_timeout
        },
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription,
        assignment: member.assignment,
    });
    Ok(GroupValue {
        protocol_type: value.protocol_type.to_string(),
        generation: value.generation,
        protocol: value.protocol.map(|name| name.to_string()),
        leader: value.leader.map(|id| (&*id).into()),
        since_ms: known(value.current_state_timestamp),
        members: members.collect(),
    })
}

/// −1 stands for no time.
fn known(time_ms: i64) -> Option<i64> {
    Some(time_ms).filter(|time_ms| *time_ms != -1)
}

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Malformed
    }
}

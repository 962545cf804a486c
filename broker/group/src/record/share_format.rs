//! The records of share groups in Kafka's format, and back.

use bytes::Bytes;
use ottla_wire::coordinator_records::{CoordinatorKey, GroupMetadataKey, decode_value, encode_value};
use ottla_wire::share_group_records::{
    ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberKey, ShareGroupMemberMetadataValue,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataValue, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataValue, TopicInfo, TopicPartitions, TopicPartitionsInfo,
};

use super::share::{
    ShareCurrentValue, ShareGroupValue, ShareMemberValue, ShareRecord, SharedPartitions, SharedTopic, SharedTopics,
};
use super::shared::{MemberState, Partitions, TargetValue};
use super::{Encoded, Malformed, Record, TooLong, text};
use crate::ids::{GroupId, MemberId};

pub(super) fn encode(group: &GroupId, record: &ShareRecord) -> Result<Encoded, TooLong> {
    let of_group = || Ok(GroupMetadataKey { group: text(group)? });
    let of_member = |member: &MemberId| Ok(ShareGroupMemberKey { group: text(group)?, member: text(member)? });
    let (key, value) = match record {
        ShareRecord::Group(value) => {
            let encode = |value: ShareGroupValue| {
                let ShareGroupValue { epoch, metadata_hash } = value;
                encode_value(0, &ShareGroupMetadataValue { epoch, metadata_hash })
            };
            (CoordinatorKey::ShareGroup(of_group()?), value.map(encode))
        }
        ShareRecord::Member(member, value) => {
            (CoordinatorKey::ShareGroupMember(of_member(member)?), value.as_deref().map(encode_member).transpose()?)
        }
        ShareRecord::Target(value) => {
            let encode = |value: TargetValue| {
                let value = ShareGroupTargetAssignmentMetadataValue {
                    assignment_epoch: value.epoch,
                    assignment_timestamp: value.computed_ms.unwrap_or(0),
                };
                encode_value(0, &value)
            };
            (CoordinatorKey::ShareGroupTarget(of_group()?), value.map(encode))
        }
        ShareRecord::TargetMember(member, value) => {
            let encode = |value: &Partitions| {
                encode_value(0, &ShareGroupTargetAssignmentMemberValue { topic_partitions: topics(value) })
            };
            (CoordinatorKey::ShareGroupTargetMember(of_member(member)?), value.as_ref().map(encode))
        }
        ShareRecord::Current(member, value) => {
            let encode = |value: &ShareCurrentValue| {
                let value = ShareGroupCurrentMemberAssignmentValue {
                    member_epoch: value.epoch,
                    previous_member_epoch: value.previous_epoch,
                    state: MemberState::Stable.number(),
                    assigned_partitions: topics(&value.assigned),
                };
                encode_value(0, &value)
            };
            (CoordinatorKey::ShareGroupCurrentMember(of_member(member)?), value.as_ref().map(encode))
        }
        ShareRecord::Partitions(value) => {
            let value = value.as_deref().map(encode_partitions).transpose()?;
            (CoordinatorKey::ShareGroupPartitions(of_group()?), value)
        }
    };
    Ok(Encoded { key: key.encode(), value })
}

fn encode_member(value: &ShareMemberValue) -> Result<Bytes, TooLong> {
    let value = ShareGroupMemberMetadataValue {
        rack_id: value.rack.as_deref().map(text).transpose()?,
        client_id: text(&value.client_id)?,
        client_host: text(&value.client_host)?,
        subscribed_topic_names: value.topics.iter().map(|name| text(name)).collect::<Result<_, _>>()?,
    };
    Ok(encode_value(0, &value))
}

fn topics(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topic = |(id, all): (&_, &std::collections::BTreeSet<i32>)| TopicPartitions {
        topic_id: *id,
        partitions: all.iter().copied().collect(),
    };
    partitions.iter().map(topic).collect()
}

fn encode_partitions(value: &SharedPartitions) -> Result<Bytes, TooLong> {
    let shared = |topics: &SharedTopics| {
        let topic = |(id, topic): (&_, &SharedTopic)| {
            let partitions = topic.partitions.iter().copied().collect();
            Ok(TopicPartitionsInfo { topic_id: *id, topic_name: text(&topic.name)?, partitions })
        };
        topics.iter().map(topic).collect::<Result<Vec<_>, TooLong>>()
    };
    let deleting = value.deleting.iter().map(|(id, name)| Ok(TopicInfo { topic_id: *id, topic_name: text(name)? }));
    let value = ShareGroupStatePartitionMetadataValue {
        initializing_topics: shared(&value.initializing)?,
        initialized_topics: shared(&value.initialized)?,
        deleting_topics: deleting.collect::<Result<_, TooLong>>()?,
    };
    Ok(encode_value(0, &value))
}

/// `None` for a record that is not a part of a share group.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, Malformed> {
    let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
    let (group, record) = match CoordinatorKey::decode(key)? {
        CoordinatorKey::ShareGroup(key) => {
            let value = value.map(decode_value::<ShareGroupMetadataValue>).transpose()?;
            let value = value.map(|value| ShareGroupValue { epoch: value.epoch, metadata_hash: value.metadata_hash });
            (key.group, ShareRecord::Group(value))
        }
        CoordinatorKey::ShareGroupMember(key) => {
            let value = value.map(decode_member).transpose()?;
            (key.group, ShareRecord::Member((&*key.member).into(), value.map(Box::new)))
        }
        CoordinatorKey::ShareGroupTarget(key) => {
            let value = value.map(decode_value::<ShareGroupTargetAssignmentMetadataValue>).transpose()?;
            let value = value.map(|value| TargetValue {
                epoch: value.assignment_epoch,
                computed_ms: Some(value.assignment_timestamp).filter(|time_ms| *time_ms != 0),
            });
            (key.group, ShareRecord::Target(value))
        }
        CoordinatorKey::ShareGroupTargetMember(key) => {
            let value = value.map(decode_value::<ShareGroupTargetAssignmentMemberValue>).transpose()?;
            let value = value.map(|value| assigned(value.topic_partitions));
            (key.group, ShareRecord::TargetMember((&*key.member).into(), value))
        }
        CoordinatorKey::ShareGroupCurrentMember(key) => {
            let value = value.map(decode_value::<ShareGroupCurrentMemberAssignmentValue>).transpose()?;
            let value = value.map(|value| ShareCurrentValue {
                epoch: value.member_epoch,
                previous_epoch: value.previous_member_epoch,
                assigned: assigned(value.assigned_partitions),
            });
            (key.group, ShareRecord::Current((&*key.member).into(), value))
        }
        CoordinatorKey::ShareGroupPartitions(key) => {
            let value = value.map(decode_partitions).transpose()?;
            (key.group, ShareRecord::Partitions(value.map(Box::new)))
        }
        _ => return Ok(None),
    };
    Ok(Some(Record::Share { group: (&*group).into(), record }))
}

fn decode_member(value: Bytes) -> Result<ShareMemberValue, Malformed> {
    let value: ShareGroupMemberMetadataValue = decode_value(value)?;
    Ok(ShareMemberValue {
        rack: value.rack_id.map(|rack| (*rack).to_owned()),
        client_id: (*value.client_id).to_owned(),
        client_host: (*value.client_host).to_owned(),
        topics: value.subscribed_topic_names.iter().map(|name| (&**name).into()).collect(),
    })
}

/// Kafka's assignor may leave topics without partitions.
fn assigned(topics: Vec<TopicPartitions>) -> Partitions {
    let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty());
    topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}

fn decode_partitions(value: Bytes) -> Result<SharedPartitions, Malformed> {
    let value: ShareGroupStatePartitionMetadataValue = decode_value(value)?;
    let shared = |topics: Vec<TopicPartitionsInfo>| -> SharedTopics {
        let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty());
        let topic = |topic: TopicPartitionsInfo| {
            let partitions = topic.partitions.into_iter().collect();
            (topic.topic_id, SharedTopic { name: (&*topic.topic_name).into(), partitions })
        };
        topics.map(topic).collect()
    };
    let deleting = value.deleting_topics.iter().map(|topic| (topic.topic_id, (&*topic.topic_name).into()));
    Ok(SharedPartitions {
        deleting: deleting.collect(),
        initializing: shared(value.initializing_topics),
        initialized: shared(value.initialized_topics),
    })
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;

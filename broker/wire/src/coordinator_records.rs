//! The records of `__consumer_offsets`, in Kafka's encoding, so that Kafka's own formatters can print them.
//!
//! A key begins with the number of its type; a value begins with its version. A record without a value deletes.
#![warn(missing_docs)]

use crate::codec::{Message, Str, Version, Wire};
use crate::consumer_group_records::{ConsumerGroupMemberKey, ConsumerGroupRegularExpressionKey};
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::Encoder;
use crate::share_group_records::ShareGroupMemberKey;
use crate::streams_group_records::StreamsGroupMemberKey;
use bytes::Bytes;
use ottla_wire_derive::Message;
use uuid::Uuid;

/// What a record of `__consumer_offsets` is about. The values of consumer groups are in
/// [`consumer_group_records`](crate::consumer_group_records), those of share groups in
/// [`share_group_records`](crate::share_group_records), those of streams groups in
/// [`streams_group_records`](crate::streams_group_records).
#[derive(Clone, Debug, PartialEq)]
pub enum CoordinatorKey {
    /// Its value is an [`OffsetCommitValue`].
    OffsetCommit(OffsetCommitKey),
    /// Its value is a [`GroupMetadataValue`].
    GroupMetadata(GroupMetadataKey),
    /// Its value is a `ConsumerGroupMetadataValue`.
    ConsumerGroup(GroupMetadataKey),
    /// Kafka before 4.1 wrote it, 4.1 and later delete it.
    ConsumerGroupPartitions(GroupMetadataKey),
    /// Its value is a `ConsumerGroupMemberMetadataValue`.
    ConsumerGroupMember(ConsumerGroupMemberKey),
    /// Its value is a `ConsumerGroupTargetAssignmentMetadataValue`.
    ConsumerGroupTarget(GroupMetadataKey),
    /// Its value is a `ConsumerGroupTargetAssignmentMemberValue`.
    ConsumerGroupTargetMember(ConsumerGroupMemberKey),
    /// Its value is a `ConsumerGroupCurrentMemberAssignmentValue`.
    ConsumerGroupCurrentMember(ConsumerGroupMemberKey),
    /// Its value is a `ConsumerGroupRegularExpressionValue`.
    ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey),
    /// Its value is a `ShareGroupMemberMetadataValue`.
    ShareGroupMember(ShareGroupMemberKey),
    /// Its value is a `ShareGroupMetadataValue`.
    ShareGroup(GroupMetadataKey),
    /// Its value is a `ShareGroupTargetAssignmentMetadataValue`.
    ShareGroupTarget(GroupMetadataKey),
    /// Its value is a `ShareGroupTargetAssignmentMemberValue`.
    ShareGroupTargetMember(ShareGroupMemberKey),
    /// Its value is a `ShareGroupCurrentMemberAssignmentValue`.
    ShareGroupCurrentMember(ShareGroupMemberKey),
    /// Its value is a `ShareGroupStatePartitionMetadataValue`.
    ShareGroupPartitions(GroupMetadataKey),
    /// Its value is a `StreamsGroupMetadataValue`.
    StreamsGroup(GroupMetadataKey),
    /// Its value is a `StreamsGroupMemberMetadataValue`.
    StreamsGroupMember(StreamsGroupMemberKey),
    /// Its value is a `StreamsGroupTargetAssignmentMetadataValue`.
    StreamsGroupTarget(GroupMetadataKey),
    /// Its value is a `StreamsGroupTargetAssignmentMemberValue`.
    StreamsGroupTargetMember(StreamsGroupMemberKey),
    /// Its value is a `StreamsGroupCurrentMemberAssignmentValue`.
    StreamsGroupCurrentMember(StreamsGroupMemberKey),
    /// Its value is a `StreamsGroupTopologyValue`.
    StreamsGroupTopology(GroupMetadataKey),
    /// A type that is not ours.
    Other(i16),
}

/// Which partition a group has committed an offset of.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct OffsetCommitKey {
    /// The group's id.
    pub group: Str,
    /// The topic's name.
    pub topic: Str,
    /// The partition's number.
    pub partition: i32,
}

/// A committed offset. Kafka 4.3 writes version 4, or 1 if it expires at a time that the client chose.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0-4", flexible = "4+")]
pub struct OffsetCommitValue {
    /// The offset from which the group continues to read.
    pub offset: i64,
    /// That of the last record it has read, or −1.
    #[wire(versions = "3+", default = -1)]
    pub leader_epoch: i32,
    /// Whatever the client sent along.
    pub metadata: Str,
    /// When it was committed.
    pub commit_timestamp: i64,
    /// When it expires, in the days when the client decided on that.
    #[wire(versions = "1", default = -1)]
    pub expire_timestamp: i64,
    /// Distinguishes the topic from a deleted one of the same name.
    #[wire(versions = "4+", tag = 0)]
    pub topic_id: Uuid,
}

/// Which group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct GroupMetadataKey {
    /// The group's id.
    pub group: Str,
}

/// A generation of a classic group. Kafka 4.3 writes version 3.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0-4", flexible = "4+")]
pub struct GroupMetadataValue {
    /// `consumer`, `connect`, …; empty if the group has only ever committed offsets.
    pub protocol_type: Str,
    /// The generation's number.
    pub generation: i32,
    /// What the members agreed on.
    #[wire(nullable)]
    pub protocol: Option<Str>,
    /// The leader's member id.
    #[wire(nullable)]
    pub leader: Option<Str>,
    /// When the group entered its state.
    #[wire(versions = "2+", default = -1)]
    pub current_state_timestamp: i64,
    /// Who is in it.
    pub members: Vec<MemberMetadata>,
}

/// A member of a [`GroupMetadataValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberMetadata {
    /// Given by the coordinator.
    pub member_id: Str,
    /// Chosen by the client, if it is a static member.
    #[wire(versions = "3+", nullable)]
    pub group_instance_id: Option<Str>,
    /// From the header of the request that joined.
    pub client_id: Str,
    /// Its address, with a slash in front.
    pub client_host: Str,
    /// In milliseconds.
    #[wire(versions = "1+", default = -1)]
    pub rebalance_timeout: i32,
    /// In milliseconds.
    pub session_timeout: i32,
    /// What it sent for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const CONSUMER_GROUP: i16 = 3;
const CONSUMER_GROUP_PARTITIONS: i16 = 4;
const CONSUMER_GROUP_MEMBER: i16 = 5;
const CONSUMER_GROUP_TARGET: i16 = 6;
const CONSUMER_GROUP_TARGET_MEMBER: i16 = 7;
const CONSUMER_GROUP_CURRENT_MEMBER: i16 = 8;
const CONSUMER_GROUP_REGULAR_EXPRESSION: i16 = 16;
const SHARE_GROUP_MEMBER: i16 = 10;
const SHARE_GROUP: i16 = 11;
const SHARE_GROUP_TARGET: i16 = 12;
const SHARE_GROUP_TARGET_MEMBER: i16 = 13;
const SHARE_GROUP_CURRENT_MEMBER: i16 = 14;
const SHARE_GROUP_PARTITIONS: i16 = 15;
const STREAMS_GROUP: i16 = 17;
const STREAMS_GROUP_MEMBER: i16 = 19;
const STREAMS_GROUP_TARGET: i16 = 20;
const STREAMS_GROUP_TARGET_MEMBER: i16 = 21;
const STREAMS_GROUP_CURRENT_MEMBER: i16 = 22;
const STREAMS_GROUP_TOPOLOGY: i16 = 23;
const KEY_VERSION: Version = Version { number: 0, flexible: false };

impl CoordinatorKey {
    /// The key's bytes. Another's key has no more than its type.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::OffsetCommit(key) => typed(OFFSET_COMMIT, key),
            Self::GroupMetadata(key) => typed(GROUP_METADATA, key),
            Self::ConsumerGroup(key) => typed(CONSUMER_GROUP, key),
            Self::ConsumerGroupPartitions(key) => typed(CONSUMER_GROUP_PARTITIONS, key),
            Self::ConsumerGroupMember(key) => typed(CONSUMER_GROUP_MEMBER, key),
            Self::ConsumerGroupTarget(key) => typed(CONSUMER_GROUP_TARGET, key),
            Self::ConsumerGroupTargetMember(key) => typed(CONSUMER_GROUP_TARGET_MEMBER, key),
            Self::ConsumerGroupCurrentMember(key) => typed(CONSUMER_GROUP_CURRENT_MEMBER, key),
            Self::ConsumerGroupRegularExpression(key) => typed(CONSUMER_GROUP_REGULAR_EXPRESSION, key),
            Self::ShareGroupMember(key) => typed(SHARE_GROUP_MEMBER, key),
            Self::ShareGroup(key) => typed(SHARE_GROUP, key),
            Self::ShareGroupTarget(key) => typed(SHARE_GROUP_TARGET, key),
            Self::ShareGroupTargetMember(key) => typed(SHARE_GROUP_TARGET_MEMBER, key),
            Self::ShareGroupCurrentMember(key) => typed(SHARE_GROUP_CURRENT_MEMBER, key),
            Self::ShareGroupPartitions(key) => typed(SHARE_GROUP_PARTITIONS, key),
            Self::StreamsGroup(key) => typed(STREAMS_GROUP, key),
            Self::StreamsGroupMember(key) => typed(STREAMS_GROUP_MEMBER, key),
            Self::StreamsGroupTarget(key) => typed(STREAMS_GROUP_TARGET, key),
            Self::StreamsGroupTargetMember(key) => typed(STREAMS_GROUP_TARGET_MEMBER, key),
            Self::StreamsGroupCurrentMember(key) => typed(STREAMS_GROUP_CURRENT_MEMBER, key),
            Self::StreamsGroupTopology(key) => typed(STREAMS_GROUP_TOPOLOGY, key),
            Self::Other(number) => Encoder::contiguous(|encoder| encoder.i16(*number)),
        }
    }

    /// Reads a record's key.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let decoder = &mut decoder;
        match decoder.i16()? {
            // 0 is an offset as well: until Kafka 0.9 its value was of another format, but not the key.
            0 | OFFSET_COMMIT => untyped(decoder).map(Self::OffsetCommit),
            GROUP_METADATA => untyped(decoder).map(Self::GroupMetadata),
            CONSUMER_GROUP => untyped(decoder).map(Self::ConsumerGroup),
            CONSUMER_GROUP_PARTITIONS => untyped(decoder).map(Self::ConsumerGroupPartitions),
            CONSUMER_GROUP_MEMBER => untyped(decoder).map(Self::ConsumerGroupMember),
            CONSUMER_GROUP_TARGET => untyped(decoder).map(Self::ConsumerGroupTarget),
            CONSUMER_GROUP_TARGET_MEMBER => untyped(decoder).map(Self::ConsumerGroupTargetMember),
            CONSUMER_GROUP_CURRENT_MEMBER => untyped(decoder).map(Self::ConsumerGroupCurrentMember),
            CONSUMER_GROUP_REGULAR_EXPRESSION => untyped(decoder).map(Self::ConsumerGroupRegularExpression),
            SHARE_GROUP_MEMBER => untyped(decoder).map(Self::ShareGroupMember),
            SHARE_GROUP => untyped(decoder).map(Self::ShareGroup),
            SHARE_GROUP_TARGET => untyped(decoder).map(Self::ShareGroupTarget),
            SHARE_GROUP_TARGET_MEMBER => untyped(decoder).map(Self::ShareGroupTargetMember),
            SHARE_GROUP_CURRENT_MEMBER => untyped(decoder).map(Self::ShareGroupCurrentMember),
            SHARE_GROUP_PARTITIONS => untyped(decoder).map(Self::ShareGroupPartitions),
            STREAMS_GROUP => untyped(decoder).map(Self::StreamsGroup),
            STREAMS_GROUP_MEMBER => untyped(decoder).map(Self::StreamsGroupMember),
            STREAMS_GROUP_TARGET => untyped(decoder).map(Self::StreamsGroupTarget),
            STREAMS_GROUP_TARGET_MEMBER => untyped(decoder).map(Self::StreamsGroupTargetMember),
            STREAMS_GROUP_CURRENT_MEMBER => untyped(decoder).map(Self::StreamsGroupCurrentMember),
            STREAMS_GROUP_TOPOLOGY => untyped(decoder).map(Self::StreamsGroupTopology),
            number => Ok(Self::Other(number)),
        }
    }
}

fn typed<K: Wire>(number: i16, key: &K) -> Bytes {
    Encoder::contiguous(|encoder| {
        encoder.i16(number);
        key.encode(encoder, KEY_VERSION);
    })
}

fn untyped<K: Wire>(decoder: &mut Decoder) -> Result<K, DecodeError> {
    K::decode(decoder, KEY_VERSION)
}

/// A record's value: its version, then the message.
pub fn encode_value<M: Message>(version: i16, value: &M) -> Bytes {
    Encoder::contiguous(|encoder| {
        encoder.i16(version);
        value.encode(encoder, Version::of::<M>(version));
    })
}

/// Reads a record's value in whichever version it was written.
pub fn decode_value<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16()?;
    if !M::VERSIONS.contains(&version) {
        return Err(DecodeError::Version(version));
    }
    M::decode(&mut decoder, Version::of::<M>(version))
}

//! The records of consumer groups in `__consumer_offsets` (KIP-848), in Kafka's encoding. Their keys are in
//! [`CoordinatorKey`](crate::coordinator_records::CoordinatorKey).
#![warn(missing_docs)]

use crate::codec::Str;
use bytes::Bytes;
use ottla_wire_derive::Message;
use uuid::Uuid;

/// Which member of which group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct ConsumerGroupMemberKey {
    /// The group's id.
    pub group: Str,
    /// The member's id.
    pub member: Str,
}

/// Which regular expression of which group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct ConsumerGroupRegularExpressionKey {
    /// The group's id.
    pub group: Str,
    /// As members sent it.
    pub regular_expression: Str,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupMetadataValue {
    /// The group's epoch.
    pub epoch: i32,
    /// Of the topics that it subscribes to (KIP-1101).
    #[wire(versions = "0+", tag = 0)]
    pub metadata_hash: i64,
}

/// What a member has said about itself.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupMemberMetadataValue {
    /// Chosen by the client, if it is a static member.
    #[wire(nullable)]
    pub instance_id: Option<Str>,
    /// Where it is.
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// From the header of its last request.
    pub client_id: Str,
    /// Its address, with a slash in front.
    pub client_host: Str,
    /// The topics that it subscribes to by name.
    pub subscribed_topic_names: Vec<Str>,
    /// The regular expression that it subscribes to.
    #[wire(nullable)]
    pub subscribed_topic_regex: Option<Str>,
    /// In milliseconds.
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wishes for.
    #[wire(nullable)]
    pub server_assignor: Option<Str>,
    /// Of a member that speaks the classic protocol.
    #[wire(versions = "0+", nullable, tag = 0)]
    pub classic_member_metadata: Option<ClassicMemberMetadata>,
}

/// What a member of the classic protocol has said besides.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ClassicMemberMetadata {
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it can do, best first.
    pub supported_protocols: Vec<ClassicProtocol>,
}

/// A protocol of a classic member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ClassicProtocol {
    /// Its name.
    pub name: Str,
    /// What the member has to say under it.
    pub metadata: Bytes,
}

/// When the target assignment was computed.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupTargetAssignmentMetadataValue {
    /// For which epoch of the group.
    pub assignment_epoch: i32,
    /// In milliseconds since 1970; 0 where it is not known (KIP-1263).
    #[wire(versions = "0+", tag = 0)]
    pub assignment_timestamp: i64,
}

/// What a member is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupTargetAssignmentMemberValue {
    /// The partitions.
    pub topic_partitions: Vec<TargetTopicPartitions>,
}

/// Partitions of a topic in a [`ConsumerGroupTargetAssignmentMemberValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TargetTopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partitions' numbers.
    pub partitions: Vec<i32>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupCurrentMemberAssignmentValue {
    /// The epoch that it is expected to send.
    pub member_epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_member_epoch: i32,
    /// 0 stable, 1 it is to revoke partitions, 2 it waits for partitions.
    pub state: i8,
    /// Its partitions.
    pub assigned_partitions: Vec<CurrentTopicPartitions>,
    /// Those that it is to revoke.
    pub partitions_pending_revocation: Vec<CurrentTopicPartitions>,
}

/// Partitions of a topic in a [`ConsumerGroupCurrentMemberAssignmentValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CurrentTopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partitions' numbers.
    pub partitions: Vec<i32>,
    /// The member's epoch when it got each of them (KIP-1251).
    #[wire(versions = "0+", nullable, tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}

/// The topics that a regular expression stands for.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ConsumerGroupRegularExpressionValue {
    /// Their names.
    pub topics: Vec<Str>,
    /// Of the metadata in which they were looked up.
    pub version: i64,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
}

//! The records of share groups in `__consumer_offsets` (KIP-932), in Kafka's encoding. Their keys are in
//! [`CoordinatorKey`](crate::coordinator_records::CoordinatorKey).
#![warn(missing_docs)]

use crate::codec::Str;
use ottla_wire_derive::Message;
use uuid::Uuid;

/// Which member of which group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0")]
pub struct ShareGroupMemberKey {
    /// The group's id.
    pub group: Str,
    /// The member's id.
    pub member: Str,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupMetadataValue {
    /// The group's epoch.
    pub epoch: i32,
    /// Of the topics that it is subscribed to.
    pub metadata_hash: i64,
}

/// What a member has said about itself.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupMemberMetadataValue {
    /// Where it is.
    #[wire(nullable)]
    pub rack_id: Option<Str>,
    /// From the header of its last request.
    pub client_id: Str,
    /// Its address, with a slash in front.
    pub client_host: Str,
    /// The topics that it is subscribed to.
    pub subscribed_topic_names: Vec<Str>,
}

/// When the target assignment was computed.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupTargetAssignmentMetadataValue {
    /// For which epoch of the group.
    pub assignment_epoch: i32,
    /// In milliseconds since 1970; 0 where it is not known (KIP-1263).
    #[wire(versions = "0+", tag = 0)]
    pub assignment_timestamp: i64,
}

/// What a member is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupTargetAssignmentMemberValue {
    /// The partitions.
    pub topic_partitions: Vec<TopicPartitions>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupCurrentMemberAssignmentValue {
    /// The epoch that it is expected to send.
    pub member_epoch: i32,
    /// The one that it sends if it has not got the answer with the new one.
    pub previous_member_epoch: i32,
    /// 0: members of share groups are always stable.
    pub state: i8,
    /// The partitions.
    pub assigned_partitions: Vec<TopicPartitions>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic.
    pub topic_id: Uuid,
    /// Their numbers.
    pub partitions: Vec<i32>,
}

/// Which partitions have a state in `__share_group_state`.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0", flexible = "0+")]
pub struct ShareGroupStatePartitionMetadataValue {
    /// Those that are to get one.
    pub initializing_topics: Vec<TopicPartitionsInfo>,
    /// Those that have one.
    pub initialized_topics: Vec<TopicPartitionsInfo>,
    /// The topics whose states are to be deleted.
    pub deleting_topics: Vec<TopicInfo>,
}

/// Partitions of one topic in a [`ShareGroupStatePartitionMetadataValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitionsInfo {
    /// The topic.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Str,
    /// Their numbers.
    pub partitions: Vec<i32>,
}

/// A topic in a [`ShareGroupStatePartitionMetadataValue`].
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicInfo {
    /// The topic.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Str,
}

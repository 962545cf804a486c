//! The messages of consumers to each other in a classic group; the coordinator passes them on unread: subscriptions to
//! the leader, assignments to the members.
//!
//! Written with [`encode_value`](crate::coordinator_records::encode_value), a version in front as well. The coordinator
//! looks into a subscription only to see which topics a group still reads, and must accept garbage.
#![warn(missing_docs)]

use crate::codec::{Message, Str, Version};
use crate::decoder::{DecodeError, Decoder};
use bytes::Bytes;
use ottla_wire_derive::Message;

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0-3")]
pub struct ConsumerProtocolSubscription {
    /// The topics it wants to read.
    pub topics: Vec<Str>,
    /// For the assignor.
    #[wire(nullable)]
    pub user_data: Option<Bytes>,
    /// What it reads now.
    #[wire(versions = "1+")]
    pub owned_partitions: Vec<TopicPartition>,
    /// In which generation it got them, or −1.
    #[wire(versions = "2+", default = -1)]
    pub generation_id: i32,
    /// Where it is.
    #[wire(versions = "3+", nullable)]
    pub rack_id: Option<Str>,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Message)]
#[wire(versions = "0-3")]
pub struct ConsumerProtocolAssignment {
    /// The partitions it is to read.
    pub assigned_partitions: Vec<TopicPartition>,
    /// From the assignor.
    #[wire(nullable)]
    pub user_data: Option<Bytes>,
}

/// Partitions of a topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The partitions' numbers.
    pub partitions: Vec<i32>,
}

/// Reads a message in whichever version it was written. A version newer than ours is read as our newest, for versions
/// only ever add to the end.
pub fn decode<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16()?;
    if version < *M::VERSIONS.start() {
        return Err(DecodeError::Version(version));
    }
    M::decode(&mut decoder, Version::of::<M>(version.min(*M::VERSIONS.end())))
}

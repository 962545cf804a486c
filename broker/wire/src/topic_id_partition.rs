//! How rooms name a partition: a topic's name may come back with other records, its id does not.

use uuid::Uuid;

/// A partition, by its topic's id. Kafka's `org.apache.kafka.common.TopicIdPartition` without the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

impl TopicIdPartition {
    /// This partition of this topic.
    pub fn new(topic_id: Uuid, partition: i32) -> TopicIdPartition {
        TopicIdPartition { topic_id, partition }
    }
}

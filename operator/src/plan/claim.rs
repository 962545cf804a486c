//! Which of several KafkaTopics has a topic.

use kube::ResourceExt;
use ottla_crds::KafkaTopic;

/// The rank of a KafkaTopic: of several objects for one topic, the one with the least rank has the topic. The
/// KafkaTopic that has the topic keeps it: of two objects made within one second the order of uids means nothing.
pub fn claim(topic: &KafkaTopic) -> impl Ord + use<> {
    (!has_topic(topic), !is_owned(topic), topic.creation_timestamp(), topic.uid())
}

/// Whether the topic has its id.
pub fn has_topic(topic: &KafkaTopic) -> bool {
    topic.status.as_ref().is_some_and(|status| status.topic_id.is_some())
}

/// Whether the KafkaTopic has our finalizer.
pub fn is_owned(topic: &KafkaTopic) -> bool {
    topic.finalizers().iter().any(|finalizer| finalizer == KafkaTopic::FINALIZER)
}

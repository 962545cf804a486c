//! What a step publishes as Events.

use std::sync::Arc;

use ottla_crds::KafkaTopic;

/// Partitions that get a leader without in-sync replicas, for an Event once that is written.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Their topic.
    pub topic: Arc<KafkaTopic>,
    /// Their numbers; may be empty.
    pub partitions: Vec<i32>,
    /// Whether an administrator ordered it.
    pub by_order: bool,
}

/// An Event on the object that a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether the Event has the type Warning.
    pub warning: bool,
    /// The Event's reason, in CamelCase.
    pub reason: String,
    /// The Event's message.
    pub note: String,
}

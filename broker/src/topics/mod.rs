//! What coordinators must know of the cluster's topics: which there are, and which were deleted.
//!
//! - [`KnownTopics`]: the topics, as groups and share coordinators want them
//! - [`deletions`]: which topics were deleted

pub(crate) mod deletions;

use std::sync::Arc;

use bytestring::ByteString as Str;
use ottla_group::{Topic, Topics};
use uuid::Uuid;

use crate::image::{self, ClusterImage};
use crate::shared_map::SharedMap;

/// The topics that the last image showed.
#[derive(Default)]
pub(crate) struct KnownTopics {
    topics: Arc<Topics>,
    /// The names and topics of the last image, of which most are those of the next.
    last: (SharedMap<Str, Uuid>, image::Topics),
}

impl KnownTopics {
    /// Takes an image; whether it shows other topics than the one before.
    pub(crate) fn learn(&mut self, image: &ClusterImage) -> bool {
        let (names, shown) = std::mem::replace(&mut self.last, (image.topic_names.clone(), image.topics.clone()));
        let count = |topic: Option<&Arc<image::Topic>>| topic.map(|topic| topic.partitions.len());
        let mut changed = image.topics.differences(&shown, Arc::ptr_eq).into_iter();
        let may_be_others = !image.topic_names.differences(&names, Uuid::eq).is_empty()
            || changed.any(|(_, then, now)| count(then) != count(now));
        let are_others = may_be_others && !self.topics.are(topics(image));
        if are_others {
            self.topics = Arc::new(self.topics.next(topics(image)));
        }
        are_others
    }

    /// The topics.
    pub(crate) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }
}

/// The topics of an image, by name.
fn topics(image: &ClusterImage) -> impl Iterator<Item = (&str, Topic)> {
    let topic =
        |id| image.topics.get(id).map(|topic| Topic { id: topic.id, partitions: topic.partitions.len() as i32 });
    image.topic_names.iter().filter_map(move |(name, id)| Some((&**name, topic(id)?)))
}

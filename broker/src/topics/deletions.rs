//! Which topics were deleted, so that what coordinators keep of them goes.
//!
//! Absence is never deletion: objects may be lost, and a list may lack them. A topic is deleted where its tombstone
//! stands, or where another one was made in its name: nothing is made there before the first is gone (COORDINATION §5).
//! Of a topic that vanished without either, the offsets stay: until its name is another's, or until they are past their
//! retention.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString as Str;
use ottla_group::DeletedTopic;
use uuid::Uuid;

use crate::image::{ClusterImage, Topic};
use crate::shared_map::SharedMap;

/// What this process has seen of topics' names, so that it sees one change hands also when the first topic was away in
/// between.
#[derive(Default)]
pub(crate) struct Deletions {
    /// The last topic of each name that is not known to be deleted.
    last: BTreeMap<Str, Uuid>,
    /// The tombstones in the image before.
    buried: BTreeSet<Uuid>,
    /// The names in the image before.
    names: SharedMap<Str, Uuid>,
}

impl Deletions {
    /// The topics of which the image shows for the first time that they are deleted.
    pub(crate) fn learn(&mut self, image: &ClusterImage) -> Vec<DeletedTopic> {
        let buried = std::mem::replace(&mut self.buried, image.deleted.keys().copied().collect());
        let fresh = image.deleted.values().filter(|topic| !buried.contains(&topic.id));
        let mut deleted: Vec<DeletedTopic> = fresh.map(|topic| DeletedTopic { is_last: true, ..gone(topic) }).collect();
        for topic in &deleted {
            if self.last.get(&*topic.name) == Some(&topic.id) {
                self.last.remove(&*topic.name);
            }
        }
        let names = std::mem::replace(&mut self.names, image.topic_names.clone());
        for (name, _, id) in image.topic_names.differences(&names, Uuid::eq) {
            let Some(id) = id else { continue };
            let before = self.last.insert(name.clone(), *id).filter(|before| before != id);
            // Two ids of one name may both stand: the older is meant.
            if let Some(id) = before.filter(|before| !image.topics.contains_key(before)) {
                deleted.push(DeletedTopic { name: (&**name).into(), id, is_last: false });
            }
        }
        deleted
    }
}

/// The topics whose tombstones stand: for a coordinator that begins after the deletion.
pub(crate) fn standing(image: &ClusterImage) -> Vec<DeletedTopic> {
    let deleted = image.deleted.values();
    deleted.map(|topic| DeletedTopic { is_last: image.topic(&topic.name).is_none(), ..gone(topic) }).collect()
}

fn gone(topic: &Topic) -> DeletedTopic {
    DeletedTopic { name: (&*topic.name).into(), id: topic.id, is_last: false }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_config::{BrokerSettings, TopicSettings};

    use super::*;

    /// Topics by name and id, and which of them have a tombstone.
    fn image(standing: &[(&'static str, u128)], deleted: &[(&'static str, u128)]) -> ClusterImage {
        let topic = |(name, id): &(&'static str, u128)| {
            let settings = Arc::new(TopicSettings::resolve(&BTreeMap::new(), &BrokerSettings::default()));
            let (id, name) = (Uuid::from_u128(*id), Str::from_static(name));
            (id, Arc::new(Topic { id, name, config: BTreeMap::new(), settings, partitions: Vec::new() }))
        };
        ClusterImage {
            topics: standing.iter().map(topic).collect(),
            // Of two of one name the first is meant.
            topic_names: standing.iter().rev().map(|(name, id)| (Str::from(*name), Uuid::from_u128(*id))).collect(),
            deleted: deleted.iter().map(topic).collect(),
            ..ClusterImage::default()
        }
    }

    #[test]
    fn a_topic_is_deleted_by_its_tombstone_or_by_another_of_its_name_and_never_by_absence() {
        type Shown<'a> = (&'a [(&'static str, u128)], &'a [(&'static str, u128)]);
        let cases: [(&str, &[Shown<'_>], &[u128]); 8] = [
            ("not seen any more", &[(&[("t", 1)], &[]), (&[], &[])], &[]),
            ("not seen for a while", &[(&[("t", 1)], &[]), (&[], &[]), (&[("t", 1)], &[])], &[]),
            ("buried", &[(&[("t", 1)], &[]), (&[], &[("t", 1)])], &[1]),
            ("once", &[(&[], &[("t", 1)]), (&[], &[("t", 1)]), (&[], &[]), (&[("t", 2)], &[])], &[1]),
            ("made again at once", &[(&[("t", 1)], &[]), (&[("t", 2)], &[])], &[1]),
            ("made again later", &[(&[("t", 1)], &[]), (&[], &[]), (&[("t", 2)], &[])], &[1]),
            ("two of a name", &[(&[("t", 1)], &[]), (&[("t", 2), ("t", 1)], &[])], &[]),
            ("one of two of a name", &[(&[("t", 2), ("t", 1)], &[]), (&[("t", 2)], &[("t", 1)])], &[1]),
        ];
        for (story, images, expected) in cases {
            let mut deletions = Deletions::default();
            let seen = images.iter().flat_map(|(standing, deleted)| deletions.learn(&image(standing, deleted)));
            let seen: Vec<u128> = seen.map(|topic| topic.id.as_u128()).collect();
            assert_eq!(seen, expected, "{story}");
        }
    }

    #[test]
    fn a_coordinator_that_begins_after_a_deletion_knows_whether_the_name_is_anothers() {
        let deleted = |image: ClusterImage| standing(&image).into_iter().map(|topic| topic.is_last).collect::<Vec<_>>();
        assert_eq!(deleted(image(&[], &[("t", 1)])), [true]);
        assert_eq!(deleted(image(&[("t", 2)], &[("t", 1)])), [false]);
    }
}

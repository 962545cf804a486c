//! The topics of the cluster, as far as consumer groups must know them: an input of the shard.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::ids::TopicName;

/// The topics at one time. The host makes the next value from the last one, so that groups notice what is new.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topics {
    by_name: BTreeMap<TopicName, Topic>,
    names: HashMap<Uuid, TopicName>,
    version: u64,
    names_version: u64,
}

/// A topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Distinguishes it from a deleted one of the same name.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// Stands in front of what is hashed, as in Kafka; to be changed with the way in which topics are hashed.
const HASH_VERSION: u8 = 0;

impl Topics {
    /// These topics after `self`.
    #[must_use]
    pub fn next<'a>(&self, topics: impl IntoIterator<Item = (&'a str, Topic)>) -> Topics {
        let topics = topics.into_iter().map(|(name, topic)| (TopicName::from(name), topic));
        let by_name: BTreeMap<TopicName, Topic> = topics.collect();
        let version = self.version + 1;
        let has_new_names = by_name.keys().any(|name| !self.by_name.contains_key(name));
        Topics {
            names: by_name.iter().map(|(name, topic)| (topic.id, name.clone())).collect(),
            by_name,
            version,
            names_version: if has_new_names { version } else { self.names_version },
        }
    }

    /// Whether these are the topics, in the order of their names.
    pub fn are<'a>(&self, topics: impl IntoIterator<Item = (&'a str, Topic)>) -> bool {
        let mut ours = self.by_name.iter();
        let are_ours = topics.into_iter().all(|(name, topic)| {
            ours.next().is_some_and(|(our_name, our_topic)| **our_name == *name && *our_topic == topic)
        });
        are_ours && ours.next().is_none()
    }

    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<Topic> {
        self.by_name.get(name).copied()
    }

    /// The name of the topic with this id.
    pub fn name(&self, id: Uuid) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &TopicName> {
        self.by_name.keys()
    }

    /// The number of partitions of the topic with this id.
    pub(crate) fn partitions(&self, id: Uuid) -> Option<i32> {
        Some(self.get(self.name(id)?)?.partitions)
    }

    /// Changes with everything in here.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The version in which the last name came.
    pub(crate) fn names_version(&self) -> u64 {
        self.names_version
    }

    /// A number that changes with the topics that a group is subscribed to: Kafka's hash of their ids, names and
    /// partitions (KIP-1101). Topics that do not exist do not count; nor do racks, which our assignors do not look at.
    pub(crate) fn hash<'a>(&self, subscribed: impl IntoIterator<Item = &'a TopicName>) -> i64 {
        let existing: BTreeSet<&TopicName> =
            subscribed.into_iter().filter(|name| self.by_name.contains_key(*name)).collect();
        if existing.is_empty() {
            return 0;
        }
        let hashes = existing.into_iter().filter_map(|name| Some(hash_of_topic(name, self.get(name)?)));
        let bytes: Vec<u8> = hashes.flat_map(u64::to_le_bytes).collect();
        xxh3(&bytes).cast_signed()
    }
}

fn hash_of_topic(name: &TopicName, topic: Topic) -> u64 {
    let (most, least) = topic.id.as_u64_pair();
    let mut bytes = vec![HASH_VERSION];
    bytes.extend(most.to_le_bytes());
    bytes.extend(least.to_le_bytes());
    let units: Vec<u16> = name.encode_utf16().collect();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend((units.len() as u32).to_le_bytes());
    bytes.extend(topic.partitions.to_le_bytes());
    bytes.extend((0..topic.partitions).flat_map(i32::to_le_bytes));
    xxh3(&bytes)
}

fn xxh3(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u128, partitions: i32) -> Topic {
        Topic { id: Uuid::from_u128(id), partitions }
    }

    #[test]
    fn versions_say_what_is_new() {
        let none = Topics::default();
        let one = none.next([("a", topic(1, 2))]);
        let more_partitions = one.next([("a", topic(1, 3))]);
        let two = more_partitions.next([("a", topic(1, 3)), ("b", topic(2, 1))]);
        let fewer = two.next([("b", topic(2, 1))]);
        let versions = [&none, &one, &more_partitions, &two, &fewer].map(|t| (t.version(), t.names_version()));
        assert_eq!(versions, [(0, 0), (1, 1), (2, 1), (3, 3), (4, 3)]);
        assert_eq!(two.name(Uuid::from_u128(2)), Some(&"b".into()));
        assert_eq!(two.partitions(Uuid::from_u128(1)), Some(3));
        assert_eq!(fewer.name(Uuid::from_u128(1)), None);
    }

    /// The expected numbers are those of Kafka's hash4j.
    #[test]
    fn the_hash_is_kafkas() {
        let id = Uuid::parse_str("17a77f18-7318-4826-9b63-fc6503a1ef3e").unwrap();
        let topics = Topics::default().next([("words", Topic { id, partitions: 3 })]);
        let subscribed: [TopicName; 2] = ["words".into(), "missing".into()];
        assert_eq!(topics.hash(&subscribed), -820_029_849_905_632_091);
        assert_eq!(topics.hash(&subscribed[1..]), 0);
        let grown = topics.next([("words", Topic { id, partitions: 4 })]);
        assert_ne!(grown.hash(&subscribed), topics.hash(&subscribed));
    }
}

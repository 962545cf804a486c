//! From objects to the image. What is made depends on what is known, and not on how it was learned.
//!
//! Always: a topic that has not changed is the same `Arc<Topic>` as in the image before, and is not looked at.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytestring::ByteString as Str;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_config::{BrokerSettings, GroupSettings, TopicSettings};
use ottla_crds::{
    BrokerState, BrokerStatus, GroupOverride, KafkaAssignment, KafkaCluster, KafkaTopic, WireChanges, quantity,
};
use ottla_rules::assignment::BrokerId;
use uuid::Uuid;

use super::access;
use super::known::KnownObjects;
use super::users::KnownUsers;
use crate::image::{Assignment, Broker, ClusterImage, Endpoint, Group, Topic};

/// Makes the images of one broker, each from the one before and from what has changed since.
pub struct Images {
    me: BrokerId,
    /// What the last image was made of; `None`: there is none yet.
    made_of: Option<(KnownObjects, Arc<KnownUsers>)>,
    last: ClusterImage,
    index: Index,
    /// How many topics were looked at for the last image.
    pub looked_at: usize,
}

/// Where the objects of a topic are.
#[derive(Default)]
struct Index {
    /// The assignments of each topic id, by name.
    assignments: BTreeMap<Uuid, BTreeSet<String>>,
    /// The ids of topics of each name that have no tombstone, and when they were created.
    standing: BTreeMap<Str, BTreeMap<Uuid, Option<Time>>>,
    /// The topic ids of each name, with a tombstone or without.
    ids: BTreeMap<String, BTreeSet<Uuid>>,
    /// The KafkaTopics for each topic's name, by their own.
    kafka_topics: BTreeMap<String, BTreeSet<String>>,
}

/// The image of what is known, for the broker `me`.
pub fn image(me: BrokerId, known: &KnownObjects, users: Arc<KnownUsers>) -> ClusterImage {
    Images::new(me).next(known, users)
}

impl Images {
    /// None was made yet, for the broker `me`.
    pub fn new(me: BrokerId) -> Images {
        Images { me, made_of: None, last: ClusterImage::default(), index: Index::default(), looked_at: 0 }
    }

    /// The image of what is known now.
    pub fn next(&mut self, known: &KnownObjects, users: Arc<KnownUsers>) -> ClusterImage {
        let before = self.made_of.take();
        let is_first = before.is_none();
        let (known_before, users_before) = before.unwrap_or_default();
        let same_cluster = !is_first && are_same(known.cluster.as_ref(), known_before.cluster.as_ref());
        let mut image = self.last.clone();
        if !same_cluster {
            of_cluster(self.me, known.cluster.as_deref(), &mut image);
        }
        if !same_cluster || !Arc::ptr_eq(&users, &users_before) {
            let access = known.cluster.as_deref().map(|cluster| access::access(cluster, &users)).unwrap_or_default();
            if *image.access != access {
                image.access = Arc::new(access);
            }
        }
        let mut changed = self.index.learn(&known_before, known);
        if !Arc::ptr_eq(&image.settings, &self.last.settings) {
            changed.extend(self.index.assignments.keys());
        }
        self.looked_at = changed.len();
        let kept = keep_everything();
        let mut names = BTreeSet::new();
        for id in changed {
            names.extend(self.show(id, known, &kept, &mut image));
        }
        for name in names {
            // Two ids of one name (a race of two operators, or objects that returned after their definition was
            // deleted): brokers and operator must prefer the same one.
            let standing = self.index.standing.get(&name).into_iter().flatten();
            match standing.min_by_key(|(id, created)| (*created, *id)) {
                Some((id, _)) if image.topic_names.get(&name) == Some(id) => {}
                Some((id, _)) => _ = image.topic_names.insert(name, *id),
                None => _ = image.topic_names.remove(&name),
            }
        }
        image.newer_than_shown = known.others.values().map(|shown| shown.older.len()).sum();
        image.forked = known.others.values().map(|shown| shown.forked.len()).sum();
        image.plain_in_sync = image.counts_on_dead_plain_broker();
        self.last = image.clone();
        self.made_of = Some((known.clone(), users));
        image
    }

    /// Shows a topic as it is known now, or not at all. Returns the names that may be another topic's from now on.
    fn show(
        &mut self,
        id: Uuid,
        known: &KnownObjects,
        kept: &BTreeMap<String, String>,
        image: &mut ClusterImage,
    ) -> Vec<Str> {
        let same_settings = Arc::ptr_eq(&image.settings, &self.last.settings);
        let old = image.topics.remove(&id).or_else(|| image.deleted.remove(&id));
        let mut names = Vec::from_iter(old.as_ref().map(|old| old.name.clone()));
        for name in &names {
            self.index.stands_no_more(name, id);
        }
        let mut objects = self.index.objects(id, known);
        objects.sort_by_key(|object| object.spec.first);
        let Some(first) = objects.first() else { return names };
        let name = &first.spec.topic_name;
        let buried = objects.iter().any(|object| object.spec.deleted);
        let config = self.index.config(name, known).map_or(kept, |topic| &topic.spec.config);
        // Nothing is cloned of a topic whose entries have not changed.
        let shown = partitions(&objects);
        let partitions = || shown.iter().map(|entry| (*entry).clone()).collect();
        let topic = match old.filter(|old| same_settings && old.config == *config && *old.name == **name) {
            Some(old) if old.partitions.iter().eq(shown.iter().copied()) => old,
            Some(old) => Arc::new(Topic {
                id,
                name: old.name.clone(),
                config: old.config.clone(),
                settings: old.settings.clone(),
                partitions: partitions(),
            }),
            None => {
                let settings = Arc::new(TopicSettings::resolve(config, &image.settings));
                let (name, config) = (Str::from(name.as_str()), config.clone());
                Arc::new(Topic { id, name, config, settings, partitions: partitions() })
            }
        };
        if buried {
            image.deleted.insert(id, topic);
        } else {
            let created = objects.iter().map(|object| object.metadata.creation_timestamp.clone()).min().flatten();
            self.index.standing.entry(topic.name.clone()).or_default().insert(id, created);
            names.push(topic.name.clone());
            image.topics.insert(id, topic);
        }
        names
    }
}

impl Index {
    /// Takes in what is known now and was not before. Returns the ids of the topics of which anything has changed.
    fn learn(&mut self, before: &KnownObjects, now: &KnownObjects) -> BTreeSet<Uuid> {
        let mut changed = BTreeSet::new();
        for (name, before, now) in now.assignments.differences(&before.assignments, Arc::ptr_eq) {
            if let Some(before) = before {
                let spec = &before.spec;
                take(&mut self.assignments, &spec.topic_id, name);
                if !self.assignments.contains_key(&spec.topic_id) {
                    take(&mut self.ids, &spec.topic_name, &spec.topic_id);
                }
                changed.insert(spec.topic_id);
            }
            if let Some(now) = now {
                let spec = &now.spec;
                self.assignments.entry(spec.topic_id).or_default().insert(name.clone());
                put(&mut self.ids, &spec.topic_name, spec.topic_id);
                changed.insert(spec.topic_id);
            }
        }
        let mut names = BTreeSet::new();
        for (name, before, now) in now.topics.differences(&before.topics, Arc::ptr_eq) {
            if let Some(before) = before {
                take(&mut self.kafka_topics, before.topic_name(), name);
                names.insert(before.topic_name());
            }
            if let Some(now) = now {
                put(&mut self.kafka_topics, now.topic_name(), name.clone());
                names.insert(now.topic_name());
            }
        }
        changed.extend(names.into_iter().filter_map(|name| self.ids.get(name)).flatten());
        changed
    }

    fn objects<'k>(&self, id: Uuid, known: &'k KnownObjects) -> Vec<&'k KafkaAssignment> {
        let names = self.assignments.get(&id).into_iter().flatten();
        names.filter_map(|name| known.assignments.get(name)).map(|object| &**object).collect()
    }

    /// The KafkaTopic that describes a topic.
    fn config<'k>(&self, topic: &str, known: &'k KnownObjects) -> Option<&'k KafkaTopic> {
        let names = self.kafka_topics.get(topic).into_iter().flatten();
        preferred(names.filter_map(|name| known.topics.get(name)).map(|topic| &**topic))
    }

    fn stands_no_more(&mut self, name: &Str, id: Uuid) {
        if let Some(ids) = self.standing.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.standing.remove(name);
            }
        }
    }
}

/// The KafkaTopic that describes each topic.
pub fn configs(known: &KnownObjects) -> BTreeMap<&str, &KafkaTopic> {
    let mut named: BTreeMap<&str, Vec<&KafkaTopic>> = BTreeMap::new();
    for topic in known.topics.values() {
        named.entry(topic.topic_name()).or_default().push(topic);
    }
    named.into_iter().filter_map(|(name, topics)| Some((name, preferred(topics)?))).collect()
}

/// Of several KafkaTopics for one topic the one that describes it: the one whose status has the topic, else the oldest.
fn preferred<'k>(topics: impl IntoIterator<Item = &'k KafkaTopic>) -> Option<&'k KafkaTopic> {
    fn rank(topic: &KafkaTopic) -> (bool, &Option<Time>, &Option<String>) {
        let has_topic = topic.status.as_ref().is_some_and(|status| status.topic_id.is_some());
        (!has_topic, &topic.metadata.creation_timestamp, &topic.metadata.uid)
    }
    topics.into_iter().min_by(|one, other| rank(one).cmp(&rank(other)))
}

fn are_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

fn put<V: Ord>(sets: &mut BTreeMap<String, BTreeSet<V>>, key: &str, value: V) {
    match sets.get_mut(key) {
        Some(set) => _ = set.insert(value),
        None => _ = sets.insert(key.to_owned(), BTreeSet::from([value])),
    }
}

/// Takes a value out of a set, and the set out when it is empty.
fn take<K, Q, V>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &Q, value: &V)
where
    K: Borrow<Q> + Ord,
    Q: Ord + ?Sized,
    V: Ord,
{
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// Puts into the image what the KafkaCluster says. Settings that were resolved before are used again if they are the
/// same.
fn of_cluster(me: BrokerId, cluster: Option<&KafkaCluster>, image: &mut ClusterImage) {
    let status = cluster.and_then(|cluster| cluster.status.as_ref());
    let config = cluster.map(|cluster| cluster.spec.broker_config()).unwrap_or_default();
    let own = cluster.map(|cluster| cluster.spec.brokers.own_config(me)).unwrap_or_default();
    if *image.settings.config() != config || *image.settings.own_config() != own {
        image.settings = Arc::new(BrokerSettings::resolve_one(&config, &own));
    }
    let groups = cluster.map(|cluster| groups(cluster, &image.settings)).unwrap_or_default();
    if *image.groups != groups {
        image.groups = Arc::new(groups);
    }
    let inter_broker_listener = cluster.and_then(|cluster| cluster.spec.inter_broker_listener());
    let brokers = status.map_or(&[][..], |status| &status.brokers).iter().map(broker);
    image.cluster_id = Str::from(status.and_then(|status| status.cluster_id.as_deref()).unwrap_or_default());
    image.inter_broker_listener = inter_broker_listener.map(|l| Str::from(l.name.as_str())).unwrap_or_default();
    image.brokers = brokers.map(|broker| (broker.id, broker)).collect();
    image.wanted_brokers = cluster.into_iter().flat_map(|cluster| cluster.spec.broker_ids()).collect();
    image.features = status.and_then(|status| Some(status.features.as_ref()?.finalized.clone())).unwrap_or_default();
    image.no_wire_changes = cluster.and_then(no_wire_changes);
    image.ending = cluster.is_some_and(|cluster| cluster.metadata.deletion_timestamp.is_some());
    image.moves_rate = cluster.and_then(moves_rate);
}

/// The name of a cluster whose objects clients may not change.
fn no_wire_changes(cluster: &KafkaCluster) -> Option<Str> {
    match cluster.spec.wire_changes {
        WireChanges::Allow => None,
        WireChanges::Refuse => Some(Str::from(cluster.metadata.name.as_deref().unwrap_or_default())),
    }
}

/// The rate that the operator has set; until the status shows it, the least that it may set: the first replicas of a
/// move are not copied without a limit.
fn moves_rate(cluster: &KafkaCluster) -> Option<u64> {
    let moves = cluster.status.as_ref().and_then(|status| status.moves.as_ref());
    let set = moves.and_then(|moves| quantity::bytes(moves.rate.as_deref()?));
    set.or_else(|| quantity::bytes(&cluster.spec.rebalance.min_rate))
}

/// The groups with settings of their own.
fn groups(cluster: &KafkaCluster, broker: &BrokerSettings) -> BTreeMap<Str, Group> {
    let group = |own: &GroupOverride| {
        let settings = GroupSettings::resolve(&own.config, broker);
        (Str::from(own.name.as_str()), Group { config: own.config.clone(), settings })
    };
    cluster.spec.groups.iter().map(group).collect()
}

/// The settings of a topic without a KafkaTopic: no record may be deleted.
fn keep_everything() -> BTreeMap<String, String> {
    let keep = [("cleanup.policy", "delete"), ("retention.bytes", "-1"), ("retention.ms", "-1")];
    keep.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The partitions before the first missing one.
fn partitions<'a>(objects: &[&'a KafkaAssignment]) -> Vec<&'a Assignment> {
    let mut entries: Vec<&Assignment> = objects.iter().flat_map(|object| &object.spec.partitions).collect();
    entries.sort_by_key(|entry| entry.partition);
    let in_order = entries.into_iter().zip(0..).take_while(|(entry, expected)| entry.partition == *expected);
    in_order.map(|(entry, _)| entry).collect()
}

fn broker(status: &BrokerStatus) -> Broker {
    let endpoint = |endpoint: &ottla_crds::Endpoint| {
        let port = u16::try_from(endpoint.port).ok()?;
        Some((Str::from(endpoint.listener.as_str()), Endpoint { host: Str::from(endpoint.host.as_str()), port }))
    };
    Broker {
        id: status.id,
        rack: status.rack.as_deref().map(Str::from),
        alive: match status.state {
            BrokerState::Online | BrokerState::Draining => true,
            BrokerState::Offline => false,
        },
        draining: status.state == BrokerState::Draining,
        endpoints: status.endpoints.iter().filter_map(endpoint).collect(),
        address: status.address.as_deref().and_then(|address| address.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::{Brokers, KafkaAssignmentSpec, KafkaCluster, KafkaClusterSpec, KafkaClusterStatus};
    use ottla_rules::assignment::LiveBroker;

    use super::*;
    use crate::image::Incarnation;

    fn object(topic: &str, id: u128, partitions: impl IntoIterator<Item = i32>) -> Arc<KafkaAssignment> {
        let live = [(BrokerId(0), LiveBroker { incarnation: Incarnation(7), draining: false })].into();
        let partitions: Vec<Assignment> =
            partitions.into_iter().map(|p| Assignment::create(p, vec![BrokerId(0)], &live).unwrap()).collect();
        let first = partitions.first().map_or(0, |entry| entry.partition / 64 * 64);
        let topic_id = Uuid::from_u128(id);
        let spec = KafkaAssignmentSpec { topic_name: topic.into(), topic_id, first, partitions, ..Default::default() };
        Arc::new(KafkaAssignment::new(&format!("{topic}.{id}.{first}"), spec))
    }

    fn known(objects: impl IntoIterator<Item = Arc<KafkaAssignment>>) -> KnownObjects {
        let named = |object: Arc<KafkaAssignment>| (object.metadata.name.clone().unwrap(), object);
        KnownObjects { assignments: objects.into_iter().map(named).collect(), ..KnownObjects::default() }
    }

    fn topic(name: &str, config: &[(&str, &str)]) -> Arc<KafkaTopic> {
        let mut topic = KafkaTopic::new(name, Default::default());
        topic.spec.config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Arc::new(topic)
    }

    #[test]
    fn replicas_are_copied_at_the_least_rate_until_the_operator_sets_another() {
        let mut cluster = KafkaCluster::new("prod", serde_json::from_value(serde_json::json!({})).unwrap());
        cluster.spec.rebalance.min_rate = "3Mi".to_owned();
        assert_eq!(moves_rate(&cluster), Some(3 << 20));
        let status = serde_json::json!({ "moves": { "total": 1, "left": 1, "percent": 0, "rate": "80Mi" } });
        cluster.status = Some(serde_json::from_value(status).unwrap());
        assert_eq!(moves_rate(&cluster), Some(80 << 20));
    }

    #[test]
    fn a_topic_shows_the_partitions_before_its_first_missing_one() {
        let cases: [(&str, Vec<Arc<KafkaAssignment>>, usize); 4] = [
            ("one object", vec![object("t", 1, 0..3)], 3),
            ("two objects", vec![object("t", 1, 64..70), object("t", 1, 0..64)], 70),
            ("a hole", vec![object("t", 1, [0, 1, 3])], 2),
            ("the first object is missing", vec![object("t", 1, 64..70)], 0),
        ];
        for (story, objects, expected) in cases {
            let image = image(BrokerId(0), &known(objects), Arc::default());
            assert_eq!(image.topic("t").unwrap().partitions.len(), expected, "{story}");
        }
    }

    #[test]
    fn a_buried_topic_is_no_topic_and_its_name_may_be_anothers() {
        let mut grave = KafkaAssignment::clone(&object("t", 1, 0..2));
        grave.spec.deleted = true;
        let image = image(BrokerId(0), &known([Arc::new(grave), object("t", 2, 0..1)]), Arc::default());
        assert_eq!(image.topic("t").unwrap().id, Uuid::from_u128(2));
        assert_eq!(image.deleted[&Uuid::from_u128(1)].partitions.len(), 2);
        assert!(!image.topics.contains_key(&Uuid::from_u128(1)));
    }

    #[test]
    fn of_two_topics_of_one_name_the_older_is_meant() {
        let created = |topic_id, rfc3339: &str| {
            let mut object = KafkaAssignment::clone(&object("t", topic_id, 0..1));
            object.metadata.creation_timestamp = Some(serde_json::from_value(rfc3339.into()).unwrap());
            Arc::new(object)
        };
        let (older, newer) = (created(2, "2026-01-01T00:00:00Z"), created(1, "2026-01-02T00:00:00Z"));
        let image = image(BrokerId(0), &known([newer, older]), Arc::default());
        assert_eq!(image.topic("t").unwrap().id, Uuid::from_u128(2));
        assert!(image.topics.contains_key(&Uuid::from_u128(1)), "its files stand, too");
    }

    #[test]
    fn settings_come_from_the_topic_then_the_cluster_and_nothing_goes_where_nobody_speaks() {
        let mut known = known([object("spoken", 1, 0..1), object("silent", 2, 0..1)]);
        known.topics.insert("spoken".into(), topic("spoken", &[("retention.ms", "1000")]));
        let mut spec: KafkaClusterSpec = KafkaClusterSpec { brokers: Brokers::default(), ..Default::default() };
        spec.config.insert("log.retention.bytes".into(), "5".into());
        known.cluster = Some(Arc::new(KafkaCluster::new("prod", spec)));
        let image = image(BrokerId(0), &known, Arc::default());
        let spoken = &image.topic("spoken").unwrap().settings;
        assert_eq!((spoken.retention.unwrap().as_millis(), spoken.retention_bytes), (1000, Some(5)));
        let silent = &image.topic("silent").unwrap().settings;
        assert_eq!((silent.retention, silent.retention_bytes), (None, None));
    }

    #[test]
    fn what_has_not_changed_is_the_same() {
        let mut known = known([object("a", 1, 0..1), object("b", 2, 0..1)]);
        let mut images = Images::new(BrokerId(0));
        let first = images.next(&known, Arc::default());
        let grown = object("b", 2, 0..2);
        known.assignments.insert(grown.metadata.name.clone().unwrap(), grown);
        let second = images.next(&known, Arc::default());
        assert!(Arc::ptr_eq(first.topic("a").unwrap(), second.topic("a").unwrap()));
        assert_eq!(second.topic("b").unwrap().partitions.len(), 2);
        assert!(Arc::ptr_eq(&first.topic("b").unwrap().settings, &second.topic("b").unwrap().settings));
    }

    #[test]
    fn an_event_has_one_topic_looked_at_however_many_there_are() {
        let mut known = known((0..2000).map(|number| object(&format!("t{number}"), number, 0..3)));
        let cluster = KafkaCluster::new("prod", serde_json::from_value(serde_json::json!({})).unwrap());
        known.cluster = Some(Arc::new(cluster));
        let mut images = Images::new(BrokerId(0));
        images.next(&known, Arc::default());
        assert_eq!(images.looked_at, 2000);
        let mut looked_at = |known: &KnownObjects| {
            images.next(known, Arc::default());
            images.looked_at
        };
        let grown = object("t7", 7, 0..4);
        known.assignments.insert(grown.metadata.name.clone().unwrap(), grown);
        assert_eq!(looked_at(&known), 1, "an election");
        known.topics.insert("t8".into(), topic("t8", &[("retention.ms", "1000")]));
        assert_eq!(looked_at(&known), 1, "settings of a topic");
        let mut cluster = KafkaCluster::clone(known.cluster.as_ref().unwrap());
        cluster.status.get_or_insert_default().cluster_id = Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned());
        known.cluster = Some(Arc::new(cluster.clone()));
        assert_eq!(looked_at(&known), 0, "a status");
        assert_eq!(looked_at(&known), 0, "nothing");
        cluster.spec.config.insert("log.retention.bytes".into(), "5".into());
        known.cluster = Some(Arc::new(cluster));
        assert_eq!(looked_at(&known), 2000, "the settings that all have");
    }

    /// What an image says of topics.
    fn said(image: &ClusterImage) -> String {
        let topics = |topics: &crate::image::Topics| {
            topics.values().map(|topic| format!("{topic:?}")).collect::<Vec<_>>().join("\n")
        };
        format!("{:?}\n{}\n-\n{}", image.topic_names, topics(&image.topics), topics(&image.deleted))
    }

    #[test]
    fn an_image_made_from_the_one_before_is_that_of_everything() {
        for seed in 0..40_u64 {
            let mut state = seed;
            let mut any = move |of: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % of
            };
            let (mut known, mut images) = (KnownObjects::default(), Images::new(BrokerId(0)));
            for turn in 0..150 {
                for _ in 0..=any(3) {
                    // Ids of few names, so that two stand in one, and one is deleted and made again.
                    let (name, id) = (format!("t{}", any(4)), u128::from(any(8)));
                    let from = 64 * any(2) as i32;
                    let mut made = KafkaAssignment::clone(&object(&name, id, from..from + 1 + any(3) as i32));
                    made.metadata.name = Some(format!("{id}.{from}"));
                    made.spec.deleted = any(5) == 0;
                    let second = format!("2026-01-01T00:00:0{}Z", any(3));
                    made.metadata.creation_timestamp = Some(serde_json::from_value(second.into()).unwrap());
                    let object_name = made.metadata.name.clone().unwrap();
                    match any(6) {
                        0 => _ = known.assignments.remove(&object_name),
                        1 => {
                            let mut of = KafkaTopic::clone(&topic(&format!("k{}", any(5)), &[]));
                            of.spec.topic_name = Some(name);
                            of.spec.config.insert("retention.ms".into(), any(3).to_string());
                            of.status = (any(2) == 0).then(Default::default);
                            known.topics.insert(of.metadata.name.clone().unwrap(), Arc::new(of));
                        }
                        2 => _ = known.topics.remove(&format!("k{}", any(5))),
                        _ => _ = known.assignments.insert(object_name, Arc::new(made)),
                    }
                }
                if any(20) == 0 {
                    let mut cluster = KafkaCluster::new("prod", serde_json::from_value(serde_json::json!({})).unwrap());
                    cluster.spec.config.insert("log.retention.bytes".into(), any(3).to_string());
                    known.cluster = Some(Arc::new(cluster));
                }
                let (next, whole) = (images.next(&known, Arc::default()), image(BrokerId(0), &known, Arc::default()));
                assert_eq!(said(&next), said(&whole), "seed {seed}, turn {turn}");
            }
        }
    }

    #[test]
    fn brokers_are_as_the_operator_says() {
        let status: KafkaClusterStatus = serde_json::from_value(serde_json::json!({
            "clusterId": "AAAAAAAAAAAAAAAAAAAAAA",
            "brokers": [
                { "id": 0, "state": "Online", "rack": "a",
                  "endpoints": [{ "listener": "internal", "host": "here", "port": 9092 }] },
                { "id": 1, "state": "Offline" },
            ],
        }))
        .unwrap();
        let mut cluster = KafkaCluster::new("prod", serde_json::from_value(serde_json::json!({})).unwrap());
        cluster.status = Some(status);
        let image = image(
            BrokerId(0),
            &KnownObjects { cluster: Some(Arc::new(cluster)), ..KnownObjects::default() },
            Arc::default(),
        );
        assert_eq!(image.endpoint(BrokerId(0), "internal").unwrap().port, 9092);
        assert_eq!(image.live_brokers().count(), 1);
        assert_eq!(image.inter_broker_listener, "internal");
        assert_eq!(image.cluster_id, "AAAAAAAAAAAAAAAAAAAAAA");
    }
}

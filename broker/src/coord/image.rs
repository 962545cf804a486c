//! From objects to the image: a pure function.
//!
//! Always: a topic that has not changed is the same `Arc<Topic>` as in the image before.

use std::collections::{BTreeMap, HashMap};
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
use super::known::Known;
use super::users::KnownUsers;
use crate::image::{Assignment, Broker, ClusterImage, Endpoint, Group, Topic, Topics};

/// The image of what is known, for the broker `me`. Settings that were resolved for `before` are used again if nothing
/// has changed.
pub fn image(me: BrokerId, known: &Known, users: &KnownUsers, before: &ClusterImage) -> ClusterImage {
    let cluster = known.cluster.as_deref();
    let status = cluster.and_then(|cluster| cluster.status.as_ref());
    let config = cluster.map(|cluster| cluster.spec.broker_config()).unwrap_or_default();
    let own = cluster.map(|cluster| cluster.spec.brokers.own_config(me)).unwrap_or_default();
    let same_settings = *before.settings.config() == config && *before.settings.own_config() == own;
    let settings =
        if same_settings { before.settings.clone() } else { Arc::new(BrokerSettings::resolve_one(&config, &own)) };

    let groups = cluster.map(|cluster| groups(cluster, &settings)).unwrap_or_default();
    let groups = if *before.groups == groups { before.groups.clone() } else { Arc::new(groups) };

    let access = cluster.map(|cluster| access::access(cluster, users)).unwrap_or_default();
    let access = if *before.access == access { before.access.clone() } else { Arc::new(access) };

    let mut by_topic: HashMap<Uuid, Vec<&KafkaAssignment>> = HashMap::new();
    for object in known.assignments.values() {
        by_topic.entry(object.spec.topic_id).or_default().push(object);
    }
    let (configs, kept) = (configs(known), keep_everything());
    let (mut topics, mut deleted) = (Topics::default(), Topics::default());
    let mut oldest: BTreeMap<Str, (Option<Time>, Uuid)> = BTreeMap::new();
    for (id, mut objects) in by_topic {
        objects.sort_by_key(|object| object.spec.first);
        let Some(first) = objects.first() else { continue };
        let name = &first.spec.topic_name;
        let buried = objects.iter().any(|object| object.spec.deleted);
        let config = configs.get(name.as_str()).map_or(&kept, |topic| &topic.spec.config);
        // Nothing is cloned of a topic that has not changed: that are nearly all of them, at each event.
        let shown = partitions(&objects);
        let partitions = || shown.iter().map(|entry| (*entry).clone()).collect();
        let old = before.topics.get(&id).or_else(|| before.deleted.get(&id)).filter(|_| same_settings);
        let topic = match old.filter(|old| old.config == *config) {
            Some(old) if old.partitions.iter().eq(shown.iter().copied()) => old.clone(),
            Some(old) => Arc::new(Topic {
                id,
                name: old.name.clone(),
                config: old.config.clone(),
                settings: old.settings.clone(),
                partitions: partitions(),
            }),
            None => {
                let settings = Arc::new(TopicSettings::resolve(config, &settings));
                let (name, config) = (Str::from(name.as_str()), config.clone());
                Arc::new(Topic { id, name, config, settings, partitions: partitions() })
            }
        };
        if buried {
            deleted.insert(id, topic);
        } else {
            // Two ids of one name (a race of two operators, or objects that returned after their definition was
            // deleted): brokers and operator must prefer the same one.
            let created = objects.iter().map(|object| object.metadata.creation_timestamp.clone()).min().flatten();
            let chosen = oldest.entry(topic.name.clone()).or_insert((created.clone(), id));
            *chosen = (created, id).min(chosen.clone());
            topics.insert(id, topic);
        }
    }
    let inter_broker_listener = cluster.and_then(|cluster| cluster.spec.inter_broker_listener());
    let brokers = status.map_or(&[][..], |status| &status.brokers).iter().map(broker);
    let mut image = ClusterImage {
        cluster_id: Str::from(status.and_then(|status| status.cluster_id.as_deref()).unwrap_or_default()),
        inter_broker_listener: inter_broker_listener.map(|l| Str::from(l.name.as_str())).unwrap_or_default(),
        brokers: brokers.map(|broker| (broker.id, broker)).collect(),
        wanted_brokers: cluster.into_iter().flat_map(|cluster| cluster.spec.broker_ids()).collect(),
        topics,
        topic_names: oldest.into_iter().map(|(name, (_, id))| (name, id)).collect(),
        deleted,
        settings,
        groups,
        access,
        features: status.and_then(|status| Some(status.features.as_ref()?.finalized.clone())).unwrap_or_default(),
        no_wire_changes: cluster.and_then(no_wire_changes),
        ending: cluster.is_some_and(|cluster| cluster.metadata.deletion_timestamp.is_some()),
        moves_rate: cluster.and_then(moves_rate),
        newer_than_shown: known.others.values().map(|shown| shown.older.len()).sum(),
        forked: known.others.values().map(|shown| shown.forked.len()).sum(),
        plain_in_sync: false,
    };
    image.plain_in_sync = image.counts_on_dead_plain_broker();
    image
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

/// The KafkaTopic that describes each topic: the one whose status has the topic, else the oldest.
pub fn configs(known: &Known) -> BTreeMap<&str, &KafkaTopic> {
    fn rank(topic: &KafkaTopic) -> (bool, &Option<Time>, &Option<String>) {
        let has_topic = topic.status.as_ref().is_some_and(|status| status.topic_id.is_some());
        (!has_topic, &topic.metadata.creation_timestamp, &topic.metadata.uid)
    }
    let mut topics: Vec<&KafkaTopic> = known.topics.values().map(|topic| &**topic).collect();
    topics.sort_by(|one, other| rank(one).cmp(&rank(other)));
    topics.reverse(); // the last of a name wins
    topics.into_iter().map(|topic| (topic.topic_name(), topic)).collect()
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

    fn known(objects: impl IntoIterator<Item = Arc<KafkaAssignment>>) -> Known {
        let named = |object: Arc<KafkaAssignment>| (object.metadata.name.clone().unwrap(), object);
        Known { assignments: objects.into_iter().map(named).collect(), ..Known::default() }
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
            let image = image(BrokerId(0), &known(objects), &KnownUsers::default(), &ClusterImage::default());
            assert_eq!(image.topic("t").unwrap().partitions.len(), expected, "{story}");
        }
    }

    #[test]
    fn a_buried_topic_is_no_topic_and_its_name_may_be_anothers() {
        let mut grave = KafkaAssignment::clone(&object("t", 1, 0..2));
        grave.spec.deleted = true;
        let image = image(
            BrokerId(0),
            &known([Arc::new(grave), object("t", 2, 0..1)]),
            &KnownUsers::default(),
            &ClusterImage::default(),
        );
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
        let image = image(BrokerId(0), &known([newer, older]), &KnownUsers::default(), &ClusterImage::default());
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
        let image = image(BrokerId(0), &known, &KnownUsers::default(), &ClusterImage::default());
        let spoken = &image.topic("spoken").unwrap().settings;
        assert_eq!((spoken.retention.unwrap().as_millis(), spoken.retention_bytes), (1000, Some(5)));
        let silent = &image.topic("silent").unwrap().settings;
        assert_eq!((silent.retention, silent.retention_bytes), (None, None));
    }

    #[test]
    fn what_has_not_changed_is_the_same() {
        let mut known = known([object("a", 1, 0..1), object("b", 2, 0..1)]);
        let first = image(BrokerId(0), &known, &KnownUsers::default(), &ClusterImage::default());
        let grown = object("b", 2, 0..2);
        known.assignments.insert(grown.metadata.name.clone().unwrap(), grown);
        let second = image(BrokerId(0), &known, &KnownUsers::default(), &first);
        assert!(Arc::ptr_eq(first.topic("a").unwrap(), second.topic("a").unwrap()));
        assert_eq!(second.topic("b").unwrap().partitions.len(), 2);
        assert!(Arc::ptr_eq(&first.topic("b").unwrap().settings, &second.topic("b").unwrap().settings));
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
            &Known { cluster: Some(Arc::new(cluster)), ..Known::default() },
            &KnownUsers::default(),
            &ClusterImage::default(),
        );
        assert_eq!(image.endpoint(BrokerId(0), "internal").unwrap().port, 9092);
        assert_eq!(image.live_brokers().count(), 1);
        assert_eq!(image.inter_broker_listener, "internal");
        assert_eq!(image.cluster_id, "AAAAAAAAAAAAAAAAAAAAAA");
    }
}

//! From brokers' copies to lost objects: a pure function.
//!
//! Always: each entry is the newest that any broker knows; an object has its tombstone if any broker knows it; nothing
//! is restored while the copy of a broker is missing that may be newer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic, KafkaTopicSpec, KafkaUser};
use ottla_rules::assignment::BrokerId;
use uuid::Uuid;

use super::copy::Copy;
use super::image::configs;
use super::known::{KnownObjects, keep_newest};

/// The objects to create, in this order: the operator finds a topic's id by its assignments, and does nothing before
/// the KafkaCluster exists.
#[derive(Debug, Default, PartialEq)]
pub struct Objects {
    /// The assignments.
    pub assignments: Vec<KafkaAssignment>,
    /// The topics that they are of.
    pub topics: Vec<KafkaTopic>,
    /// The users: brokers' copies have none.
    pub users: Vec<KafkaUser>,
    /// The cluster; `None`: no copy has it, or it is being deleted.
    pub cluster: Option<KafkaCluster>,
    /// Assignments that no copy of their own replicas has: their topics were deleted.
    pub left_out: Vec<String>,
}

/// Why the copies can't be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The copies are of brokers of different clusters.
    #[error("the copies are of different clusters: {}", .0.join(", "))]
    DifferentClusters(Vec<String>),
    /// A broker without a copy may know something newer.
    #[error(
        "the copy of broker {broker} is missing, and may be newer; if that broker is lost for good, add --without \
        {broker}",
        broker = .0
    )]
    NotAll(BrokerId),
    /// Objects were lost and the topic was created again: only a person who knows the records can choose.
    #[error("two topics have the name {name}: {one} and {other}", one = .ids[0], other = .ids[1])]
    TwoOfOneName {
        /// The name of both topics.
        name: String,
        /// Their ids.
        ids: [Uuid; 2],
    },
}

/// The objects of these copies; the brokers `without` are lost for good.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(copies: &[Copy], without: &BTreeSet<BrokerId>) -> Result<Objects, RestoreError> {
    let clusters: BTreeSet<&String> = copies.iter().map(|copy| &copy.cluster_id).collect();
    if clusters.len() > 1 {
        return Err(RestoreError::DifferentClusters(clusters.into_iter().cloned().collect()));
    }
    let newest = newest(copies);
    let given: BTreeSet<BrokerId> = copies.iter().map(|copy| copy.broker).collect();
    let has_its_say = |broker: &BrokerId| given.contains(broker) || without.contains(broker);
    if let Some(broker) = brokers(&newest).into_iter().find(|broker| !has_its_say(broker)) {
        return Err(RestoreError::NotAll(broker));
    }
    let (left_out, assignments): (Vec<_>, Vec<_>) =
        newest.assignments.values().map(Arc::as_ref).partition(|object| was_deleted(object, copies));

    let mut standing: BTreeMap<&str, Uuid> = BTreeMap::new();
    for KafkaAssignment { spec, .. } in assignments.iter().filter(|object| !object.spec.deleted) {
        let id = *standing.entry(&spec.topic_name).or_insert(spec.topic_id);
        if id != spec.topic_id {
            return Err(RestoreError::TwoOfOneName { name: spec.topic_name.clone(), ids: [id, spec.topic_id] });
        }
    }
    let topics = configs(&newest).into_iter().filter(|(name, _)| standing.contains_key(name));
    Ok(Objects {
        topics: topics.map(|(_, topic)| topic_again(topic)).collect(),
        users: Vec::new(),
        cluster: newest.cluster.as_deref().map(cluster_again),
        assignments: assignments.into_iter().map(assignment_again).collect(),
        left_out: left_out.into_iter().map(|object| object.name_any()).collect(),
    })
}

/// The objects that the API server shows of a cluster, to be created again, for a backup. What is being deleted is left
/// out: it must not come back.
pub fn again(
    cluster: &KafkaCluster,
    topics: &[KafkaTopic],
    users: &[KafkaUser],
    assignments: &[KafkaAssignment],
) -> Objects {
    fn stays<K: ResourceExt>(object: &&K) -> bool {
        object.meta().deletion_timestamp.is_none()
    }
    let name = cluster.name_any();
    let ending: BTreeSet<&str> = topics
        .iter()
        .filter(|topic| !stays(topic))
        .filter(|topic| topic.spec.cluster_ref.name == name)
        .map(KafkaTopic::topic_name)
        .collect();
    let is_standing = |object: &&KafkaAssignment| {
        let spec = &object.spec;
        spec.cluster_ref.name == name && !spec.deleted && !ending.contains(&*spec.topic_name)
    };
    let of_topics = topics.iter().filter(stays).filter(|topic| topic.spec.cluster_ref.name == name);
    let of_users = users.iter().filter(stays).filter(|user| user.spec.cluster_ref.name == name);
    Objects {
        assignments: assignments.iter().filter(is_standing).map(assignment_again).collect(),
        topics: of_topics.map(topic_again).collect(),
        users: of_users.map(user_again).collect(),
        cluster: Some(cluster_again(cluster)).filter(|_| stays(&cluster)),
        left_out: Vec::new(),
    }
}

/// The operator makes the user's Secret again.
fn user_again(user: &KafkaUser) -> KafkaUser {
    KafkaUser { metadata: metadata_again(&user.metadata), spec: user.spec.clone(), status: None }
}

fn newest(copies: &[Copy]) -> KnownObjects {
    let mut newest = KnownObjects::default();
    for KnownObjects { cluster, topics, assignments, gone_topics: _, missing: _, others: _ } in
        copies.iter().map(|copy| &copy.objects)
    {
        if let Some(cluster) = cluster {
            let known = newest.cluster.get_or_insert_with(|| cluster.clone());
            if version(&cluster.metadata) > version(&known.metadata) {
                *known = cluster.clone();
            }
        }
        for (name, topic) in topics.iter() {
            let known = newest.topics.get(name);
            if known.is_none_or(|known| version(&topic.metadata) > version(&known.metadata)) {
                newest.topics.insert(name.clone(), topic.clone());
            }
        }
        for (name, object) in assignments.iter() {
            let known = newest.assignments.get(name).map(|known| {
                let mut known = KafkaAssignment::clone(known);
                keep_newest(&mut known, object);
                Arc::new(known)
            });
            newest.assignments.insert(name.clone(), known.unwrap_or_else(|| object.clone()));
        }
    }
    newest
}

/// How new an object's spec is: a later object of the same name is newer, and a later generation of one object.
fn version(metadata: &ObjectMeta) -> impl Ord + use<> {
    (metadata.creation_timestamp.clone(), metadata.generation)
}

/// The brokers that may know something.
fn brokers(known: &KnownObjects) -> BTreeSet<BrokerId> {
    let cluster = known.cluster.as_deref();
    let wanted = cluster.into_iter().flat_map(|cluster| cluster.spec.broker_ids());
    let told = cluster.and_then(|cluster| cluster.status.as_ref()).into_iter().flat_map(|status| &status.brokers);
    let holders = known.assignments.values().flat_map(|object| holders(object));
    wanted.chain(told.map(|broker| broker.id)).chain(holders).collect()
}

fn holders(object: &KafkaAssignment) -> impl Iterator<Item = BrokerId> {
    object.spec.partitions.iter().flat_map(|entry| entry.replicas.iter().copied())
}

/// Whether an object is only in copies of brokers that did not see its topic's deletion. A tombstone waits for each
/// replica, so a replica without the object has seen its deletion.
fn was_deleted(object: &KafkaAssignment, copies: &[Copy]) -> bool {
    let (name, holders) = (object.name_any(), holders(object).collect::<BTreeSet<_>>());
    let mut theirs = copies.iter().filter(|copy| holders.contains(&copy.broker)).peekable();
    theirs.peek().is_some() && theirs.all(|copy| !copy.objects.assignments.contains_key(&name))
}

fn assignment_again(object: &KafkaAssignment) -> KafkaAssignment {
    KafkaAssignment { metadata: metadata_again(&object.metadata), spec: object.spec.clone() }
}

fn topic_again(topic: &KafkaTopic) -> KafkaTopic {
    // This election was held.
    let spec = KafkaTopicSpec { preferred_election: None, ..topic.spec.clone() };
    KafkaTopic { metadata: metadata_again(&topic.metadata), spec, status: None }
}

/// The operator writes the status again; the volumes show which Kafka cluster it is.
fn cluster_again(cluster: &KafkaCluster) -> KafkaCluster {
    KafkaCluster { metadata: metadata_again(&cluster.metadata), spec: cluster.spec.clone(), status: None }
}

/// The metadata of the new object. The operator adds its finalizers again. Owner references are left out: an owner that
/// no longer exists would delete the object.
fn metadata_again(metadata: &ObjectMeta) -> ObjectMeta {
    const OURS: &str = "ottla.io/";
    let others = metadata.finalizers.iter().flatten().filter(|finalizer| !finalizer.starts_with(OURS));
    let others: Vec<String> = others.cloned().collect();
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        finalizers: (!others.is_empty()).then_some(others),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use ottla_crds::{Brokers, KafkaAssignmentSpec};
    use ottla_rules::assignment::{Assignment, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch};

    use super::*;

    /// Of partition 0 on these brokers, in this epoch.
    fn object(name: &str, replicas: &[i32], epoch: i32) -> KafkaAssignment {
        let entry = Assignment {
            partition: 0,
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            adding: Vec::new(),
            removing: Vec::new(),
            leader: replicas.first().copied().map(BrokerId),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            isr: replicas.iter().map(|id| IsrMember { broker: BrokerId(*id), incarnation: Incarnation(7) }).collect(),
            reports: Vec::new(),
            log_start: None,
        };
        let (topic_name, topic_id) = (name.split('.').next().unwrap().to_owned(), id_of(name));
        let spec = KafkaAssignmentSpec { topic_name, topic_id, partitions: vec![entry], ..Default::default() };
        KafkaAssignment::new(name, spec)
    }

    fn id_of(name: &str) -> Uuid {
        Uuid::from_u128(name.bytes().fold(0, |hash, byte| hash * 256 + u128::from(byte)))
    }

    fn buried(mut object: KafkaAssignment) -> KafkaAssignment {
        object.spec.deleted = true;
        object
    }

    fn topic(name: &str, created: i64, generation: i64) -> KafkaTopic {
        let mut topic = KafkaTopic::new(name, KafkaTopicSpec::default());
        topic.spec.config.insert("seen".to_owned(), format!("{created} {generation}"));
        topic.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        topic.metadata.generation = Some(generation);
        topic
    }

    fn copy(broker: i32, topics: &[KafkaTopic], assignments: &[KafkaAssignment]) -> Copy {
        let objects = KnownObjects {
            cluster: None,
            topics: topics.iter().map(|topic| (topic.name_any(), Arc::new(topic.clone()))).collect(),
            assignments: assignments.iter().map(|object| (object.name_any(), Arc::new(object.clone()))).collect(),
            ..KnownObjects::default()
        };
        Copy { broker: BrokerId(broker), cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(), objects }
    }

    #[test]
    fn a_backup_has_what_stays_of_this_cluster_and_nothing_of_what_is_deleted() {
        let named = |mut object: KafkaAssignment| {
            object.spec.cluster_ref.name = "prod".to_owned();
            object
        };
        let of_prod = |name: &str| {
            let mut topic = topic(name, 1, 1);
            topic.spec.cluster_ref.name = "prod".to_owned();
            topic.metadata.uid = Some("u".to_owned());
            topic.status = Some(Default::default());
            topic
        };
        let mut ending = of_prod("ending");
        ending.metadata.deletion_timestamp = ending.metadata.creation_timestamp.clone();
        let cluster = KafkaCluster::new("prod", serde_json::from_value(serde_json::json!({})).unwrap());
        let topics = [of_prod("orders"), ending, topic("another", 1, 1)];
        let assignments = [
            named(object("orders", &[0, 1], 3)),
            named(object("ending", &[0], 1)),
            named(buried(object("deleted", &[0], 1))),
            object("another", &[0], 1),
        ];
        let objects = again(&cluster, &topics, &[], &assignments);
        let names = |objects: &[String]| objects.join(" ");
        assert_eq!(names(&objects.topics.iter().map(ResourceExt::name_any).collect::<Vec<_>>()), "orders");
        assert_eq!(names(&objects.assignments.iter().map(ResourceExt::name_any).collect::<Vec<_>>()), "orders");
        assert_eq!(objects.assignments[0].spec, assignments[0].spec, "the same id and epochs");
        assert_eq!((&objects.topics[0].metadata.uid, &objects.topics[0].status), (&None, &None));
        assert!(objects.cluster.is_some());
    }

    fn of(copies: &[Copy]) -> Objects {
        restore(copies, &BTreeSet::new()).unwrap()
    }

    #[test]
    fn of_each_entry_the_newest_is_taken_and_a_tombstone_stays() {
        type Case = (&'static str, [KafkaAssignment; 2], KafkaAssignment);
        let cases: [Case; 3] = [
            ("a later leader", [object("a", &[0, 1], 4), object("a", &[1, 0], 5)], object("a", &[1, 0], 5)),
            (
                "a later tombstone",
                [object("a", &[0, 1], 4), buried(object("a", &[1], 5))],
                buried(object("a", &[1], 5)),
            ),
            (
                "a tombstone, and an entry that changed before it was seen",
                [buried(object("a", &[0, 1], 4)), object("a", &[0, 1], 5)],
                buried(object("a", &[0, 1], 5)),
            ),
        ];
        for (story, [one, other], expected) in cases {
            for (first, second) in [(&one, &other), (&other, &one)] {
                let copies = [copy(0, &[], std::slice::from_ref(first)), copy(1, &[], std::slice::from_ref(second))];
                assert_eq!(of(&copies).assignments, std::slice::from_ref(&expected), "{story}");
            }
        }
    }

    #[test]
    fn what_a_broker_missed_while_it_was_away_does_not_come_back() {
        let deleted = object("deleted", &[0], 1);
        let stale = copy(1, &[topic("deleted", 1, 1), topic("kept", 1, 1)], &[deleted, object("kept", &[0, 1], 1)]);
        let restored = of(&[copy(0, &[topic("kept", 1, 2)], &[object("kept", &[0, 1], 2)]), stale.clone()]);
        assert_eq!(restored.left_out, ["deleted"]);
        assert_eq!(restored.assignments, [object("kept", &[0, 1], 2)]);
        let told: Vec<_> = restored.topics.iter().map(|topic| &topic.spec.config["seen"]).collect();
        assert_eq!(told, ["1 2"], "the newer generation");

        let alone = restore(&[stale], &[BrokerId(0)].into()).unwrap();
        assert_eq!(alone.assignments.len(), 2, "nobody is left who could say that it was deleted");
    }

    #[test]
    fn a_copy_that_may_be_newer_is_required() {
        let (zero, one) = (copy(0, &[], &[object("a", &[0, 1], 1)]), copy(1, &[], &[object("a", &[1, 2], 2)]));
        let refused =
            |copies: &[Copy], without: &[i32]| restore(copies, &without.iter().copied().map(BrokerId).collect()).err();
        assert_eq!(refused(std::slice::from_ref(&zero), &[]), Some(RestoreError::NotAll(BrokerId(1))));
        assert_eq!(refused(&[zero.clone(), one.clone()], &[]), Some(RestoreError::NotAll(BrokerId(2))));
        assert_eq!(refused(&[zero.clone(), one], &[2]), None);

        let mut of_three = copy(0, &[], &[object("a", &[0], 1)]);
        let brokers = Brokers { replicas: 3, ..Brokers::default() };
        let spec = ottla_crds::KafkaClusterSpec { brokers, ..Default::default() };
        of_three.objects.cluster = Some(Arc::new(KafkaCluster::new("prod", spec)));
        assert_eq!(
            refused(std::slice::from_ref(&of_three), &[1]),
            Some(RestoreError::NotAll(BrokerId(2))),
            "it may hold it since"
        );

        let foreign = Copy { cluster_id: "BBBBBBBBBBBBBBBBBBBBBB".to_owned(), ..of_three };
        assert!(matches!(refused(&[zero, foreign], &[1, 2]), Some(RestoreError::DifferentClusters(_))));
    }

    #[test]
    fn a_person_chooses_between_two_topics_of_one_name() {
        let both = [object("a.1", &[0], 1), object("a.2", &[0], 1)];
        let refused = restore(&[copy(0, &[], &both)], &BTreeSet::new()).unwrap_err();
        assert_eq!(refused, RestoreError::TwoOfOneName { name: "a".to_owned(), ids: [id_of("a.1"), id_of("a.2")] });
        let [one, other] = both;
        assert_eq!(of(&[copy(0, &[], &[buried(one), other])]).assignments.len(), 2);
    }

    #[test]
    fn objects_are_made_again_without_what_was_the_lost_ones() {
        let mut lost = topic("a", 1, 1);
        lost.metadata.uid = Some("uid".to_owned());
        lost.metadata.resource_version = Some("7".to_owned());
        lost.metadata.namespace = Some("kafka".to_owned());
        lost.metadata.labels = Some([("team".to_owned(), "b".to_owned())].into());
        lost.metadata.finalizers = Some(vec![KafkaTopic::FINALIZER.to_owned(), "theirs/1".to_owned()]);
        lost.metadata.deletion_timestamp = lost.metadata.creation_timestamp.clone();
        lost.status = Some(Default::default());
        let restored = of(&[copy(0, &[lost.clone(), topic("without-assignments", 1, 1)], &[object("a", &[0], 1)])]);
        let metadata = ObjectMeta {
            name: lost.metadata.name,
            namespace: lost.metadata.namespace,
            labels: lost.metadata.labels,
            finalizers: Some(vec!["theirs/1".to_owned()]),
            ..ObjectMeta::default()
        };
        assert_eq!(restored.topics, [KafkaTopic { metadata, spec: lost.spec, status: None }]);
    }
}

//! From a KafkaTopic to its assignments and its status.
//!
//! A topic's id is the uid of the KafkaTopic for which it was first placed, so that every plan of it has the same id.
//! Later the operator finds the id in the assignments, by the topic's name.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use ottla_config::BrokerSettings;
use ottla_crds::{
    BrokerStatus, ClusterRef, DeletionPolicy, KafkaAssignment, KafkaAssignmentSpec, KafkaCluster, KafkaTopic,
    KafkaTopicStatus, PARTITIONS_PER_OBJECT, Placement, names,
};
use ottla_rules::assignment::{Assignment, BrokerId, Live};
use ottla_rules::plan::placement::{self, Copysets};
use ottla_rules::plan::roster::Wanted;
use uuid::Uuid;

use super::claim::{claim, has_topic, is_owned};
use super::condition::{self, Verdict, conditions, named};
use super::moves::Moves;
use super::news::News;
use super::replicas;
use super::rules::{RuleBook, Rules};
use super::standard;
use super::step::Step;
use super::world::World;

/// The steps for every topic of the cluster.
pub fn topics(world: &World, cluster: &KafkaCluster, settings: &BrokerSettings, rules: &RuleBook<'_>) -> Vec<Step> {
    let mut named: BTreeMap<&str, Vec<&Arc<KafkaTopic>>> = BTreeMap::new();
    for topic in &world.topics {
        named.entry(topic.topic_name()).or_default().push(topic);
    }
    let mut standing: BTreeMap<&str, Vec<&Arc<KafkaAssignment>>> = BTreeMap::new();
    for object in world.assignments.iter().filter(|object| !object.spec.deleted) {
        standing.entry(&object.spec.topic_name).or_default().push(object);
    }
    let (live, brokers) = (world.live(), brokers(world, cluster));
    let (taken, copysets) = (OnceCell::new(), OnceCell::new());
    let shared =
        PlanInputs { world, cluster, live: &live, brokers: &brokers, settings, taken: &taken, copysets: &copysets };
    let mut steps = Vec::new();
    for (name, mut claimants) in named {
        claimants.sort_by_key(|topic| claim(topic));
        let Some((owner, others)) = claimants.split_first() else { continue };
        let objects = standing.remove(name).unwrap_or_default();
        steps.extend(Plan::new(&shared, rules.of(owner), owner, objects).steps());
        steps.extend(others.iter().filter_map(|other| without_a_part(world, other, owner)));
    }
    steps
}

/// The sets of brokers on which the cluster's partitions are, or move to.
fn copysets(world: &World) -> Copysets {
    let standing = world.assignments.iter().filter(|object| !object.spec.deleted);
    Copysets::of(standing.flat_map(|object| &object.spec.partitions).map(Assignment::target))
}

/// The brokers that may get replicas: of those that the spec asks for, and of other live ones. One whose disk fills up
/// counts as away: it gets what the others can't hold.
fn brokers(world: &World, cluster: &KafkaCluster) -> Vec<placement::Broker> {
    let wanted = cluster.spec.broker_ids();
    let there = world.brokers.iter().filter(|(_, broker)| broker.live.is_some()).map(|(id, _)| *id);
    let ids: BTreeSet<BrokerId> = wanted.chain(there).filter(|id| world.wanted(*id).takes_replicas()).collect();
    let told: BTreeMap<BrokerId, &BrokerStatus> =
        cluster.status.iter().flat_map(|status| &status.brokers).map(|broker| (broker.id, broker)).collect();
    let mut filling = world.filling();
    if ids.iter().filter(|id| stays(world, **id)).all(|id| filling.contains(id)) {
        filling.clear(); // there is no other
    }
    let broker = |id: BrokerId| {
        let seen = world.brokers.get(&id);
        // A broker returns to the rack in which it was last.
        let rack = seen.and_then(|broker| broker.rack.clone()).or_else(|| told.get(&id)?.rack.clone());
        placement::Broker { id, rack, away: !stays(world, id) || filling.contains(&id) }
    };
    ids.into_iter().map(broker).collect()
}

/// Whether the broker can lead new partitions: it is live, does not drain, and keeps its volume.
fn stays(world: &World, id: BrokerId) -> bool {
    let live = world.brokers.get(&id).and_then(|broker| broker.live);
    live.is_some_and(|live| !live.draining) && world.wanted(id) != Wanted::Fresh
}

/// The steps for topics whose cluster does not exist: a deleted one loses its finalizer, the others say that they wait.
pub fn without_cluster(world: &World) -> Vec<Step> {
    let step = |topic: &Arc<KafkaTopic>| match topic.metadata.deletion_timestamp {
        Some(_) if is_owned(topic) => Some(let_go(topic)),
        Some(_) => None,
        None => waits_for_cluster(world, topic),
    };
    world.topics.iter().filter_map(step).collect()
}

fn let_go(topic: &Arc<KafkaTopic>) -> Step {
    let cluster = &topic.spec.cluster_ref.name;
    let note = format!("the KafkaCluster {cluster} no longer exists: records stay on its retained volumes");
    let news = News { warning: true, reason: "ClusterGone".to_owned(), note };
    Step::Release { topic: topic.clone(), unless: None, news: Some(news) }
}

/// Keeps what the status says of the topic itself: the cluster may come back with its records.
fn waits_for_cluster(world: &World, topic: &Arc<KafkaTopic>) -> Option<Step> {
    let (cluster, generation) = (&topic.spec.cluster_ref.name, topic.metadata.generation);
    let message = if has_topic(topic) {
        format!(
            "the KafkaCluster {cluster} no longer exists: records stay on its retained volumes. To serve them again, \
             create the KafkaCluster again"
        )
    } else {
        format!(
            "the namespace has no KafkaCluster {cluster}, so the topic is not created: create the KafkaCluster. If \
             spec.clusterRef should name another one, delete this object and create it again"
        )
    };
    let verdicts = with_standard(vec![Verdict::new("Ready", false, "NoCluster", message)]);
    let before = topic.status.clone().unwrap_or_default();
    let status = KafkaTopicStatus {
        observed_generation: generation,
        topic_name: Some(topic.topic_name().to_owned()),
        offline_partitions: None,
        under_replicated_partitions: None,
        conditions: conditions(&before.conditions, &verdicts, generation, &world.now),
        ..before
    };
    status_step(topic, status)
}

/// Why a topic waits.
#[derive(Debug)]
struct Obstacle {
    reason: &'static str,
    message: String,
}

fn obstacle<T>(reason: &'static str, message: impl Into<String>) -> Result<T, Obstacle> {
    Err(Obstacle { reason, message: message.into() })
}

/// What the plans of all topics depend on.
struct PlanInputs<'a> {
    world: &'a World,
    cluster: &'a KafkaCluster,
    /// The live brokers.
    live: &'a Live,
    /// The brokers of the cluster, also those that are away.
    brokers: &'a [placement::Broker],
    /// The brokers' settings in force.
    settings: &'a BrokerSettings,
    /// The names of existing topics, by [`names::without_dots`]; computed for the first new topic.
    taken: &'a OnceCell<BTreeMap<String, &'a str>>,
    /// The sets of brokers that hold partitions together, those that this plan places included; computed for the first
    /// new partition.
    copysets: &'a OnceCell<RefCell<Copysets>>,
}

/// One topic and all that is known about it.
struct Plan<'a> {
    world: &'a World,
    cluster: &'a KafkaCluster,
    live: &'a Live,
    brokers: &'a [placement::Broker],
    settings: &'a BrokerSettings,
    taken: &'a OnceCell<BTreeMap<String, &'a str>>,
    copysets: &'a OnceCell<RefCell<Copysets>>,
    topic: &'a Arc<KafkaTopic>,
    id: Uuid,
    /// Its assignments without a tombstone, by their first partition.
    objects: BTreeMap<i32, &'a Arc<KafkaAssignment>>,
    /// Their entries, by partition.
    entries: BTreeMap<i32, &'a Assignment>,
    rules: &'a Rules,
}

impl<'a> Plan<'a> {
    fn new(
        shared: &PlanInputs<'a>,
        rules: &'a Rules,
        topic: &'a Arc<KafkaTopic>,
        mut objects: Vec<&'a Arc<KafkaAssignment>>,
    ) -> Plan<'a> {
        objects.sort_by_key(|object| (object.creation_timestamp(), object.spec.topic_id));
        let adopted = objects.first().map(|object| object.spec.topic_id);
        let own = topic.uid().and_then(|uid| Uuid::parse_str(&uid).ok());
        let id = adopted.or(own).unwrap_or_default();
        objects.retain(|object| object.spec.topic_id == id);
        let &PlanInputs { world, cluster, live, brokers, settings, taken, copysets } = shared;
        Plan {
            world,
            cluster,
            live,
            brokers,
            settings,
            taken,
            copysets,
            topic,
            id,
            entries: objects.iter().flat_map(|o| &o.spec.partitions).map(|entry| (entry.partition, entry)).collect(),
            objects: objects.into_iter().map(|object| (object.spec.first, object)).collect(),
            rules,
        }
    }

    fn steps(&self) -> Vec<Step> {
        if self.topic.metadata.deletion_timestamp.is_some() {
            return if is_owned(self.topic) { self.end() } else { Vec::new() };
        }
        match self.next() {
            Ok(steps) if !steps.is_empty() => steps,
            Ok(_) => self.say(None).into_iter().collect(),
            Err(obstacle) => self.say(Some(obstacle)).into_iter().collect(),
        }
    }

    /// Sets the tombstones, then removes the finalizer: a dead broker finds the tombstone when it returns.
    fn end(&self) -> Vec<Step> {
        let news = match self.topic.spec.deletion_policy {
            DeletionPolicy::Delete if !self.objects.is_empty() => {
                let bury =
                    |object: &&Arc<KafkaAssignment>| Step::Bury { read: (*object).clone(), topic: self.topic.clone() };
                return self.objects.values().map(bury).collect();
            }
            // The user who deleted it sees it gone.
            DeletionPolicy::Delete => None,
            DeletionPolicy::Retain => {
                let note =
                    "brokers keep the topic and its records: to manage it again, create a KafkaTopic for its name";
                Some(News { warning: false, reason: "Retained".to_owned(), note: note.to_owned() })
            }
        };
        let unless = match self.topic.spec.deletion_policy {
            DeletionPolicy::Delete => Some(names::assignment(self.topic.topic_name(), self.id, 0)),
            DeletionPolicy::Retain => None,
        };
        vec![Step::Release { topic: self.topic.clone(), unless, news }]
    }

    /// The next writes that make the topic what its spec says.
    fn next(&self) -> Result<Vec<Step>, Obstacle> {
        let wanted = match self.topic.spec.partitions {
            Some(wanted) => wanted,
            None if self.entries.is_empty() => self.settings.num_partitions,
            None => 0, // the default counted when the topic was made
        };
        let missing: Vec<i32> =
            (0..wanted.max(self.known_partitions())).filter(|p| !self.entries.contains_key(p)).collect();
        let lost: Vec<i32> = missing.iter().copied().filter(|p| *p < self.known_partitions()).collect();
        if !lost.is_empty() {
            return self.lost(&format!("the KafkaAssignments of {} are missing", named("partition", lost)));
        }
        if self.entries.is_empty() && self.world.misses(self.topic.topic_name()) {
            return self.lost("brokers hold partitions of this topic, and its KafkaAssignments are missing");
        }
        if let (true, Some(other)) = (self.entries.is_empty(), self.colliding()) {
            let message = format!(
                "the names of this topic and of the topic {other} differ only in dots and underscores, which are \
                equal in the names of metrics: delete this KafkaTopic, and create one for another name"
            );
            return obstacle("NameCollision", message);
        }
        if let (true, Some(error)) = (self.entries.is_empty(), &self.rules.error) {
            return obstacle("InvalidConfig", error);
        }
        if !is_owned(self.topic) {
            return Ok(vec![Step::Own(self.topic.clone())]);
        }
        let steps = self.place(&missing)?;
        if steps.is_empty() { self.moves() } else { Ok(steps) }
    }

    /// An existing topic whose name is the same in metrics as this one's. Kafka refuses to create the second.
    fn colliding(&self) -> Option<&'a str> {
        let taken = self.taken.get_or_init(|| {
            let standing = self.world.assignments.iter().filter(|object| !object.spec.deleted);
            standing.map(|object| &*object.spec.topic_name).map(|name| (names::without_dots(name), name)).collect()
        });
        let name = self.topic.topic_name();
        taken.get(&names::without_dots(name)).copied().filter(|other| *other != name)
    }

    /// Refuses to place missing partitions again, which would hide their records.
    fn lost<T>(&self, what: &str) -> Result<T, Obstacle> {
        let pod = self.cluster.pod(self.cluster.spec.broker_ids().next().unwrap_or(BrokerId(0)));
        let message = format!(
            "{what}: brokers serve by their own copies of them. To restore the KafkaAssignments from these copies, see \
             `kubectl exec {pod} -- ottla objects --help`"
        );
        obstacle("AssignmentsMissing", message)
    }

    /// The wanted moves, then the elections that the spec asks for.
    fn moves(&self) -> Result<Vec<Step>, Obstacle> {
        let moves = Moves {
            spec: &self.topic.spec,
            objects: self.objects.values().copied().collect(),
            live: self.live,
            brokers: self.brokers,
            min_in_sync: self.rules.min_in_sync,
            seed: self.id.as_u64_pair().0,
            undecided: self
                .objects
                .values()
                .flat_map(|o| self.world.undecided(o, Some(self.rules.min_in_sync)))
                .collect(),
        };
        let mut steps = moves.steps().or_else(|stuck| obstacle(stuck.reason(), stuck.to_string()))?;
        if steps.is_empty() {
            steps = moves.wished_elections(self.held_election());
        }
        if steps.is_empty() {
            let unpin = |spec| {
                let next = Box::new(KafkaTopic { spec, ..KafkaTopic::clone(self.topic) });
                Step::Unpin { read: self.topic.clone(), next }
            };
            steps.extend(moves.unpinned().map(unpin));
        }
        Ok(steps)
    }

    fn held_election(&self) -> Option<&str> {
        self.status()?.preferred_election.as_deref()
    }

    /// The topic's status; `None` if it is about an earlier cluster or topic of this name, which had other records. Of
    /// an earlier topic it is where an operator wrote it that did not see the new assignments yet.
    fn status(&self) -> Option<&KafkaTopicStatus> {
        let status = self.topic.status.as_ref()?;
        let clusters = status.cluster_id.as_ref().zip(self.cluster_id());
        let of_this_cluster = clusters.is_none_or(|(written, here)| written == here);
        let of_this_topic = self.entries.is_empty() || status.topic_id.is_none_or(|written| written == self.id);
        (of_this_cluster && of_this_topic).then_some(status)
    }

    fn cluster_id(&self) -> Option<&String> {
        self.cluster.status.as_ref()?.cluster_id.as_ref()
    }

    /// The number of replicas of a new partition: that of the spec; else that of the other partitions; else the
    /// cluster's default.
    fn replication_factor(&self) -> usize {
        let others = self.entries.values().next().map(|entry| entry.replication_factor());
        let default = || usize::try_from(self.settings.default_replication_factor).unwrap_or(1);
        let wanted = self.topic.spec.replication_factor.and_then(|factor| usize::try_from(factor).ok());
        wanted.or(others).unwrap_or_else(default).max(1)
    }

    /// The most partitions that the status has shown.
    fn known_partitions(&self) -> i32 {
        self.status().and_then(|status| status.partitions).unwrap_or(0)
    }

    fn place(&self, missing: &[i32]) -> Result<Vec<Step>, Obstacle> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if self.cluster.metadata.deletion_timestamp.is_some() {
            return obstacle("ClusterEnding", "the KafkaCluster is being deleted");
        }
        // Nothing would move a new cluster's first topics away from the broker that started first.
        if self.world.assignments.is_empty() && !self.world.awaited.is_empty() {
            let awaited = named("broker", self.world.awaited.iter().map(|id| id.0));
            return obstacle("BrokersStarting", format!("the new cluster is waiting for {awaited} to start"));
        }
        if self.brokers.iter().all(|broker| broker.away) {
            return obstacle("NoBrokers", "no broker is online to lead the partitions");
        }
        let mut placed = self.placed_by_hand(missing)?;
        let free: Vec<i32> = missing.iter().copied().filter(|partition| !placed.contains_key(partition)).collect();
        let existing = self.entries.values().map(|entry| &entry.replicas).chain(placed.values());
        let existing: Vec<Vec<BrokerId>> = existing.cloned().collect();
        let seed = self.id.as_u64_pair().0;
        let in_force = self.copysets.get_or_init(|| RefCell::new(copysets(self.world)));
        let in_force = &mut in_force.borrow_mut();
        match placement::place(free.len(), self.replication_factor(), self.brokers, &existing, in_force, seed) {
            Ok(replicas) => placed.extend(free.into_iter().zip(replicas)),
            Err(_) if free.is_empty() => {}
            Err(error) => return obstacle("TooFewBrokers", error.to_string()),
        }
        let mut added: BTreeMap<i32, Vec<Assignment>> = BTreeMap::new();
        for (partition, replicas) in placed {
            let first = partition - partition % PARTITIONS_PER_OBJECT;
            added.entry(first).or_default().extend(Assignment::create(partition, replicas, self.live));
        }
        let step = |(first, entries): (i32, Vec<Assignment>)| match self.objects.get(&first) {
            Some(read) => Step::Append { read: (*read).clone(), added: entries },
            None => Step::Create(Box::new(self.object(first, entries))),
        };
        Ok(added.into_iter().map(step).collect())
    }

    /// The missing partitions that the spec places. If one of them can't be created on its brokers, all wait, because a
    /// partition on other brokers would have to be moved back.
    fn placed_by_hand(&self, missing: &[i32]) -> Result<BTreeMap<i32, Vec<BrokerId>>, Obstacle> {
        let mut placed = BTreeMap::new();
        for Placement { partition, replicas, once: _ } in &self.topic.spec.placement {
            if missing.binary_search(partition).is_err() {
                continue;
            }
            if let Some(stranger) = replicas.iter().find(|id| self.brokers.iter().all(|broker| broker.id != **id)) {
                let message = format!(
                    "spec.placement puts partition {partition} on broker {stranger}, which the cluster does not have, or which takes no new replicas"
                );
                return obstacle("UnknownBroker", message);
            }
            // One whose disk fills up leads what a user places there.
            if !replicas.iter().any(|id| stays(self.world, *id)) {
                let brokers = named("broker", replicas.iter().map(|id| id.0));
                let message = format!(
                    "spec.placement puts partition {partition} on {brokers}, and none of these is online: the topic is waiting \
                     for one that can lead the partition"
                );
                return obstacle("BrokersAway", message);
            }
            placed.insert(*partition, replicas.clone());
        }
        Ok(placed)
    }

    /// A new object. It has no owner, so that it is not deleted with its cluster or KafkaTopic.
    fn object(&self, first: i32, partitions: Vec<Assignment>) -> KafkaAssignment {
        let cluster = self.topic.spec.cluster_ref.name.clone();
        let labels = [
            (names::CLUSTER_LABEL, cluster.clone()),
            (names::TOPIC_LABEL, names::topic_label(self.topic.topic_name())),
            (names::TOPIC_ID_LABEL, self.id.to_string()),
        ];
        KafkaAssignment {
            metadata: ObjectMeta {
                name: Some(names::assignment(self.topic.topic_name(), self.id, first)),
                namespace: self.topic.namespace(),
                labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
                ..ObjectMeta::default()
            },
            spec: KafkaAssignmentSpec {
                cluster_ref: ClusterRef { name: cluster },
                topic_name: self.topic.topic_name().to_owned(),
                topic_id: self.id,
                first,
                deleted: false,
                partitions,
            },
        }
    }

    /// The step that writes the topic's status; `None` if it has not changed.
    fn say(&self, obstacle: Option<Obstacle>) -> Option<Step> {
        let before = self.status().cloned().unwrap_or_default();
        let entries: Vec<Assignment> = self.entries.values().map(|entry| (*entry).clone()).collect();
        let cluster_id = self.cluster_id().map(String::as_str);
        let returning = &self.world.returning;
        let health = replicas::health(self.topic, cluster_id, self.id, &entries, self.live, returning);
        let config_synced = match &self.rules.error {
            Some(error) => Verdict::new("ConfigSynced", false, "InvalidConfig", error),
            None => Verdict::new("ConfigSynced", true, "Synced", ""),
        };
        let ready = match &obstacle {
            Some(obstacle) => Verdict::new("Ready", false, obstacle.reason, &obstacle.message),
            None if health.offline > 0 => Verdict::new("Ready", false, health.verdict.reason, health.waits),
            None if self.rules.error.is_some() => Verdict { type_: "Ready", ..config_synced.clone() },
            None => Verdict::new("Ready", true, "Ready", ""),
        };
        let no_conflict = Verdict::new("Conflict", false, "NoConflict", "");
        let verdicts = with_standard(vec![ready, config_synced, health.verdict, no_conflict]);

        let count = |partitions: usize| Some(i32::try_from(partitions).unwrap_or(i32::MAX));
        let placed = !entries.is_empty();
        let replication_factor = entries.iter().map(Assignment::replication_factor).min().and_then(count);
        let known = Some(self.known_partitions());
        let partitions = count(entries.len()).max(known).filter(|_| placed || before.partitions.is_some());
        let status = KafkaTopicStatus {
            observed_generation: self.topic.metadata.generation,
            cluster_id: self.cluster_id().cloned().or(before.cluster_id),
            topic_name: Some(self.topic.topic_name().to_owned()),
            topic_id: placed.then_some(self.id).or(before.topic_id),
            partitions,
            replication_factor: replication_factor.or(before.replication_factor),
            preferred_election: self.topic.spec.preferred_election.as_ref().map(|wish| wish.id.clone()),
            offline_partitions: count(health.offline),
            under_replicated_partitions: count(health.under_replicated),
            conditions: conditions(&before.conditions, &verdicts, self.topic.metadata.generation, &self.world.now),
        };
        status_step(self.topic, status)
    }
}

/// The steps of the other objects of several for one topic: they have no effect.
fn without_a_part(world: &World, topic: &Arc<KafkaTopic>, owner: &KafkaTopic) -> Option<Step> {
    match topic.metadata.deletion_timestamp {
        Some(_) if is_owned(topic) => Some(Step::Release { topic: topic.clone(), unless: None, news: None }),
        Some(_) => None,
        None => in_conflict(world, topic, owner),
    }
}

fn in_conflict(world: &World, topic: &Arc<KafkaTopic>, owner: &KafkaTopic) -> Option<Step> {
    let generation = topic.metadata.generation;
    let message = format!(
        "the KafkaTopic {} already has this topic, so this object has no effect: delete this object; the records stay",
        owner.name_any()
    );
    let verdicts = with_standard(vec![
        Verdict::new("Ready", false, "Conflict", message.clone()),
        Verdict::new("Conflict", true, "OtherObject", message),
    ]);
    let before = topic.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let status = KafkaTopicStatus {
        observed_generation: generation,
        topic_name: Some(topic.topic_name().to_owned()),
        conditions: conditions(before, &verdicts, generation, &world.now),
        ..KafkaTopicStatus::default()
    };
    status_step(topic, status)
}

/// These verdicts, and what tools read of any kind.
fn with_standard(mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
    verdicts.extend(standard::verdict(&verdicts, None));
    verdicts
}

/// Writes the status if it has changed; publishes an Event when the reason of Ready has changed. A new topic that
/// becomes ready has no Event: its creator waits for the condition.
fn status_step(topic: &Arc<KafkaTopic>, status: KafkaTopicStatus) -> Option<Step> {
    if topic.status.as_ref() == Some(&status) {
        return None;
    }
    let before = topic.status.as_ref().and_then(|status| condition::reason(&status.conditions, "Ready"));
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let is_news = |ready: &&Condition| before != Some(&ready.reason) && (before.is_some() || ready.status != "True");
    let news = ready.filter(is_news).map(|ready| News {
        warning: ready.status != "True",
        reason: ready.reason.clone(),
        note: if ready.message.is_empty() { "every partition has a leader".to_owned() } else { ready.message.clone() },
    });
    let mut next = Box::new(KafkaTopic::clone(topic));
    next.status = Some(status);
    Some(Step::TopicStatus { read: topic.clone(), next, news })
}

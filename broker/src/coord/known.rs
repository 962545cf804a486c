//! The newest version of everything that the API server ever showed this broker.
//!
//! Always: absence is never deletion; an entry of an assignment is never replaced by an older one; a cluster never
//! changes its id. So an API server that lost objects, or was set back, changes no replica here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use ottla_rules::assignment::{Age, BrokerId};
use serde::{Deserialize, Serialize};

use crate::shared_map::SharedMap;

/// What is known, by the objects' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownObjects {
    /// The KafkaCluster; `None`: it was never seen.
    pub cluster: Option<Arc<KafkaCluster>>,
    /// Its topics.
    pub topics: SharedMap<String, Arc<KafkaTopic>>,
    /// Its assignments.
    pub assignments: SharedMap<String, Arc<KafkaAssignment>>,
    /// Topics whose KafkaTopic is gone while their assignments exist: their settings stay in force.
    pub gone_topics: BTreeSet<String>,
    /// Assignments whose object is gone without a tombstone: brokers keep serving by them.
    #[serde(default)]
    pub missing: BTreeSet<String>,
    /// What the API server shows of assignments that this broker knows in another version.
    #[serde(skip)]
    pub others: BTreeMap<String, ObjectDivergence>,
}

/// How an object that is shown differs from the known one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectDivergence {
    /// Partitions of which it shows an older entry, or none: brokers keep serving by the newer ones and restore them.
    pub older: Vec<i32>,
    /// Partitions of which it shows another history than the one that this broker acts on: the other one is refused.
    pub forked: Vec<i32>,
    /// Whether it lacks the known tombstone.
    pub unburied: bool,
}

/// How this broker's knowledge compares with what the API server shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The number of entries that are newer here; `None` until every list was complete once.
    pub newer: Option<usize>,
    /// The forked partitions: `topic-0`.
    pub forked: BTreeSet<String>,
}

/// More forks than these are shown as an asterisk.
const MOST_FORKED: usize = 500;
/// How many names of topics fit on a Lease, which takes 256 KiB: a name has at most 249 bytes.
const MOST_MISSING: usize = 500;

/// An event of one of the three watches.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum ObjectEvent {
    /// About the cluster.
    Cluster(Event<KafkaCluster>),
    /// About its topics.
    Topic(Event<KafkaTopic>),
    /// About its assignments.
    Assignment(Event<KafkaAssignment>),
}

/// The lists that are being read: the names so far.
#[derive(Debug, Default)]
pub struct Lists {
    topics: Option<BTreeSet<String>>,
    assignments: Option<BTreeSet<String>>,
}

impl ObjectDivergence {
    fn is_behind(&self) -> bool {
        self.unburied || !self.older.is_empty()
    }
}

impl KnownObjects {
    /// The assignments of which the API server shows less than is known.
    pub fn behind(&self) -> impl Iterator<Item = &Arc<KafkaAssignment>> {
        let behind = self.others.iter().filter(|(_, shown)| shown.is_behind());
        behind.filter_map(|(name, _)| self.assignments.get(name))
    }

    /// How this compares with what the API server shows, once every list was complete.
    pub fn compared(&self) -> Compared {
        let newer = self.others.values().map(|shown| shown.older.len() + usize::from(shown.unburied)).sum();
        let partitions = |(name, shown): (&String, &ObjectDivergence)| {
            let topic = self.assignments.get(name).map_or("", |object| &object.spec.topic_name);
            shown.forked.iter().map(|partition| format!("{topic}-{partition}")).collect::<Vec<_>>()
        };
        let mut forked: BTreeSet<String> = self.others.iter().flat_map(partitions).collect();
        if forked.len() > MOST_FORKED {
            forked = BTreeSet::from(["*".to_owned()]);
        }
        Compared { newer: Some(newer), forked }
    }

    /// The assignments that have one.
    pub fn tombstones(&self) -> BTreeSet<String> {
        let buried = self.assignments.iter().filter(|(_, object)| object.spec.deleted);
        buried.map(|(name, _)| name.clone()).collect()
    }

    /// Takes in events, as the broker `me`. Returns whether anything changed.
    pub fn learn(&mut self, me: BrokerId, lists: &mut Lists, news: impl IntoIterator<Item = ObjectEvent>) -> bool {
        let (mut learned, mut may_forget) = (false, false);
        for news in news {
            may_forget |= self.may_let_forget(&news);
            learned |= self.see(me, lists, news);
        }
        // Once for all events, because it looks at everything.
        if may_forget {
            self.forget_topics_without_assignments();
        }
        learned
    }

    /// Whether a KafkaTopic that is gone may be needed no more after this: not if only entries change.
    fn may_let_forget(&self, news: &ObjectEvent) -> bool {
        match news {
            ObjectEvent::Cluster(_) => false,
            ObjectEvent::Topic(_) => true,
            ObjectEvent::Assignment(Event::Apply(object) | Event::InitApply(object)) => {
                let known = self.assignments.get(&object.name_any());
                known.is_none_or(|known| known.spec.deleted != object.spec.deleted)
            }
            ObjectEvent::Assignment(Event::Init | Event::InitDone | Event::Delete(_)) => true,
        }
    }

    fn see(&mut self, me: BrokerId, lists: &mut Lists, news: ObjectEvent) -> bool {
        match news {
            ObjectEvent::Cluster(Event::Apply(cluster) | Event::InitApply(cluster)) => self.see_cluster(cluster),
            ObjectEvent::Cluster(Event::Init | Event::InitDone | Event::Delete(_)) => false,

            ObjectEvent::Topic(Event::Init) => {
                lists.topics = Some(BTreeSet::new());
                false
            }
            ObjectEvent::Topic(Event::Apply(topic) | Event::InitApply(topic)) => {
                let name = topic.name_any();
                lists.topics.iter_mut().for_each(|listed| _ = listed.insert(name.clone()));
                let was_gone = self.gone_topics.remove(&name);
                replace(&mut self.topics, name, topic) || was_gone
            }
            ObjectEvent::Topic(Event::Delete(topic)) => self.gone_topics.insert(topic.name_any()),
            ObjectEvent::Topic(Event::InitDone) => {
                let listed = lists.topics.take().unwrap_or_default();
                self.gone_topics.extend(self.topics.keys().filter(|name| !listed.contains(*name)).cloned());
                true
            }

            ObjectEvent::Assignment(Event::Init) => {
                lists.assignments = Some(BTreeSet::new());
                false
            }
            ObjectEvent::Assignment(Event::Apply(object) | Event::InitApply(object)) => {
                let name = object.name_any();
                lists.assignments.iter_mut().for_each(|listed| _ = listed.insert(name.clone()));
                let was_missing = self.missing.remove(&name);
                self.see_assignment(object) || was_missing
            }
            ObjectEvent::Assignment(Event::Delete(object)) => {
                let name = object.name_any();
                self.see_assignment(object);
                if self.assignments.get(&name).is_some_and(|known| known.spec.deleted) {
                    self.assignments.remove(&name);
                    self.others.remove(&name);
                } else {
                    self.others.remove(&name);
                    tracing::error!(
                        object = name,
                        "an assignment was removed without a tombstone: serving by the \
                    last known one; see `ottla objects --help`"
                    );
                    self.missing.insert(name);
                }
                true
            }
            ObjectEvent::Assignment(Event::InitDone) => {
                let listed = lists.assignments.take().unwrap_or_default();
                self.miss_assignments(me, &listed);
                true
            }
        }
    }

    /// The first producer id that no broker is known to have taken; `None`: no broker is known to have taken any.
    pub fn next_producer_id_block(&self) -> Option<i64> {
        self.cluster.as_ref()?.status.as_ref()?.next_producer_id_block
    }

    fn see_cluster(&mut self, mut cluster: KafkaCluster) -> bool {
        let id = |cluster: &KafkaCluster| cluster.status.as_ref().and_then(|status| status.cluster_id.clone());
        let known = self.cluster.as_deref().and_then(id);
        if known.is_some() && id(&cluster) != known {
            tracing::error!(?known, shown = ?id(&cluster), "ignored a KafkaCluster whose cluster id is not the one of \
            this broker's data");
            return false;
        }
        // A KafkaCluster that was created again has none: producer ids must not be given twice.
        if let (Some(status), Some(taken)) = (&mut cluster.status, self.next_producer_id_block()) {
            status.next_producer_id_block = status.next_producer_id_block.max(Some(taken));
        }
        let is_new = self.cluster.as_deref() != Some(&cluster);
        self.cluster = Some(Arc::new(cluster));
        is_new
    }

    fn see_assignment(&mut self, mut object: KafkaAssignment) -> bool {
        let name = object.name_any();
        if let Some(known) = self.assignments.get(&name) {
            let shown = keep_known(&mut object, known);
            let before = if shown == ObjectDivergence::default() {
                self.others.remove(&name);
                None
            } else {
                self.others.insert(name.clone(), shown.clone())
            };
            if before.as_ref() != Some(&shown) {
                shown.log(&name);
            }
        }
        replace(&mut self.assignments, name, object)
    }

    /// Handles a list that lacks known assignments: either this broker missed the deletion of a topic, which is
    /// impossible if it holds a replica; or objects were lost.
    fn miss_assignments(&mut self, me: BrokerId, listed: &BTreeSet<String>) {
        self.others.retain(|name, _| listed.contains(name));
        let lost_all = listed.is_empty() && self.assignments.values().any(|object| !object.spec.deleted);
        self.missing.clear();
        self.assignments.retain(|name, object| {
            let stays = listed.contains(name) || (!object.spec.deleted && (is_on(object, me) || lost_all));
            if stays && !listed.contains(name) {
                tracing::error!(
                    object = name,
                    "an assignment is missing: serving by the last known one; see `ottla \
                objects --help`"
                );
                self.missing.insert(name.clone());
            }
            stays
        });
    }

    /// The missing topics: assignments that name the broker `me` are missing, and this broker knows that they were not
    /// deleted. An asterisk: too many to name.
    pub fn missing_topics(&self, me: BrokerId) -> BTreeSet<String> {
        let missing = self.missing.iter().filter_map(|name| self.assignments.get(name));
        let topics: BTreeSet<String> =
            missing.filter(|object| is_on(object, me)).map(|object| object.spec.topic_name.clone()).collect();
        if topics.len() > MOST_MISSING { BTreeSet::from(["*".to_owned()]) } else { topics }
    }

    fn forget_topics_without_assignments(&mut self) {
        if self.gone_topics.is_empty() {
            return;
        }
        let standing = self.assignments.values().filter(|object| !object.spec.deleted);
        let mut needed: BTreeSet<&str> = standing.map(|object| object.spec.topic_name.as_str()).collect();
        for (name, topic) in self.topics.iter() {
            if !self.gone_topics.contains(name) {
                needed.remove(topic.topic_name());
            }
        }
        let needed: BTreeSet<String> = needed.into_iter().map(str::to_owned).collect();
        let gone = std::mem::take(&mut self.gone_topics);
        self.topics.retain(|name, topic| !gone.contains(name) || needed.contains(topic.topic_name()));
        self.gone_topics = gone.into_iter().filter(|name| self.topics.contains_key(name)).collect();
    }
}

/// Replaces the known object; returns whether it changed.
fn replace<K: PartialEq>(known: &mut SharedMap<String, Arc<K>>, name: String, object: K) -> bool {
    let is_new = known.get(&name).is_none_or(|known| **known != object);
    if is_new {
        known.insert(name, Arc::new(object));
    }
    is_new
}

fn is_on(object: &KafkaAssignment, broker: BrokerId) -> bool {
    object.spec.partitions.iter().any(|entry| entry.replicas.contains(&broker))
}

impl ObjectDivergence {
    fn log(&self, object: &str) {
        for partition in &self.older {
            tracing::error!(
                object,
                partition,
                "the API server shows an older assignment than this broker knows, or none: restoring the newer one"
            );
        }
        for partition in &self.forked {
            tracing::error!(
                object,
                partition,
                "the API server shows another history of a partition than this broker acts on: it was restored from a \
                backup; this broker keeps its own history; see `ottla objects --help`"
            );
        }
    }
}

/// Replaces entries of `shown` by those that are known in a newer version, or in another history, and returns which.
fn keep_known(shown: &mut KafkaAssignment, known: &KafkaAssignment) -> ObjectDivergence {
    let mut others =
        ObjectDivergence { unburied: known.spec.deleted && !shown.spec.deleted, ..ObjectDivergence::default() };
    shown.spec.deleted |= known.spec.deleted;
    let entries = &mut shown.spec.partitions;
    for entry in &known.spec.partitions {
        match entries.iter_mut().find(|own| own.partition == entry.partition) {
            Some(own) => {
                match own.age(entry) {
                    Age::Same | Age::Newer => continue,
                    Age::Older => others.older.push(entry.partition),
                    Age::Forked => others.forked.push(entry.partition),
                }
                *own = entry.clone();
            }
            None => {
                others.older.push(entry.partition);
                entries.push(entry.clone());
            }
        }
    }
    entries.sort_by_key(|entry| entry.partition);
    others
}

/// Adds to `object` what is newer in another copy of it: entries that are older here or missing, and a tombstone. Of a
/// fork the later leader epoch is kept.
pub fn keep_newest(object: &mut KafkaAssignment, other: &KafkaAssignment) {
    object.spec.deleted |= other.spec.deleted;
    let entries = &mut object.spec.partitions;
    for entry in &other.spec.partitions {
        match entries.iter_mut().find(|own| own.partition == entry.partition) {
            Some(own) if own.epochs() >= entry.epochs() => {}
            Some(own) => *own = entry.clone(),
            None => entries.push(entry.clone()),
        }
    }
    entries.sort_by_key(|entry| entry.partition);
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaAssignmentSpec;
    use ottla_rules::assignment::{Assignment, LeaderEpoch, PartitionEpoch};
    use uuid::Uuid;

    use super::*;

    const ME: BrokerId = BrokerId(0);

    fn entry(partition: i32, replica: i32, epoch: i32) -> Assignment {
        Assignment {
            partition,
            replicas: vec![BrokerId(replica)],
            adding: Vec::new(),
            removing: Vec::new(),
            leader: None,
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            isr: Vec::new(),
            reports: Vec::new(),
            log_start: None,
        }
    }

    fn object(name: &str, entries: Vec<Assignment>) -> KafkaAssignment {
        let topic_id = Uuid::from_u128(1);
        let spec = KafkaAssignmentSpec { topic_name: name.into(), topic_id, partitions: entries, ..Default::default() };
        KafkaAssignment::new(name, spec)
    }

    fn topic(name: &str) -> KafkaTopic {
        KafkaTopic::new(name, Default::default())
    }

    fn grave(name: &str) -> KafkaAssignment {
        let mut object = object(name, vec![entry(0, 1, 1)]);
        object.spec.deleted = true;
        object
    }

    fn learn(known: &mut KnownObjects, news: impl IntoIterator<Item = ObjectEvent>) {
        known.learn(ME, &mut Lists::default(), news);
    }

    fn apply(object: KafkaAssignment) -> ObjectEvent {
        ObjectEvent::Assignment(Event::Apply(object))
    }

    fn list(objects: Vec<KafkaAssignment>) -> Vec<ObjectEvent> {
        let listed = objects.into_iter().map(Event::InitApply);
        [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).map(ObjectEvent::Assignment).collect()
    }

    #[test]
    fn an_older_entry_is_ignored_and_a_newer_one_beside_it_is_not() {
        let mut known = KnownObjects::default();
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 5), entry(1, 0, 5)]))]);
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 4), entry(1, 0, 6)]))]);
        learn(&mut known, [apply(object("a", vec![entry(1, 0, 6)]))]);
        let epochs: Vec<_> =
            known.assignments["a"].spec.partitions.iter().map(|e| (e.partition, e.partition_epoch.0)).collect();
        assert_eq!(epochs, [(0, 5), (1, 6)]);
    }

    #[test]
    fn entries_of_an_api_server_that_was_set_back_are_ignored_and_reported() {
        let at = |leader, partition| Assignment {
            leader_epoch: LeaderEpoch(leader),
            partition_epoch: PartitionEpoch(partition),
            ..entry(0, 0, 0)
        };
        let compared = |shown: Vec<Assignment>| {
            let mut known = KnownObjects::default();
            learn(&mut known, [apply(object("a", vec![at(3, 9), entry(1, 0, 5)]))]);
            learn(&mut known, [apply(object("a", shown))]);
            let entries = &known.assignments["a"].spec.partitions;
            let Compared { newer, forked } = known.compared();
            (entries[0].epochs().leader.0, newer, forked.into_iter().collect::<Vec<_>>(), known.behind().count())
        };
        let same = || entry(1, 0, 5);
        assert_eq!(compared(vec![at(3, 9), same()]), (3, Some(0), vec![], 0));
        assert_eq!(compared(vec![at(4, 10), same()]), (4, Some(0), vec![], 0));
        assert_eq!(compared(vec![at(2, 6), same()]), (3, Some(1), vec![], 1), "older");
        assert_eq!(compared(vec![at(2, 6)]), (3, Some(2), vec![], 1), "and a partition that was added since");
        assert_eq!(compared(vec![at(4, 8), same()]), (3, Some(0), vec!["a-0".to_owned()], 0), "a fork");

        let mut known = KnownObjects::default();
        let newest = || object("a", vec![at(3, 9)]);
        learn(&mut known, [apply(newest()), apply(object("a", vec![at(2, 6)])), apply(newest())]);
        assert_eq!(known.compared().newer, Some(0), "it was put back");
    }

    #[test]
    fn absence_is_never_deletion() {
        let mine = || object("mine", vec![entry(0, 0, 1)]);
        let others = || object("others", vec![entry(0, 1, 1)]);
        let cases: [(&str, Vec<ObjectEvent>, &[&str]); 5] = [
            (
                "removed without a tombstone",
                vec![ObjectEvent::Assignment(Event::Delete(others()))],
                &["mine", "others"],
            ),
            ("removed with one", vec![ObjectEvent::Assignment(Event::Delete(grave("others")))], &["mine"]),
            ("mine is missing from a list", list(vec![others()]), &["mine", "others"]),
            ("a deletion that was missed", list(vec![mine()]), &["mine"]),
            ("everything is missing", list(vec![]), &["mine", "others"]),
        ];
        for (story, news, expected) in cases {
            let mut known = KnownObjects::default();
            learn(&mut known, [apply(mine()), apply(others())]);
            learn(&mut known, news);
            assert_eq!(known.assignments.keys().collect::<Vec<_>>(), expected, "{story}");
        }
    }

    #[test]
    fn brokers_report_missing_topics_that_they_hold_until_they_are_restored() {
        let mine = || object("mine", vec![entry(0, 0, 1)]);
        let others = || object("others", vec![entry(0, 1, 1)]);
        let missing = |news: Vec<ObjectEvent>| {
            let mut known = KnownObjects::default();
            learn(&mut known, [apply(mine()), apply(others())]);
            learn(&mut known, news);
            known.missing_topics(ME).into_iter().collect::<Vec<_>>().join(",")
        };
        let removed = |object| ObjectEvent::Assignment(Event::Delete(object));
        assert_eq!(missing(vec![removed(mine()), removed(others())]), "mine");
        assert_eq!(missing(list(vec![])), "mine");
        assert_eq!(missing(list(vec![mine()])), "");
        assert_eq!(missing(vec![removed(mine()), apply(mine())]), "");
        assert_eq!(missing(vec![removed(mine()), apply(grave("mine")), removed(grave("mine"))]), "");
        let many = (0..=MOST_MISSING).map(|n| apply(object(&format!("topic-{n}"), vec![entry(0, 0, 1)])));
        assert_eq!(missing(many.chain(list(vec![])).collect()), "*");
    }

    #[test]
    fn a_cluster_that_is_made_again_does_not_forget_which_producer_ids_were_taken() {
        let cluster = |id: &str, block: Option<i64>| {
            let mut cluster = KafkaCluster::new("prod", Default::default());
            let status = cluster.status.get_or_insert_default();
            (status.cluster_id, status.next_producer_id_block) = (Some(id.to_owned()), block);
            ObjectEvent::Cluster(Event::Apply(cluster))
        };
        let mut known = KnownObjects::default();
        for (shown, expected) in [(Some(3000), 3000), (None, 3000), (Some(1000), 3000), (Some(4000), 4000)] {
            learn(&mut known, [cluster("this", shown)]);
            assert_eq!(known.next_producer_id_block(), Some(expected));
        }
        learn(&mut known, [cluster("another", Some(9000))]);
        assert_eq!(known.next_producer_id_block(), Some(4000));
    }

    #[test]
    fn a_topics_settings_outlive_its_object_while_it_stands() {
        let mut known = KnownObjects::default();
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 1)])), ObjectEvent::Topic(Event::Apply(topic("a")))]);
        learn(&mut known, [ObjectEvent::Topic(Event::Delete(topic("a")))]);
        assert!(known.topics.contains_key("a"));
        learn(&mut known, [ObjectEvent::Topic(Event::Apply(topic("a")))]);
        assert!(known.gone_topics.is_empty());
        learn(&mut known, [ObjectEvent::Topic(Event::Delete(topic("a"))), apply(grave("a"))]);
        assert!(known.topics.is_empty() && known.gone_topics.is_empty());
    }
}

//! The newest of everything that the API server ever showed this broker.
//!
//! Always: absence is never deletion; an entry of an assignment never gets older; a cluster never changes its id. So an API
//! server that lost objects, or was set back to an older state, moves nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use ottla_crds::assignment::{Assignment, BrokerId};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use serde::{Deserialize, Serialize};

/// What is known, by the objects' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The cluster.
    pub cluster: Option<Arc<KafkaCluster>>,
    /// Its topics.
    pub topics: BTreeMap<String, Arc<KafkaTopic>>,
    /// Its assignments.
    pub assignments: BTreeMap<String, Arc<KafkaAssignment>>,
    /// Topics whose object is gone while their assignments stand: their settings go on to hold.
    pub gone_topics: BTreeSet<String>,
}

/// An event of one of the three watches.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum News {
    /// About the cluster.
    Cluster(Event<KafkaCluster>),
    /// About its topics.
    Topic(Event<KafkaTopic>),
    /// About its assignments.
    Assignment(Event<KafkaAssignment>),
}

/// Lists that are being read: the names that they have shown so far, and whether each kind was ever shown whole.
#[derive(Debug, Default)]
pub struct Lists {
    topics: Option<BTreeSet<String>>,
    assignments: Option<BTreeSet<String>>,
    whole: [bool; 3],
}

impl Lists {
    /// Whether every kind was shown whole at least once.
    pub fn are_whole(&self) -> bool {
        self.whole.iter().all(|whole| *whole)
    }
}

impl Known {
    /// The assignments that bear one.
    pub fn tombstones(&self) -> BTreeSet<String> {
        let buried = self.assignments.iter().filter(|(_, object)| object.spec.deleted);
        buried.map(|(name, _)| name.clone()).collect()
    }

    /// Takes note of events, as the broker `me`. Whether anything of it is new.
    pub fn learn(&mut self, me: BrokerId, lists: &mut Lists, news: impl IntoIterator<Item = News>) -> bool {
        let mut learned = false;
        for news in news {
            learned |= self.see(me, lists, news);
        }
        // Once for all of them: it looks at everything.
        self.forget_topics_without_assignments();
        learned
    }

    fn see(&mut self, me: BrokerId, lists: &mut Lists, news: News) -> bool {
        match news {
            News::Cluster(Event::Apply(cluster) | Event::InitApply(cluster)) => self.see_cluster(cluster),
            News::Cluster(Event::Init | Event::Delete(_)) => false,
            News::Cluster(Event::InitDone) => {
                lists.whole[0] = true;
                false
            }

            News::Topic(Event::Init) => {
                lists.topics = Some(BTreeSet::new());
                false
            }
            News::Topic(Event::Apply(topic) | Event::InitApply(topic)) => {
                let name = topic.name_any();
                lists.topics.iter_mut().for_each(|listed| _ = listed.insert(name.clone()));
                let was_gone = self.gone_topics.remove(&name);
                replace(&mut self.topics, name, topic) || was_gone
            }
            News::Topic(Event::Delete(topic)) => self.gone_topics.insert(topic.name_any()),
            News::Topic(Event::InitDone) => {
                lists.whole[1] = true;
                let listed = lists.topics.take().unwrap_or_default();
                self.gone_topics.extend(self.topics.keys().filter(|name| !listed.contains(*name)).cloned());
                true
            }

            News::Assignment(Event::Init) => {
                lists.assignments = Some(BTreeSet::new());
                false
            }
            News::Assignment(Event::Apply(object) | Event::InitApply(object)) => {
                lists.assignments.iter_mut().for_each(|listed| _ = listed.insert(object.name_any()));
                self.see_assignment(object)
            }
            News::Assignment(Event::Delete(object)) => {
                let name = object.name_any();
                self.see_assignment(object);
                if self.assignments.get(&name).is_some_and(|known| known.spec.deleted) {
                    self.assignments.remove(&name);
                } else {
                    tracing::error!(object = name, "an assignment was removed without a tombstone: it goes on to hold");
                }
                true
            }
            News::Assignment(Event::InitDone) => {
                lists.whole[2] = true;
                let listed = lists.assignments.take().unwrap_or_default();
                self.miss_assignments(me, &listed);
                true
            }
        }
    }

    fn see_cluster(&mut self, cluster: KafkaCluster) -> bool {
        let id = |cluster: &KafkaCluster| cluster.status.as_ref().and_then(|status| status.cluster_id.clone());
        let known = self.cluster.as_deref().and_then(id);
        if known.is_some() && id(&cluster) != known {
            tracing::error!(?known, shown = ?id(&cluster), "ignored a KafkaCluster with another cluster id");
            return false;
        }
        let is_new = self.cluster.as_deref() != Some(&cluster);
        self.cluster = Some(Arc::new(cluster));
        is_new
    }

    fn see_assignment(&mut self, mut object: KafkaAssignment) -> bool {
        let name = object.name_any();
        if let Some(known) = self.assignments.get(&name) {
            object.spec.deleted |= known.spec.deleted;
            for entry in &known.spec.partitions {
                keep_newer(&mut object.spec.partitions, entry, &name);
            }
        }
        replace(&mut self.assignments, name, object)
    }

    /// A list that lacks what is known: the deletion of a topic may have been missed, unless this broker's own word was
    /// needed for it; or objects were lost.
    fn miss_assignments(&mut self, me: BrokerId, listed: &BTreeSet<String>) {
        let lost_all = listed.is_empty() && self.assignments.values().any(|object| !object.spec.deleted);
        self.assignments.retain(|name, object| {
            let mine = object.spec.partitions.iter().any(|entry| entry.replicas.contains(&me));
            let stays = listed.contains(name) || (!object.spec.deleted && (mine || lost_all));
            if stays && !listed.contains(name) {
                tracing::error!(object = name, "an assignment is missing: it goes on to hold");
            }
            stays
        });
    }

    fn forget_topics_without_assignments(&mut self) {
        if self.gone_topics.is_empty() {
            return;
        }
        let standing = self.assignments.values().filter(|object| !object.spec.deleted);
        let mut needed: BTreeSet<&str> = standing.map(|object| object.spec.topic_name.as_str()).collect();
        for (name, topic) in &self.topics {
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

/// Whether this is another object than the one that was known.
fn replace<K: PartialEq>(known: &mut BTreeMap<String, Arc<K>>, name: String, object: K) -> bool {
    let is_new = known.get(&name).is_none_or(|known| **known != object);
    known.insert(name, Arc::new(object));
    is_new
}

fn keep_newer(entries: &mut Vec<Assignment>, known: &Assignment, object: &str) {
    match entries.iter_mut().find(|entry| entry.partition == known.partition) {
        Some(shown) if shown.epochs() >= known.epochs() => {}
        Some(shown) => {
            tracing::error!(
                object,
                partition = known.partition,
                "ignored an assignment that is older than the one known"
            );
            *shown = known.clone();
        }
        None => {
            tracing::error!(object, partition = known.partition, "an entry is missing: it goes on to hold");
            entries.push(known.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaAssignmentSpec;
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
            leader_epoch: epoch,
            partition_epoch: epoch,
            isr: Vec::new(),
            reports: Vec::new(),
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

    fn learn(known: &mut Known, news: impl IntoIterator<Item = News>) {
        known.learn(ME, &mut Lists::default(), news);
    }

    fn apply(object: KafkaAssignment) -> News {
        News::Assignment(Event::Apply(object))
    }

    fn list(objects: Vec<KafkaAssignment>) -> Vec<News> {
        let listed = objects.into_iter().map(Event::InitApply);
        [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).map(News::Assignment).collect()
    }

    #[test]
    fn an_older_entry_is_ignored_and_a_newer_one_beside_it_is_not() {
        let mut known = Known::default();
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 5), entry(1, 0, 5)]))]);
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 4), entry(1, 0, 6)]))]);
        learn(&mut known, [apply(object("a", vec![entry(1, 0, 6)]))]);
        let mut epochs: Vec<_> =
            known.assignments["a"].spec.partitions.iter().map(|e| (e.partition, e.partition_epoch)).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, [(0, 5), (1, 6)]);
    }

    #[test]
    fn absence_is_never_deletion() {
        let mine = || object("mine", vec![entry(0, 0, 1)]);
        let others = || object("others", vec![entry(0, 1, 1)]);
        let cases: [(&str, Vec<News>, &[&str]); 5] = [
            ("removed without a tombstone", vec![News::Assignment(Event::Delete(others()))], &["mine", "others"]),
            ("removed with one", vec![News::Assignment(Event::Delete(grave("others")))], &["mine"]),
            ("mine is missing from a list", list(vec![others()]), &["mine", "others"]),
            ("a deletion that was missed", list(vec![mine()]), &["mine"]),
            ("everything is missing", list(vec![]), &["mine", "others"]),
        ];
        for (story, news, expected) in cases {
            let mut known = Known::default();
            learn(&mut known, [apply(mine()), apply(others())]);
            learn(&mut known, news);
            assert_eq!(known.assignments.keys().collect::<Vec<_>>(), expected, "{story}");
        }
    }

    #[test]
    fn a_topics_settings_outlive_its_object_while_it_stands() {
        let mut known = Known::default();
        learn(&mut known, [apply(object("a", vec![entry(0, 0, 1)])), News::Topic(Event::Apply(topic("a")))]);
        learn(&mut known, [News::Topic(Event::Delete(topic("a")))]);
        assert!(known.topics.contains_key("a"));
        learn(&mut known, [News::Topic(Event::Apply(topic("a")))]);
        assert!(known.gone_topics.is_empty());
        learn(&mut known, [News::Topic(Event::Delete(topic("a"))), apply(grave("a"))]);
        assert!(known.topics.is_empty() && known.gone_topics.is_empty());
    }
}

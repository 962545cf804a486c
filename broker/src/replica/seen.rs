//! What the last image shows of replicas, kept from image to image: an event of topics that have nothing here costs no
//! look at those that have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::image::{Assignment, BrokerId, ClusterImage, Topic};
use crate::metrics::Metrics;

/// What the last image shows.
#[derive(Default)]
pub(super) struct LastImage {
    image: Option<Arc<ClusterImage>>,
    /// The topics of which it puts a partition here.
    mine: BTreeSet<Uuid>,
    /// The topics that have partitions without a leader.
    leaderless: BTreeMap<Uuid, Leaderless>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Leaderless {
    partitions: usize,
    /// Those of them for which a broker has reported what it has.
    recovering: usize,
}

impl LastImage {
    /// Takes the next image. Whether anything in it is new to the replicas of the broker `me`, or to folders of topics
    /// that were `found` on its disk.
    pub(super) fn learn(&mut self, me: BrokerId, image: &Arc<ClusterImage>, found: impl Fn(Uuid) -> bool) -> bool {
        let before = self.image.replace(image.clone());
        let nothing = ClusterImage::default();
        let mut is_news = before.as_ref().is_none_or(|before| !are_around_the_same(before, image));
        let before = before.as_deref().unwrap_or(&nothing);
        let is_mine = |topic: Option<&Arc<Topic>>| topic.is_some_and(|topic| has_replica(topic, me));
        for (id, then, now) in image.topics.differences(&before.topics, Arc::ptr_eq) {
            is_news |= is_mine(then) || is_mine(now) || found(*id);
            if is_mine(now) {
                self.mine.insert(*id);
            } else {
                self.mine.remove(id);
            }
            match now.map(|topic| leaderless(topic)).filter(|found| found.partitions > 0) {
                Some(leaderless) => _ = self.leaderless.insert(*id, leaderless),
                None => _ = self.leaderless.remove(id),
            }
        }
        for (id, then, now) in image.deleted.differences(&before.deleted, Arc::ptr_eq) {
            is_news |= is_mine(then) || is_mine(now) || found(*id);
        }
        is_news
    }

    /// The topics of which the image puts a partition here.
    pub(super) fn mine<'i>(&self, image: &'i ClusterImage) -> impl Iterator<Item = &'i Arc<Topic>> {
        self.mine.iter().filter_map(|id| image.topics.get(id))
    }

    /// Those of them that have partitions without a leader.
    pub(super) fn mine_without_leader<'i>(&self, image: &'i ClusterImage) -> impl Iterator<Item = &'i Arc<Topic>> {
        let mine = self.leaderless.keys().filter(|id| self.mine.contains(id));
        mine.filter_map(|id| image.topics.get(id))
    }

    /// Sets the gauges that follow from the image.
    pub(super) fn count(&self, metrics: &Metrics) {
        let Some(image) = &self.image else { return };
        let sum = |of: fn(&Leaderless) -> usize| self.leaderless.values().map(of).sum::<usize>() as i64;
        metrics.cluster.offline_partitions.set(sum(|found| found.partitions));
        metrics.cluster.recovering_partitions.set(sum(|found| found.recovering));
        metrics.cluster.newer_than_shown.set(image.newer_than_shown as i64);
        metrics.cluster.forked_partitions.set(image.forked as i64);
        let down = image.brokers.values().filter(|broker| !broker.alive).count();
        metrics.cluster.brokers_down.set(down as i64);
    }
}

fn has_replica(topic: &Topic, me: BrokerId) -> bool {
    topic.partitions.iter().any(|assignment| assignment.replicas.contains(&me))
}

fn leaderless(topic: &Topic) -> Leaderless {
    let without: Vec<&Assignment> = topic.partitions.iter().filter(|assignment| assignment.leader.is_none()).collect();
    let recovering = without.iter().filter(|assignment| !assignment.reports.is_empty()).count();
    Leaderless { partitions: without.len(), recovering }
}

/// Whether all that is not about topics is the same, as far as replicas and their fetchers are concerned.
fn are_around_the_same(one: &ClusterImage, other: &ClusterImage) -> bool {
    let ClusterImage {
        cluster_id,
        inter_broker_listener,
        brokers,
        wanted_brokers: _,
        topics: _,
        topic_names: _,
        deleted: _,
        settings,
        groups: _,
        access: _,
        features,
        no_wire_changes: _,
        ending,
        moves_rate,
        newer_than_shown: _,
        forked: _,
        plain_in_sync,
    } = one;
    *cluster_id == other.cluster_id
        && *inter_broker_listener == other.inter_broker_listener
        && *brokers == other.brokers
        && Arc::ptr_eq(settings, &other.settings)
        && *features == other.features
        && *ending == other.ending
        && *moves_rate == other.moves_rate
        && *plain_in_sync == other.plain_in_sync
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Broker, LeaderEpoch};
    use crate::replica::partition::fixtures::{ME, alone};

    const OTHER: BrokerId = BrokerId(77);

    /// A topic of one partition, led by this broker.
    fn topic(id: u128, holder: BrokerId, leader: Option<BrokerId>) -> Arc<Topic> {
        let assignment = Assignment { replicas: vec![holder], leader, ..alone(LeaderEpoch::FIRST.0) };
        Arc::new(Topic {
            id: Uuid::from_u128(id),
            name: format!("t{id}").into(),
            config: Default::default(),
            settings: Arc::default(),
            partitions: vec![assignment],
        })
    }

    fn with(image: &ClusterImage, topic: Arc<Topic>) -> Arc<ClusterImage> {
        let mut next = image.clone();
        next.topics.insert(topic.id, topic);
        Arc::new(next)
    }

    #[test]
    fn an_event_of_topics_of_others_is_no_news() {
        let topics = (0..1000).map(|id| topic(id, if id < 10 { ME.id } else { OTHER }, None));
        let topics = topics.map(|topic| (topic.id, topic)).collect();
        let first = Arc::new(ClusterImage { topics, ..ClusterImage::default() });
        let (mut seen, nothing) = (LastImage::default(), |_| false);
        assert!(seen.learn(ME.id, &first, nothing), "the first image");
        assert_eq!((seen.mine(&first).count(), seen.mine_without_leader(&first).count()), (10, 10));
        assert!(!seen.learn(ME.id, &first, nothing), "the same image");

        let second = with(&first, topic(500, OTHER, Some(OTHER)));
        assert!(!seen.learn(ME.id, &second, nothing), "an election elsewhere");
        assert_eq!(seen.leaderless.len(), 999);
        let third = with(&second, topic(5, ME.id, Some(ME.id)));
        assert!(seen.learn(ME.id, &third, nothing), "an election here");
        assert_eq!((seen.mine(&third).count(), seen.mine_without_leader(&third).count()), (10, 9));
        let fourth = with(&third, topic(5, OTHER, Some(OTHER)));
        assert!(seen.learn(ME.id, &fourth, nothing), "it was moved away");
        assert_eq!(seen.mine(&fourth).count(), 9);

        let fifth = with(&fourth, topic(2000, OTHER, Some(OTHER)));
        assert!(seen.learn(ME.id, &fifth, |id| id == Uuid::from_u128(2000)), "its folder was found on the disk");
        let mut sixth = ClusterImage::clone(&fifth);
        let buried = sixth.topics.remove(&Uuid::from_u128(7)).unwrap();
        sixth.deleted.insert(buried.id, buried);
        let sixth = Arc::new(sixth);
        assert!(seen.learn(ME.id, &sixth, nothing), "it is deleted");
        let mut seventh = ClusterImage::clone(&sixth);
        let broker =
            Broker { id: OTHER, rack: None, alive: false, draining: false, endpoints: BTreeMap::new(), address: None };
        seventh.brokers.insert(OTHER, broker);
        assert!(seen.learn(ME.id, &Arc::new(seventh), nothing), "a broker has died");
    }
}

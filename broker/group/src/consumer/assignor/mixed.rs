//! The assignor `uniform` where members subscribe to different topics: of what they had they keep what they still
//! subscribe to, the rest goes to those with the fewest partitions, and then partitions move from those with the most
//! until it is even.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::balancer::Balancer;
use super::{Counts, Members};
use crate::ids::MemberId;
use crate::record::Partitions;

/// How often all topics are gone through at most. Once is enough unless subscriptions overlap.
const ROUNDS: usize = 16;

pub(super) fn assign(members: &Members, partitions: &Counts) -> BTreeMap<MemberId, Partitions> {
    let mut assignment = Assignment::of(members, partitions);
    assignment.assign_free();
    assignment.balance();
    let mut result: BTreeMap<MemberId, Partitions> = members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    let ids: Vec<&MemberId> = members.keys().collect();
    for (topic, Topic { owners, .. }) in assignment.topics {
        for (partition, owner) in (0..).zip(owners) {
            let owner = owner.and_then(|owner| ids.get(owner)).and_then(|id| result.get_mut(*id));
            if let Some(owner) = owner {
                owner.entry(topic).or_default().insert(partition);
            }
        }
    }
    result
}

/// The assignment as it develops. Members are known by their index.
struct Assignment {
    topics: BTreeMap<Uuid, Topic>,
    /// How many partitions each member has.
    sizes: Vec<i64>,
}

struct Topic {
    /// In ascending order; not empty.
    subscribers: Vec<usize>,
    /// By partition.
    owners: Vec<Option<usize>>,
}

impl Assignment {
    /// What members had and may keep.
    fn of(members: &Members, partitions: &Counts) -> Assignment {
        let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
        for (index, member) in members.values().enumerate() {
            for topic in member.topics.iter() {
                let count = usize::try_from(partitions.get(topic).copied().unwrap_or(0)).unwrap_or(0);
                let new = || Topic { subscribers: Vec::new(), owners: vec![None; count] };
                topics.entry(*topic).or_insert_with(new).subscribers.push(index);
            }
        }
        let mut sizes = vec![0; members.len()];
        for ((index, member), size) in members.values().enumerate().zip(&mut sizes) {
            for (topic, partitions) in member.before.iter().filter(|(topic, _)| member.topics.contains(topic)) {
                let Some(topic) = topics.get_mut(topic) else { continue };
                for partition in partitions {
                    let owner = usize::try_from(*partition).ok().and_then(|at| topic.owners.get_mut(at));
                    if let Some(owner @ None) = owner {
                        *owner = Some(index);
                        *size += 1;
                    }
                }
            }
        }
        Assignment { topics, sizes }
    }

    /// Topics in the order in which they are dealt with: many partitions for few subscribers first.
    fn in_order(&self, which: impl Fn(&Topic) -> bool) -> Vec<Uuid> {
        let mut topics: Vec<(&Uuid, &Topic)> = self.topics.iter().filter(|(_, topic)| which(topic)).collect();
        topics.sort_by(|(one, a), (other, b)| {
            per_subscriber(b, a)
                .then(a.subscribers.len().cmp(&b.subscribers.len()))
                .then_with(|| signed(**one).cmp(&signed(**other)))
        });
        topics.into_iter().map(|(id, _)| *id).collect()
    }

    fn assign_free(&mut self) {
        for id in self.in_order(|topic| topic.owners.contains(&None)) {
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            let mut balancer = Balancer::new(&topic.subscribers, &self.sizes);
            for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
                *owner = balancer.next_to_get(&self.sizes);
                if let Some(size) = owner.and_then(|owner| self.sizes.get_mut(owner)) {
                    *size += 1;
                }
            }
        }
    }

    /// Goes through the topics until none has changed since it was its turn before.
    fn balance(&mut self) {
        let topics = self.in_order(|topic| topic.subscribers.len() >= 2);
        let mut last_changed = None;
        for _ in 0..ROUNDS {
            for (index, id) in topics.iter().enumerate() {
                if last_changed == Some(index) {
                    return;
                }
                if self.balance_topic(*id) || last_changed.is_none() {
                    last_changed = Some(index);
                }
            }
        }
    }

    /// Whether a partition has moved.
    fn balance_topic(&mut self, id: Uuid) -> bool {
        let Some(topic) = self.topics.get_mut(&id) else { return false };
        let mut balancer = Balancer::new(&topic.subscribers, &self.sizes);
        if balancer.imbalance() <= 1 {
            return false;
        }
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in topic.owners.iter().enumerate() {
            owned.entry(owner.unwrap_or(usize::MAX)).or_default().push(partition);
        }
        let mut has_moved = false;
        loop {
            let Some(from) = balancer.next_to_lose(&self.sizes) else { return has_moved };
            let Some(partition) = owned.get_mut(&from).and_then(Vec::pop) else {
                balancer.exclude();
                continue;
            };
            let Some(to) = balancer.next_to_get(&self.sizes) else { return has_moved };
            if balancer.is_even() {
                return has_moved;
            }
            if let Some(owner) = topic.owners.get_mut(partition) {
                *owner = Some(to);
            }
            for (member, change) in [(from, -1), (to, 1)] {
                if let Some(size) = self.sizes.get_mut(member) {
                    *size += change;
                }
            }
            has_moved = true;
        }
    }
}

/// Partitions per subscriber, compared without fractions.
fn per_subscriber(a: &Topic, b: &Topic) -> Ordering {
    (a.owners.len() * b.subscribers.len()).cmp(&(b.owners.len() * a.subscribers.len()))
}

/// As Kafka orders ids: as two signed numbers.
fn signed(id: Uuid) -> (i64, i64) {
    let (most, least) = id.as_u64_pair();
    (most.cast_signed(), least.cast_signed())
}

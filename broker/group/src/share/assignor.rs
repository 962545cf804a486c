//! Who is to have which partition: Kafka's `simple` assignor (`SimpleAssignor`).
//!
//! Members that subscribe to the same topics share all partitions; else each topic is shared among its own members. A
//! partition has as many members as it takes to give every member something, and members keep what they have if that is
//! even. Where Kafka goes by the order of hash tables, this goes by the order of ids and numbers.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

use crate::ids::MemberId;
use crate::record::{Partitions, each_partition};

/// A member among whom partitions are to be shared.
#[derive(Clone, Debug)]
pub(super) struct MemberSpec<'a> {
    /// The topics that it is subscribed to, as far as they exist.
    pub(super) topics: BTreeSet<Uuid>,
    /// What it was to have until now; `None`: it had no target assignment yet.
    pub(super) before: Option<&'a Partitions>,
}

pub(super) const NAME: &str = "simple";

/// What each member is to have. `partitions` are those that may be assigned.
pub(super) fn assign(
    members: &BTreeMap<&MemberId, MemberSpec<'_>>,
    partitions: &Partitions,
) -> BTreeMap<MemberId, Partitions> {
    let all: BTreeSet<Uuid> = members.values().flat_map(|member| &member.topics).copied().collect();
    let have_one_subscription = members.values().all(|member| member.topics == all);
    let parts: Vec<BTreeSet<Uuid>> =
        if have_one_subscription { vec![all] } else { all.into_iter().map(|topic| [topic].into()).collect() };
    let mut assigned: BTreeMap<MemberId, Partitions> =
        members.keys().map(|id| (Clone::clone(*id), Partitions::new())).collect();
    for topics in parts {
        let targets: Vec<TopicIdPartition> =
            each_partition(partitions).filter(|at| topics.contains(&at.topic_id)).collect();
        for (id, partition) in Part::new(members, &topics, targets).share() {
            let topics = assigned.entry(id.clone()).or_default();
            topics.entry(partition.topic_id).or_default().insert(partition.partition);
        }
    }
    assigned
}

/// Partitions that are shared among the same members.
struct Part<'a> {
    ids: Vec<&'a MemberId>,
    /// How many each member is to have; 0 for those that are not subscribed any more.
    wanted: Vec<usize>,
    /// How many members each partition is to have.
    sharing: usize,
    members_of: BTreeMap<TopicIdPartition, BTreeSet<usize>>,
    partitions_of: Vec<BTreeSet<TopicIdPartition>>,
}

impl<'a> Part<'a> {
    fn new(
        members: &BTreeMap<&'a MemberId, MemberSpec<'_>>,
        topics: &BTreeSet<Uuid>,
        targets: Vec<TopicIdPartition>,
    ) -> Self {
        let subscribers: Vec<bool> = members.values().map(|member| topics.is_subset(&member.topics)).collect();
        let count = subscribers.iter().filter(|is_subscribed| **is_subscribed).count();
        let sharing = if targets.is_empty() { 0 } else { count.div_ceil(targets.len()) };
        let each = (sharing * targets.len()) as f64 / count.max(1) as f64;
        let mut before = 0;
        let wanted = subscribers.iter().map(|is_subscribed| {
            if !is_subscribed {
                return 0;
            }
            let until = |members: usize| (each * members as f64).ceil() as usize;
            before += 1;
            until(before) - until(before - 1)
        });
        let mut part = Part {
            ids: members.keys().copied().collect(),
            wanted: wanted.collect(),
            sharing,
            members_of: BTreeMap::new(),
            partitions_of: Vec::new(),
        };
        for (index, member) in members.values().enumerate() {
            let old = member.before.into_iter().flat_map(each_partition).filter(|at| topics.contains(&at.topic_id));
            let old: BTreeSet<TopicIdPartition> = old.collect();
            for partition in &old {
                part.members_of.entry(*partition).or_default().insert(index);
            }
            part.partitions_of.push(old);
        }
        for target in targets {
            part.members_of.entry(target).or_default();
        }
        part
    }

    fn share(mut self) -> impl Iterator<Item = (&'a MemberId, TopicIdPartition)> {
        self.take_from_members_with_too_many();
        self.take_from_partitions_with_too_many();
        self.fill();
        self.ids.into_iter().zip(self.partitions_of).flat_map(|(id, all)| all.into_iter().map(move |one| (id, one)))
    }

    fn take_from_members_with_too_many(&mut self) {
        for (member, (partitions, wanted)) in self.partitions_of.iter_mut().zip(&self.wanted).enumerate() {
            while partitions.len() > *wanted {
                let Some(partition) = partitions.pop_first() else { break };
                if let Some(members) = self.members_of.get_mut(&partition) {
                    members.remove(&member);
                }
            }
        }
    }

    fn take_from_partitions_with_too_many(&mut self) {
        for (partition, members) in &mut self.members_of {
            while members.len() > self.sharing {
                let Some(member) = members.pop_first() else { break };
                if let Some(partitions) = self.partitions_of.get_mut(member) {
                    partitions.remove(partition);
                }
            }
        }
    }

    /// Goes round the members that have too few. As in Kafka, a member that is met again for the same partition counts
    /// again, and a round in which nobody took anything is the last one.
    fn fill(&mut self) {
        let has_too_few = |(member, wanted): (usize, &usize)| {
            (self.partitions_of.get(member).map_or(0, BTreeSet::len) < *wanted).then_some(member)
        };
        let mut members: Vec<usize> = self.wanted.iter().enumerate().filter_map(has_too_few).collect();
        let (mut next, mut has_given) = (0, false);
        for (partition, holders) in &self.members_of {
            let mut missing = self.sharing.saturating_sub(holders.len());
            while missing > 0 && !members.is_empty() {
                if next >= members.len() {
                    if !has_given {
                        break;
                    }
                    (next, has_given) = (0, false);
                }
                let member = members[next];
                if holders.contains(&member) {
                    next += 1;
                    continue;
                }
                self.partitions_of[member].insert(*partition);
                missing -= 1;
                has_given = true;
                if self.partitions_of[member].len() >= self.wanted[member] {
                    members.remove(next);
                } else {
                    next += 1;
                }
            }
        }
    }
}

//! The assignor `range`: each topic is cut into as many ranges as it has subscribers, in the order of the members, so
//! that topics with equally many partitions are cut alike and can be joined. Static members keep their place.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Counts, Members};
use crate::ids::MemberId;
use crate::record::Partitions;

pub(super) fn assign(members: &Members, partitions: &Counts) -> BTreeMap<MemberId, Partitions> {
    let mut cuts: BTreeMap<Uuid, Cut> = BTreeMap::new();
    for topic in members.values().flat_map(|member| member.topics.iter()) {
        let cut = cuts.entry(*topic).or_default();
        cut.subscribers += 1;
        cut.left = partitions.get(topic).copied().unwrap_or(0);
    }
    let mut in_order: Vec<_> = members.iter().collect();
    in_order.sort_by_key(|(id, member)| (member.instance.is_none(), &member.instance, *id));
    let assignment = in_order.into_iter().map(|(id, member)| {
        let ranges = member.topics.iter().filter_map(|topic| Some((*topic, cuts.get_mut(topic)?.next())));
        let ranges = ranges.filter(|(_, range)| !range.is_empty());
        (id.clone(), ranges.map(|(topic, range)| (topic, range.collect())).collect())
    });
    assignment.collect()
}

/// How far a topic is assigned.
#[derive(Default)]
struct Cut {
    /// Who have no range yet.
    subscribers: i32,
    /// Partitions that nobody has yet.
    left: i32,
    next: i32,
}

impl Cut {
    /// The range of the next subscriber: the first ones have one more if it does not come out even.
    fn next(&mut self) -> std::ops::Range<i32> {
        let subscribers = self.subscribers.max(1);
        let take = (self.left + subscribers - 1) / subscribers;
        let range = self.next..self.next + take;
        (self.left, self.next, self.subscribers) = (self.left - take, range.end, self.subscribers - 1);
        range
    }
}

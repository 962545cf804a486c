//! The assignor `uniform` where all members subscribe to the same topics: the numbers of partitions of two members
//! differ by one at most, and of what a member had it keeps as much as that allows.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::TopicIdPartition;

use super::{Counts, Members};
use crate::ids::MemberId;
use crate::record::{Partitions, each_partition};

pub(super) fn assign(members: &Members, partitions: &Counts) -> BTreeMap<MemberId, Partitions> {
    let Some(topics) = members.values().next().map(|member| &member.topics) else { return BTreeMap::new() };
    let (mut total, mut free) = (0usize, Vec::new());
    let had: BTreeSet<TopicIdPartition> = members.values().flat_map(|member| each_partition(&member.before)).collect();
    for topic in topics.iter() {
        let all = 0..partitions.get(topic).copied().unwrap_or(0);
        total += all.len();
        free.extend(all.map(|number| TopicIdPartition::new(*topic, number)).filter(|at| !had.contains(at)));
    }
    let quota = total / members.len();
    // Members that may have one more than the quota, and how many members are still to be asked.
    let (mut extra, mut left) = (total % members.len(), members.len());

    let mut assignment: BTreeMap<MemberId, Partitions> = BTreeMap::new();
    let mut unfilled: Vec<(&MemberId, usize)> = Vec::new();
    for (id, member) in members {
        let mut has_extra = extra > 0;
        let mut room = quota + usize::from(has_extra);
        let mut kept = Partitions::new();
        for at in each_partition(&member.before) {
            if !topics.contains(&at.topic_id) {
                continue;
            } else if room > 0 {
                room -= 1;
                kept.entry(at.topic_id).or_default().insert(at.partition);
            } else {
                free.push(at);
            }
        }
        if room > 0 && has_extra && left > extra {
            // Another member can fill the place; the last ones must take what is left of them.
            room -= 1;
            has_extra = false;
        }
        if room > 0 {
            unfilled.push((id, room));
        }
        extra -= usize::from(has_extra);
        left -= 1;
        assignment.insert(id.clone(), kept);
    }

    let mut free = free.into_iter();
    for (id, room) in unfilled {
        let taken = assignment.entry(id.clone()).or_default();
        for at in free.by_ref().take(room) {
            taken.entry(at.topic_id).or_default().insert(at.partition);
        }
    }
    assignment
}

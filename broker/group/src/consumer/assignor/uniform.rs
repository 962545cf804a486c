//! The assignor `uniform` where all members subscribe to the same topics: the numbers of partitions of two members
//! differ by one at most, and of what a member had it keeps as much as that allows.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Counts, Members};
use crate::ids::MemberId;
use crate::record::Partitions;

pub(super) fn assign(members: &Members, partitions: &Counts) -> BTreeMap<MemberId, Partitions> {
    let Some(topics) = members.values().next().map(|member| &member.topics) else { return BTreeMap::new() };
    let (mut total, mut free) = (0usize, Vec::new());
    let had: BTreeSet<(Uuid, i32)> = members.values().flat_map(|member| pairs(&member.before)).collect();
    for topic in topics.iter() {
        let all = 0..partitions.get(topic).copied().unwrap_or(0);
        total += all.len();
        free.extend(all.map(|partition| (*topic, partition)).filter(|at| !had.contains(at)));
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
        for (topic, partition) in pairs(&member.before) {
            if !topics.contains(&topic) {
                continue;
            } else if room > 0 {
                room -= 1;
                kept.entry(topic).or_default().insert(partition);
            } else {
                free.push((topic, partition));
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
        for (topic, partition) in free.by_ref().take(room) {
            taken.entry(topic).or_default().insert(partition);
        }
    }
    assignment
}

fn pairs(partitions: &Partitions) -> impl Iterator<Item = (Uuid, i32)> {
    partitions.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (*topic, *partition)))
}

//! When a stopping broker may end without an effect on clients.

use crate::image::{Assignment, BrokerId, ClusterImage};

/// Whether the draining broker `me` must keep serving: it leads a partition that another in-sync member could lead, or
/// it is a member of an ISR that can shrink, whose high watermark would stand still without it. False in a cluster that
/// is being deleted, because no other broker takes over.
pub fn is_needed(image: &ClusterImage, me: BrokerId) -> bool {
    !image.ending
        && image.topics.values().any(|topic| {
            let min_in_sync = topic.settings.min_insync_replicas;
            topic.partitions.iter().any(|entry| can_be_taken(entry, image, me, min_in_sync))
        })
}

/// Whether `me` leads anything.
pub fn leads(image: &ClusterImage, me: BrokerId) -> bool {
    image.topics.values().flat_map(|topic| &topic.partitions).any(|entry| entry.leader == Some(me))
}

fn can_be_taken(entry: &Assignment, image: &ClusterImage, me: BrokerId, min_in_sync: usize) -> bool {
    if entry.leader == Some(me) {
        let stays = |id: BrokerId| image.brokers.get(&id).is_some_and(|broker| broker.alive && !broker.draining);
        return entry.isr.iter().any(|member| member.broker != me && stays(member.broker));
    }
    let in_sync = entry.isr.iter().any(|member| member.broker == me);
    in_sync && entry.leader.is_some() && entry.isr.len() > entry.floor(min_in_sync)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::{Broker, Incarnation, IsrMember, LeaderEpoch, PartitionEpoch};

    #[derive(Clone, Copy)]
    enum State {
        Online,
        Draining,
        Offline,
    }
    use State::{Draining, Offline, Online};

    fn image(others: [State; 2]) -> ClusterImage {
        let states = [Draining, others[0], others[1]];
        let broker = |(id, state): (i32, State)| Broker {
            id: BrokerId(id),
            rack: None,
            alive: !matches!(state, Offline),
            draining: matches!(state, Draining),
            endpoints: BTreeMap::new(),
            address: None,
        };
        let brokers = (0..).zip(states).map(broker).map(|broker| (broker.id, broker)).collect();
        ClusterImage { brokers, ..ClusterImage::default() }
    }

    fn entry(leader: Option<i32>, isr: &[i32]) -> Assignment {
        Assignment {
            partition: 0,
            replicas: (0..3).map(BrokerId).collect(),
            adding: Vec::new(),
            removing: Vec::new(),
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            isr: isr.iter().map(|id| IsrMember { broker: BrokerId(*id), incarnation: Incarnation(1) }).collect(),
            reports: Vec::new(),
            log_start: None,
        }
    }

    #[test]
    fn a_broker_is_needed_while_the_operator_can_take_something_from_it() {
        let cases = [
            ("it leads and another could", Some(0), &[0, 1, 2][..], [Online, Online], true),
            ("it leads and is the last in sync", Some(0), &[0], [Online, Online], false),
            ("it leads, and who could is gone or draining too", Some(0), &[0, 1, 2], [Offline, Draining], false),
            ("it follows and the ISR can do without it", Some(1), &[0, 1, 2], [Online, Online], true),
            ("it follows and the floor keeps it", Some(1), &[0, 1], [Online, Online], false),
            ("it follows and is not in sync", Some(1), &[1, 2], [Online, Online], false),
            ("nobody leads", None, &[0, 1, 2], [Online, Online], false),
        ];
        for (story, leader, isr, others, expected) in cases {
            assert_eq!(can_be_taken(&entry(leader, isr), &image(others), BrokerId(0), 2), expected, "{story}");
        }
    }
}

//! The high watermark: the offset up to which every in-sync replica has the records.

use std::collections::BTreeMap;

use super::{BrokerId, Incarnation, IsrMember};

/// The position of a follower, by its fetches in this leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The incarnation in its fetch.
    pub incarnation: Incarnation,
    /// The offset that it asked for: it has every record before.
    pub fetched_to: i64,
}

/// The leader's new high watermark: the least position over the in-sync members, each reported in this leader epoch by
/// the incarnation of the member; the leader counts with its log end. It stands still while a member has not reported,
/// and while there are fewer than `min_in_sync` members.
pub fn high_watermark(
    current: i64,
    log_end: i64,
    me: BrokerId,
    isr: &[IsrMember],
    positions: &BTreeMap<BrokerId, Position>,
    min_in_sync: usize,
) -> i64 {
    if isr.len() < min_in_sync {
        return current;
    }
    let mut least = log_end;
    for member in isr.iter().filter(|member| member.broker != me) {
        match positions.get(&member.broker) {
            Some(position) if position.incarnation == member.incarnation => least = least.min(position.fetched_to),
            _ => return current,
        }
    }
    least.max(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(broker: i32, incarnation: i64) -> IsrMember {
        IsrMember { broker: BrokerId(broker), incarnation: Incarnation(incarnation) }
    }

    fn case(isr: &[IsrMember], positions: &[(i32, i64, i64)], min_in_sync: usize) -> i64 {
        let positions = positions
            .iter()
            .map(|&(broker, incarnation, fetched_to)| {
                (BrokerId(broker), Position { incarnation: Incarnation(incarnation), fetched_to })
            })
            .collect();
        high_watermark(5, 10, BrokerId(0), isr, &positions, min_in_sync)
    }

    #[test]
    fn the_least_of_the_in_sync_members_counts() {
        let alone = [member(0, 1)];
        let three = [member(0, 1), member(1, 1), member(2, 1)];
        assert_eq!(case(&alone, &[], 1), 10, "alone: the log end");
        assert_eq!(case(&three, &[(1, 1, 8), (2, 1, 9)], 2), 8, "the slowest follower");
        assert_eq!(case(&three, &[(1, 1, 8)], 2), 5, "one has not reported in this epoch");
        assert_eq!(case(&three, &[(1, 1, 8), (2, 7, 9)], 2), 5, "another incarnation reported");
        assert_eq!(case(&three, &[(1, 1, 3), (2, 1, 9)], 2), 5, "it never falls");
        assert_eq!(case(&alone, &[], 2), 5, "frozen below min.insync");
    }
}

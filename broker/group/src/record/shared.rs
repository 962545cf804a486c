//! What the records of consumer groups, of streams groups and of share groups have in common.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

/// Partitions by topic. Always: no topic without partitions.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Each of them.
pub(crate) fn each_partition(partitions: &Partitions) -> impl Iterator<Item = TopicIdPartition> {
    partitions.iter().flat_map(|(id, all)| all.iter().map(|number| TopicIdPartition::new(*id, *number)))
}

/// When the target assignment was computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetValue {
    /// For which epoch of the group.
    pub epoch: i32,
    /// Wall clock; `None` where it is not known.
    pub computed_ms: Option<i64>,
}

/// How far a member is on its way to the target assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It is there.
    Stable,
    /// It is to revoke partitions first.
    Unrevoked,
    /// It waits for partitions that others have not released.
    Unreleased,
    /// A state that this version does not know.
    Unknown,
}

impl MemberState {
    /// In Kafka's records.
    pub(super) fn number(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        }
    }

    /// By its number in Kafka's records.
    pub(super) fn numbered(number: i8) -> Self {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => MemberState::Unknown,
        }
    }
}

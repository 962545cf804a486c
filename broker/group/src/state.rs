//! The state of a group, and its kind.

/// A group's state, as clients see it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// No members. It may hold offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Of a consumer group: it has changed, and its target assignment has not yet.
    Assigning,
    /// Of a consumer group: members move to the target assignment.
    Reconciling,
    /// Every member has its assignment.
    Stable,
    /// Not there.
    Dead,
}

impl GroupState {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// Which protocol a group speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupKind {
    /// Its leader assigns.
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

impl GroupKind {
    /// Every kind.
    pub const ALL: [GroupKind; 2] = [GroupKind::Classic, GroupKind::Consumer];

    /// The states that a group of this kind may be in.
    pub fn states(self) -> &'static [GroupState] {
        use GroupState::{Assigning, CompletingRebalance, Empty, PreparingRebalance, Reconciling, Stable};
        match self {
            GroupKind::Classic => &[Empty, PreparingRebalance, CompletingRebalance, Stable],
            GroupKind::Consumer => &[Empty, Assigning, Reconciling, Stable],
        }
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }
}

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
    /// Of a consumer or streams group: it has changed, and its target assignment has not yet.
    Assigning,
    /// Of a consumer or streams group: members move to the target assignment.
    Reconciling,
    /// Of a streams group: topics of its topology are missing or wrong.
    NotReady,
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
            GroupState::NotReady => "NotReady",
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
    /// The coordinator assigns tasks of a streams application (KIP-1071).
    Streams,
    /// Members share partitions (KIP-932).
    Share,
}

impl GroupKind {
    /// Every kind.
    pub const ALL: [GroupKind; 4] = [GroupKind::Classic, GroupKind::Consumer, GroupKind::Streams, GroupKind::Share];

    /// The states that a group of this kind may be in.
    pub fn states(self) -> &'static [GroupState] {
        use GroupState::{Assigning, CompletingRebalance, Empty, NotReady, PreparingRebalance, Reconciling, Stable};
        match self {
            GroupKind::Classic => &[Empty, PreparingRebalance, CompletingRebalance, Stable],
            GroupKind::Consumer => &[Empty, Assigning, Reconciling, Stable],
            GroupKind::Streams => &[Empty, NotReady, Assigning, Reconciling, Stable],
            GroupKind::Share => &[Empty, Stable],
        }
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
            GroupKind::Streams => "streams",
            GroupKind::Share => "share",
        }
    }
}

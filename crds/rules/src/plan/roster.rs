//! What is wanted of each broker: whether it serves, gets no new replicas, must become empty, or leaves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assignment::BrokerId;

/// What the spec of a cluster wants of a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Wanted {
    /// The broker serves.
    #[default]
    Serve,
    /// The broker serves what it holds and gets no new replica.
    Cordoned,
    /// The broker's replicas move to other brokers; it stays, empty.
    Drained,
    /// The broker continues under its id with a new, empty volume.
    Fresh,
    /// The broker's replicas move to other brokers; then its pod is removed.
    Leaving,
}

impl Wanted {
    /// Whether the broker may get a replica that it does not hold yet.
    pub fn takes_replicas(self) -> bool {
        match self {
            Wanted::Serve | Wanted::Fresh => true,
            Wanted::Cordoned | Wanted::Drained | Wanted::Leaving => false,
        }
    }

    /// Whether all replicas of the broker must move to other brokers.
    pub fn must_be_empty(self) -> bool {
        match self {
            Wanted::Drained | Wanted::Leaving => true,
            Wanted::Serve | Wanted::Cordoned | Wanted::Fresh => false,
        }
    }
}

/// What is wanted of broker `id` in a cluster of `replicas` brokers. Their ids begin at 0, so the highest leave first.
pub fn wanted(id: BrokerId, replicas: i32) -> Wanted {
    if id.0 < replicas { Wanted::Serve } else { Wanted::Leaving }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_brokers_leave() {
        let of_three = |id| wanted(BrokerId(id), 3);
        assert_eq!([0, 2, 3, 29].map(of_three), [Wanted::Serve, Wanted::Serve, Wanted::Leaving, Wanted::Leaving]);
    }
}

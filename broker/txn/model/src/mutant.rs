//! One rule broken. The check must notice each: it proves that the rule is needed, and that the model can see why.

use crate::rules::{AS_DECIDED, ATOMIC, NONE_HANGS, ONE_PRODUCER, OWN_RECORDS, STABLE};
use crate::scenario::{Bounds, CALM, CALM_BEFORE_V2};

/// A rule that does not hold. The comment says what happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A partition takes the markers of a coordinator that was replaced.
    NoCoordinatorEpoch,
    /// A partition asks nobody whether a batch belongs to an open transaction.
    NotVerified,
    /// The end of a transaction of V2 leaves the epoch as it is.
    NoEpochBump,
    /// A verification stays good although the transaction has ended meanwhile.
    GuardOutlivesMarkers,
    /// A partition takes markers with the epoch of the open transaction, as before V2.
    MarkersOfTheSameEpoch,
    /// A coordinator sends markers before its decision is committed.
    MarkersBeforeCommit,
    /// A coordinator takes a transaction for complete when one of its partitions has its marker.
    CompleteWithTheFirstMarker,
    /// A new coordinator sends markers for what it has found in its log, committed or not.
    ActsOnWhatIsNotSettled,
    /// A producer that asks for another epoch passes for the one that got the present epoch if its own is one lower,
    /// whether or not that is written down.
    LastEpochIsDerived,
    /// Readers of committed records see all that is committed, decided or not.
    ReadsToTheHighWatermark,
    /// Before V2 that arrives, too, which is left out otherwise: Kafka's own weakness is as the crate describes it.
    NothingIsLeftOut,
}

impl Mutant {
    /// Every mutant, with bounds in which it shows, and a rule that does not hold then.
    pub fn all() -> Vec<(Mutant, Bounds, &'static str)> {
        let v2 = Bounds { name: "mutant", transactions: [1, 0], ..CALM };
        let before_v2 = Bounds { name: "mutant", transactions: [1, 0], ..CALM_BEFORE_V2 };
        let twice = Bounds { transactions: [2, 0], repeats: 1, ..v2.clone() };
        let succession = Bounds { successions: 1, time_outs: 1, ..v2.clone() };
        let zombie = Bounds { transactions: [2, 0], successions: 1, has_zombie: true, ..before_v2.clone() };
        vec![
            (Mutant::NoCoordinatorEpoch, zombie, ATOMIC),
            (Mutant::NothingIsLeftOut, Bounds { transactions: [2, 0], repeats: 1, ..before_v2.clone() }, OWN_RECORDS),
            (Mutant::NotVerified, Bounds { repeats: 1, ..before_v2.clone() }, NONE_HANGS),
            (Mutant::NoEpochBump, twice.clone(), OWN_RECORDS),
            (Mutant::GuardOutlivesMarkers, before_v2, NONE_HANGS),
            (Mutant::MarkersOfTheSameEpoch, twice, AS_DECIDED),
            (Mutant::MarkersBeforeCommit, succession.clone(), ATOMIC),
            (Mutant::CompleteWithTheFirstMarker, v2.clone(), NONE_HANGS),
            (Mutant::ReadsToTheHighWatermark, v2, STABLE),
            (Mutant::LastEpochIsDerived, CALM_BEFORE_V2, ONE_PRODUCER),
            (Mutant::ActsOnWhatIsNotSettled, Bounds { successions: 2, ..succession }, ATOMIC),
        ]
    }
}

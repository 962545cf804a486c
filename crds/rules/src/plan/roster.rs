//! What is wanted of each broker: whether it serves, gets no new replicas, must become empty, or leaves; and when a
//! broker that leaves is empty for certain.
//!
//! Always: the pod of a broker is removed only when no assignment names it and nothing is on its disk, twice,
//! [`EMPTY_FOR`] apart. Of a broker that is away, replicas of deleted topics do not count: they need nobody's disk, and
//! the tombstones stay as long as its volume. The highest ids leave first, because a StatefulSet removes its last pods.

use std::time::Duration;

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

/// What a spec orders of a single broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// The broker serves what it holds and gets no new replica.
    Cordoned,
    /// The broker's replicas move to other brokers; it stays, empty.
    Drained,
    /// The broker's volume is replaced by a new one, to which the broker copies its replicas from other brokers.
    Fresh,
}

/// What is wanted of a broker. `is_asked_for`: whether the spec asks for it. `order`: the order for this broker, unless
/// it was carried out.
pub fn wanted(is_asked_for: bool, order: Option<Order>) -> Wanted {
    match order {
        _ if !is_asked_for => Wanted::Leaving,
        None => Wanted::Serve,
        Some(Order::Cordoned) => Wanted::Cordoned,
        Some(Order::Drained) => Wanted::Drained,
        Some(Order::Fresh) => Wanted::Fresh,
    }
}

/// How long a broker must have been empty before its pod is removed: an operator that has not yet seen the last change
/// of the spec may still place a replica there.
pub const EMPTY_FOR: Duration = Duration::from_secs(30);

/// A broker that the spec no longer asks for, at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// Its id.
    pub id: BrokerId,
    /// Whether the StatefulSet still asks for its pod.
    pub has_pod: bool,
    /// Whether the status of the cluster shows that it leaves, or does not show it at all.
    pub is_shown: bool,
    /// How many replicas the assignments name on it.
    pub assigned: usize,
    /// How many replicas of deleted topics they name on it.
    pub deleted: usize,
    /// What is on its disk.
    pub disk: Disk,
    /// For how long neither the assignments nor its disk have named a replica; `None`: one of them names one now, or
    /// the disk is not known.
    pub empty_for: Option<Duration>,
}

/// What a broker says is on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Its pod is not ready: nobody can be asked.
    Away,
    /// It holds this many replicas.
    Holds(usize),
    /// Its pod is ready, and it did not say: why.
    Unknown(String),
}

/// Why a leaving broker stays for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// The assignments name this many replicas on it.
    Assigned(usize),
    /// No assignment names it, and this many replicas are on its disk.
    OnDisk(usize),
    /// It has removed its replicas of deleted topics, but not itself from the assignments of this many of them.
    Deleting(usize),
    /// It did not say what is on its disk: why.
    Unasked(String),
    /// It is empty, and not for long enough.
    JustEmpty,
    /// The status does not yet show that it leaves.
    Unshown,
}

impl Leaver {
    /// Whether nothing names a replica on it at this look.
    pub fn is_empty(&self) -> bool {
        self.assigned == 0
            && match self.disk {
                Disk::Away => true,
                Disk::Holds(replicas) => replicas + self.deleted == 0,
                Disk::Unknown(_) => false,
            }
    }

    /// Why it stays; `None`: it can go, or has gone. A broker without a pod returns only for a replica.
    pub fn stay(&self) -> Option<Stay> {
        if self.assigned > 0 {
            return Some(Stay::Assigned(self.assigned));
        }
        if !self.has_pod {
            return None;
        }
        match &self.disk {
            Disk::Holds(replicas @ 1..) => return Some(Stay::OnDisk(*replicas)),
            Disk::Unknown(why) => return Some(Stay::Unasked(why.clone())),
            Disk::Holds(0) if self.deleted > 0 => return Some(Stay::Deleting(self.deleted)),
            Disk::Away | Disk::Holds(0) => {}
        }
        if self.empty_for.is_none_or(|empty_for| empty_for < EMPTY_FOR) {
            return Some(Stay::JustEmpty);
        }
        (!self.is_shown).then_some(Stay::Unshown)
    }
}

/// The highest broker of `leavers` that stays, and why; `None`: all of them can go.
pub fn highest_that_stays(leavers: &[Leaver]) -> Option<(BrokerId, Stay)> {
    let staying = leavers.iter().filter_map(|leaver| Some((leaver.id, leaver.stay()?)));
    staying.max_by_key(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_that_are_not_asked_for_leave_whatever_else_is_ordered() {
        let cases = [(true, None), (true, Some(Order::Drained)), (false, None), (false, Some(Order::Cordoned))];
        let wanted = cases.map(|(is_asked_for, order)| wanted(is_asked_for, order));
        assert_eq!(wanted, [Wanted::Serve, Wanted::Drained, Wanted::Leaving, Wanted::Leaving]);
    }

    fn leaver(id: i32) -> Leaver {
        let disk = Disk::Holds(0);
        let (assigned, deleted, empty_for) = (0, 0, Some(EMPTY_FOR));
        Leaver { id: BrokerId(id), has_pod: true, is_shown: true, assigned, deleted, disk, empty_for }
    }

    #[test]
    fn a_broker_leaves_when_nothing_names_it_twice() {
        let second = Duration::from_secs(1);
        for (story, leaver, expected) in [
            ("it was empty twice", leaver(3), None),
            ("replicas are assigned", Leaver { assigned: 2, empty_for: None, ..leaver(3) }, Some(Stay::Assigned(2))),
            ("files are left", Leaver { disk: Disk::Holds(1), empty_for: None, ..leaver(3) }, Some(Stay::OnDisk(1))),
            (
                "it does not say",
                Leaver { disk: Disk::Unknown("timeout".to_owned()), ..leaver(3) },
                Some(Stay::Unasked("timeout".to_owned())),
            ),
            ("a topic was deleted", Leaver { deleted: 2, empty_for: None, ..leaver(3) }, Some(Stay::Deleting(2))),
            ("the same, and it is dead", Leaver { disk: Disk::Away, deleted: 2, ..leaver(3) }, None),
            ("it is dead", Leaver { disk: Disk::Away, ..leaver(3) }, None),
            ("it is dead and needed", Leaver { disk: Disk::Away, assigned: 1, ..leaver(3) }, Some(Stay::Assigned(1))),
            ("the first look", Leaver { empty_for: Some(Duration::ZERO), ..leaver(3) }, Some(Stay::JustEmpty)),
            ("no look yet", Leaver { empty_for: None, ..leaver(3) }, Some(Stay::JustEmpty)),
            ("soon", Leaver { empty_for: Some(EMPTY_FOR - second), ..leaver(3) }, Some(Stay::JustEmpty)),
            ("nobody knows yet", Leaver { is_shown: false, ..leaver(3) }, Some(Stay::Unshown)),
            ("it has gone", Leaver { has_pod: false, empty_for: None, ..leaver(3) }, None),
            ("it is called back", Leaver { has_pod: false, assigned: 1, ..leaver(3) }, Some(Stay::Assigned(1))),
        ] {
            assert_eq!(leaver.stay(), expected, "{story}");
        }
    }

    #[test]
    fn lower_brokers_wait_for_the_highest_that_stays() {
        let holding = |id| Leaver { assigned: 1, ..leaver(id) };
        for (leavers, expected) in [
            (vec![], None),
            (vec![leaver(3), leaver(4)], None),
            (vec![holding(3), leaver(4)], Some(3)),
            (vec![leaver(3), holding(4)], Some(4)),
        ] {
            assert_eq!(highest_that_stays(&leavers).map(|(id, _)| id.0), expected, "{leavers:?}");
        }
    }
}

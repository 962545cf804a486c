//! Brokers that are not live and that the operator waits for, for a limited time by its own clock.
//!
//! Brokers of a new cluster that have never been live: its first topics wait for them, because otherwise all would be
//! placed on the first broker that starts. And returning brokers: records that only they have must not be lost because
//! they were restarted seconds ago.

use std::collections::{BTreeMap, BTreeSet};

use ottla_rules::assignment::BrokerId;
use tokio::time::{Duration, Instant};

/// How long the operator waits for a broker that has never been live.
const FIRST: Duration = Duration::from_secs(60);
/// How long a dead broker counts as returning: a process restarts within seconds.
const BACK: Duration = Duration::from_secs(30);

/// Since when the operator waits for each broker.
#[derive(Debug)]
pub struct Arrivals {
    patience: Duration,
    since: BTreeMap<BrokerId, Instant>,
    last_look: Option<Instant>,
}

impl Arrivals {
    /// Waits for brokers that have never been live.
    pub fn first() -> Arrivals {
        Arrivals { patience: FIRST, since: BTreeMap::new(), last_look: None }
    }

    /// Waits for brokers that died.
    pub fn back() -> Arrivals {
        Arrivals { patience: BACK, ..Arrivals::first() }
    }

    /// The brokers of `wanted` to wait for. `there`: brokers that are live, or ever were.
    pub fn awaited(
        &mut self,
        wanted: impl IntoIterator<Item = BrokerId>,
        there: &BTreeSet<BrokerId>,
        now: Instant,
    ) -> BTreeSet<BrokerId> {
        self.last_look = Some(now);
        let missing = wanted.into_iter().filter(|id| !there.contains(id));
        self.since = missing.map(|id| (id, self.since.get(&id).copied().unwrap_or(now))).collect();
        self.since.iter().filter(|(_, since)| now - **since < self.patience).map(|(id, _)| *id).collect()
    }

    /// When the wait for the next broker ends; `None`: the operator waits for none.
    pub fn next(&self) -> Option<Instant> {
        let looked = self.last_look?;
        self.since.values().map(|since| *since + self.patience).filter(|ends| *ends > looked).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_never_came_is_waited_for_a_minute() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut arrivals = Arrivals::first();
        let mut awaited = |wanted: i32, registered: &[i32], second| {
            let registered = registered.iter().copied().map(BrokerId).collect();
            let awaited = arrivals.awaited((0..wanted).map(BrokerId), &registered, at(second));
            (awaited.into_iter().map(|id| id.0).collect::<Vec<_>>(), arrivals.next())
        };
        assert_eq!(awaited(3, &[], 0), (vec![0, 1, 2], Some(at(60))));
        assert_eq!(awaited(3, &[1], 5), (vec![0, 2], Some(at(60))));
        assert_eq!(awaited(4, &[0, 1], 59), (vec![2, 3], Some(at(60))), "one was added to the spec");
        assert_eq!(awaited(4, &[0, 1], 60), (vec![3], Some(at(119))));
        assert_eq!(awaited(4, &[0, 1, 3], 61), (vec![], None));
        assert_eq!(awaited(4, &[0, 1, 2, 3], 62), (vec![], None));
    }
}

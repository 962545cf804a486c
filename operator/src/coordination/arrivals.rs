//! Brokers that are not there and may come, by this operator's own clock: not for ever.
//!
//! Those of a new cluster that have never been there: its first topics wait for them, else all would be placed on
//! whichever comes up first. And those that have gone: what only they have is not to be given up seconds after they
//! were restarted.

use std::collections::{BTreeMap, BTreeSet};

use ottla_rules::assignment::BrokerId;
use tokio::time::{Duration, Instant};

/// How long a broker is waited for that never came.
const FIRST: Duration = Duration::from_secs(60);
/// How long one that has gone may be on its way back: a process that is started again takes seconds.
const BACK: Duration = Duration::from_secs(30);

/// Since when each is waited for.
#[derive(Debug)]
pub struct Arrivals {
    patience: Duration,
    since: BTreeMap<BrokerId, Instant>,
    last_look: Option<Instant>,
}

impl Arrivals {
    /// Of brokers that have never been there.
    pub fn first() -> Arrivals {
        Arrivals { patience: FIRST, since: BTreeMap::new(), last_look: None }
    }

    /// Of brokers that have gone.
    pub fn back() -> Arrivals {
        Arrivals { patience: BACK, ..Arrivals::first() }
    }

    /// Those of `wanted` to wait for. `there`: all that are, or ever have been.
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

    /// When the patience with the next one ends.
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

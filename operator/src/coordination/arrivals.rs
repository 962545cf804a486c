//! The brokers of a new cluster that have not been there yet, by this operator's own clock. Its first topics wait for them, but
//! not for ever: else all would be placed on whichever broker comes up first.

use std::collections::{BTreeMap, BTreeSet};

use ottla_crds::assignment::BrokerId;
use tokio::time::{Duration, Instant};

/// How long a broker is waited for that never came.
const PATIENCE: Duration = Duration::from_secs(60);

/// Since when each is waited for.
#[derive(Debug, Default)]
pub struct Arrivals {
    since: BTreeMap<BrokerId, Instant>,
    last_look: Option<Instant>,
}

impl Arrivals {
    /// Those of `wanted` to wait for. `registered`: all that have ever been there.
    pub fn awaited(
        &mut self,
        wanted: impl IntoIterator<Item = BrokerId>,
        registered: &BTreeSet<BrokerId>,
        now: Instant,
    ) -> BTreeSet<BrokerId> {
        self.last_look = Some(now);
        let missing = wanted.into_iter().filter(|id| !registered.contains(id));
        self.since = missing.map(|id| (id, self.since.get(&id).copied().unwrap_or(now))).collect();
        self.since.iter().filter(|(_, since)| now - **since < PATIENCE).map(|(id, _)| *id).collect()
    }

    /// When the patience with the next one ends.
    pub fn next(&self) -> Option<Instant> {
        let looked = self.last_look?;
        self.since.values().map(|since| *since + PATIENCE).filter(|ends| *ends > looked).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_never_came_is_waited_for_a_minute() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut arrivals = Arrivals::default();
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

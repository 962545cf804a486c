//! Since when brokers are live, by this operator's own clock.

use std::collections::{BTreeMap, BTreeSet};

use ottla_rules::assignment::{BrokerId, Incarnation};
use tokio::time::{Duration, Instant};

use crate::plan::Broker;

/// Since when each live broker has been live without a break.
#[derive(Debug, Default)]
pub struct Tenure {
    since: BTreeMap<BrokerId, (Incarnation, Instant)>,
    last_look: Option<Instant>,
}

impl Tenure {
    /// Notes which brokers are live, and returns those that have been for `after`.
    pub fn settled(
        &mut self,
        brokers: &BTreeMap<BrokerId, Broker>,
        after: Option<Duration>,
        now: Instant,
    ) -> BTreeSet<BrokerId> {
        self.last_look = Some(now);
        let alive = brokers.iter().filter_map(|(id, broker)| {
            let incarnation = broker.live?.incarnation;
            let known = self.since.get(id).filter(|(known, _)| *known == incarnation);
            Some((*id, known.copied().unwrap_or((incarnation, now))))
        });
        self.since = alive.collect();
        let Some(after) = after else { return BTreeSet::new() };
        self.since.iter().filter(|(_, (_, since))| now - *since >= after).map(|(id, _)| *id).collect()
    }

    /// When the next broker will be settled; `None`: every broker that was seen alive is, or `after` is `None`.
    pub fn next(&self, after: Option<Duration>) -> Option<Instant> {
        let (after, looked) = (after?, self.last_look?);
        self.since.values().map(|(_, since)| *since + after).filter(|settles| *settles > looked).min()
    }
}

#[cfg(test)]
mod tests {
    use ottla_rules::assignment::LiveBroker;

    use super::*;

    #[test]
    fn a_broker_is_settled_when_it_has_been_there_without_a_break() {
        let after = Some(Duration::from_secs(300));
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let broker = |incarnation: Option<i64>| {
            let live = incarnation.map(|life| LiveBroker { incarnation: Incarnation(life), draining: false });
            BTreeMap::from([(BrokerId(0), Broker { live, ..Broker::default() })])
        };
        let mut tenure = Tenure::default();
        let mut settled = |second, life| !tenure.settled(&broker(life), after, at(second)).is_empty();
        assert!(!settled(0, Some(1)));
        assert!(!settled(299, Some(1)));
        assert!(settled(300, Some(1)));
        assert!(!settled(301, None));
        assert!(!settled(302, Some(1)), "it was away");
        assert!(!settled(601, Some(1)));
        assert!(settled(602, Some(1)));
        assert!(!settled(603, Some(2)), "it lost its content");
        assert_eq!(tenure.next(after), Some(at(903)));
        assert!(tenure.settled(&broker(Some(2)), None, at(2000)).is_empty(), "leaders don't return");
        assert_eq!(tenure.next(None), None);
    }
}

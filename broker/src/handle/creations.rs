//! Topics that heartbeats of streams groups have created (KIP-1071; Kafka's `AutoTopicCreationManager`).
//!
//! Every heartbeat of a group names the topics that are missing. Owns which of them are being created, so that no topic
//! is asked for twice at once, and why others could not be, so that each is tried again after a while only. Knows
//! neither groups nor requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::Str;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::env::{self, Instant};

/// How many topics may be under way at once; further ones wait for the next heartbeat.
const UNDER_WAY: usize = 10_000;
/// How many failures are remembered (Kafka's `topicErrorCacheCapacity`).
const FAILURES: usize = 1_000;

/// Topics that are being created, or could not be.
pub struct Creations {
    /// The control runtime: a creation does not end with the connection whose heartbeat led to it.
    runtime: Handle,
    known: Mutex<CreationProgress>,
}

#[derive(Default)]
struct CreationProgress {
    under_way: BTreeSet<Str>,
    failed: BTreeMap<Str, Failure>,
}

struct Failure {
    why: String,
    until: Instant,
}

impl Creations {
    /// Nothing is under way yet. Must be called on the control runtime.
    pub fn new() -> Arc<Creations> {
        Arc::new(Creations { runtime: Handle::current(), known: Mutex::default() })
    }

    /// Which of these topics to create now: those that are neither under way nor have just failed. Who asks must say
    /// [`Creations::ended`] of each.
    pub fn begin(&self, names: impl IntoIterator<Item = Str>) -> BTreeSet<Str> {
        self.known.lock().begin(names, env::now())
    }

    /// Carries a creation out, beside the request that led to it.
    pub fn spawn(&self, creation: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(creation);
    }

    /// What became of a topic, and for how long to remember that if it failed.
    pub fn ended(&self, name: Str, result: Result<(), String>, remember: Duration) {
        self.known.lock().ended(name, result, env::now(), remember);
    }

    /// Why these topics could not be created lately, in the order of their names.
    pub fn failures<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> BTreeMap<Str, String> {
        self.known.lock().failures(names, env::now())
    }
}

impl CreationProgress {
    fn begin(&mut self, names: impl IntoIterator<Item = Str>, now: Instant) -> BTreeSet<Str> {
        let mut begun = BTreeSet::new();
        for name in names {
            let has_failed = self.failed.get(&name).is_some_and(|failure| failure.until > now);
            if !has_failed && self.under_way.len() < UNDER_WAY && self.under_way.insert(name.clone()) {
                begun.insert(name);
            }
        }
        begun
    }

    fn ended(&mut self, name: Str, result: Result<(), String>, now: Instant, remember: Duration) {
        self.under_way.remove(&name);
        let Err(why) = result else {
            self.failed.remove(&name);
            return;
        };
        self.failed.insert(name, Failure { why, until: now + remember });
        if self.failed.len() > FAILURES {
            self.failed.retain(|_, failure| failure.until > now);
        }
        if self.failed.len() > FAILURES {
            let soonest = self.failed.iter().min_by_key(|(_, failure)| failure.until).map(|(name, _)| name.clone());
            soonest.map(|name| self.failed.remove(&name));
        }
    }

    fn failures<'a>(&self, names: impl IntoIterator<Item = &'a str>, now: Instant) -> BTreeMap<Str, String> {
        let failed = names.into_iter().filter_map(|name| self.failed.get_key_value(name));
        let lately = failed.filter(|(_, failure)| failure.until > now);
        lately.map(|(name, failure)| (name.clone(), failure.why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: Duration = Duration::from_secs(10);

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<Str> {
        names.into_iter().map(Str::from).collect()
    }

    #[test]
    fn no_topic_is_created_twice_at_once() {
        let (mut known, now) = (CreationProgress::default(), env::now());
        assert_eq!(known.begin(names(["a", "b"]), now), names(["a", "b"]));
        assert_eq!(known.begin(names(["a", "b", "c"]), now), names(["c"]));
        known.ended("a".into(), Ok(()), now, WHILE);
        assert_eq!(known.begin(names(["a", "b"]), now), names(["a"]), "it was deleted meanwhile");
    }

    #[test]
    fn a_topic_that_failed_is_tried_again_after_a_while() {
        let (mut known, now) = (CreationProgress::default(), env::now());
        assert_eq!(known.begin(names(["a", "b"]), now), names(["a", "b"]));
        known.ended("a".into(), Err("no room".to_owned()), now, WHILE);
        known.ended("b".into(), Ok(()), now, WHILE);
        assert_eq!(known.begin(names(["a"]), now), names([]));
        let expected = BTreeMap::from([(Str::from("a"), "no room".to_owned())]);
        assert_eq!(known.failures(["b", "a"], now), expected);
        let later = now + WHILE;
        assert_eq!(known.failures(["b", "a"], later), BTreeMap::new());
        assert_eq!(known.begin(names(["a"]), later), names(["a"]));
        known.ended("a".into(), Ok(()), later, WHILE);
        assert!(known.failed.is_empty(), "a success is the end of a failure");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut known, now) = (CreationProgress::default(), env::now());
        for number in 0..FAILURES + 5 {
            let while_after = WHILE + Duration::from_millis(number as u64);
            known.ended(number.to_string().into(), Err(String::new()), now, while_after);
        }
        assert_eq!(known.failed.len(), FAILURES);
        assert!(known.failures(["4"], now).is_empty() && !known.failures(["5"], now).is_empty(), "the soonest is gone");
        let many = (0..UNDER_WAY + 5).map(|number| Str::from(format!("topic-{number}")));
        assert_eq!(known.begin(many, now).len(), UNDER_WAY);
    }
}

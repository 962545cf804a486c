//! Which planned steps to take now. Not those whose outcome the watch has not shown yet, and not those that have just
//! failed.
//!
//! Always: one step per object at a time; an object that keeps failing is tried less and less often and delays no
//! other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kube::ResourceExt;
use ottla_client::Backoff;
use tokio::time::Instant;

use crate::plan::Step;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// If the watch does not show a write for so long, the write changed nothing or the watch is stuck: plan again.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Remembers what was tried.
#[derive(Debug, Default)]
pub struct Pace {
    tried: HashMap<Key, Tried>,
}

/// The object that a step writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(&'static str, String);

#[derive(Debug)]
struct Tried {
    /// The object's version that the step was planned for; `None`: the step creates the object.
    version: Option<String>,
    backoff: Backoff,
    again_at: Instant,
}

impl Pace {
    /// The steps to take now, and those to hold back.
    pub fn divide(&self, steps: Vec<Step>, now: Instant) -> (Vec<Step>, Vec<Step>) {
        let mut written = HashSet::new();
        steps.into_iter().partition(|step| {
            let (key, version) = target(step);
            let due = self.tried.get(&key).is_none_or(|tried| tried.again_at <= now || tried.version != version);
            due && written.insert(key)
        })
    }

    /// Notes the outcome of a step.
    pub fn tried(&mut self, step: &Step, succeeded: bool, now: Instant) {
        let (key, version) = target(step);
        let anew = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
        let mut backoff = self.tried.get(&key).map_or(anew, |tried| tried.backoff);
        let wait = if succeeded {
            backoff.succeeded();
            SHOWN_WITHIN
        } else {
            backoff.failed()
        };
        self.tried.insert(key, Tried { version, backoff, again_at: now + wait });
    }

    /// When one of these may be taken again. Everything else is forgotten.
    pub fn next_try(&mut self, planned: &[Step]) -> Option<Instant> {
        let keys: HashSet<Key> = planned.iter().map(|step| target(step).0).collect();
        self.tried.retain(|key, _| keys.contains(key));
        self.tried.values().map(|tried| tried.again_at).min()
    }
}

fn target(step: &Step) -> (Key, Option<String>) {
    let (kind, name, version) = match step {
        Step::Change { read, .. } | Step::Append { read, .. } | Step::Bury { read, .. } | Step::Remove(read) => {
            ("KafkaAssignment", read.name_any(), read.resource_version())
        }
        Step::Create(object) => ("KafkaAssignment", object.name_any(), None),
        Step::Own(topic) | Step::Release { topic, .. } => ("KafkaTopic", topic.name_any(), topic.resource_version()),
        Step::TopicStatus { read, .. } => ("KafkaTopic", read.name_any(), read.resource_version()),
        Step::ClusterStatus { read, .. } => ("KafkaCluster", read.name_any(), read.resource_version()),
    };
    (Key(kind, name), version)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaTopic;

    use super::*;

    fn own(name: &str, version: &str) -> Step {
        let mut topic = KafkaTopic::new(name, Default::default());
        topic.metadata.resource_version = Some(version.to_owned());
        Step::Own(Arc::new(topic))
    }

    #[test]
    fn a_step_waits_until_its_outcome_is_shown_and_a_failed_one_ever_longer() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let due = |pace: &Pace, step: Step, after: u64| {
            !pace.divide(vec![step], start + Duration::from_millis(after)).0.is_empty()
        };
        assert!(due(&pace, own("a", "1"), 0));
        pace.tried(&own("a", "1"), true, start);
        assert!(!due(&pace, own("a", "1"), 4_999), "the watch has not shown it yet");
        assert!(due(&pace, own("a", "1"), 5_000), "it was not shown in time");
        assert!(due(&pace, own("a", "2"), 0), "it was shown, or somebody else has written");
        assert!(due(&pace, own("b", "1"), 0), "another object");

        for wait in [100, 200, 400, 800] {
            pace.tried(&own("a", "1"), false, start);
            assert!(!due(&pace, own("a", "1"), wait - 1) && due(&pace, own("a", "1"), wait), "{wait}");
        }
        for _ in 0..100 {
            pace.tried(&own("a", "1"), false, start);
        }
        assert!(due(&pace, own("a", "1"), 60_000));
    }

    #[test]
    fn one_step_per_object_at_a_time_and_nothing_is_remembered_for_ever() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let (due, held_back) = pace.divide(vec![own("a", "1"), own("a", "1"), own("b", "1")], now);
        assert_eq!((due.len(), held_back.len()), (2, 1));
        pace.tried(&due[0], true, now);
        assert_eq!(pace.next_try(&due), Some(now + SHOWN_WITHIN));
        assert_eq!(pace.next_try(&[]), None);
        assert!(pace.tried.is_empty());
    }
}

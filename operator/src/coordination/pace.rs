//! Which planned steps to take now: not those whose outcome the watch has yet to show, nor those that failed a moment ago.
//!
//! Always: one step per object at a time; an object that keeps failing is tried ever more rarely and holds up no other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use crate::plan::Step;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A write that is not shown for so long changed nothing, or the watch is frozen: plan again.
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
    /// The object's version that the step rested on; none of an object that was to be created.
    version: Option<String>,
    failures: u32,
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
        let failures = if succeeded { 0 } else { self.tried.get(&key).map_or(0, |tried| tried.failures) + 1 };
        let wait = match failures {
            0 => SHOWN_WITHIN,
            n => LONGEST_BACKOFF.min(FIRST_BACKOFF * 2u32.saturating_pow(n.min(16) - 1)),
        };
        self.tried.insert(key, Tried { version, failures, again_at: now + wait });
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
        Step::Change { read, .. } | Step::Append { read, .. } | Step::Bury(read) | Step::Remove(read) => {
            ("KafkaAssignment", read.name_any(), read.resource_version())
        }
        Step::Create(object) => ("KafkaAssignment", object.name_any(), None),
        Step::Own(topic) | Step::Release(topic, _) => ("KafkaTopic", topic.name_any(), topic.resource_version()),
        Step::TopicStatus(topic, _) => ("KafkaTopic", topic.name_any(), topic.resource_version()),
        Step::ClusterStatus(cluster, _) => ("KafkaCluster", cluster.name_any(), cluster.resource_version()),
    };
    (Key(kind, name), version)
}

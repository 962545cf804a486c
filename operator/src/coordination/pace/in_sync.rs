//! When to write topics' statuses that say nothing new but which replicas are in sync.
//!
//! A broker that is away makes a thousand topics under-replicated at once, and most brokers are back within a minute: a
//! status waits so long until it says so. That replicas are in sync again is said at once. All of these statuses take
//! turns, because each of them goes to everybody who watches topics.
//!
//! Always: a status that says more, such as that partitions are offline, waits for nothing here.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt;
use ottla_crds::{KafkaTopic, KafkaTopicStatus};
use tokio::time::Instant;

use crate::plan::Step;
use crate::plan::condition;

/// How long replicas must be missing until their topic's status says so.
const SAID_AFTER: Duration = Duration::from_secs(60);
/// How many statuses are written together...
pub(super) const AT_ONCE: usize = 20;
/// ... and how much later each of them lets the next ones come: 20 in a second.
const EVERY: Duration = Duration::from_millis(50);

const CONDITION: &str = "ReplicasHealthy";

/// Remembers since when topics are under-replicated, and when the next statuses may be written.
#[derive(Debug, Default)]
pub(super) struct InSyncPace {
    /// Since when replicas are missing, by the KafkaTopic's name.
    since: HashMap<String, Instant>,
    next: Option<Instant>,
}

impl InSyncPace {
    /// Takes note of what is planned now. Whose replicas are in sync again, or whose status says it, is forgotten.
    pub(super) fn plans(&mut self, steps: &[Step], now: Instant) {
        let planned = steps.iter().filter_map(about).filter(|about| about.worsens);
        let since = |about: About<'_>| {
            let name = about.topic.name_any();
            let since = self.since.get(&name).copied().unwrap_or(now);
            (name, since)
        };
        self.since = planned.map(since).collect();
    }

    /// From when on this step may be taken; `None`: at any time.
    pub(super) fn due_at(&self, step: &Step) -> Option<Instant> {
        let about = about(step)?;
        let said = self.since.get(&about.topic.name_any()).filter(|_| about.worsens).map(|since| *since + SAID_AFTER);
        said.max(self.next)
    }

    /// Takes note of a step that was tried.
    pub(super) fn tried(&mut self, step: &Step, now: Instant) {
        if about(step).is_some() {
            self.next = Some(self.next.unwrap_or(now).max(now) + EVERY);
        }
    }
}

/// Whether a step writes such a status.
pub(super) fn is_about_in_sync(step: &Step) -> bool {
    about(step).is_some()
}

/// A status that says nothing new but which replicas are in sync.
struct About<'a> {
    topic: &'a KafkaTopic,
    /// Whether replicas are missing, and the status has not said so yet.
    worsens: bool,
}

fn about(step: &Step) -> Option<About<'_>> {
    let Step::TopicStatus { read, next, .. } = step else { return None };
    let (before, after) = (read.status.as_ref()?, next.status.as_ref()?);
    let is_served = |status: &KafkaTopicStatus| {
        let reason = condition::reason(&status.conditions, CONDITION);
        status.offline_partitions == Some(0) && matches!(reason, Some("InSync" | "UnderReplicated"))
    };
    let is_about = is_served(before) && is_served(after) && without(before) == without(after);
    let is_healthy = |status: &KafkaTopicStatus| status.under_replicated_partitions == Some(0);
    is_about.then(|| About { topic: read, worsens: is_healthy(before) && !is_healthy(after) })
}

/// The status without what says which replicas are in sync.
fn without(status: &KafkaTopicStatus) -> KafkaTopicStatus {
    let mut status = status.clone();
    status.under_replicated_partitions = None;
    status.conditions.retain(|condition| condition.type_ != CONDITION);
    status
}

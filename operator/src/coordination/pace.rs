//! Which planned steps to take now. Not those whose outcome the watch has not shown yet, and not those that have just
//! failed.
//!
//! Always: one step per object at a time; an object that keeps failing is tried less and less often and delays no
//! other; a topic's status is not written again and again, though another operator with another view overwrites it; no
//! status is written for fields alone that the API server drops.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kube::ResourceExt;
use ottla_client::Backoff;
use serde_json::Value;
use tokio::time::Instant;

use crate::plan::Step;
use crate::pruned::{Pruned, StatusWrite, tree};

mod in_sync;

use in_sync::{AT_ONCE, InSyncPace, is_about_in_sync};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// If the watch does not show a write for so long, the write changed nothing or the watch is stuck: plan again.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// How many times a topic's status is written in a row...
const STATUSES_AT_ONCE: u32 = 10;
/// ... and how often after that.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Remembers what was tried.
#[derive(Debug, Default)]
pub struct Pace {
    tried: HashMap<Key, Tried>,
    pruned: Pruned,
    in_sync: InSyncPace,
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
    /// Until when the topic's status would have been written last, had all writes come at the lasting pace.
    paced_until: Instant,
}

impl Tried {
    /// From when on the object's next step, planned for this version, may be taken; `None`: at any time.
    fn due_at(&self, version: &Option<String>) -> Option<Instant> {
        let in_turn = self.paced_until.checked_sub((STATUSES_AT_ONCE - 1) * STATUS_EVERY);
        in_turn.max(Some(self.again_at).filter(|_| self.version == *version))
    }
}

impl Pace {
    /// The steps to take now, and those to hold back. Those that would change nothing are neither.
    pub fn divide(&mut self, mut steps: Vec<Step>, now: Instant) -> (Vec<Step>, Vec<Step>) {
        let (mut written, mut turns) = (HashSet::new(), AT_ONCE);
        self.in_sync.plans(&steps, now);
        if !self.pruned.is_empty() {
            steps.retain(|step| !asked(step).is_some_and(|asked| self.pruned.is_in_vain(asked)));
        }
        steps.into_iter().partition(|step| {
            let is_due = due_at(&self.tried, &self.in_sync, step).is_none_or(|due_at| due_at <= now);
            if is_due && is_about_in_sync(step) {
                if turns == 0 {
                    return false;
                }
                turns -= 1;
            }
            is_due && written.insert(target(step).0)
        })
    }

    /// Notes the outcome of a step.
    pub fn tried(&mut self, step: &Step, succeeded: bool, now: Instant) {
        let (key, version) = target(step);
        let anew = Backoff::new(FIRST_BACKOFF, LONGEST_BACKOFF);
        let before = self.tried.get(&key);
        let mut backoff = before.map_or(anew, |tried| tried.backoff);
        let paced_until = before.map_or(now, |tried| tried.paced_until.max(now));
        let paced_until = if is_topic_status(step) { paced_until + STATUS_EVERY } else { paced_until };
        let wait = if succeeded {
            backoff.succeeded();
            SHOWN_WITHIN
        } else {
            backoff.failed()
        };
        self.tried.insert(key, Tried { version, backoff, again_at: now + wait, paced_until });
        self.in_sync.tried(step, now);
    }

    /// Notes the status that the API server has made of what a step asked for.
    pub fn answered(&mut self, step: &Step, answer: &Value) {
        if let Some(asked) = asked(step) {
            self.pruned.note(&asked, answer);
        }
    }

    /// The definitions are others than before: nobody knows what the API server drops now.
    pub fn forget_pruned(&mut self) {
        self.pruned = Pruned::default();
    }

    /// When one of these may be taken again; `None`: all may be taken at any time. What is of no use any more is
    /// forgotten.
    pub fn next_try(&mut self, planned: &[Step], now: Instant) -> Option<Instant> {
        let keys: HashSet<Key> = planned.iter().map(|step| target(step).0).collect();
        self.tried.retain(|key, tried| tried.paced_until > now || keys.contains(key));
        // What waits for two reasons waits for the later one: else the operator would plan again without a pause.
        planned.iter().filter_map(|step| due_at(&self.tried, &self.in_sync, step)).min()
    }
}

/// From when on a step may be taken; `None`: at any time.
fn due_at(tried: &HashMap<Key, Tried>, in_sync: &InSyncPace, step: &Step) -> Option<Instant> {
    let (key, version) = target(step);
    tried.get(&key).and_then(|tried| tried.due_at(&version)).max(in_sync.due_at(step))
}

/// The status that a step asks for; `None`: it writes none.
fn asked(step: &Step) -> Option<StatusWrite> {
    let (kind, read, next) = match step {
        Step::ClusterStatus { read, next, .. } => ("KafkaCluster", tree(&read.status), tree(&next.status)),
        Step::TopicStatus { read, next, .. } => ("KafkaTopic", tree(&read.status), tree(&next.status)),
        Step::RebalanceStatus { read, next, .. } => ("KafkaRebalance", tree(&read.status), tree(&next.status)),
        Step::Change { .. }
        | Step::Append { .. }
        | Step::Create(_)
        | Step::Bury { .. }
        | Step::Remove(_)
        | Step::Renew { .. }
        | Step::Own(_)
        | Step::Unpin { .. }
        | Step::Release { .. }
        | Step::Restart(_) => return None,
    };
    Some(StatusWrite { kind, read, next })
}

fn is_topic_status(step: &Step) -> bool {
    match step {
        Step::TopicStatus { .. } => true,
        Step::Change { .. }
        | Step::Append { .. }
        | Step::Create(_)
        | Step::Bury { .. }
        | Step::Remove(_)
        | Step::Renew { .. }
        | Step::Own(_)
        | Step::Unpin { .. }
        | Step::Release { .. }
        | Step::ClusterStatus { .. }
        | Step::RebalanceStatus { .. }
        | Step::Restart(_) => false,
    }
}

fn target(step: &Step) -> (Key, Option<String>) {
    let (kind, name, version) = match step {
        Step::Change { read, .. } | Step::Append { read, .. } | Step::Bury { read, .. } | Step::Remove(read) => {
            ("KafkaAssignment", read.name_any(), read.resource_version())
        }
        Step::Create(object) => ("KafkaAssignment", object.name_any(), None),
        Step::Own(topic) | Step::Release { topic, .. } => ("KafkaTopic", topic.name_any(), topic.resource_version()),
        Step::Renew { volume, .. } => ("PersistentVolumeClaim", volume.claim.clone(), volume.version.clone()),
        Step::Unpin { read, .. } | Step::TopicStatus { read, .. } => {
            ("KafkaTopic", read.name_any(), read.resource_version())
        }
        Step::ClusterStatus { read, .. } => ("KafkaCluster", read.name_any(), read.resource_version()),
        Step::Restart(restart) => {
            let first = restart.pods.first().map(|(_, pod)| pod);
            ("Pod", first.map(|pod| pod.name.clone()).unwrap_or_default(), first.and_then(|pod| pod.version.clone()))
        }
        Step::RebalanceStatus { read, .. } => ("KafkaRebalance", read.name_any(), read.resource_version()),
    };
    (Key(kind, name), version)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::{KafkaCluster, KafkaTopic};
    use serde_json::json;

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
        let due = |pace: &mut Pace, step: Step, after: u64| {
            !pace.divide(vec![step], start + Duration::from_millis(after)).0.is_empty()
        };
        assert!(due(&mut pace, own("a", "1"), 0));
        pace.tried(&own("a", "1"), true, start);
        assert!(!due(&mut pace, own("a", "1"), 4_999), "the watch has not shown it yet");
        assert!(due(&mut pace, own("a", "1"), 5_000), "it was not shown in time");
        assert!(due(&mut pace, own("a", "2"), 0), "it was shown, or somebody else has written");
        assert!(due(&mut pace, own("b", "1"), 0), "another object");

        for wait in [100, 200, 400, 800] {
            pace.tried(&own("a", "1"), false, start);
            assert!(!due(&mut pace, own("a", "1"), wait - 1) && due(&mut pace, own("a", "1"), wait), "{wait}");
        }
        for _ in 0..100 {
            pace.tried(&own("a", "1"), false, start);
        }
        assert!(due(&mut pace, own("a", "1"), 60_000));
    }

    #[test]
    fn a_status_is_not_written_again_for_fields_that_were_dropped() {
        let start = Instant::now();
        let mut pace = Pace::default();
        // An older definition keeps the summary, and drops `features.supported` and when that began.
        let step = |version: i64, is_written: bool, summary: &str| {
            let since = format!("2026-11-25T12:00:{version:02}Z");
            let features = json!({ "epoch": 1, "supported": { "share.version": 1 }, "supportedSince": since });
            let kept = json!({ "summary": summary, "features": { "epoch": 1 } });
            let mut read = KafkaCluster::new("prod", serde_json::from_value(json!({})).unwrap());
            read.metadata.resource_version = Some(version.to_string());
            read.status = Some(serde_json::from_value(if is_written { kept } else { json!({}) }).unwrap());
            let mut next = Box::new(read.clone());
            next.status = Some(serde_json::from_value(json!({ "summary": summary, "features": features })).unwrap());
            Step::ClusterStatus { read: Arc::new(read), next, news: Vec::new() }
        };
        let answer = json!({ "summary": "Settled", "features": { "epoch": 1 } });
        let later = start + 2 * SHOWN_WITHIN;
        let due = |pace: &mut Pace, step: Step| {
            let (due, held_back) = pace.divide(vec![step], later);
            (due.len(), held_back.len())
        };
        let first = step(1, false, "Settled");
        assert_eq!(due(&mut pace, first.clone()), (1, 0));
        pace.tried(&first, true, start);
        pace.answered(&first, &answer);
        assert_eq!(due(&mut pace, step(2, true, "Settled")), (0, 0), "nothing else has changed");
        assert_eq!(due(&mut pace, step(2, false, "Canary")), (1, 0), "something else has");
        pace.forget_pruned();
        assert_eq!(due(&mut pace, step(2, true, "Settled")), (1, 0), "the definitions have changed");
    }

    #[test]
    fn one_step_per_object_at_a_time_and_nothing_is_remembered_for_ever() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let (due, held_back) = pace.divide(vec![own("a", "1"), own("a", "1"), own("b", "1")], now);
        assert_eq!((due.len(), held_back.len()), (2, 1));
        pace.tried(&due[0], true, now);
        assert_eq!(pace.next_try(&due, now), Some(now + SHOWN_WITHIN));
        assert_eq!(pace.next_try(&[], now), None);
        assert!(pace.tried.is_empty());
    }

    #[test]
    fn topics_are_called_under_replicated_after_a_minute_and_twenty_in_a_second() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let status = |reason: &str, offline: i32, missing: i32| {
            let condition = json!({ "type": "ReplicasHealthy", "status": "Unknown", "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-26T12:00:00Z" });
            json!({ "offlinePartitions": offline, "underReplicatedPartitions": missing, "conditions": [condition] })
        };
        let step = |number: usize, before: &serde_json::Value, after: &serde_json::Value| {
            let mut read = KafkaTopic::new(&format!("t{number}"), Default::default());
            read.status = Some(serde_json::from_value(before.clone()).unwrap());
            let mut next = Box::new(read.clone());
            next.status = Some(serde_json::from_value(after.clone()).unwrap());
            Step::TopicStatus { read: Arc::new(read), next, news: None }
        };
        let (healthy, missing) = (status("InSync", 0, 0), status("UnderReplicated", 0, 2));
        let (offline, moving) = (status("PartitionsOffline", 1, 2), status("Moving", 0, 1));
        let all = |before: &serde_json::Value, after: &serde_json::Value| -> Vec<Step> {
            (0..50).map(|number| step(number, before, after)).collect()
        };
        let mut pace = Pace::default();
        let mut due = |steps: Vec<Step>, now: Instant| {
            let (due, mut planned) = pace.divide(steps, now);
            due.iter().for_each(|step| pace.tried(step, true, now));
            let written = due.len();
            planned.extend(due);
            (written, pace.next_try(&planned, now).map(|next| next - start))
        };
        assert_eq!(due(all(&healthy, &missing), at(0)), (0, Some(Duration::from_secs(60))));
        assert_eq!(due(Vec::new(), at(1_000)), (0, None), "the broker is back");
        assert_eq!(due(all(&healthy, &missing), at(2_000)), (0, Some(Duration::from_secs(62))), "and away again");
        assert_eq!(due(all(&healthy, &missing), at(62_000)), (20, Some(Duration::from_secs(63))));
        let left = |from: usize, before, after| (from..50).map(|number| step(number, before, after)).collect();
        assert_eq!(due(left(20, &healthy, &missing), at(62_500)).0, 0);
        assert_eq!(due(left(20, &healthy, &missing), at(63_000)).0, 20);
        assert_eq!(due(left(40, &missing, &healthy), at(64_000)).0, 10, "without a wait");
        let mut pace = Pace::default();
        pace.tried(&step(0, &missing, &healthy), true, at(0));
        let again = pace.divide(vec![step(0, &healthy, &missing)], at(20_000)).1;
        let next = pace.next_try(&again, at(20_000)).map(|next| next - start);
        assert_eq!(next, Some(Duration::from_secs(80)), "not at once, although the write before is long past");
        for (story, before, after) in [
            ("partitions are offline", &healthy, &offline),
            ("they are served again", &offline, &missing),
            ("replicas move", &healthy, &moving),
        ] {
            let mut pace = Pace::default();
            assert_eq!(pace.divide(all(before, after), at(0)).0.len(), 50, "{story}");
        }
    }

    #[test]
    fn a_topics_status_is_written_at_once_and_once_a_second_when_somebody_overwrites_it() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut writes = |from: Duration, to: Duration| {
            let mut written = 0;
            for millis in (from.as_millis()..to.as_millis()).step_by(10) {
                let now = start + Duration::from_millis(millis as u64);
                let Step::Own(read) = own("a", &millis.to_string()) else { continue };
                let next = Box::new(KafkaTopic::clone(&read));
                let (due, held_back) = pace.divide(vec![Step::TopicStatus { read, next, news: None }], now);
                due.iter().for_each(|step| pace.tried(step, true, now));
                written += due.len();
                let next_try = pace.next_try(&held_back, now);
                assert!(held_back.is_empty() || next_try.is_some_and(|next| next > now), "{millis}");
                pace.next_try(&[], now); // what was written is shown
            }
            written
        };
        let second = Duration::from_secs(1);
        assert_eq!(writes(Duration::ZERO, second), 10);
        assert_eq!(writes(second, 61 * second), 60);
        assert_eq!(writes(90 * second, 91 * second), 10, "after a rest");
        assert!(pace.tried.len() == 1 && pace.next_try(&[], start + 200 * second).is_none());
        assert!(pace.tried.is_empty());
    }
}

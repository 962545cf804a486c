//! Changes of the ISR, of all partitions in one object together.
//!
//! While an object is being written, what else is asked of it gathers, and goes into its next write: a broker that
//! comes back joins the ISRs of thousands of partitions, and one write each would keep the API server busy for minutes.
//! Always: one write at a time to an object, and one change of each partition in it, the latest.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ottla_crds::change::why;
use ottla_crds::{PARTITIONS_PER_OBJECT, change};
use ottla_rules::assignment::Assignment;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Desk, FIRST_PAUSE, Failed, LONGEST_PAUSE};
use crate::ask::{Answer, Swap};
use crate::env;

/// An object: of this topic, from this partition on.
pub(super) type Object = (Uuid, i32);

/// What is asked for and not under way, by partition; an object that somebody works on is in it.
#[derive(Clone, Default)]
pub(super) struct IsrChanges(Arc<Mutex<BTreeMap<Object, BTreeMap<i32, Change>>>>);

struct Change {
    next: Assignment,
    answer: Answer<Swap>,
}

impl IsrChanges {
    /// Adds a change. Gives its object if nobody works on that yet. One that waits for the same partition is forgotten:
    /// its asker has changed his mind.
    pub fn add(&self, topic_id: Uuid, next: Assignment, answer: Answer<Swap>) -> Option<Object> {
        let object = (topic_id, next.partition - next.partition % PARTITIONS_PER_OBJECT);
        let mut pending = self.0.lock();
        let entry = pending.entry(object);
        let is_new = matches!(entry, Entry::Vacant(_));
        entry.or_default().insert(next.partition, Change { next, answer });
        is_new.then_some(object)
    }

    /// All that is asked of an object. With nothing left nobody works on it any more.
    fn take(&self, object: Object) -> Option<Vec<Change>> {
        let mut pending = self.0.lock();
        let changes = pending.get_mut(&object).map(std::mem::take).unwrap_or_default();
        if changes.is_empty() {
            pending.remove(&object);
            return None;
        }
        // Who has gone meanwhile has changed his mind.
        Some(changes.into_values().filter(|change| !change.answer.is_closed()).collect())
    }

    /// What could not be written and is still wanted, unless something else is by now.
    fn put_back(&self, object: Object, changes: Vec<Change>) {
        let mut pending = self.0.lock();
        let waiting = pending.entry(object).or_default();
        for change in changes.into_iter().filter(|change| !change.answer.is_closed()) {
            waiting.entry(change.next.partition).or_insert(change);
        }
    }
}

impl Desk {
    /// Writes what is asked of an object until nothing is left.
    pub(super) async fn change_isrs(&self, object: Object) {
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed.
            let turn = self.turn_for_entries().await;
            let Some(changes) = self.isr_changes.take(object) else { return };
            let undone = self.write_isrs(object, changes).await;
            drop(turn);
            if undone.is_empty() {
                pause = FIRST_PAUSE;
                continue;
            }
            self.isr_changes.put_back(object, undone);
            env::sleep_until(env::now() + pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Gives back what is to be tried again.
    async fn write_isrs(&self, (topic_id, first): Object, changes: Vec<Change>) -> Vec<Change> {
        let read = match self.assignments_from(topic_id, first).await {
            Ok(read) => read,
            Err(error) => return self.retried(error, changes),
        };
        let follows = |change: &Change| {
            let mut entries = read.iter().flat_map(|object| &object.spec.partitions);
            let entry = entries.find(|entry| entry.partition == change.next.partition);
            entry.is_some_and(|entry| {
                entry.partition_epoch.checked_add(1) == Some(change.next.partition_epoch)
                    && matches!(self.follows_from_known(topic_id, entry), Ok(true))
            })
        };
        let (changes, moved): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(follows);
        moved.into_iter().for_each(|change| change.answer(Ok(Swap::Moved)));
        let Some(read) = read else { return Vec::new() };
        let mut undone = Vec::new();
        let mut parts = vec![changes];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let next: Vec<Assignment> = part.iter().map(|change| change.next.clone()).collect();
            match change::write(&self.assignments, &read, &next).await.map_err(Failed::from) {
                Ok(stale) => part.into_iter().for_each(|change| {
                    let is_stale = stale.contains(&change.next.partition);
                    change.answer(Ok(if is_stale { Swap::Moved } else { Swap::Done }));
                }),
                // Whose fault it is shows when each stands alone.
                Err(Failed::Refused(_)) if part.len() > 1 => parts.extend(part.into_iter().map(|change| vec![change])),
                Err(Failed::Refused(refused)) => {
                    part.into_iter().for_each(|change| change.answer(Err(refused.clone())));
                }
                Err(error) => undone.extend(self.retried(error, part)),
            }
        }
        undone
    }

    fn retried(&self, error: Failed, changes: Vec<Change>) -> Vec<Change> {
        if let Failed::Api(error) = error {
            tracing::warn!(error = why(&error), "failed to change in-sync replicas: trying again");
        }
        changes
    }
}

impl Change {
    fn answer(self, answer: Result<Swap, crate::ask::Refused>) {
        // The asker may have gone.
        let _ = self.answer.send(answer);
    }
}

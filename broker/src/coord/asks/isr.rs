//! Changes of the ISR, of all partitions in one object together.
//!
//! While an object is being written, further changes of it gather for its next write: a broker that returns joins the
//! ISRs of thousands of partitions, and one write for each would keep the API server busy for minutes. Always: one
//! write at a time to an object, and one change of each partition in it, the latest.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ottla_client::Backoff;
use ottla_crds::PARTITIONS_PER_OBJECT;
use ottla_kube::change;
use ottla_kube::change::why;
use ottla_rules::assignment::Assignment;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{AttemptError, Desk, FIRST_PAUSE, LONGEST_PAUSE};
use crate::ask::{Answer, Swap};
use crate::env;

/// An object: the topic's id and its first partition.
pub(super) type Object = (Uuid, i32);

/// Changes that are asked for and not in progress, by partition. An object that is being written has an entry.
#[derive(Clone, Default)]
pub(super) struct IsrChanges(Arc<Mutex<BTreeMap<Object, BTreeMap<i32, QueuedIsrChange>>>>);

struct QueuedIsrChange {
    next: Assignment,
    answer: Answer<Swap>,
}

impl IsrChanges {
    /// Adds a change. Returns its object if no task writes that yet. An older change of the same partition is dropped.
    pub(super) fn add(&self, topic_id: Uuid, next: Assignment, answer: Answer<Swap>) -> Option<Object> {
        let object = (topic_id, next.partition - next.partition % PARTITIONS_PER_OBJECT);
        let mut pending = self.0.lock();
        let entry = pending.entry(object);
        let is_new = matches!(entry, Entry::Vacant(_));
        entry.or_default().insert(next.partition, QueuedIsrChange { next, answer });
        is_new.then_some(object)
    }

    /// Takes all changes of an object. If there is none, its task ends.
    fn take(&self, object: Object) -> Option<Vec<QueuedIsrChange>> {
        let mut pending = self.0.lock();
        let changes = pending.get_mut(&object).map(std::mem::take).unwrap_or_default();
        if changes.is_empty() {
            pending.remove(&object);
            return None;
        }
        // An asker that has gone wants no change any more.
        Some(changes.into_values().filter(|change| !change.answer.is_closed()).collect())
    }

    /// Returns changes that could not be written, unless newer ones have replaced them.
    fn put_back(&self, object: Object, changes: Vec<QueuedIsrChange>) {
        let mut pending = self.0.lock();
        let waiting = pending.entry(object).or_default();
        for change in changes.into_iter().filter(|change| !change.answer.is_closed()) {
            waiting.entry(change.next.partition).or_insert(change);
        }
    }
}

impl Desk {
    /// Writes the changes of an object until none is left.
    pub(super) async fn change_isrs(&self, object: Object) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            // The semaphore is never closed.
            let turn = self.turn_for_entries().await;
            let Some(changes) = self.isr_changes.take(object) else { return };
            let undone = self.write_isrs(object, changes).await;
            drop(turn);
            if undone.is_empty() {
                backoff.succeeded();
                continue;
            }
            self.isr_changes.put_back(object, undone);
            env::sleep_until(env::now() + backoff.failed()).await;
        }
    }

    /// Returns the changes to try again.
    async fn write_isrs(&self, (topic_id, first): Object, changes: Vec<QueuedIsrChange>) -> Vec<QueuedIsrChange> {
        let read = match self.assignments_from(topic_id, first).await {
            Ok(read) => read,
            Err(error) => return self.retried(error, changes),
        };
        let follows = |change: &QueuedIsrChange| {
            let mut entries = read.iter().flat_map(|object| &object.spec.partitions);
            let entry = entries.find(|entry| entry.partition == change.next.partition);
            entry.is_some_and(|entry| {
                change.next.partition_epoch.follows(entry.partition_epoch)
                    && matches!(self.follows_from_known(topic_id, entry), Ok(true))
            })
        };
        let (changes, moved): (Vec<QueuedIsrChange>, Vec<QueuedIsrChange>) = changes.into_iter().partition(follows);
        moved.into_iter().for_each(|change| change.answer(Ok(Swap::Moved)));
        let Some(read) = read else { return Vec::new() };
        let mut undone = Vec::new();
        let mut parts = vec![changes];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let next: Vec<Assignment> = part.iter().map(|change| change.next.clone()).collect();
            match change::write(&self.assignments, &read, &next).await.map_err(AttemptError::from) {
                Ok(stale) => part.into_iter().for_each(|change| {
                    let is_stale = stale.contains(&change.next.partition);
                    change.answer(Ok(if is_stale { Swap::Moved } else { Swap::Done }));
                }),
                // Single writes show which change is refused.
                Err(AttemptError::Refused(_)) if part.len() > 1 => {
                    parts.extend(part.into_iter().map(|change| vec![change]))
                }
                Err(AttemptError::Refused(refused)) => {
                    part.into_iter().for_each(|change| change.answer(Err(refused.clone())));
                }
                Err(error) => undone.extend(self.retried(error, part)),
            }
        }
        undone
    }

    fn retried(&self, error: AttemptError, changes: Vec<QueuedIsrChange>) -> Vec<QueuedIsrChange> {
        if let AttemptError::Api(error) = error {
            tracing::warn!(error = why(&error), "failed to change the in-sync replicas of a partition: trying again");
        }
        changes
    }
}

impl QueuedIsrChange {
    fn answer(self, answer: Result<Swap, crate::ask::AskRefusal>) {
        // The asker may have stopped waiting.
        let _ = self.answer.send(answer);
    }
}

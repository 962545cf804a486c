//! What the broker writes about itself in assignments: reports, withdrawals, removed replicas.

use ottla_crds::{KafkaAssignment, PARTITIONS_PER_OBJECT, names};
use ottla_kube::change;
use ottla_rules::assignment::{Age, Assignment, LeaderEpoch, RecoveryReport, Refusal};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{AttemptError, Desk, KnownObjects};
use crate::ask::TopicKey;

impl Desk {
    /// Waits until the copy on disk has the tombstone. After this write the object may be deleted, and a restart with a
    /// copy without the tombstone would take the object for lost and keep it for ever.
    pub(super) async fn removed(&self, topic_id: Uuid, partition: i32) -> Result<(), AttemptError> {
        let image = self.images.borrow().clone();
        let Some(topic) = image.deleted.get(&topic_id) else { return Ok(()) };
        let object = names::assignment(&topic.name, topic_id, partition - partition % PARTITIONS_PER_OBJECT);
        if !self.kept.borrow().assignments.get(&object).is_some_and(|object| object.spec.deleted) {
            return Err(AttemptError::Again);
        }
        self.transition(topic_id, partition, |entry| entry.forget(self.me)).await
    }

    /// Returns when the copy on disk has all of these assignments, or later ones.
    pub(super) async fn kept_without(&self, moved: &[(TopicKey, Assignment)], mut answer: oneshot::Sender<()>) {
        let mut kept = self.kept.clone();
        let knows = |known: &KnownObjects, ((topic, topic_id), moved): &(TopicKey, Assignment)| {
            let first = moved.partition - moved.partition % PARTITIONS_PER_OBJECT;
            let name = names::assignment(topic, *topic_id, first);
            let Some(object) = known.assignments.get(&name) else {
                return !self.known.borrow().assignments.contains_key(&name);
            };
            let entry = object.spec.partitions.iter().find(|entry| entry.partition == moved.partition);
            object.spec.deleted || entry.is_none_or(|entry| entry.epochs() >= moved.epochs())
        };
        tokio::select! {
            biased;
            known = kept.wait_for(|known| moved.iter().all(|moved| knows(known, moved))) => if known.is_ok() {
                let _ = answer.send(());
            },
            () = answer.closed() => {}
        }
    }

    pub(super) async fn report(
        &self,
        topic_id: Uuid,
        partition: i32,
        leader_epoch: LeaderEpoch,
        report: RecoveryReport,
    ) -> Result<(), AttemptError> {
        self.transition(topic_id, partition, |entry| entry.report(leader_epoch, report)).await
    }

    /// Applies a transition to the present entry. If the transition is refused, nothing is left to do.
    async fn transition(
        &self,
        topic_id: Uuid,
        partition: i32,
        transition: impl Fn(&Assignment) -> Result<Assignment, Refusal>,
    ) -> Result<(), AttemptError> {
        let Some((object, entry)) = self.entry(topic_id, partition).await? else { return Ok(()) };
        if !self.follows_from_known(topic_id, &entry)? {
            return Ok(());
        }
        let Ok(next) = transition(&entry) else { return Ok(()) };
        let stale = change::write(&self.assignments, &object, &[next]).await?;
        if stale.is_empty() { Ok(()) } else { Err(AttemptError::Again) }
    }

    /// Whether an entry that was read is as new as what this broker knows. An older one comes from an API server that
    /// was set back, and the newer one is restored first. To a fork nothing is written.
    pub(super) fn follows_from_known(&self, topic_id: Uuid, entry: &Assignment) -> Result<bool, AttemptError> {
        let image = self.images.borrow().clone();
        let topic = image.topics.get(&topic_id).or_else(|| image.deleted.get(&topic_id));
        let known = topic.and_then(|topic| topic.partitions.iter().find(|known| known.partition == entry.partition));
        match known.map(|known| entry.age(known)) {
            Some(Age::Older) => Err(AttemptError::Again),
            Some(Age::Forked) => Ok(false),
            Some(Age::Same | Age::Newer) | None => Ok(true),
        }
    }

    /// The entry of a partition, read consistently, if it still exists.
    async fn entry(
        &self,
        topic_id: Uuid,
        partition: i32,
    ) -> Result<Option<(KafkaAssignment, Assignment)>, AttemptError> {
        let object = self.assignments_from(topic_id, partition - partition % PARTITIONS_PER_OBJECT).await?;
        let entry = |object: KafkaAssignment| {
            let entry = object.spec.partitions.iter().find(|entry| entry.partition == partition)?.clone();
            Some((object, entry))
        };
        Ok(object.and_then(entry))
    }

    /// The object of the partitions from `first` on, read consistently, if it still exists.
    pub(super) async fn assignments_from(
        &self,
        topic_id: Uuid,
        first: i32,
    ) -> Result<Option<KafkaAssignment>, AttemptError> {
        let image = self.images.borrow().clone();
        let Some(topic) = image.topics.get(&topic_id).or_else(|| image.deleted.get(&topic_id)) else { return Ok(None) };
        Ok(self.assignments.get_opt(&names::assignment(&topic.name, topic_id, first)).await?)
    }
}

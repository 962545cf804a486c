//! One transactional id: what is written down of it, and every change that it can go through.
//!
//! A [`Transaction`] is a value. A change is a function from one value to the next; the shard writes the next one down
//! and takes it over when the record is committed. So a change that failed leaves nothing behind. Kafka's
//! `TransactionMetadata` has the same changes under the names `prepare…`.
//!
//! Always: partitions and a start only where a transaction is or was; a producer epoch never falls under the same
//! producer id; epoch 32767 is never given to a client.

use std::collections::BTreeSet;

use crate::error::TxnError;
use crate::ids::{ProducerIdAndEpoch, TopicPartition};
use crate::producer_ids::ProducerIds;

/// The last epoch that a client may get. The next epoch, 32767, is reserved for fencing that client.
const LAST_CLIENT_EPOCH: i16 = i16::MAX - 1;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionResult {
    /// Its records become visible.
    Commit,
    /// Its records are passed over.
    Abort,
}

/// Where a transactional id is in its life. The table in the crate's documentation has every step from here to there.
///
/// Kafka's other two states are never written and have no value here: `Dead` is a change on its way whose record is a
/// tombstone, `PrepareEpochFence` the first half of an abort by the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionState {
    /// The producer has its identity; no transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// The outcome is decided; markers are on their way to the partitions.
    Prepare(TransactionResult),
    /// Every partition has its marker.
    Complete(TransactionResult),
}

impl TransactionState {
    /// The states in which a transactional id may be.
    pub const ALL: [TransactionState; 6] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::Prepare(TransactionResult::Commit),
        TransactionState::Prepare(TransactionResult::Abort),
        TransactionState::Complete(TransactionResult::Commit),
        TransactionState::Complete(TransactionResult::Abort),
    ];

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::Prepare(TransactionResult::Commit) => "PrepareCommit",
            TransactionState::Prepare(TransactionResult::Abort) => "PrepareAbort",
            TransactionState::Complete(TransactionResult::Commit) => "CompleteCommit",
            TransactionState::Complete(TransactionResult::Abort) => "CompleteAbort",
        }
    }
}

/// A level of the feature `transaction.version` (KIP-890). Of a cluster: the finalized one. Of a client: by the
/// versions of its requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionVersion {
    /// Records are written in version 0.
    V0,
    /// Records are written in version 1.
    V1,
    /// The end of every transaction bumps the epoch, and partitions are added by their leaders.
    V2,
}

impl TransactionVersion {
    /// The level's number.
    pub fn level(self) -> i16 {
        match self {
            TransactionVersion::V0 => 0,
            TransactionVersion::V1 => 1,
            TransactionVersion::V2 => 2,
        }
    }

    /// The level with this number; `None` if Kafka 4.3 has no such level.
    pub fn from_level(level: i16) -> Option<Self> {
        [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2]
            .into_iter()
            .find(|v| v.level() == level)
    }

    /// Whether the end of a transaction bumps the epoch.
    pub fn bumps_epoch(self) -> bool {
        self >= TransactionVersion::V2
    }
}

/// What is written down of a transactional id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Transaction {
    /// The producer id in use.
    pub producer_id: i64,
    /// Its epoch. In [`TransactionState::Prepare`] of a transaction of V2 already that of the next transaction: the one
    /// that markers carry.
    pub producer_epoch: i16,
    /// The producer id before the last change, which is most often the same. `None` if the record does not say.
    pub previous_producer_id: Option<i64>,
    /// The producer id that the next transaction has, with epoch 0, because the epochs of this one are exhausted: only
    /// in [`TransactionState::Prepare`]. `None`: the next transaction has the same producer id.
    pub next_producer_id: Option<i64>,
    /// The epoch that the same producer had before its last bump: who comes with it repeats a request whose answer was
    /// lost. `None`: another producer got the epoch before, and is fenced. Only written, never derived: with a derived
    /// one a zombie would pass.
    pub last_producer_epoch: Option<i16>,
    /// How long a transaction may be open, in milliseconds. `i32::MAX`: for ever (a two-phase commit of Kafka's).
    pub timeout_ms: i32,
    /// Where it is.
    pub state: TransactionState,
    /// The partitions of the transaction. In [`TransactionState::Prepare`], in memory: those that still lack a marker.
    pub partitions: BTreeSet<TopicPartition>,
    /// Wall clock of the transaction's start. `None` before the first one.
    pub start_ms: Option<i64>,
    /// Wall clock of the last change.
    pub last_update_ms: i64,
    /// By which protocol the transaction was last changed.
    pub client_version: TransactionVersion,
}

impl Transaction {
    /// A producer that nobody knows yet: epoch 0.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Transaction {
            producer_id,
            producer_epoch: 0,
            previous_producer_id: Some(producer_id), // as Kafka writes it
            next_producer_id: None,
            last_producer_epoch: None,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: None,
            last_update_ms: now_ms,
            client_version: TransactionVersion::V0,
        }
    }

    /// The producer's identity.
    pub fn producer(&self) -> ProducerIdAndEpoch {
        ProducerIdAndEpoch { producer_id: self.producer_id, producer_epoch: self.producer_epoch }
    }

    /// Whether the producer is the one that may act for the id.
    pub(crate) fn check_producer(&self, producer: ProducerIdAndEpoch) -> Result<(), TxnError> {
        if producer.producer_id != self.producer_id {
            Err(TxnError::InvalidProducerIdMapping)
        } else if producer.producer_epoch != self.producer_epoch {
            Err(TxnError::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Whether no epoch is left to give to a client.
    fn is_exhausted(&self) -> bool {
        self.producer_epoch >= LAST_CLIENT_EPOCH
    }

    /// Whether `given` is what this very producer was before its last bump, so that it repeats an InitProducerId. A
    /// producer id changes only when its epochs are exhausted.
    pub(crate) fn is_successor_of(&self, given: ProducerIdAndEpoch) -> bool {
        let has_its_id = given.producer_id == self.producer_id
            || (Some(given.producer_id) == self.previous_producer_id && given.producer_epoch >= LAST_CLIENT_EPOCH);
        has_its_id && Some(given.producer_epoch) == self.last_producer_epoch
    }

    /// Whether an EndTxn of `given` is the repetition of the one that ended the transaction: the end bumped the epoch.
    ///
    /// Kafka asks only whether the epoch is one lower. An end that did not bump it (an older protocol's) is not to be
    /// taken for one that did: a fenced producer would get the identity of the one that fenced it.
    pub(crate) fn was_ended_by(&self, given: ProducerIdAndEpoch) -> bool {
        let bumped =
            given.producer_id == self.producer_id && Some(self.producer_epoch) == given.producer_epoch.checked_add(1);
        let rotated = Some(given.producer_id) == self.previous_producer_id
            && given.producer_epoch == LAST_CLIENT_EPOCH
            && self.producer_epoch == 0;
        matches!(self.state, TransactionState::Complete(_)) && self.client_version.bumps_epoch() && (bumped || rotated)
    }

    /// The producer's next epoch, or epoch 0 of a fresh id if there is none. `last`: the epoch with which it asked.
    pub(crate) fn renewed(
        &self,
        last: Option<i16>,
        timeout_ms: i32,
        ids: &mut ProducerIds,
        now_ms: i64,
    ) -> Result<Self, TxnError> {
        let (producer_id, producer_epoch) =
            if self.is_exhausted() { (ids.draw()?, 0) } else { (self.producer_id, self.producer_epoch + 1) };
        Ok(Transaction {
            producer_id,
            producer_epoch,
            previous_producer_id: Some(self.producer_id),
            last_producer_epoch: last,
            ..self.emptied(timeout_ms, now_ms)
        })
    }

    /// No transaction, the same producer. Keeps the fields that show that an InitProducerId is repeated: its answer may
    /// be lost again.
    pub(crate) fn emptied(&self, timeout_ms: i32, now_ms: i64) -> Self {
        Transaction {
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: None,
            last_update_ms: now_ms,
            ..self.clone()
        }
    }

    /// With these partitions; a transaction begins if none is open.
    pub(crate) fn with_partitions(
        &self,
        added: impl IntoIterator<Item = TopicPartition>,
        client_version: TransactionVersion,
        now_ms: i64,
    ) -> Self {
        let mut next = Transaction {
            previous_producer_id: Some(self.producer_id),
            state: TransactionState::Ongoing,
            start_ms: if self.state == TransactionState::Ongoing { self.start_ms } else { Some(now_ms) },
            last_update_ms: now_ms,
            client_version,
            ..self.clone()
        };
        next.partitions.extend(added);
        next
    }

    /// The outcome is decided. Under V2 the epoch is bumped, and an id for the next transaction drawn when the client
    /// can have no further epoch of this one. Without an open transaction (V2 aborts those as well: a producer may not
    /// know whether its partition was added) it starts and ends now.
    pub(crate) fn prepared(
        &self,
        outcome: TransactionResult,
        client_version: TransactionVersion,
        ids: &mut ProducerIds,
        now_ms: i64,
    ) -> Result<Self, TxnError> {
        let mut next = Transaction {
            previous_producer_id: Some(self.producer_id),
            state: TransactionState::Prepare(outcome),
            start_ms: if self.state == TransactionState::Ongoing { self.start_ms } else { Some(now_ms) },
            last_update_ms: now_ms,
            client_version,
            ..self.clone()
        };
        if client_version.bumps_epoch() {
            if self.is_exhausted() {
                next.next_producer_id = Some(ids.draw()?);
            }
            // At 32767 a fence of V1 failed half-way, or of an old Kafka: it aborts all the same (KAFKA-20090).
            next.producer_epoch = self.producer_epoch.saturating_add(1);
            next.last_producer_epoch = Some(self.producer_epoch);
        }
        Ok(next)
    }

    /// The coordinator itself aborts the open transaction, and fences its producer. How is up to the *cluster's*
    /// version: with V2 the end bumps the epoch, once (KAFKA-19367); before, the fence does.
    pub(crate) fn fenced(
        &self,
        cluster_version: TransactionVersion,
        ids: &mut ProducerIds,
        now_ms: i64,
    ) -> Result<Self, TxnError> {
        if cluster_version.bumps_epoch() {
            return self.prepared(TransactionResult::Abort, cluster_version, ids, now_ms);
        }
        let aborted = self.prepared(TransactionResult::Abort, TransactionVersion::V0, ids, now_ms)?;
        let producer_epoch = self.producer_epoch.saturating_add(1);
        Ok(Transaction { producer_epoch, last_producer_epoch: None, ..aborted })
    }

    /// Every partition of a decided transaction has its marker.
    pub(crate) fn completed(&self, outcome: TransactionResult, now_ms: i64) -> Self {
        let ProducerIdAndEpoch { producer_id, producer_epoch } = self.next_producer();
        Transaction {
            producer_id,
            producer_epoch,
            previous_producer_id: Some(self.producer_id),
            next_producer_id: None,
            state: TransactionState::Complete(outcome),
            partitions: BTreeSet::new(),
            last_update_ms: now_ms,
            ..self.clone()
        }
    }

    /// The producer of the next transaction, once this one is complete.
    pub(crate) fn next_producer(&self) -> ProducerIdAndEpoch {
        match self.next_producer_id {
            Some(producer_id) => ProducerIdAndEpoch { producer_id, producer_epoch: 0 },
            None => self.producer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(producer_epoch: i16) -> Transaction {
        Transaction {
            producer_epoch,
            state: TransactionState::Ongoing,
            start_ms: Some(5),
            ..Transaction::new(7, 1000, 0)
        }
    }

    fn ids() -> ProducerIds {
        let mut ids = ProducerIds::default();
        ids.add(100..200);
        ids
    }

    #[test]
    fn an_end_gives_the_next_transaction_its_producer() {
        use TransactionVersion::{V0, V2};
        // Epoch, protocol; epoch of the markers; producer id and epoch afterwards.
        let cases = [
            (0, V0, 0, (7, 0)),
            (0, V2, 1, (7, 1)),
            (32_765, V2, 32_766, (7, 32_766)),
            (32_766, V0, 32_766, (7, 32_766)),
            (32_766, V2, 32_767, (100, 0)),
            (32_767, V2, 32_767, (100, 0)),
        ];
        for (epoch, version, of_markers, (producer_id, producer_epoch)) in cases {
            for outcome in [TransactionResult::Commit, TransactionResult::Abort] {
                let prepared = at(epoch).prepared(outcome, version, &mut ids(), 9).unwrap();
                assert_eq!((prepared.producer_id, prepared.producer_epoch), (7, of_markers), "{epoch} {version:?}");
                let completed = prepared.completed(outcome, 10);
                assert_eq!(completed.producer(), ProducerIdAndEpoch { producer_id, producer_epoch });
                assert_eq!(completed.last_producer_epoch, (version == V2).then_some(epoch));
            }
        }
    }

    #[test]
    fn a_fence_bumps_once() {
        use TransactionVersion::{V0, V1, V2};
        // Epoch, the cluster's version; the epoch of the markers; the producer id afterwards.
        let cases = [
            (3, V0, 4, 7),
            (3, V1, 4, 7),
            (3, V2, 4, 7),
            (32_766, V1, 32_767, 7),
            (32_766, V2, 32_767, 100),
            (32_767, V1, 32_767, 7),
            (32_767, V2, 32_767, 100),
        ];
        for (epoch, version, of_markers, producer_id) in cases {
            let fenced = at(epoch).fenced(version, &mut ids(), 9).unwrap();
            assert_eq!(
                (fenced.producer_epoch, fenced.state),
                (of_markers, TransactionState::Prepare(TransactionResult::Abort))
            );
            assert_eq!(fenced.completed(TransactionResult::Abort, 10).producer_id, producer_id, "{epoch} {version:?}");
            assert_eq!(fenced.last_producer_epoch, (version == V2).then_some(epoch));
        }
    }

    #[test]
    fn without_a_fresh_id_an_exhausted_producer_waits() {
        let none = &mut ProducerIds::default();
        let wait = Err(TxnError::CoordinatorLoadInProgress);
        assert_eq!(at(32_766).prepared(TransactionResult::Commit, TransactionVersion::V2, none, 9), wait);
        assert_eq!(at(32_766).renewed(None, 1000, none, 9), wait);
        assert!(at(32_766).prepared(TransactionResult::Commit, TransactionVersion::V0, none, 9).is_ok());
        assert!(at(32_765).renewed(None, 1000, none, 9).is_ok());
    }

    #[test]
    fn only_an_end_that_bumped_the_epoch_can_be_repeated() {
        let given = |producer_id, producer_epoch| ProducerIdAndEpoch { producer_id, producer_epoch };
        let end = |epoch, version| {
            at(epoch)
                .prepared(TransactionResult::Commit, version, &mut ids(), 9)
                .unwrap()
                .completed(TransactionResult::Commit, 10)
        };
        let v2 = end(4, TransactionVersion::V2);
        assert!(v2.was_ended_by(given(7, 4)));
        assert!(!v2.was_ended_by(given(7, 5)) && !v2.was_ended_by(given(7, 3)) && !v2.was_ended_by(given(8, 4)));
        assert!(!end(5, TransactionVersion::V0).was_ended_by(given(7, 4)), "a zombie of V2 after an end of V0");
        let rotated = end(32_766, TransactionVersion::V2);
        assert!(rotated.was_ended_by(given(7, 32_766)) && !rotated.was_ended_by(given(7, 32_765)));
        let highest = end(32_767, TransactionVersion::V0);
        assert!(!highest.was_ended_by(given(7, i16::MAX)));
    }
}

//! Whether a producer's transaction is known to its coordinator: asked before the first batch of a transaction goes
//! into a partition, for a transaction of which the coordinator knows nothing would never end (KIP-890).
//!
//! Values only: Kafka's `VerificationStateEntry` and `VerificationGuard`. The leader begins a verification and asks;
//! the guard comes back with the batch. It is good only while nothing else of the producer's transactions was appended:
//! the answer may be that of an earlier transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_batch::BatchHeader;

/// No two guards of a process are alike, so none outlives the log that gave it.
static LAST_GUARD: AtomicU64 = AtomicU64::new(0);

/// Shows which verification of a producer a batch has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    fn new() -> VerificationGuard {
        VerificationGuard(LAST_GUARD.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The verification of one producer, from its beginning to the first append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// With what a batch shows that it has passed.
    pub guard: VerificationGuard,
    /// Of the batches under `epoch` that have come for verification. A batch behind it must not overtake it.
    pub lowest_sequence: i32,
    /// The latest epoch that has come for verification.
    pub epoch: i16,
    /// Each transaction has an epoch of its own (`transaction.version` 2).
    pub supports_epoch_bump: bool,
    /// Milliseconds since 1970.
    began_ms: i64,
}

/// The verifications of a partition, by producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verifications {
    by_producer: HashMap<i64, Verification>,
}

impl Verifications {
    /// A batch is to be verified. One that comes meanwhile shares the guard.
    pub(crate) fn begin(
        &mut self,
        producer_id: i64,
        epoch: i16,
        sequence: i32,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> VerificationGuard {
        let new = || Verification {
            guard: VerificationGuard::new(),
            lowest_sequence: sequence,
            epoch,
            supports_epoch_bump,
            began_ms: now_ms,
        };
        let verification = self.by_producer.entry(producer_id).or_insert_with(new);
        if epoch > verification.epoch {
            // The protocol is that of the newer producer, too: a marker with the epoch of an older client's transaction
            // has ended that one. If it left the guard good because the producer before spoke V2, a late batch would
            // open a transaction that nobody ends. (Kafka's `VerificationStateEntry` keeps the first one's.)
            (verification.epoch, verification.lowest_sequence) = (epoch, sequence);
            verification.supports_epoch_bump = supports_epoch_bump;
        } else if epoch == verification.epoch {
            verification.lowest_sequence = verification.lowest_sequence.min(sequence);
        }
        verification.guard
    }

    pub(crate) fn get(&self, producer_id: i64) -> Option<&Verification> {
        self.by_producer.get(&producer_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Verification)> {
        self.by_producer.iter().map(|(id, verification)| (*id, verification))
    }

    pub(crate) fn is_passed(&self, producer_id: i64, guard: Option<VerificationGuard>) -> bool {
        self.get(producer_id).is_some_and(|verification| Some(verification.guard) == guard)
    }

    /// A batch of a transaction was appended.
    pub(crate) fn note(&mut self, batch: &BatchHeader) {
        let Some(verification) = self.by_producer.get(&batch.producer_id) else { return };
        // The marker has the epoch of the producer's next transaction, and that is the one to verify.
        let is_of_the_next =
            verification.supports_epoch_bump && batch.is_control() && batch.producer_epoch == verification.epoch;
        if !is_of_the_next {
            self.by_producer.remove(&batch.producer_id);
        }
    }

    /// Forget what has never been appended.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_producer.retain(|_, verification| now_ms.saturating_sub(verification.began_ms) < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producers::tests::{batch, marker_at, transactional};

    fn begun(supports_epoch_bump: bool) -> (Verifications, VerificationGuard) {
        let mut verifications = Verifications::default();
        let guard = verifications.begin(7, 3, 10, supports_epoch_bump, 1_000);
        (verifications, guard)
    }

    #[test]
    fn a_guard_is_good_until_something_of_the_producers_transactions_is_appended() {
        for (name, supports_epoch_bump, appended, stays) in [
            ("V1: its batch", false, transactional(batch(3, 10, 1, 0)), false),
            ("V1: a marker", false, marker_at(3, 0), false),
            ("V2: its batch", true, transactional(batch(3, 10, 1, 0)), false),
            ("V2: the marker of the transaction before", true, marker_at(3, 0), true),
            ("V2: a marker of another epoch", true, marker_at(4, 0), false),
            ("another producer's", false, BatchHeader { producer_id: 8, ..marker_at(3, 0) }, true),
        ] {
            let (mut verifications, guard) = begun(supports_epoch_bump);
            verifications.note(&appended);
            assert_eq!(verifications.is_passed(7, Some(guard)), stays, "{name}");
            let next = verifications.begin(7, 3, 10, supports_epoch_bump, 1_000);
            assert_eq!(next == guard, stays, "{name}: another verification has another guard");
        }
    }

    /// A producer of V2 is fenced by one of V1 while its batch is being verified.
    #[test]
    fn a_guard_is_good_by_the_rules_of_the_newest_epoch() {
        for (name, first, second, stays) in [
            ("V1 after V2: the marker of the transaction", true, false, false),
            ("V2 after V1: the marker of the one before", false, true, true),
        ] {
            let (mut verifications, guard) = begun(first);
            assert_eq!(verifications.begin(7, 4, 0, second, 1_000), guard);
            verifications.note(&marker_at(4, 0));
            assert_eq!(verifications.is_passed(7, Some(guard)), stays, "{name}");
        }
    }

    #[test]
    fn no_other_guard_passes() {
        let (verifications, guard) = begun(false);
        let (_, other) = begun(false);
        assert!(verifications.is_passed(7, Some(guard)));
        assert!(!verifications.is_passed(7, Some(other)) && !verifications.is_passed(7, None));
        assert!(!verifications.is_passed(8, Some(guard)) && !verifications.is_passed(8, None));
    }

    #[test]
    fn the_lowest_sequence_is_that_of_the_latest_epoch() {
        let (mut verifications, guard) = begun(true);
        for (epoch, sequence, lowest) in [(3, 12, 10), (3, 5, 5), (2, 0, 5), (4, 20, 20), (3, 1, 20), (4, 18, 18)] {
            assert_eq!(verifications.begin(7, epoch, sequence, true, 2_000), guard);
            assert_eq!(verifications.get(7).unwrap().lowest_sequence, lowest, "{epoch} {sequence}");
        }
    }

    #[test]
    fn a_verification_that_nothing_follows_is_forgotten() {
        let (mut verifications, guard) = begun(false);
        verifications.expire(1_999, 1_000);
        assert!(verifications.is_passed(7, Some(guard)));
        verifications.expire(2_000, 1_000);
        assert_eq!(verifications, Verifications::default());
    }
}

//! The transaction coordinators of one other broker: the ids that wait for them, and the connection, with one request
//! in flight. What comes meanwhile goes together in the next one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{ClientError, Connection};
use ottla_txn::TransactionalId;
use ottla_wire::AddPartitionsToTxnRequest;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::values::{Results, TIMEOUT, Verification, VerifyError};
use super::wire::{self, VERSIONS};
use crate::dialer::{CallLimits, Dialer};
use crate::image::{BrokerId, ImageReceiver};

/// The most ids that wait for one broker. One that has so many has stopped answering.
const MOST_WAITING: usize = 10_000;
/// For its connections.
const LIMITS: CallLimits = CallLimits { connect: Duration::from_secs(5), request: TIMEOUT, max_response: 64 << 20 };

/// The coordinators of one other broker.
pub(super) struct Node {
    dialer: Dialer,
    id: BrokerId,
    waiting: Mutex<BTreeMap<TransactionalId, UnsentVerification>>,
    /// Somebody waits.
    wake: Notify,
}

/// A verification that was not sent yet. One that nobody waits for any more is not sent.
struct UnsentVerification {
    verification: Verification,
    answer: oneshot::Sender<Results>,
}

impl UnsentVerification {
    /// Answers. Nobody may be left to hear it.
    fn answer(self, results: Results) {
        let _ = self.answer.send(results);
    }

    fn refuse(self, error: VerifyError) {
        let all = self.verification.partitions.len();
        self.answer(vec![Err(error); all]);
    }
}

impl Node {
    pub(super) fn new(dialer: Dialer, id: BrokerId) -> Node {
        Node { dialer, id, waiting: Mutex::default(), wake: Notify::new() }
    }

    /// Takes a verification for the next request. Of one id only one waits, for a client has one transaction at a time:
    /// the one with the newer epoch; of two with the same epoch the later, for the client has asked again, and would
    /// not learn the answer to the earlier one.
    ///
    /// # Errors
    /// `Fenced` and `Full`.
    pub(super) fn put(&self, verification: Verification) -> Result<oneshot::Receiver<Results>, VerifyError> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST_WAITING {
            waiting.retain(|_, waiting| !waiting.answer.is_closed());
        }
        let is_full = waiting.len() >= MOST_WAITING;
        match waiting.entry(verification.transactional_id.clone()) {
            Entry::Vacant(_) if is_full => return Err(VerifyError::Full),
            Entry::Vacant(free) => {
                free.insert(UnsentVerification { verification, answer });
            }
            Entry::Occupied(mut taken) => {
                let (old, new) = (taken.get().verification.producer, verification.producer);
                let replaced = if old.producer_id != new.producer_id || old.producer_epoch == new.producer_epoch {
                    // Which of two producer ids is the newer one is for the coordinator to know.
                    VerifyError::Replaced
                } else if old.producer_epoch < new.producer_epoch {
                    VerifyError::Fenced
                } else {
                    return Err(VerifyError::Fenced);
                };
                taken.insert(UnsentVerification { verification, answer }).refuse(replaced);
            }
        }
        drop(waiting);
        self.wake.notify_one();
        Ok(answered)
    }

    /// What is to be sent next.
    fn take(&self) -> Vec<UnsentVerification> {
        let taken = std::mem::take(&mut *self.waiting.lock());
        taken.into_values().filter(|waiting| !waiting.answer.is_closed()).collect()
    }

    /// Sends, one request after the other, until it is aborted.
    pub(super) async fn send(self: Arc<Self>, images: ImageReceiver) {
        let mut open: Option<(Connection, i16)> = None;
        loop {
            let ended = async {
                match &mut open {
                    Some((connection, _)) => connection.ended().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                // As when the coordinator closes what is idle. The next request takes another one.
                _ = ended => {
                    open = None;
                    continue;
                }
                () = self.wake.notified() => {}
            }
            if open.is_none() {
                open = self.connect(&images).await.inspect_err(|error| self.warn(error)).ok();
            }
            let taken = self.take();
            let Some((connection, version)) = &mut open else {
                taken.into_iter().for_each(|waiting| waiting.refuse(VerifyError::NoAnswer));
                continue;
            };
            if taken.is_empty() {
                continue;
            }
            let request = wire::request(taken.iter().map(|waiting| &waiting.verification));
            match connection.call(*version, &request).await {
                Ok(response) => {
                    let codes = wire::codes(&response);
                    for waiting in taken {
                        let results = wire::results(&waiting.verification, response.error_code, &codes);
                        waiting.answer(results);
                    }
                }
                Err(error) => {
                    self.warn(&error);
                    open = None;
                    taken.into_iter().for_each(|waiting| waiting.refuse(VerifyError::NoAnswer));
                }
            }
        }
    }

    async fn connect(&self, images: &ImageReceiver) -> Result<(Connection, i16), ClientError> {
        let route = images.borrow().route(self.id);
        let mut connection = self.dialer.connect(route.as_ref(), "transactions", LIMITS).await?;
        let version = connection.versions().await?.newest::<AddPartitionsToTxnRequest>(VERSIONS)?;
        Ok((connection, version))
    }

    fn warn(&self, error: &ClientError) {
        tracing::warn!(
            coordinator = %self.id, %error,
            "failed to ask the transaction coordinators of a broker: their producers send their records again"
        );
    }
}

#[cfg(test)]
mod tests {
    use ottla_txn::ProducerIdAndEpoch;

    use super::super::values::VerificationKind;
    use super::*;

    fn verification(id: &str, producer_id: i64, producer_epoch: i16) -> Verification {
        let producer = ProducerIdAndEpoch { producer_id, producer_epoch };
        let topic = ottla_txn::TopicName::from("t");
        let partitions = [0, 1].map(|partition| ottla_txn::TopicPartition { topic: topic.clone(), partition }).into();
        Verification { transactional_id: id.into(), producer, partitions, kind: VerificationKind::Verify }
    }

    fn node() -> Node {
        Node::new(Dialer::plain(BrokerId(0)), BrokerId(1))
    }

    #[test]
    fn of_one_id_the_newer_request_waits() {
        const FENCED: VerifyError = VerifyError::Fenced;
        const REPLACED: VerifyError = VerifyError::Replaced;
        for (name, first, second, (to_first, to_second)) in [
            ("a newer epoch", (7, 1), (7, 2), (Some(FENCED), None)),
            ("again", (7, 1), (7, 1), (Some(REPLACED), None)),
            ("an older epoch", (7, 2), (7, 1), (None, Some(FENCED))),
            ("another producer id, as after the last epoch", (7, 32766), (8, 0), (Some(REPLACED), None)),
        ] {
            let node = node();
            let mut earlier = node.put(verification("x", first.0, first.1)).unwrap();
            let later = node.put(verification("x", second.0, second.1));
            assert_eq!(earlier.try_recv().ok(), to_first.map(|error| vec![Err(error); 2]), "{name}");
            assert_eq!(later.as_ref().err().copied(), to_second, "{name}");
            let waits = if to_second.is_none() { second } else { first };
            let taken: Vec<_> = node.take().into_iter().map(|waiting| waiting.verification).collect();
            assert_eq!(taken, [verification("x", waits.0, waits.1)], "{name}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent_and_takes_no_room() {
        let node = node();
        drop(node.put(verification("gone", 7, 0)));
        let kept: Vec<_> = (1..MOST_WAITING)
            .map(|n| node.put(verification(&format!("id {n}"), 7, 0)).unwrap())
            .chain([node.put(verification("in its place", 7, 0)).unwrap()])
            .collect();
        assert_eq!(node.put(verification("too many", 7, 0)).unwrap_err(), VerifyError::Full);
        node.put(verification("id 1", 7, 0)).unwrap();
        let taken = node.take();
        assert_eq!(taken.len(), kept.len() - 1, "who put the second one of id 1 is gone, too");
        assert!(taken.iter().all(|waiting| &*waiting.verification.transactional_id != "gone"));
    }
}

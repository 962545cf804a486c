//! Asks transaction coordinators whether partitions are part of a transaction, or adds them to it, before the first
//! batch of the transaction is appended there (KIP-890).
//!
//! - here: which broker coordinates an id; the coordinator that runs here is asked directly
//! - `values`: what is asked, and what comes of it
//! - `node`: the coordinators of one other broker: a queue, and one request in flight
//! - `wire`: AddPartitionsToTxn, as brokers use it

mod node;
mod values;
mod wire;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_txn::TransactionalId;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use self::node::Node;
pub(crate) use self::values::{Results, TIMEOUT, Verification, VerificationKind, VerifyError};
use crate::coordinator::partition_for;
use crate::dialer::Dialer;
use crate::env::{self, Instant};
use crate::image::{BrokerId, ClusterImage, ImageReceiver, TRANSACTION_STATE};

/// How long partitions are added again while the end of the producer's previous transaction is under way. Kafka's
/// default for `add.partitions.to.txn.retry.backoff.max.ms`.
const RETRY_FOR: Duration = Duration::from_millis(100);
/// The pause before each time. Kafka's default for `add.partitions.to.txn.retry.backoff.ms`.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Asks the coordinator that runs on this broker.
pub(crate) type Local = Box<dyn Fn(Verification) -> Pin<Box<dyn Future<Output = Results> + Send>> + Send + Sync>;

/// Asks transaction coordinators for the partitions that this broker leads.
pub struct Verifier {
    dialer: Dialer,
    images: ImageReceiver,
    local: Local,
    /// The control runtime: requests come from the reactors, whose tasks end with a connection.
    runtime: Handle,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    by_id: BTreeMap<BrokerId, Arc<Node>>,
    /// One for each; they end with this verifier.
    senders: JoinSet<()>,
}

impl Verifier {
    /// No connection yet. Must be called on the control runtime.
    pub fn new(dialer: Dialer, images: ImageReceiver, local: Local) -> Arc<Verifier> {
        Arc::new(Verifier { dialer, images, local, runtime: Handle::current(), nodes: Mutex::default() })
    }

    /// Asks for all partitions together; the first refusal counts. Cancellation safe: what was not sent yet is not
    /// sent.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn verify(&self, verification: Verification) -> Result<(), VerifyError> {
        self.verify_each(verification, env::now() + TIMEOUT).await.into_iter().collect()
    }

    /// The result for each partition, at `deadline` at the latest. Cancellation safe as [`Verifier::verify`].
    pub async fn verify_each(&self, verification: Verification, deadline: Instant) -> Results {
        let all = verification.partitions.len();
        tokio::select! {
            biased;
            results = self.ask_until_settled(verification) => results,
            () = env::sleep_until(deadline) => vec![Err(VerifyError::NoAnswer); all],
        }
    }

    /// Adds partitions again for a while if the producer's previous transaction is still being ended: mostly it has
    /// been soon, and to send its records again costs the client more.
    async fn ask_until_settled(&self, verification: Verification) -> Results {
        let settled_by = env::now() + RETRY_FOR;
        loop {
            let results = self.ask(verification.clone()).await;
            let is_unsettled = |result: &Result<(), VerifyError>| {
                matches!(result, Err(VerifyError::Refused(ErrorCode::CONCURRENT_TRANSACTIONS)))
            };
            let may_settle = verification.kind == VerificationKind::Add && env::now() < settled_by;
            if !may_settle || !results.iter().any(is_unsettled) {
                return results;
            }
            env::sleep_until(env::now() + RETRY_PAUSE).await;
        }
    }

    async fn ask(&self, verification: Verification) -> Results {
        let all = verification.partitions.len();
        let refused = |error| vec![Err(error); all];
        let coordinator = coordinator(&self.images.borrow(), &verification.transactional_id);
        match coordinator {
            None => refused(VerifyError::NoCoordinator),
            Some(id) if id == self.dialer.me => (self.local)(verification).await,
            Some(id) => match self.node(id).put(verification) {
                // The sender answers everything that it takes, unless the broker stops.
                Ok(answer) => answer.await.unwrap_or_else(|_| refused(VerifyError::NoAnswer)),
                Err(error) => refused(error),
            },
        }
    }

    fn node(&self, id: BrokerId) -> Arc<Node> {
        let Nodes { by_id, senders } = &mut *self.nodes.lock();
        let node = by_id.entry(id).or_insert_with(|| {
            let node = Arc::new(Node::new(self.dialer.clone(), id));
            senders.spawn_on(node.clone().send(self.images.clone()), &self.runtime);
            node
        });
        node.clone()
    }
}

/// The broker that coordinates a transactional id: the leader of its partition of `__transaction_state`.
fn coordinator(image: &ClusterImage, id: &TransactionalId) -> Option<BrokerId> {
    let topic = image.topic(TRANSACTION_STATE)?;
    let partitions = i32::try_from(topic.partitions.len()).ok().filter(|partitions| *partitions > 0)?;
    image.assignment(TRANSACTION_STATE, partition_for(id, partitions))?.leader
}

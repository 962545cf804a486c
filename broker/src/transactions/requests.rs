//! One function per request to the coordinator of a transactional id. What must happen has happened when they return;
//! the future waits for the answer. A request that needs a fresh producer id where none is at hand waits for that
//! first, for as long as [`PATIENCE`]. No other request waits for producer ids: they come from the API server, which
//! may be away.

use std::sync::Arc;
use std::time::Duration;

use ottla_txn::{
    AddPartitions, DescribedTransaction, EndTxn, InitProducerId, ListFilter, ListedTransaction, ProducerIdAndEpoch,
    Request, Shard, TransactionVersion, TxnError, TxnReply, VerifyPartitions, VerifyReply,
};

use super::Transactions;
use super::machine::{effects, refused};
use super::verifier::{Results, Verification, VerificationKind};
use crate::coordinator::Coordinator;
use crate::coordinator::machine::{CoordinatorError, Now, Ticket};
use crate::env;

/// Fresh producer ids that a shard has, where they are at hand, before it takes a request that may need one, and keeps
/// for transactions that it aborts by itself.
const RESERVE: i64 = 2;
/// How long a request waits for a producer id.
const PATIENCE: Duration = Duration::from_secs(5);

impl Transactions {
    /// InitProducerId with a transactional id. Answered when the producer's identity is safe.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn init_producer_id(&self, request: InitProducerId) -> Result<ProducerIdAndEpoch, TxnError> {
        match self.ask_for_producer_id(Request::InitProducerId(request)).await? {
            TxnReply::InitProducerId(reply) => reply,
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn. Answered when the partitions are written down.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn add_partitions(&self, request: AddPartitions) -> Result<(), TxnError> {
        match self.ask(Request::AddPartitions(request)).await? {
            TxnReply::AddPartitions(reply) => reply,
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }

    /// EndTxn. Answered when the decision is safe; the markers follow. Gives the producer of the next transaction;
    /// `None`: the client's protocol is older than V2, and its producer stays the same.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn end(&self, request: EndTxn) -> Result<Option<ProducerIdAndEpoch>, TxnError> {
        match self.ask_for_producer_id(Request::EndTxn(request)).await? {
            TxnReply::EndTxn(reply) => reply,
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }

    /// AddPartitionsToTxn with `verifyOnly`.
    ///
    /// # Errors
    /// See [`Shard::verify`].
    pub fn verify_partitions(&self, request: &VerifyPartitions) -> VerifyReply {
        self.read(&request.transactional_id, |ids, _| ids.verify(request))?
    }

    /// What a partition's leader asks, on this broker or another.
    pub async fn verify(&self, Verification { transactional_id, producer, partitions, kind }: Verification) -> Results {
        let all = partitions.len();
        let results = match kind {
            VerificationKind::Verify => {
                self.verify_partitions(&VerifyPartitions { transactional_id, producer, partitions })
            }
            VerificationKind::Add => {
                let partitions = partitions.into_iter().collect();
                let client_version = TransactionVersion::V2;
                let request = AddPartitions { transactional_id, producer, partitions, client_version };
                self.add_partitions(request).await.map(|()| vec![Ok(()); all])
            }
        };
        let results = results.unwrap_or_else(|error| vec![Err(error); all]);
        results.into_iter().map(|result| result.map_err(Into::into)).collect()
    }

    /// DescribeTransactions, of one id.
    ///
    /// # Errors
    /// That there is none, or that it is not here.
    pub fn describe(&self, id: &str) -> Result<DescribedTransaction, TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        self.read(id, |ids, _| ids.describe(id))?
    }

    /// ListTransactions: what is coordinated here.
    ///
    /// # Errors
    /// That some are still being loaded.
    pub fn list(&self, filter: ListFilter<'_>, wall_ms: i64) -> Result<Vec<ListedTransaction>, TxnError> {
        let mut all = Vec::new();
        for coordinator in self.coordinators.all() {
            // Its age is counted on the wall clock alone.
            let now = ottla_txn::Now { monotonic: std::time::Duration::ZERO, wall_ms };
            match coordinator.survey(|ids| all.extend(ids.list(filter, now))) {
                Ok(()) | Err(CoordinatorError::NotCoordinator) => {}
                Err(CoordinatorError::LoadInProgress) => return Err(TxnError::CoordinatorLoadInProgress),
            }
        }
        Ok(all)
    }

    fn read<T>(&self, id: &str, look: impl FnOnce(&mut Shard, Now) -> T) -> Result<T, TxnError> {
        self.coordinator(id)?.read(id, look).map_err(refused)
    }

    async fn ask(&self, request: Request) -> Result<TxnReply, TxnError> {
        let id = request.transactional_id().clone();
        let act =
            |ids: &mut Shard, ticket: Ticket, now: Now| effects(ids.request(&request, ticket.into(), now.into()), now);
        let asked = self.coordinator(&id)?.ask(&id, act).map_err(refused)?;
        asked.await.map_err(|_| TxnError::NotCoordinator)
    }

    fn coordinator(&self, id: &str) -> Result<Arc<Coordinator<Shard>>, TxnError> {
        self.coordinators.of(id).map_err(refused)
    }

    /// A request that may need a fresh producer id: of a new transactional id, or of one whose epochs are exhausted. It
    /// is asked again, once, when there is one.
    async fn ask_for_producer_id(&self, request: Request) -> Result<TxnReply, TxnError> {
        let id = request.transactional_id();
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        let coordinator = self.coordinator(id)?;
        self.fill_reserve(&coordinator)?;
        let reply = self.ask(request.clone()).await?;
        if !needs_producer_id(&reply) {
            return Ok(reply);
        }
        let deadline = env::now() + PATIENCE;
        tokio::select! {
            biased;
            fresh = self.producer_ids.next() => match fresh {
                Ok(fresh) => give(&coordinator, fresh),
                Err(_) => return Ok(reply),
            },
            // As Kafka's coordinator answers while it waits for its controller: the producer asks again.
            () = env::sleep_until(deadline) => return Ok(reply),
        }
        self.ask(request).await
    }

    /// Gives the shard the producer ids that are at hand. An id that is drawn is never drawn again, so one too many
    /// does no harm.
    fn fill_reserve(&self, coordinator: &Arc<Coordinator<Shard>>) -> Result<(), TxnError> {
        let left = coordinator.survey(Shard::producer_ids_left).map_err(refused)?;
        for fresh in (left..RESERVE).map_while(|_| self.producer_ids.at_hand()) {
            give(coordinator, fresh);
        }
        Ok(())
    }
}

fn give(coordinator: &Arc<Coordinator<Shard>>, fresh: i64) {
    coordinator.turn(|ids, now| {
        ids.add_producer_ids(fresh..fresh + 1);
        effects(ottla_txn::Effects::default(), now)
    });
}

/// The shard had none to draw.
fn needs_producer_id(reply: &TxnReply) -> bool {
    matches!(
        reply,
        TxnReply::InitProducerId(Err(TxnError::CoordinatorLoadInProgress))
            | TxnReply::EndTxn(Err(TxnError::CoordinatorLoadInProgress))
    )
}

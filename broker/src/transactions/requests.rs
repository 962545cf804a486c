//! One function per request to the coordinator of a transactional id. What must happen has happened when they return,
//! but for fresh producer ids, which may have to be fetched first; the future waits for the answer.

use std::sync::Arc;

use ottla_txn::{
    AddPartitions, DescribedTransaction, EndTxn, InitProducerId, ListFilter, ListedTransaction, ProducerIdAndEpoch,
    Reply, Request, Shard, TransactionVersion, TransactionalId, TxnError, VerifyPartitions, VerifyReply,
};

use super::Transactions;
use super::machine::{effects, refused};
use super::verifier::{Kind, Results, Verification};
use crate::coordinator::Coordinator;
use crate::coordinator::machine::{CoordinatorError, Now, Ticket};

/// Fresh producer ids that a shard has before it takes a request that may need one, and keeps for transactions that it
/// aborts by itself.
const RESERVE: i64 = 2;

impl Transactions {
    /// InitProducerId with a transactional id. Answered when the producer's identity is safe.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn init_producer_id(&self, request: InitProducerId) -> Result<ProducerIdAndEpoch, TxnError> {
        self.fill_reserve(&request.transactional_id).await?;
        match self.ask(Request::InitProducerId(request)).await? {
            Reply::InitProducerId(reply) => reply,
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn. Answered when the partitions are written down.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn add_partitions(&self, request: AddPartitions) -> Result<(), TxnError> {
        match self.ask(Request::AddPartitions(request)).await? {
            Reply::AddPartitions(reply) => reply,
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }

    /// EndTxn. Answered when the decision is safe; the markers follow.
    ///
    /// # Errors
    /// See [`TxnError`].
    pub async fn end(&self, request: EndTxn) -> Result<Option<ProducerIdAndEpoch>, TxnError> {
        if request.client_version.bumps_epoch() {
            self.fill_reserve(&request.transactional_id).await?;
        }
        match self.ask(Request::EndTxn(request)).await? {
            Reply::EndTxn(reply) => reply,
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
            Kind::Verify => self.verify_partitions(&VerifyPartitions { transactional_id, producer, partitions }),
            Kind::Add => {
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

    async fn ask(&self, request: Request) -> Result<Reply, TxnError> {
        let id = request.transactional_id().clone();
        let act =
            |ids: &mut Shard, ticket: Ticket, now: Now| effects(ids.request(&request, ticket.into(), now.into()), now);
        let asked = self.coordinator(&id)?.ask(&id, act).map_err(refused)?;
        asked.await.map_err(|_| TxnError::NotCoordinator)
    }

    fn coordinator(&self, id: &str) -> Result<Arc<Coordinator<Shard>>, TxnError> {
        self.coordinators.of(id).map_err(refused)
    }

    /// Sees to it that the shard of an id has fresh producer ids. An id that is drawn is never drawn again, so one too
    /// many does no harm.
    async fn fill_reserve(&self, id: &TransactionalId) -> Result<(), TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        let coordinator = self.coordinator(id)?;
        let left = coordinator.survey(Shard::producer_ids_left).map_err(refused)?;
        for _ in left..RESERVE {
            // As Kafka's coordinator while it waits for its controller: the producer asks again.
            let fresh = self.producer_ids.next().await.map_err(|_| TxnError::CoordinatorLoadInProgress)?;
            coordinator.turn(|ids, now| {
                ids.add_producer_ids(fresh..fresh + 1);
                effects(ottla_txn::Effects::default(), now)
            });
        }
        Ok(())
    }
}

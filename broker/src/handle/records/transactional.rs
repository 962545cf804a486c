//! Produce with transactional batches: before the first batch of a transaction goes into a partition, the transaction
//! coordinator is asked whether the partition is part of the transaction (KIP-890). From version 12 on it is asked to
//! add the partition.
//!
//! Meanwhile the connection starts no further request, as in Kafka, or a later batch of the producer would overtake.

use std::sync::Arc;
use std::time::Duration;

use ottla_access::Operation;
use ottla_batch::BatchHeader;
use ottla_txn::{ProducerIdAndEpoch, TopicName, TopicPartition, TransactionalId};
use ottla_wire::Records;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::produce::{ProduceError, ResolvedTopic, Verified, append_all, partition};
use super::refusals::Refusals;
use crate::env;
use crate::handle::client::Client;
use crate::handle::context::Context;
use crate::image::Topic;
use crate::replica::NotServed;
use crate::reply::Reply;
use crate::transactions::verifier::{TIMEOUT, Verification, VerificationKind};

/// The version from which on clients know TRANSACTION_ABORTABLE.
pub(crate) const ABORTABLE_FROM: i16 = 11;
/// The version from which on clients leave it to the leader to add partitions, and each of their transactions has an
/// epoch of its own.
pub(crate) const ADDS_FROM: i16 = 12;
/// A verification gets so much time even if the request says that it has less: that is meant for the replicas.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether any batch belongs to a transaction.
pub(crate) fn is_transactional(request: &ProduceRequest) -> bool {
    partitions(request).any(|data| header(data).is_some_and(|batch| batch.is_transactional()))
}

/// Verifies what is not known to be part of the transaction, then appends all.
pub(crate) fn handle(context: &Context, client: &mut Client, request: ProduceRequest) -> Reply {
    let found = whose(&request).and_then(|found| match context.may_transactional_id(Operation::Write, &found.0) {
        true => Ok(found),
        false => Err(|| ProduceError::DeniedTransactionalId),
    });
    let (id, producer) = match found {
        Ok(found) => found,
        Err(error) => {
            // Every batch is refused for this error, whatever its topic: no topic is looked up.
            let found = std::iter::repeat(Err(NotServed::Denied));
            let verified = std::iter::repeat_with(|| Err(error()));
            return append_all(context, &mut client.refusals.borrow_mut(), request, found, verified);
        }
    };
    let mut asked = Vec::new();
    let find = |topic: &TopicProduceData| context.topic(Operation::Write, 13, &topic.name, topic.topic_id).cloned();
    let found: Vec<ResolvedTopic> = request.topic_data.iter().map(find).collect();
    let mut verified = begin_all(context, &client.refusals.borrow(), &request, &found, &mut asked);
    let Some(producer) = producer.filter(|_| !asked.is_empty()) else {
        let (found, verified) = (found.into_iter(), verified.into_iter());
        return append_all(context, &mut client.refusals.borrow_mut(), request, found, verified);
    };
    let version = context.version;
    let kind = if version >= ADDS_FROM { VerificationKind::Add } else { VerificationKind::Verify };
    let verification = Verification { transactional_id: id, producer, partitions: asked, kind };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = env::now() + timeout.clamp(LEAST_TIMEOUT, TIMEOUT);
    let (after, refusals) = (context.clone(), client.refusals.clone());
    context.hold(async move {
        let results = after.handler.verifier.verify_each(verification, deadline).await;
        let begun = verified.iter_mut().filter(|verified| matches!(verified, Ok(Some(_))));
        for (verified, result) in begun.zip(results) {
            if let Err(error) = result {
                *verified = Err(ProduceError::Unverified { error, version });
            }
        }
        append_all(&after, &mut refusals.borrow_mut(), request, found.into_iter(), verified.into_iter())
    })
}

/// Makes the same error for each batch: it may hold what can't be cloned.
type OfAll = fn() -> ProduceError;

/// Whose transaction the request is about. No producer: no transactional batch has a producer id. Such batches are not
/// part of any transaction.
///
/// # Errors
/// As Kafka, for the request as a whole.
fn whose(request: &ProduceRequest) -> Result<(TransactionalId, Option<ProducerIdAndEpoch>), OfAll> {
    let Some(id) = request.transactional_id.as_deref() else { return Err(|| ProduceError::NoTransactionalId) };
    let mut producers = partitions(request).filter_map(|data| producer(&header(data)?));
    let first = producers.next();
    if producers.any(|producer| Some(producer) != first) {
        return Err(|| ProduceError::SeveralProducers);
    }
    Ok((id.into(), first))
}

/// Begins the verification of every batch that needs one; `asked` are the partitions of those, in the same order.
fn begin_all(
    context: &Context,
    refusals: &Refusals,
    request: &ProduceRequest,
    found: &[ResolvedTopic],
    asked: &mut Vec<TopicPartition>,
) -> Vec<Verified> {
    let mut verified = Vec::new();
    for (topic, found) in request.topic_data.iter().zip(found) {
        let known = found.as_ref().map_err(|error| *error);
        for data in &topic.partition_data {
            let place = (topic.name.clone(), topic.topic_id, data.index);
            // One that is refused all the same must not hold the connection, too.
            let batch = header(data).filter(|batch| producer(batch).is_some() && !refusals.precede(&place, batch));
            let begun = batch.map_or(Ok(None), |batch| begin(context, known, data.index, request.acks, &batch));
            if let (Ok(Some(_)), Ok(topic)) = (&begun, known) {
                asked.push(TopicPartition { topic: TopicName::from(&*topic.name), partition: data.index });
            }
            verified.push(begun);
        }
    }
    verified
}

fn begin(
    context: &Context,
    topic: Result<&Arc<Topic>, NotServed>,
    index: i32,
    acks: i16,
    batch: &BatchHeader,
) -> Verified {
    let partition = partition(context, topic, index, acks)?;
    Ok(partition.begin_verification(batch, context.version >= ADDS_FROM)?)
}

/// The producer of a transactional batch.
fn producer(batch: &BatchHeader) -> Option<ProducerIdAndEpoch> {
    let &BatchHeader { producer_id, producer_epoch, .. } = batch;
    (batch.is_transactional() && batch.has_producer_id()).then_some(ProducerIdAndEpoch { producer_id, producer_epoch })
}

fn partitions(request: &ProduceRequest) -> impl Iterator<Item = &PartitionProduceData> {
    request.topic_data.iter().flat_map(|topic| &topic.partition_data)
}

fn header(data: &PartitionProduceData) -> Option<BatchHeader> {
    BatchHeader::peek(data.records.as_ref().and_then(Records::as_bytes)?)
}

//! Produce (KIP-98, KIP-951): records to the partitions that this broker leads.
//!
//! acks=0 is not answered; acks=1 is answered after the append; acks=all after the high watermark has passed it, or the
//! time-out. What comes before the append of a transactional batch is in `transactional`.

use std::sync::Arc;

use bytes::Bytes;
use ottla_access::Operation;
use ottla_batch::{BatchHeader, Compression, InvalidBatch};
use ottla_log::VerificationGuard;
use ottla_wire::m00_produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use ottla_wire::{ErrorCode, Records, Str};
use uuid::Uuid;

use super::refusals::{Named, Refusals};
use super::transactional;
use crate::env::Instant;
use crate::handle::client::Client;
use crate::handle::context::{Context, Deadline};
use crate::handle::leader_hint::LeaderHint;
use crate::image::{Topic, is_internal};
use crate::replica::NotServed;
use crate::replica::partition::{AppendError, Appended, NotAcknowledged, Partition};
use crate::reply::{CloseReason, Reply};
use crate::transactions::verifier::VerifyError;

/// Kafka's admin client may write to internal topics (`kafka-console-producer` may not).
const ADMIN_CLIENT: &str = "__admin_client";

/// acks=all: every in-sync replica.
const ALL: i16 = -1;

/// The version that introduced zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// The outcome of one topic's records.
struct TopicOutcome {
    name: Str,
    id: Uuid,
    partitions: Vec<PartitionOutcome>,
}

struct PartitionOutcome {
    index: i32,
    result: Result<(Arc<Partition>, Appended), ProduceError>,
}

/// The verification of a batch before its append: its guard; none where there was nothing to ask.
pub(crate) type Verified = Result<Option<VerificationGuard>, ProduceError>;

/// A topic that the client may write to, or why it can't.
pub(crate) type ResolvedTopic = Result<Arc<Topic>, NotServed>;

/// Why the records of one partition are refused, or not acknowledged: each stage has its reasons.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// acks is not −1, 0 or 1.
    #[error("acks must be -1, 0 or 1")]
    InvalidAcks,
    /// Clients don't write to internal topics.
    #[error("clients can not write to an internal topic")]
    InternalTopic,
    /// zstd came with version 7 of Produce.
    #[error("zstd needs version 7 of Produce or later")]
    ZstdTooEarly,
    /// The broker refused a batch before it with this code, which the client may not have heard of yet.
    #[error("a batch before it was refused: {0}")]
    Behind(ErrorCode),
    /// The partition is not here.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// Transactional batches need a transactional id, for which their coordinator can be asked.
    #[error("transactional records need a transactional id")]
    NoTransactionalId,
    /// The client may not write with this transactional id.
    #[error("the client is not authorized to use the transactional id")]
    DeniedTransactionalId,
    /// A transactional id has one producer at a time.
    #[error("transactional records of more than one producer in one request")]
    SeveralProducers,
    /// The partition is not known to be part of the transaction.
    #[error("the partition was not verified to be part of the transaction: {error}")]
    Unverified {
        /// Why.
        error: VerifyError,
        /// The request's version: older clients know fewer codes.
        version: i16,
    },
    /// The partition did not append the batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The batch is appended, and not acknowledged.
    #[error(transparent)]
    NotAcknowledged(#[from] NotAcknowledged),
}

impl ProduceError {
    /// Whether the answer should name the leader (KIP-951).
    pub fn asks_for_leader(&self) -> bool {
        match self {
            ProduceError::NotServed(error)
            | ProduceError::Append(AppendError::NotServed(error))
            | ProduceError::NotAcknowledged(NotAcknowledged::NotServed(error)) => {
                matches!(error, NotServed::NotLeader | NotServed::FencedLeaderEpoch)
            }
            ProduceError::Behind(code) => *code == ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ProduceError::Append(AppendError::GapAfterElection) => true,
            ProduceError::InvalidAcks
            | ProduceError::InternalTopic
            | ProduceError::ZstdTooEarly
            | ProduceError::NoTransactionalId
            | ProduceError::DeniedTransactionalId
            | ProduceError::SeveralProducers
            | ProduceError::Unverified { .. }
            | ProduceError::Append(_)
            | ProduceError::NotAcknowledged(_) => false,
        }
    }
}

/// Answers a produce request. The appends are done, in order, when this returns, or when the connection is held no
/// longer.
pub(crate) fn handle(context: &Context, client: &mut Client, request: ProduceRequest) -> Reply {
    if transactional::is_transactional(&request) {
        return transactional::handle(context, client, request);
    }
    append_all(context, &mut client.refusals.borrow_mut(), request, std::iter::empty(), std::iter::empty())
}

/// Appends the batches, of which those in transactions are `verified`, in the order of the request, and answers. The
/// topics were `found` before, or are looked up now: a topic that the client may not write to is denied once.
pub(crate) fn append_all(
    context: &Context,
    refusals: &mut Refusals,
    request: ProduceRequest,
    mut found: impl Iterator<Item = ResolvedTopic>,
    mut verified: impl Iterator<Item = Verified>,
) -> Reply {
    let deadline = Deadline::after_ms(request.timeout_ms).0;
    let acks = request.acks;
    let append_topic = |topic| append_topic(context, refusals, topic, acks, found.next(), &mut verified);
    let outcomes: Vec<TopicOutcome> = request.topic_data.into_iter().map(append_topic).collect();

    match acks {
        0 if partitions(&outcomes).any(|partition| partition.result.is_err()) => {
            Reply::Close(CloseReason::FailedUnacknowledged)
        }
        0 => Reply::Nothing,
        _ if !partitions(&outcomes).all(|outcome| is_acknowledged(outcome, acks == ALL)) => {
            let after = context.clone();
            context.later(async move { response(&after, acknowledged(outcomes, acks == ALL, deadline).await) })
        }
        _ => context.reply(&response(context, outcomes)),
    }
}

fn append_topic(
    context: &Context,
    refusals: &mut Refusals,
    topic: TopicProduceData,
    acks: i16,
    found: Option<ResolvedTopic>,
    verified: &mut impl Iterator<Item = Verified>,
) -> TopicOutcome {
    let TopicProduceData { name, topic_id: id, partition_data } = topic;
    let known = match &found {
        Some(found) => found.as_ref().map_err(|error| *error),
        None => context.topic(Operation::Write, 13, &name, id),
    };
    let partitions = partition_data.into_iter().map(|data| {
        let index = data.index;
        let records = data.records.as_ref().and_then(Records::as_bytes).cloned().unwrap_or_default();
        let verified = verified.next().unwrap_or(Ok(None));
        let one_before =
            if refusals.is_empty() { None } else { behind(refusals, &(name.clone(), id, index), &records) };
        let result = match one_before {
            Some(code) => Err(ProduceError::Behind(code)),
            None => append(context, known, index, &records, acks, verified).inspect_err(|error| {
                if let Some(batch) = BatchHeader::peek(&records) {
                    refusals.note((name.clone(), id, index), &batch, ErrorCode::from(error));
                }
            }),
        };
        if let Err(error) = &result {
            tracing::debug!(topic = %name, partition = index, %error, batch = ?BatchHeader::peek(&records), "refused");
        }
        PartitionOutcome { index, result }
    });
    let partitions = partitions.collect();
    TopicOutcome { name, id, partitions }
}

fn behind(refusals: &mut Refusals, partition: &Named, records: &[u8]) -> Option<ErrorCode> {
    refusals.of_one_before(partition, &BatchHeader::peek(records)?)
}

fn append(
    context: &Context,
    topic: Result<&Arc<Topic>, NotServed>,
    index: i32,
    records: &Bytes,
    acks: i16,
    verified: Verified,
) -> Result<(Arc<Partition>, Appended), ProduceError> {
    let guard = verified?;
    let partition = partition(context, topic, index, acks)?;
    if context.version < ZSTD_FROM && is_zstd(records) {
        return Err(ProduceError::ZstdTooEarly);
    }
    let appended = partition.append_from_client(records, acks == ALL, guard)?;
    if appended.must_flush {
        context.handler.replicas.flush_soon(&partition);
    }
    Ok((partition, appended))
}

/// The replica to which a client may write.
pub(crate) fn partition(
    context: &Context,
    topic: Result<&Arc<Topic>, NotServed>,
    index: i32,
    acks: i16,
) -> Result<Arc<Partition>, ProduceError> {
    let topic = topic?;
    if is_internal(&topic.name) && context.client_id != ADMIN_CLIENT {
        return Err(ProduceError::InternalTopic);
    }
    if !(-1..=1).contains(&acks) {
        return Err(ProduceError::InvalidAcks);
    }
    Ok(context.handler.replicas.get(topic, index)?)
}

fn is_zstd(records: &[u8]) -> bool {
    let header = BatchHeader::peek(records);
    header.is_some_and(|header| header.compression() == Ok(Compression::Zstd))
}

fn partitions(outcomes: &[TopicOutcome]) -> impl Iterator<Item = &PartitionOutcome> {
    outcomes.iter().flat_map(|topic| &topic.partitions)
}

fn is_acknowledged(outcome: &PartitionOutcome, acks_all: bool) -> bool {
    outcome.result.as_ref().map_or(true, |(partition, appended)| partition.is_acknowledged(appended, acks_all))
}

/// Waits until everything may be acknowledged or has failed, at most until `deadline`.
async fn acknowledged(mut outcomes: Vec<TopicOutcome>, acks_all: bool, deadline: Instant) -> Vec<TopicOutcome> {
    for outcome in outcomes.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if let Ok((partition, appended)) = &outcome.result
            && let Err(error) = partition.acknowledged(appended, acks_all, deadline).await
        {
            outcome.result = Err(error.into());
        }
    }
    outcomes
}

fn response(context: &Context, outcomes: Vec<TopicOutcome>) -> ProduceResponse {
    let mut response = ProduceResponse::default();
    for mut topic in outcomes {
        let mut answers = TopicProduceResponse { name: topic.name.clone(), topic_id: topic.id, ..Default::default() };
        for PartitionOutcome { index, result } in std::mem::take(&mut topic.partitions) {
            let answer = match result {
                Ok((_, appended)) => PartitionProduceResponse {
                    index,
                    base_offset: appended.base_offset,
                    log_append_time_ms: appended.append_time_ms.unwrap_or(-1),
                    log_start_offset: appended.log_start,
                    ..Default::default()
                },
                Err(error) => {
                    let mut answer = refusal(index, &error);
                    if let Some(leader) = error.asks_for_leader().then(|| leader(context, &topic, index)).flatten() {
                        leader.write(&mut answer.current_leader, &mut response.node_endpoints);
                    }
                    answer
                }
            };
            answers.partition_responses.push(answer);
        }
        response.responses.push(answers);
    }
    response
}

fn leader(context: &Context, topic: &TopicOutcome, index: i32) -> Option<LeaderHint> {
    LeaderHint::of(context, context.known_topic(13, &topic.name, topic.id).ok()?, index)
}

fn refusal(index: i32, error: &ProduceError) -> PartitionProduceResponse {
    let record_errors = match error {
        ProduceError::Append(AppendError::Invalid(InvalidBatch::Records { errors, .. })) => errors.as_slice(),
        _ => &[],
    };
    let record_errors = record_errors.iter().map(|error| BatchIndexAndErrorMessage {
        batch_index: error.index,
        batch_index_error_message: Some(error.message.as_str().into()),
    });
    PartitionProduceResponse {
        index,
        error_code: ErrorCode::from(error),
        base_offset: -1,
        record_errors: record_errors.collect(),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

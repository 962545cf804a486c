//! ShareFetch (KIP-932, KIP-1206, KIP-1222): a member gets records, and acknowledges earlier ones.
//!
//! Acknowledgements are taken first, and the records that they release may come with the same answer. If there is too
//! little, the answer waits for more records, and for records that other members no longer have.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::select_all;
use ottla_share::{AcquireMode, Fetch, Fetched, SessionError, ShareFetch, TopicIdPartition};
use ottla_wire::m78_share_fetch::{
    AcknowledgementBatch, AcquiredRecords, ShareFetchPartitionData, ShareFetchRequest, ShareFetchResponse,
    ShareFetchableTopicResponse,
};
use ottla_wire::{ErrorCode, Records, Str};

use super::acknowledgements::{Acknowledged, Member, acknowledge, asks_for_leader};
use super::{NO_LEADER, are_served, lock_timeout_ms};
use crate::env;
use crate::handle::client::Client;
use crate::handle::context::{Context, Deadline};
use crate::handle::errors::{group_error, share_error};
use crate::handle::leader_hint::LeaderHint;
use crate::reply::Reply;
use crate::share::{ShareError, Shared, Taken, Want};

/// The version from which on a member says how records are chosen (KIP-1206).
const MODE_FROM: i16 = 2;

/// What the records of an answer are limited to.
#[derive(Clone, Copy)]
struct Limits {
    mode: AcquireMode,
    batch_size: i32,
    max_records: i32,
    min_bytes: usize,
    max_bytes: usize,
}

/// A partition to fetch from.
struct Wanted {
    partition: TopicIdPartition,
    shared: Result<Arc<Shared>, ShareError>,
}

/// What was found in a partition.
type Found = (TopicIdPartition, Result<Option<Taken>, ShareError>);

/// Takes acknowledgements before it returns. Answers when these are replicated, and there are records or the time is
/// over.
pub fn handle(context: &Context, client: &mut Client, request: ShareFetchRequest) -> Reply {
    let refused = |code, why: Option<Str>| {
        let response = ShareFetchResponse { error_code: code, error_message: why, ..Default::default() };
        context.reply(&response)
    };
    if let Err(error) = are_served(context) {
        return refused(group_error(error), Some(error.to_string().into()));
    }
    let Some(member) = Member::of(request.group_id.clone(), request.member_id.clone()) else {
        return refused(ErrorCode::INVALID_REQUEST, None);
    };
    if request.is_renew_ack && fetches(&request) {
        let why = "A request that renews fetches nothing: its limits must be 0.";
        return refused(ErrorCode::INVALID_REQUEST, Some(why.into()));
    }
    let Ok(limits) = limits(context, &request) else {
        return refused(ErrorCode::INVALID_REQUEST, Some("There is no such acquire mode.".into()));
    };
    let deadline = Deadline::after_ms(request.max_wait_ms).0;
    let (epoch, renews) = (request.share_session_epoch, request.is_renew_ack);
    let begun = begin(context, client, &member, &request);
    let from = match begun {
        Ok(Fetch::From(from)) => Some(from).filter(|_| !renews),
        Ok(Fetch::Final) => None,
        Err(error) => return refuse(context, error, deadline),
    };
    let handler = context.handler.clone();
    let acknowledging = acknowledge(&handler, &member, acknowledgements(request), renews);
    let wanted: Vec<Wanted> = (from.into_iter().flatten())
        .map(|partition| {
            let shared = handler.shares.to_fetch(&member.place(partition)).map_err(ShareError::from);
            Wanted { partition, shared }
        })
        .collect();
    let context_later = context.clone();
    context.later(async move {
        let acknowledged = acknowledging.await;
        let found = fetch(&member, &wanted, limits, deadline).await;
        if epoch == FINAL {
            handler.shares.close(&member.group, &member.id);
        }
        match shown(&context_later, &member, epoch, found) {
            Ok(found) => response(&context_later, &member, found, acknowledged),
            Err(error) => ShareFetchResponse { error_code: error.code(), ..Default::default() },
        }
    })
}

/// The epoch of a request that closes its session.
const FINAL: i32 = -1;

fn fetches(request: &ShareFetchRequest) -> bool {
    (request.max_bytes, request.min_bytes, request.max_records, request.max_wait_ms) != (0, 0, 0, 0)
}

fn limits(context: &Context, request: &ShareFetchRequest) -> Result<Limits, i8> {
    let mode = match request.share_acquire_mode {
        _ if context.version < MODE_FROM => AcquireMode::BatchOptimized,
        0 => AcquireMode::BatchOptimized,
        1 => AcquireMode::RecordLimit,
        other => return Err(other),
    };
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(context.image.settings.fetch_max_bytes);
    Ok(Limits {
        mode,
        batch_size: request.batch_size,
        max_records: request.max_records,
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
        max_bytes,
    })
}

fn begin(
    context: &Context,
    client: &mut Client,
    member: &Member,
    request: &ShareFetchRequest,
) -> Result<Fetch, SessionError> {
    let shares = &context.handler.shares;
    let connection = client.shares.get_or_insert_with(|| shares.connect()).id();
    let partitions: Vec<TopicIdPartition> = (request.topics.iter())
        .flat_map(|topic| topic.partitions.iter().map(|partition| at(topic.topic_id, partition.partition_index)))
        .collect();
    let forgotten: Vec<TopicIdPartition> = (request.forgotten_topics_data.iter())
        .flat_map(|topic| topic.partitions.iter().map(|partition| at(topic.topic_id, *partition)))
        .collect();
    let mut all = request.topics.iter().flat_map(|topic| &topic.partitions);
    shares.begin_fetch(&ShareFetch {
        group: &member.group,
        member: &member.id,
        epoch: request.share_session_epoch,
        connection,
        partitions: &partitions,
        forgotten: &forgotten,
        acknowledges: all.any(|partition| !partition.acknowledgement_batches.is_empty()),
    })
}

fn at(topic_id: ottla_wire::Uuid, partition: i32) -> TopicIdPartition {
    TopicIdPartition { topic_id, partition }
}

/// A client that is one too many waits as long as for records, so that it does not ask again and again.
fn refuse(context: &Context, error: SessionError, deadline: env::Instant) -> Reply {
    let response = ShareFetchResponse { error_code: error.code(), ..Default::default() };
    match error {
        SessionError::ShareSessionLimitReached => context.later(async move {
            env::sleep_until(deadline).await;
            response
        }),
        SessionError::InvalidRequest | SessionError::ShareSessionNotFound | SessionError::InvalidShareSessionEpoch => {
            context.reply(&response)
        }
    }
}

fn acknowledgements(request: ShareFetchRequest) -> Vec<(TopicIdPartition, Vec<AcknowledgementBatch>)> {
    let partitions = request.topics.into_iter().flat_map(|topic| {
        topic
            .partitions
            .into_iter()
            .map(move |partition| (at(topic.topic_id, partition.partition_index), partition.acknowledgement_batches))
    });
    partitions.filter(|(_, batches)| !batches.is_empty()).collect()
}

/// Takes records from the partitions, in their order; waits if there are too few.
async fn fetch(member: &Member, wanted: &[Wanted], limits: Limits, deadline: env::Instant) -> Vec<Found> {
    loop {
        let is_over = deadline <= env::now();
        let waits: Vec<_> =
            wanted.iter().filter_map(|want| want.shared.as_ref().ok()).flat_map(|s| s.waits()).collect();
        if is_over || has_enough(wanted, limits) {
            let found = take(member, wanted, limits);
            let is_news = |(_, found): &Found| found.as_ref().map_or(true, Option::is_some);
            if is_over || waits.is_empty() || found.iter().any(is_news) {
                return found;
            }
        }
        tokio::select! {
            biased;
            _ = select_all(waits) => {}
            () = env::sleep_until(deadline) => {}
        }
    }
}

/// Whether there are as many bytes as the member waits for, or something is wrong, which it should hear.
fn has_enough(wanted: &[Wanted], limits: Limits) -> bool {
    if limits.min_bytes <= 1 {
        return true;
    }
    let mut readable = 0;
    for want in wanted {
        match want.shared.as_ref().map(|shared| shared.readable(limits.max_bytes)) {
            Ok(Ok(bytes)) => readable += bytes,
            Ok(Err(_)) | Err(_) => return true,
        }
    }
    readable >= limits.min_bytes || wanted.is_empty()
}

fn take(member: &Member, wanted: &[Wanted], limits: Limits) -> Vec<Found> {
    let (mut records, mut bytes) = (limits.max_records, limits.max_bytes);
    let mut found = Vec::with_capacity(wanted.len());
    for Wanted { partition, shared } in wanted {
        let want = Want {
            member: &member.id,
            mode: limits.mode,
            batch_size: limits.batch_size,
            max_records: records,
            max_bytes: bytes,
            at_least_one: bytes == limits.max_bytes && bytes > 0,
        };
        let taken = match shared {
            Err(error) => Err(*error),
            Ok(_) if records <= 0 || bytes == 0 => Ok(None),
            Ok(shared) => shared.take(&want),
        };
        if let Ok(Some(taken)) = &taken {
            let count: i64 = taken.acquired.iter().map(|run| run.last - run.first + 1).sum();
            records = records.saturating_sub(i32::try_from(count).unwrap_or(i32::MAX));
            bytes = bytes.saturating_sub(taken.records.len());
        }
        found.push((*partition, taken));
    }
    found
}

/// What the session has not shown yet.
fn shown(context: &Context, member: &Member, epoch: i32, found: Vec<Found>) -> Result<Vec<Found>, SessionError> {
    let fetched: Vec<Fetched> = (found.iter())
        .map(|(partition, found)| Fetched {
            partition: *partition,
            has_records: matches!(found, Ok(Some(_))),
            has_error: found.is_err(),
        })
        .collect();
    let shows = context.handler.shares.end_fetch(&member.group, &member.id, epoch, &fetched)?;
    Ok(found.into_iter().zip(shows).filter(|(_, shows)| *shows).map(|(found, _)| found).collect())
}

fn response(
    context: &Context,
    member: &Member,
    found: Vec<Found>,
    acknowledged: Vec<Acknowledged>,
) -> ShareFetchResponse {
    let mut response = ShareFetchResponse {
        acquisition_lock_timeout_ms: lock_timeout_ms(context, &member.group_text),
        ..Default::default()
    };
    for (partition, found) in found {
        let mut answer = answer_for(partition);
        match found {
            Ok(taken) => {
                if let Some(Taken { records, acquired }) = taken {
                    answer.records = records.into();
                    answer.acquired_records = acquired.iter().map(acquired_records).collect();
                }
            }
            Err(error) => {
                answer.error_code = share_error(error);
                answer.error_message = Some(error.to_string().into());
                let topic = context.image.topics.get(&partition.topic_id).filter(|_| asks_for_leader(error));
                if let Some(leader) = topic.and_then(|topic| LeaderHint::of(context, topic, partition.partition)) {
                    leader.write(&mut answer.current_leader, &mut response.node_endpoints);
                }
            }
        }
        push(&mut response, partition, answer);
    }
    let mut seen = BTreeSet::new();
    for (partition, result) in acknowledged.into_iter().filter(|(partition, _)| seen.insert(*partition)) {
        let code = result.map_or_else(share_error, |()| ErrorCode::NONE);
        let message = result.err().map(|error| error.to_string().into());
        let topics = response.responses.iter_mut().filter(|topic| topic.topic_id == partition.topic_id);
        let mut partitions = topics.flat_map(|topic| &mut topic.partitions);
        match partitions.find(|answer| answer.partition_index == partition.partition) {
            Some(answer) => (answer.acknowledge_error_code, answer.acknowledge_error_message) = (code, message),
            None => {
                let answer = ShareFetchPartitionData {
                    acknowledge_error_code: code,
                    acknowledge_error_message: message,
                    ..answer_for(partition)
                };
                push(&mut response, partition, answer);
            }
        }
    }
    response
}

fn answer_for(partition: TopicIdPartition) -> ShareFetchPartitionData {
    let partition_index = partition.partition;
    ShareFetchPartitionData {
        partition_index,
        current_leader: NO_LEADER,
        records: Records::default(),
        ..Default::default()
    }
}

fn push(response: &mut ShareFetchResponse, partition: TopicIdPartition, answer: ShareFetchPartitionData) {
    match response.responses.iter_mut().find(|topic| topic.topic_id == partition.topic_id) {
        Some(topic) => topic.partitions.push(answer),
        None => response
            .responses
            .push(ShareFetchableTopicResponse { topic_id: partition.topic_id, partitions: vec![answer] }),
    }
}

fn acquired_records(run: &ottla_share::Acquired) -> AcquiredRecords {
    AcquiredRecords { first_offset: run.first, last_offset: run.last, delivery_count: run.delivery_count }
}

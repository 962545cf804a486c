//! ShareFetch (KIP-932, KIP-1206, KIP-1222): a member gets records, and acknowledges earlier ones.
//!
//! Acknowledgements are taken first, and the records that they release may come with the same answer. If there is too
//! little, the answer waits for more records, and for records that other members no longer have.

use super::{denied_topics, may_be_member};
use crate::replica::NotServed;
use std::collections::HashMap;
use std::sync::Arc;

use futures::future::select_all;
use ottla_share::{AcquireMode, Fetch, Fetched, MemberId, SessionError, ShareFetch};
use ottla_wire::TopicIdPartition;
use ottla_wire::m78_share_fetch::{
    AcknowledgementBatch, AcquiredRecords, ShareFetchPartitionData, ShareFetchRequest, ShareFetchResponse,
    ShareFetchableTopicResponse,
};
use ottla_wire::{ErrorCode, Records, Str};

use super::acknowledgements::{Acknowledged, Member, acknowledge, asks_for_leader};
use super::{FINAL, NO_LEADER, are_served, lock_timeout_ms};
use crate::env::{self, Workers};
use crate::handle::client::Client;
use crate::handle::context::{Context, Deadline};
use crate::handle::errors::{group_error, share_error};
use crate::handle::handler::Handler;
use crate::handle::leader_hint::LeaderHint;
use crate::reply::Reply;
use crate::share::{FetchTurn, LedSharePartition, ShareError, TakeOutcome, Taken, Want};
use crate::share_state::wire::by_topic;

/// The version from which on a member says how records are chosen (KIP-1206).
const MODE_FROM: i16 = 2;

/// What the records of an answer are limited to.
#[derive(Clone, Copy)]
struct AcquireLimits {
    mode: AcquireMode,
    batch_size: i32,
    max_records: i32,
    min_bytes: usize,
    max_bytes: usize,
}

/// A partition to fetch from.
struct RequestedPartition {
    partition: TopicIdPartition,
    shared: Result<Arc<LedSharePartition>, ShareError>,
}

/// What was found in a partition.
type FetchedPartition = (TopicIdPartition, Result<Option<Taken>, ShareError>);

/// Takes acknowledgements before it returns. Answers when these are replicated, and there are records or the time is
/// over.
pub(crate) fn handle(context: &Context, client: &mut Client, request: ShareFetchRequest) -> Reply {
    let refused = |code, why: Option<Str>| {
        let response = ShareFetchResponse { error_code: code, error_message: why, ..Default::default() };
        context.reply(&response)
    };
    if let Err(error) = are_served(context) {
        return refused(group_error(error), Some(error.to_string().into()));
    }
    if !may_be_member(context, request.group_id.as_deref()) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED, None);
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
    let acknowledging = acknowledge(context, &member, acknowledgements(request), renews);
    let from: Vec<TopicIdPartition> = from.into_iter().flatten().collect();
    let denied = denied_topics(context, from.iter().map(|partition| partition.topic_id));
    let wanted: Vec<RequestedPartition> = (from.into_iter())
        .map(|partition| {
            if denied.contains(&partition.topic_id) {
                return RequestedPartition { partition, shared: Err(ShareError::NotServed(NotServed::Denied)) };
            }
            let shared = handler.shares.to_fetch(&member.place(partition)).map_err(ShareError::from);
            RequestedPartition { partition, shared }
        })
        .collect();
    let context_later = context.clone();
    context.later(async move {
        let acknowledged = acknowledging.await;
        let found = fetch(&handler, &member, wanted, limits, deadline).await;
        if epoch == FINAL {
            handler.shares.close(&member.group, &member.id);
        }
        match shown(&context_later, &member, epoch, found) {
            Ok(found) => {
                if let Some(meter) = &context_later.meter {
                    meter.shared(
                        found.iter().filter_map(|(_, found)| Some(found.as_ref().ok()?.as_ref()?.bytes())).sum(),
                    );
                }
                response(&context_later, &member, found, acknowledged)
            }
            Err(error) => ShareFetchResponse { error_code: error.code(), ..Default::default() },
        }
    })
}

fn fetches(request: &ShareFetchRequest) -> bool {
    (request.max_bytes, request.min_bytes, request.max_records, request.max_wait_ms) != (0, 0, 0, 0)
}

fn limits(context: &Context, request: &ShareFetchRequest) -> Result<AcquireLimits, i8> {
    let mode = match request.share_acquire_mode {
        _ if context.version < MODE_FROM => AcquireMode::BatchOptimized,
        0 => AcquireMode::BatchOptimized,
        1 => AcquireMode::RecordLimit,
        other => return Err(other),
    };
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(context.image.settings.fetch_max_bytes);
    let max_bytes = context.most_fetched(max_bytes);
    Ok(AcquireLimits {
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
async fn fetch(
    handler: &Handler,
    member: &Member,
    mut wanted: Vec<RequestedPartition>,
    limits: AcquireLimits,
    deadline: env::Instant,
) -> Vec<FetchedPartition> {
    loop {
        for want in &mut wanted {
            if want.shared.as_ref().is_ok_and(|shared| shared.has_left()) {
                want.shared = handler.shares.to_fetch(&member.place(want.partition)).map_err(ShareError::from);
            }
        }
        let is_over = deadline <= env::now();
        let waits: Vec<_> =
            wanted.iter().filter_map(|want| want.shared.as_ref().ok()).flat_map(|s| s.waits()).collect();
        if is_over || has_enough(&handler.workers, &wanted, limits).await {
            let (found, is_unfinished) = take(&handler.workers, member, &wanted, limits).await;
            let is_news = |(_, found): &FetchedPartition| found.as_ref().map_or(true, Option::is_some);
            if is_over || waits.is_empty() || found.iter().any(is_news) {
                return found;
            }
            if is_unfinished {
                continue;
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
async fn has_enough(workers: &Workers, wanted: &[RequestedPartition], limits: AcquireLimits) -> bool {
    if limits.min_bytes <= 1 || wanted.is_empty() {
        return true;
    }
    let all: Vec<_> = wanted.iter().map(|want| want.shared.clone()).collect();
    let enough = move || {
        let mut readable = 0;
        for shared in &all {
            match shared.as_ref().map(|shared| shared.readable(limits.max_bytes)) {
                Ok(Ok(bytes)) => readable += bytes,
                Ok(Err(_)) | Err(_) => return true,
            }
        }
        readable >= limits.min_bytes
    };
    workers.run(enough).await
}

/// The turn of a fetch in a partition; `None`: not now.
type Begun = (TopicIdPartition, Result<Option<FetchTurn>, ShareError>);

/// What there is now, and whether another look may find more without anything that is waited for. A worker reads.
async fn take(
    workers: &Workers,
    member: &Member,
    wanted: &[RequestedPartition],
    limits: AcquireLimits,
) -> (Vec<FetchedPartition>, bool) {
    let begin =
        |want: &RequestedPartition| (want.partition, want.shared.clone().and_then(|shared| shared.begin_turn()));
    let begun: Vec<Begun> = wanted.iter().map(begin).collect();
    if !begun.iter().any(|(_, turn)| matches!(turn, Ok(Some(_)))) {
        return (begun.into_iter().map(|(partition, turn)| (partition, turn.map(|_| None))).collect(), false);
    }
    let member = member.id.clone();
    workers.run(move || use_turns(&member, begun, limits)).await
}

fn use_turns(member: &MemberId, begun: Vec<Begun>, limits: AcquireLimits) -> (Vec<FetchedPartition>, bool) {
    let (mut records, mut bytes) = (limits.max_records, limits.max_bytes);
    let (mut found, mut is_unfinished) = (Vec::with_capacity(begun.len()), false);
    for (partition, turn) in begun {
        let want = Want {
            member,
            mode: limits.mode,
            batch_size: limits.batch_size,
            max_records: records,
            max_bytes: bytes,
            at_least_one: bytes == limits.max_bytes && bytes > 0,
        };
        let look = match turn {
            Err(error) => Err(error),
            Ok(Some(turn)) if records > 0 && bytes > 0 => turn.take(&want),
            Ok(_) => Ok(TakeOutcome::Nothing),
        };
        let taken = match look {
            Ok(TakeOutcome::Taken(taken)) => {
                records = records.saturating_sub(i32::try_from(taken.count()).unwrap_or(i32::MAX));
                bytes = bytes.saturating_sub(taken.bytes());
                Ok(Some(taken))
            }
            Ok(TakeOutcome::Nothing) => Ok(None),
            Ok(TakeOutcome::Unfinished) => {
                is_unfinished = true;
                Ok(None)
            }
            Err(error) => Err(error),
        };
        found.push((partition, taken));
    }
    (found, is_unfinished)
}

/// What the session has not shown yet.
fn shown(
    context: &Context,
    member: &Member,
    epoch: i32,
    found: Vec<FetchedPartition>,
) -> Result<Vec<FetchedPartition>, SessionError> {
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
    found: Vec<FetchedPartition>,
    acknowledged: Vec<Acknowledged>,
) -> ShareFetchResponse {
    let mut response = ShareFetchResponse {
        acquisition_lock_timeout_ms: lock_timeout_ms(context, &member.group_text),
        ..Default::default()
    };
    let mut answers = Answers::default();
    for (partition, found) in found {
        let answer = answers.of(partition);
        match found {
            Ok(taken) => {
                if let Some((records, acquired)) = taken.map(Taken::into_answer) {
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
    }
    // Of what is named twice, the first counts.
    for (partition, result) in acknowledged.into_iter().rev() {
        let answer = answers.of(partition);
        answer.acknowledge_error_code = result.map_or_else(share_error, |()| ErrorCode::NONE);
        answer.acknowledge_error_message = result.err().map(|error| error.to_string().into());
    }
    response.responses = answers.into_topics();
    response
}

/// The answers for partitions, in the order in which their topics came first.
#[derive(Default)]
struct Answers {
    all: Vec<(TopicIdPartition, ShareFetchPartitionData)>,
    places: HashMap<TopicIdPartition, usize>,
}

impl Answers {
    fn of(&mut self, partition: TopicIdPartition) -> &mut ShareFetchPartitionData {
        let place = *self.places.entry(partition).or_insert(self.all.len());
        if place == self.all.len() {
            let answer = ShareFetchPartitionData {
                partition_index: partition.partition,
                current_leader: NO_LEADER,
                records: Records::default(),
                ..Default::default()
            };
            self.all.push((partition, answer));
        }
        &mut self.all[place].1
    }

    fn into_topics(self) -> Vec<ShareFetchableTopicResponse> {
        let all = self.all.into_iter();
        let all = all.map(|(TopicIdPartition { topic_id, partition }, answer)| (topic_id, partition, answer)).collect();
        let topic = |topic_id, partitions| ShareFetchableTopicResponse { topic_id, partitions };
        by_topic(all, |_, answer| answer, topic)
    }
}

fn acquired_records(run: &ottla_share::Acquired) -> AcquiredRecords {
    AcquiredRecords { first_offset: run.first, last_offset: run.last, delivery_count: run.delivery_count }
}

//! Fetch (KIP-74, KIP-98, KIP-227, KIP-320, KIP-516): records to consumers and to followers.
//!
//! Answers at once when there is enough to send or news that a follower or session needs; records beyond the client's
//! limits count, because waiting does not make them fit. Otherwise waits for the watermarks of the partitions asked
//! for. A follower gets a new high watermark at once (KIP-1166), so that all replicas serve what is committed, and a
//! new log start, for which DeleteRecords waits.

use std::sync::Arc;

use futures::future::select_all;
use ottla_access::Operation;
use ottla_wire::m01_fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use ottla_wire::{ErrorCode, Records, Str};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::env;
use crate::fetch_sessions::Ongoing;
use crate::handle::context::{Context, Deadline};
use crate::handle::leader_hint::LeaderHint;
use crate::image::{BrokerId, Incarnation, IsrMember};
use crate::replica::NotServed;
use crate::replica::partition::Partition;
use crate::replica::partition::reading::{Bound, COPIED, Read, ReadError, ReadFrom, Reader, Rest};
use crate::replica::throttle::{Reserved, Throttle};
use crate::reply::Reply;
use crate::watermark::Reached;

/// The most bytes read from one partition, whatever the client asks for: a reply describes all its slices at once.
const MAX_PARTITION_BYTES: i32 = 64 << 20;

/// The most bytes of an answer that are copied to memory; the rest is sent from files. A slow reader may hold this
/// memory for long.
const MAX_COPIED: usize = 256 << 10;

/// The most bytes read for a fetch, whatever `fetch.max.bytes` says: with everything beside it, it must fit into a
/// frame.
const MAX_BYTES: usize = 1 << 30;

/// Bytes of an answer beside its partitions.
const RESPONSE_BYTES: usize = 17;
/// Bytes of a partition with its topic, beside its records, in version 13.
const PARTITION_BYTES: usize = 57;

/// One partition of the request.
struct Wanted {
    topic: Str,
    topic_id: Uuid,
    index: i32,
    from: ReadFrom,
    max_bytes: usize,
    /// The high watermark that a follower knows; unused for consumers.
    known_high_watermark: i64,
    /// The replica, resolved once; its role is checked with each read.
    partition: Result<Arc<Partition>, NotServed>,
}

/// Answers a fetch.
pub fn handle(context: &Context, mut request: FetchRequest) -> Reply {
    let session = match context.handler.fetch_sessions.begin(&mut request, context.version, &context.peer.principal) {
        Ok(session) => session,
        Err(error_code) => return context.reply(&FetchResponse { error_code, ..Default::default() }),
    };
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
    let max_bytes = max_bytes.min(context.image.settings.fetch_max_bytes).min(MAX_BYTES);
    let max_bytes = context.most_fetched(max_bytes);
    let reader = reader(context, &request);
    let limits = Limits {
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
        max_bytes,
        reader,
        throttled_rate: context
            .image
            .settings
            .leader_throttled_rate
            .filter(|_| matches!(reader, Reader::Follower { .. })),
    };
    let throttle = context.handler.replicas.leaders_throttle();
    let deadline = Deadline::after_ms(request.max_wait_ms).0;
    // One question for all partitions of a follower.
    let of_broker = matches!(reader, Reader::Follower { .. }).then(|| context.may_cluster(Operation::ClusterAction));
    let wanted: Vec<Wanted> = request.topics.into_iter().flat_map(|topic| resolve(context, topic, of_broker)).collect();

    let mut first = read(throttle, &wanted, &limits);
    for (want, look) in wanted.iter().zip(&mut first.looks) {
        if let (Reader::Roaming(_), Ok(read)) = (limits.reader, &mut look.found) {
            read.preferred = preferred(context, &request.rack_id, want);
            if read.preferred.is_some() {
                (read.chunk, read.aborted) = (None, vec![]);
            }
        }
    }
    if first.is_complete(&wanted, &limits) || deadline <= env::now() {
        return context.reply(&answer(context, session, first, &wanted, limits.reader));
    }
    let context_later = context.clone();
    context.later(async move {
        let throttle = context_later.handler.replicas.leaders_throttle();
        let mut outcome = first;
        while !outcome.is_complete(&wanted, &limits) && env::now() < deadline {
            let moved = select_all(outcome.waits(&wanted, limits.reader));
            let has_room = limits.throttled_rate.filter(|_| outcome.lacks_room).map(|rate| throttle.lock().pause(rate));
            tokio::select! {
                biased;
                _ = moved => {}
                () = env::sleep_until(has_room.map_or(deadline, |pause| deadline.min(env::now() + pause))) => {}
            }
            outcome.reserved = None;
            outcome = read(throttle, &wanted, &limits);
        }
        answer(&context_later, session, outcome, &wanted, limits.reader)
    })
}

/// The part of an answer that the client's session does not know yet; nothing, if the client has fetched too much.
fn answer(context: &Context, session: Ongoing, found: Outcome, wanted: &[Wanted], reader: Reader) -> FetchResponse {
    if let Some(meter) = &context.meter
        && !meter.may_fetch(found.answer_bytes())
    {
        return FetchResponse { session_id: session.without_answer(), ..Default::default() };
    }
    let mut response = found.into_response(context, wanted, reader);
    let slots = context.image.settings.max_incremental_fetch_session_cache_slots;
    session.finish(&context.handler.fetch_sessions, slots, &mut response);
    response
}

struct Limits {
    min_bytes: usize,
    max_bytes: usize,
    reader: Reader,
    /// For a follower: the rate of throttled partitions, in bytes per second; `None`: not throttled.
    throttled_rate: Option<u64>,
}

impl Limits {
    fn is_throttled(&self, partition: &Partition) -> bool {
        match self.reader {
            Reader::Follower { broker, incarnation } => partition.leads_slowly(IsrMember { broker, incarnation }),
            Reader::Consumer(_) | Reader::Roaming(_) => false,
        }
    }
}

/// The kind of reader: replicas have ids from 0.
fn reader(context: &Context, request: &FetchRequest) -> Reader {
    let replica = &request.replica_state;
    let id = if context.version < 15 { request.replica_id } else { replica.replica_id };
    match id {
        0.. => Reader::Follower { broker: BrokerId(id), incarnation: Incarnation(replica.replica_epoch) },
        _ => {
            let bound = if request.isolation_level == 0 { Bound::HighWatermark } else { Bound::LastStable };
            // The version that can be sent elsewhere.
            if context.version < 11 { Reader::Consumer(bound) } else { Reader::Roaming(bound) }
        }
    }
}

/// What moves when there may be more for a reader; a follower also learns what is committed.
fn bound(reader: Reader) -> Bound {
    reader.bound().unwrap_or(Bound::HighWatermark)
}

/// The replica that a consumer in `rack` should ask instead of this leader, if that is another one (KIP-392): Kafka's
/// `RackAwareReplicaSelector`.
fn preferred(context: &Context, rack: &str, want: &Wanted) -> Option<BrokerId> {
    let image = &context.image;
    let near = |id: BrokerId| image.brokers.get(&id).is_some_and(|broker| broker.rack.as_deref() == Some(rack));
    if !image.settings.replica_selector_by_rack || rack.is_empty() || near(context.handler.id) {
        return None;
    }
    want.partition.as_ref().ok()?.nearest(want.from.offset, near)
}

/// The result of one read of all partitions.
struct Outcome {
    looks: Vec<Look>,
    bytes: usize,
    /// The reservation for the throttled part.
    reserved: Option<Reserved>,
    /// Whether a throttled follower must wait for more room.
    lacks_room: bool,
}

/// The result of one read of a partition.
struct Look {
    found: Result<Read, ReadError>,
    /// What had disturbed the reader's bound (a follower's is the high watermark) and the log end before that.
    disturbances: [u64; 2],
    /// Whether the reader is a follower for which the partition is throttled.
    throttled: bool,
}

/// Finds the replicas of a topic. `of_broker`: whether a follower is a broker; `None` for a consumer, which needs Read.
fn resolve(context: &Context, topic: FetchTopic, of_broker: Option<bool>) -> Vec<Wanted> {
    let known = match of_broker {
        Some(true) => context.known_topic(13, &topic.topic, topic.topic_id),
        Some(false) => Err(NotServed::Denied),
        None => context.topic(Operation::Read, 13, &topic.topic, topic.topic_id),
    };
    let replicas = &context.handler.replicas;
    topic
        .partitions
        .into_iter()
        .map(|partition| Wanted {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            index: partition.partition,
            from: ReadFrom {
                offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start: partition.log_start_offset,
            },
            max_bytes: usize::try_from(partition.partition_max_bytes.min(MAX_PARTITION_BYTES)).unwrap_or(0),
            known_high_watermark: partition.high_watermark,
            partition: known.and_then(|topic| replicas.get(topic, partition.partition)),
        })
        .collect()
}

/// Reads in the order of the request. The first partition that has something gives at least one batch, however large
/// (KIP-74), unless it is throttled and there is no room for that.
fn read(throttle: &Arc<Mutex<Throttle>>, wanted: &[Wanted], limits: &Limits) -> Outcome {
    let reserved = limits.throttled_rate.map(|rate| Reserved::all(throttle, rate, env::now()));
    let mut throttled_room = reserved.as_ref().map(Reserved::bytes);
    let mut outcome = Outcome { looks: Vec::with_capacity(wanted.len()), bytes: 0, reserved, lacks_room: false };
    let mut may_copy = env::most_copied(MAX_COPIED);
    for want in wanted {
        let room = want.max_bytes.min(limits.max_bytes.saturating_sub(outcome.bytes));
        let look = match &want.partition {
            Ok(partition) => {
                let bound = partition.bound(bound(limits.reader));
                let disturbances = [bound.disturbances(), partition.log_end.disturbances()];
                let throttled_room = throttled_room.as_mut().filter(|_| limits.is_throttled(partition));
                let throttled_left = throttled_room.as_ref().map_or(usize::MAX, |left| **left);
                let at_least_one = outcome.bytes == 0 && throttled_left > 0;
                let copied = may_copy.min(COPIED);
                let found = partition.read(&want.from, room.min(throttled_left), at_least_one, copied, limits.reader);
                let throttled = throttled_room.is_some();
                if let (Some(left), Ok(read)) = (throttled_room, &found) {
                    outcome.lacks_room |= throttled_left == 0 && want.from.offset < read.log_end;
                    *left = left.saturating_sub(read.len());
                }
                Look { found, disturbances, throttled }
            }
            Err(error) => Look { found: Err((*error).into()), disturbances: [0; 2], throttled: false },
        };
        if let Ok(read) = &look.found {
            outcome.bytes += read.len();
            may_copy -= read.copied();
        }
        outcome.looks.push(look);
    }
    let throttled_bytes = outcome.throttled_bytes();
    if let Some(reserved) = &mut outcome.reserved {
        reserved.keep(throttled_bytes);
    }
    outcome
}

impl Outcome {
    /// Whether there is enough to send, or something that must be sent at once.
    fn is_complete(&self, wanted: &[Wanted], limits: &Limits) -> bool {
        let follows = matches!(limits.reader, Reader::Follower { .. });
        let is_news = |(want, look): (&Wanted, &Look)| match &look.found {
            Ok(read) => {
                read.diverging.is_some()
                    || read.preferred.is_some()
                    || read.high_watermark > want.known_high_watermark
                    || follows && read.log_start > want.from.log_start
            }
            Err(_) => true,
        };
        self.has_enough(wanted, limits) || self.looks.is_empty() || wanted.iter().zip(&self.looks).any(is_news)
    }

    /// Whether there are `min_bytes`, sent or not: as Kafka's `DelayedFetch` counts, of each partition at most what is
    /// asked of it; and what lies in more than one segment is enough.
    fn has_enough(&self, wanted: &[Wanted], limits: &Limits) -> bool {
        let mut available = 0;
        for (want, look) in wanted.iter().zip(&self.looks) {
            let Ok(read) = &look.found else { continue };
            available += match read.rest {
                // That is not a matter of waiting for more records.
                _ if look.throttled => read.len(),
                Rest::Nothing => read.len(),
                Rest::InSegment => read.len().max(want.max_bytes),
                Rest::InLaterSegments => return true,
            };
        }
        available >= limits.min_bytes
    }

    /// What the fetch waits for on each partition: its bound moves, or its role changes; for a follower, new records
    /// and a higher high watermark.
    fn waits(&self, wanted: &[Wanted], reader: Reader) -> Vec<Reached> {
        let mut waits = Vec::with_capacity(2 * wanted.len());
        let bound = bound(reader);
        for (want, Look { found, disturbances: [of_bound, of_log_end], .. }) in wanted.iter().zip(&self.looks) {
            let (Ok(partition), Ok(read)) = (&want.partition, found) else { continue };
            waits.push(partition.bound(bound).reached_since(*of_bound, read.bound(bound) + 1));
            if let Reader::Follower { .. } = reader {
                waits.push(partition.log_end.reached_since(*of_log_end, read.log_end + 1));
            }
        }
        waits
    }

    /// About how many bytes an answer has: its records, and what is written beside those of each partition. Partitions
    /// without records don't count, because a session has no news of them.
    fn answer_bytes(&self) -> usize {
        let found = self.looks.iter().filter_map(|look| look.found.as_ref().ok());
        found.filter(|read| !read.is_empty()).map(|read| read.len() + PARTITION_BYTES).sum::<usize>() + RESPONSE_BYTES
    }

    /// The bytes of throttled partitions.
    fn throttled_bytes(&self) -> usize {
        let throttled = self.looks.iter().filter(|look| look.throttled).filter_map(|look| look.found.as_ref().ok());
        throttled.map(Read::len).sum()
    }

    fn into_response(self, context: &Context, wanted: &[Wanted], reader: Reader) -> FetchResponse {
        let mut response = FetchResponse::default();
        let throttled_bytes = self.throttled_bytes();
        if let Some(reserved) = self.reserved {
            reserved.pass(throttled_bytes);
        }
        for (want, look) in wanted.iter().zip(self.looks) {
            let same = |last: &&mut FetchableTopicResponse| last.topic == want.topic && last.topic_id == want.topic_id;
            if response.responses.last_mut().filter(same).is_none() {
                response.responses.push(FetchableTopicResponse {
                    topic: want.topic.clone(),
                    topic_id: want.topic_id,
                    ..Default::default()
                });
            }
            let mut answer = PartitionData { partition_index: want.index, ..Default::default() };
            match look.found {
                Ok(read) => {
                    if let Ok(partition) = &want.partition {
                        partition.count_sent(&read, reader);
                    }
                    fill(&mut answer, read, reader);
                }
                Err(error) => {
                    answer.error_code = code(&error, context.version);
                    answer.high_watermark = -1;
                    if let (Reader::Follower { .. }, Some(log_start)) = (reader, error.log_start()) {
                        // It starts again there; Kafka's followers ask ListOffsets.
                        answer.log_start_offset = log_start;
                    }
                    // A topic that does not exist gets an empty list, as in Kafka.
                    answer.aborted_transactions = want.partition.is_err().then(Vec::new);
                    answer.records = Some(Records::default());
                    if let Some(leader) = error.asks_for_leader().then(|| want.leader(context)).flatten() {
                        leader.write(&mut answer.current_leader, &mut response.node_endpoints);
                    }
                }
            }
            if let Some(topic) = response.responses.last_mut() {
                topic.partitions.push(answer);
            }
        }
        response
    }
}

fn code(error: &ReadError, version: i16) -> ErrorCode {
    match ErrorCode::from(error) {
        // Clients of that time do not know the newer code and fail; with this one they look for the leader, and ask
        // again.
        ErrorCode::KAFKA_STORAGE_ERROR if version < 6 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        code => code,
    }
}

impl Wanted {
    fn leader(&self, context: &Context) -> Option<LeaderHint> {
        LeaderHint::of(context, context.known_topic(13, &self.topic, self.topic_id).ok()?, self.index)
    }
}

fn fill(answer: &mut PartitionData, read: Read, reader: Reader) {
    answer.high_watermark = read.high_watermark;
    answer.last_stable_offset = read.last_stable;
    answer.log_start_offset = read.log_start;
    if let Some((epoch, end_offset)) = read.diverging {
        answer.diverging_epoch = EpochEndOffset { epoch, end_offset };
    }
    let aborted = read.aborted.iter();
    let aborted = aborted.map(|&ottla_log::AbortedTransaction { producer_id, first_offset, .. }| AbortedTransaction {
        producer_id,
        first_offset,
    });
    answer.aborted_transactions = (reader.bound() == Some(Bound::LastStable)).then(|| aborted.collect());
    if let Some(preferred) = read.preferred {
        answer.preferred_read_replica = preferred.0;
    }
    answer.records = Some(Records(read.chunk.into_iter().collect()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readers_of_committed_records_are_told_what_was_aborted() {
        let [first_offset, last_offset] = [10, 12];
        let of = |reader| {
            let aborted = ottla_log::AbortedTransaction { producer_id: 7, first_offset, last_offset, last_stable: 11 };
            let read = Read {
                chunk: None,
                high_watermark: 20,
                last_stable: 15,
                aborted: vec![aborted],
                log_start: 5,
                log_end: 25,
                rest: Rest::Nothing,
                preferred: None,
                diverging: None,
            };
            let mut answer = PartitionData::default();
            fill(&mut answer, read, reader);
            assert_eq!((answer.high_watermark, answer.last_stable_offset), (20, 15));
            answer.aborted_transactions
        };
        let told = Some(vec![AbortedTransaction { producer_id: 7, first_offset }]);
        assert_eq!(of(Reader::Roaming(Bound::LastStable)), told);
        assert_eq!(of(Reader::Consumer(Bound::LastStable)), told);
        assert_eq!(of(Reader::Consumer(Bound::HighWatermark)), None);
        assert_eq!(of(Reader::Follower { broker: BrokerId(1), incarnation: Incarnation(1) }), None);
    }

    #[test]
    fn an_old_client_gets_an_error_code_that_it_knows_for_a_failed_disk() {
        let failed = ReadError::NotServed(NotServed::Storage);
        let expected = [(5, ErrorCode::NOT_LEADER_OR_FOLLOWER), (6, ErrorCode::KAFKA_STORAGE_ERROR)];
        assert_eq!(expected.map(|(version, _)| (version, code(&failed, version))), expected);
    }
}

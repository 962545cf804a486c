//! Fetch (KIP-74, KIP-98, KIP-227, KIP-320, KIP-516): records to consumers and to followers.
//!
//! Answers at once when there is enough to send or news that a follower or session needs; records beyond the client's
//! limits count, because waiting does not make them fit. Otherwise waits for the watermarks of the partitions asked
//! for. A follower gets a new high watermark at once (KIP-1166), so that all replicas serve what is committed, and a
//! new log start, for which DeleteRecords waits.
//!
//! - [`outcome`]: one read of all partitions: whether it is enough, and what to wait for if not
//! - [`allowance`]: what a follower may be sent of throttled partitions
//! - [`response`]: from an outcome to Kafka's answer

mod allowance;
mod outcome;
mod response;

use std::sync::Arc;

use futures::future::select_all;
use ottla_access::Operation;
use ottla_wire::Str;
use ottla_wire::m01_fetch::{FetchRequest, FetchResponse, FetchTopic};
use uuid::Uuid;

use crate::env;
use crate::fetch_sessions::Ongoing;
use crate::handle::context::{Context, Deadline};
use crate::image::{BrokerId, Incarnation, IsrMember};
use crate::replica::NotServed;
use crate::replica::partition::Partition;
use crate::replica::partition::reading::{Bound, ReadFrom, Reader};
use crate::reply::Reply;

use outcome::Outcome;

/// The most bytes read from one partition, whatever the client asks for: a reply describes all its slices at once.
const MAX_PARTITION_BYTES: i32 = 64 << 20;

/// The most bytes read for a fetch, whatever `fetch.max.bytes` says: with everything beside it, it must fit into a
/// frame.
const MAX_BYTES: usize = 1 << 30;

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
    /// The replica that a consumer is sent to, instead of records; `None`: it reads here.
    preferred: Option<BrokerId>,
}

/// What a request asks for.
struct Asked {
    partitions: Vec<Wanted>,
    reader: Reader,
    min_bytes: usize,
    max_bytes: usize,
    /// For a follower: the rate of throttled partitions, in bytes per second; `None`: not throttled.
    throttled_rate: Option<u64>,
}

/// Answers a fetch.
pub fn handle(context: &Context, mut request: FetchRequest) -> Reply {
    let session = match context.handler.fetch_sessions.begin(&mut request, context.version, &context.peer.principal) {
        Ok(session) => session,
        Err(error_code) => return context.reply(&FetchResponse { error_code, ..Default::default() }),
    };
    let deadline = Deadline::after_ms(request.max_wait_ms).0;
    let asked = Asked::of(context, request);
    let first = outcome::read(&asked, context.handler.replicas.leaders_throttle());
    if first.is_complete(&asked) || deadline <= env::now() {
        return context.reply(&answer(context, session, first, &asked));
    }
    let context_later = context.clone();
    context.later(async move {
        let mut outcome = first;
        while !outcome.is_complete(&asked) && env::now() < deadline {
            let moved = select_all(outcome.waits(&asked));
            let look_again = outcome.pause().map_or(deadline, |pause| deadline.min(env::now() + pause));
            tokio::select! {
                biased;
                _ = moved => {}
                () = env::sleep_until(look_again) => {}
            }
            drop(outcome); // what it has reserved is free for the next
            outcome = outcome::read(&asked, context_later.handler.replicas.leaders_throttle());
        }
        answer(&context_later, session, outcome, &asked)
    })
}

/// The part of an answer that the client's session does not know yet; nothing, if the client has fetched too much.
fn answer(context: &Context, session: Ongoing, found: Outcome, asked: &Asked) -> FetchResponse {
    if let Some(meter) = &context.meter
        && !meter.may_fetch(found.answer_bytes())
    {
        return FetchResponse { session_id: session.without_answer(), ..Default::default() };
    }
    let mut response = response::response(context, asked, found);
    let slots = context.image.settings.max_incremental_fetch_session_cache_slots;
    session.finish(&context.handler.fetch_sessions, slots, &mut response);
    response
}

impl Asked {
    fn of(context: &Context, request: FetchRequest) -> Asked {
        let settings = &context.image.settings;
        let reader = reader(context, &request);
        let follows = matches!(reader, Reader::Follower { .. });
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
        let max_bytes = context.most_fetched(max_bytes.min(settings.fetch_max_bytes).min(MAX_BYTES));
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes);
        let throttled_rate = settings.leader_throttled_rate.filter(|_| follows);
        // One question for all partitions of a follower.
        let of_broker = follows.then(|| context.may_cluster(Operation::ClusterAction));
        let topics = request.topics.into_iter();
        let mut partitions: Vec<Wanted> = topics.flat_map(|topic| resolve(context, topic, of_broker)).collect();
        if let Reader::Roaming(_) = reader {
            for want in &mut partitions {
                want.preferred = preferred(context, &request.rack_id, want);
            }
        }
        Asked { partitions, reader, min_bytes, max_bytes, throttled_rate }
    }

    /// Whether a partition counts towards the throttled rate of this reader.
    fn is_throttled(&self, partition: &Partition) -> bool {
        match self.reader {
            Reader::Follower { broker, incarnation } if self.throttled_rate.is_some() => {
                partition.leads_slowly(IsrMember { broker, incarnation })
            }
            Reader::Follower { .. } | Reader::Consumer(_) | Reader::Roaming(_) => false,
        }
    }

    /// What moves when there may be more for the reader; a follower also learns what is committed.
    fn bound(&self) -> Bound {
        self.reader.bound().unwrap_or(Bound::HighWatermark)
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
            preferred: None,
        })
        .collect()
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

//! What a fetch asks for, and of whom: each partition's replica here, or the one that a consumer is sent to.

use std::sync::Arc;

use ottla_access::Operation;
use ottla_wire::Str;
use ottla_wire::m01_fetch::{FetchRequest, FetchTopic};
use uuid::Uuid;

use crate::handle::context::Context;
use crate::image::{BrokerId, Incarnation, IsrMember, LeaderEpoch};
use crate::replica::NotServed;
use crate::replica::partition::Partition;
use crate::replica::partition::reading::{Bound, ReadFrom, Reader};

/// The most bytes read from one partition, whatever the client asks for: a reply describes all its slices at once.
const MAX_PARTITION_BYTES: i32 = 64 << 20;

/// The most bytes read for a fetch, whatever `fetch.max.bytes` says: with everything beside it, it must fit into a
/// frame.
const MAX_BYTES: usize = 1 << 30;

/// One partition of the request.
pub(super) struct ResolvedPartition {
    pub(super) topic: Str,
    pub(super) topic_id: Uuid,
    pub(super) index: i32,
    pub(super) from: ReadFrom,
    pub(super) max_bytes: usize,
    /// The high watermark that a follower knows; unused for consumers.
    pub(super) known_high_watermark: i64,
    /// The replica, resolved once; its role is checked with each read.
    pub(super) partition: Result<Arc<Partition>, NotServed>,
    /// The replica that a consumer is sent to, instead of records; `None`: it reads here.
    pub(super) preferred: Option<BrokerId>,
}

/// What a request asks for.
pub(super) struct ResolvedFetch {
    pub(super) partitions: Vec<ResolvedPartition>,
    pub(super) reader: Reader,
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
    /// For a follower: the rate of throttled partitions, in bytes per second; `None`: not throttled.
    pub(super) throttled_rate: Option<u64>,
}

impl ResolvedFetch {
    /// Asks all that `request` does.
    pub(super) fn of(context: &Context, request: FetchRequest) -> ResolvedFetch {
        let settings = &context.image.settings;
        let reader = reader(context, &request);
        let follows = matches!(reader, Reader::Follower { .. });
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
        let max_bytes = context.most_fetched(max_bytes.min(settings.fetch_max_bytes).min(MAX_BYTES));
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes);
        let throttled_rate = settings.leader_throttled_rate.filter(|_| follows);
        // One question for all partitions of a follower.
        let of_broker = match reader {
            Reader::Follower { broker, .. } => {
                Some(context.may_cluster(Operation::ClusterAction) && context.may_be_replica(broker))
            }
            Reader::Consumer(_) | Reader::Roaming(_) => None,
        };
        let topics = request.topics.into_iter();
        let mut partitions: Vec<ResolvedPartition> =
            topics.flat_map(|topic| resolve(context, topic, of_broker)).collect();
        if let Reader::Roaming(_) = reader {
            for want in &mut partitions {
                want.preferred = preferred(context, &request.rack_id, want);
            }
        }
        ResolvedFetch { partitions, reader, min_bytes, max_bytes, throttled_rate }
    }

    /// Whether a partition counts towards the throttled rate of this reader.
    pub(super) fn is_throttled(&self, partition: &Partition) -> bool {
        match self.reader {
            Reader::Follower { broker, incarnation, .. } if self.throttled_rate.is_some() => {
                partition.leads_slowly(IsrMember { broker, incarnation })
            }
            Reader::Follower { .. } | Reader::Consumer(_) | Reader::Roaming(_) => false,
        }
    }

    /// What moves when there may be more for the reader; a follower also learns what is committed.
    pub(super) fn bound(&self) -> Bound {
        self.reader.bound().unwrap_or(Bound::HighWatermark)
    }
}

/// The kind of reader: replicas have ids from 0.
fn reader(context: &Context, request: &FetchRequest) -> Reader {
    let replica = &request.replica_state;
    let id = if context.version < 15 { request.replica_id } else { replica.replica_id };
    match id {
        0.. => Reader::Follower { broker: BrokerId(id), incarnation: Incarnation(replica.replica_epoch), again: false },
        _ => {
            let bound = if request.isolation_level == 0 { Bound::HighWatermark } else { Bound::LastStable };
            // The version that can be sent elsewhere.
            if context.version < 11 { Reader::Consumer(bound) } else { Reader::Roaming(bound) }
        }
    }
}

/// Finds the replicas of a topic. `of_broker`: whether a follower is the broker that it says; `None` for a consumer,
/// which needs Read.
fn resolve(context: &Context, topic: FetchTopic, of_broker: Option<bool>) -> Vec<ResolvedPartition> {
    let known = match of_broker {
        Some(true) => context.known_topic(13, &topic.topic, topic.topic_id),
        Some(false) => Err(NotServed::Denied),
        None => context.topic(Operation::Read, 13, &topic.topic, topic.topic_id),
    };
    let replicas = &context.handler.replicas;
    topic
        .partitions
        .into_iter()
        .map(|partition| ResolvedPartition {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            index: partition.partition,
            from: ReadFrom {
                offset: partition.fetch_offset,
                current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
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
fn preferred(context: &Context, rack: &str, want: &ResolvedPartition) -> Option<BrokerId> {
    let image = &context.image;
    let near = |id: BrokerId| image.brokers.get(&id).is_some_and(|broker| broker.rack.as_deref() == Some(rack));
    if !image.settings.replica_selector_by_rack || rack.is_empty() || near(context.handler.id) {
        return None;
    }
    want.partition.as_ref().ok()?.nearest(want.from.offset, near)
}

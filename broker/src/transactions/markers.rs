//! Sends markers to the leaders of a transaction's partitions, until each has written its one.
//!
//! Coordinators put markers into a queue and hear of each partition once. One task sends them: to each broker one
//! request at a time, with all that waits for it. What may pass is tried again, to the leader of that time. A
//! coordinator that has ended is forgotten: its successor sends the markers again.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use ottla_client::{ClientError, Connection};
use ottla_txn::{Marker, MarkerResult, SendId, Shard, TopicPartition, TransactionResult, WriteMarkers};
use ottla_wire::m27_write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use ottla_wire::{ErrorCode, Str};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ends::Ends;
use super::machine::effects;
use crate::coordinator::Coordinator;
use crate::dialer::{CallLimits, Dialer};
use crate::env::{self, Instant};
use crate::image::{BrokerId, ClusterImage, ImageReceiver, IsCurrent};
use crate::replica::partition::transactions::TransactionEnd;

/// The pause before a marker is sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// For so long a marker waits for a partition that the image does not show and of which no tombstone is left, while the
/// API server answers: an image that lags behind shows it by then, and a partition whose object was removed by accident
/// stays in the image. While the API server is away the time does not count, however long that takes: the image may be
/// older than the partition, and without its marker a transaction hangs there for ever.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// How long a leader may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For its connections.
const LIMITS: CallLimits = CallLimits { connect: Duration::from_secs(5), request: TIMEOUT, max_response: 64 << 20 };
/// 2 says by which rules the epoch is checked (KIP-1228).
const VERSIONS: RangeInclusive<i16> = 1..=2;

/// Markers that wait. Each transactional id has one transaction that ends at a time, which bounds them.
#[derive(Default)]
pub(super) struct Markers {
    waiting: Mutex<Vec<PendingMarker>>,
    /// Something was put in.
    wake: Notify,
}

/// A marker for one partition.
struct PendingMarker {
    coordinator: Arc<Coordinator<Shard>>,
    send: SendId,
    marker: Marker,
    partition: TopicPartition,
    /// Not to be sent before.
    due: Instant,
    /// Since when the image is current and does not show its partition.
    missing_since: Option<Instant>,
}

/// Where a marker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    To(BrokerId),
    /// There is no leader now.
    Nobody,
    /// The image does not show the partition, since then for certain.
    Missing(Instant),
    /// The topic is deleted: nowhere.
    Deleted,
}

fn way(
    (image, is_current): (&ClusterImage, bool),
    partition: &TopicPartition,
    missing_since: Option<Instant>,
    now: Instant,
) -> Way {
    match image.assignment(&partition.topic, partition.partition).map(|entry| entry.leader) {
        Some(Some(leader)) => Way::To(leader),
        Some(None) => Way::Nobody,
        None if is_deleted(image, &partition.topic) => Way::Deleted,
        None => {
            let since = missing_since.filter(|_| is_current).unwrap_or(now);
            if now.duration_since(since) < GONE_AFTER { Way::Missing(since) } else { Way::Deleted }
        }
    }
}

impl Markers {
    /// Puts markers into the queue. Called under the coordinator's lock.
    pub(super) fn post(
        &self,
        coordinator: &Arc<Coordinator<Shard>>,
        WriteMarkers { id, marker, partitions }: WriteMarkers,
    ) {
        let due = env::now();
        let waiting = |partition| PendingMarker {
            coordinator: coordinator.clone(),
            send: id,
            marker,
            partition,
            due,
            missing_since: None,
        };
        self.waiting.lock().extend(partitions.into_iter().map(waiting));
        self.wake.notify_one();
    }

    /// Takes what may be sent now, by the leader that it is for, but for busy ones; the rest stays. Returns when the
    /// first of the rest is due, as far as that is known.
    fn take(
        &self,
        (image, is_current): (&ClusterImage, bool),
        is_busy: impl Fn(&BrokerId) -> bool,
    ) -> (BTreeMap<BrokerId, Vec<PendingMarker>>, Vec<PendingMarker>, Option<Instant>) {
        let now = env::now();
        let (mut by_leader, mut deleted, mut next) = (BTreeMap::<_, Vec<PendingMarker>>::new(), Vec::new(), None);
        // Not under the lock: a coordinator that posts holds its own lock, too.
        let all = std::mem::take(&mut *self.waiting.lock());
        let mut rest = Vec::new();
        for mut waiting in all.into_iter().filter(|waiting| waiting.coordinator.is_active()) {
            if waiting.due > now {
                next = Some(next.map_or(waiting.due, |next: Instant| next.min(waiting.due)));
                rest.push(waiting);
                continue;
            }
            let way = way((image, is_current), &waiting.partition, waiting.missing_since, now);
            waiting.missing_since = if let Way::Missing(since) = way { Some(since) } else { None };
            match way {
                Way::Deleted => deleted.push(waiting),
                Way::To(leader) if !is_busy(&leader) => by_leader.entry(leader).or_default().push(waiting),
                Way::To(_) => rest.push(waiting), // the answer of its leader wakes the sender
                Way::Nobody | Way::Missing(_) => {
                    waiting.due = now + PAUSE;
                    next = Some(next.map_or(waiting.due, |next| next.min(waiting.due)));
                    rest.push(waiting);
                }
            }
        }
        self.waiting.lock().extend(rest);
        (by_leader, deleted, next)
    }

    /// How many markers wait for their partitions' leaders.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    fn put_back(&self, waiting: Vec<PendingMarker>) {
        self.waiting.lock().extend(waiting);
        self.wake.notify_one();
    }
}

/// Whether the topic's tombstone is known, and no other topic has its name.
fn is_deleted(image: &ClusterImage, topic: &str) -> bool {
    image.topic(topic).is_none() && image.deleted.values().any(|deleted| &*deleted.name == topic)
}

/// Sends markers, for ever.
pub(super) async fn send(
    markers: Arc<Markers>,
    dialer: Dialer,
    images: ImageReceiver,
    is_current: IsCurrent,
    ends: Ends,
) {
    let mut links: HashMap<BrokerId, Link> = HashMap::new();
    let mut busy = FuturesUnordered::new();
    let mut busy_with: Vec<BrokerId> = Vec::new();
    loop {
        let image = images.borrow().clone();
        let (by_leader, deleted, next) = markers.take((&image, is_current()), |leader| busy_with.contains(leader));
        for waiting in deleted {
            report(waiting, MarkerResult::Deleted);
        }
        for (leader, waiting) in by_leader {
            busy_with.push(leader);
            let mut link = links.remove(&leader).unwrap_or_else(|| Link { dialer: dialer.clone(), leader, open: None });
            let (images, ends) = (images.clone(), ends.clone());
            busy.push(async move {
                let codes = if leader == dialer.me {
                    write_here(&ends, &waiting).await
                } else {
                    link.call(&images, &waiting).await
                };
                (leader, link, waiting, codes)
            });
        }
        tokio::select! {
            biased;
            Some((leader, link, waiting, codes)) = busy.next() => {
                busy_with.retain(|id| *id != leader);
                links.insert(leader, link);
                let (ended, again): (Vec<_>, Vec<_>) =
                    waiting.into_iter().zip(codes).map(|(waiting, code)| (waiting, result(code))).partition(|(_, result)| {
                        *result != MarkerResult::Retriable
                    });
                ended.into_iter().for_each(|(waiting, result)| report(waiting, result));
                let due = env::now() + PAUSE;
                markers.put_back(again.into_iter().map(|(waiting, _)| PendingMarker { due, ..waiting }).collect());
            }
            () = markers.wake.notified() => {}
            () = until(next) => {}
        }
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => env::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// What a leader's answer means to the coordinator.
fn result(code: ErrorCode) -> MarkerResult {
    match code {
        ErrorCode::NONE => MarkerResult::Written,
        ErrorCode::INVALID_PRODUCER_EPOCH => MarkerResult::ProducerFenced,
        ErrorCode::TRANSACTION_COORDINATOR_FENCED => MarkerResult::CoordinatorFenced,
        ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => MarkerResult::Deleted,
        _ => MarkerResult::Retriable,
    }
}

fn report(PendingMarker { coordinator, send, partition, marker, .. }: PendingMarker, result: MarkerResult) {
    if result == MarkerResult::ProducerFenced {
        tracing::error!(
            topic = %partition.topic, partition = partition.partition, producer_id = marker.producer_id,
            producer_epoch = marker.producer_epoch,
            "a partition has seen a newer epoch of a producer than its transaction coordinator: the transaction counts as \
            ended there"
        );
    }
    coordinator.turn(|ids, now| effects(ids.sent(send, &[(partition, result)], now.into()), now));
}

/// Writes markers to partitions that this broker leads: all of them, then waits for all.
async fn write_here(ends: &Ends, all: &[PendingMarker]) -> Vec<ErrorCode> {
    let deadline = env::now() + TIMEOUT;
    let append = |waiting: &PendingMarker| {
        let TopicPartition { topic, partition } = &waiting.partition;
        ends.append(topic, *partition, end_of(&waiting.marker))
    };
    let mut codes = Vec::new();
    for written in all.iter().map(append).collect::<Vec<_>>() {
        let committed = match written {
            Ok(written) => written.committed(deadline).await,
            Err(error) => Err(error),
        };
        codes.push(committed.map_or_else(|error| ErrorCode::from(&error), |()| ErrorCode::NONE));
    }
    codes
}

fn end_of(marker: &Marker) -> TransactionEnd {
    TransactionEnd {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        marker: ottla_batch::Marker {
            outcome: match marker.outcome {
                TransactionResult::Commit => ottla_batch::ControlRecordType::Commit,
                TransactionResult::Abort => ottla_batch::ControlRecordType::Abort,
            },
            coordinator_epoch: marker.coordinator_epoch,
        },
        transaction_version: marker.transaction_version.level() as i8,
    }
}

/// The connection to one other broker.
struct Link {
    dialer: Dialer,
    leader: BrokerId,
    open: Option<(Connection, i16)>,
}

impl Link {
    /// Sends markers, and returns the code of each; all the same where there is no answer.
    async fn call(&mut self, images: &ImageReceiver, all: &[PendingMarker]) -> Vec<ErrorCode> {
        match self.try_call(images, all).await {
            Ok(response) => codes(&response, all),
            Err(error) => {
                self.open = None;
                tracing::debug!(leader = %self.leader, %error, "failed to send markers: they are sent again");
                vec![ErrorCode::NETWORK_EXCEPTION; all.len()]
            }
        }
    }

    async fn try_call(
        &mut self,
        images: &ImageReceiver,
        all: &[PendingMarker],
    ) -> Result<WriteTxnMarkersResponse, ClientError> {
        // As when the leader closes what is idle: markers need not fail, and wait, to find out.
        if let Some((connection, _)) = &mut self.open
            && connection.ended().now_or_never().is_some()
        {
            self.open = None;
        }
        if self.open.is_none() {
            let route = images.borrow().route(self.leader);
            let mut connection = self.dialer.connect(route.as_ref(), "markers", LIMITS).await?;
            let version = connection.versions().await?.newest::<WriteTxnMarkersRequest>(VERSIONS)?;
            self.open = Some((connection, version));
        }
        let (connection, version) = self.open.as_mut().ok_or(ClientError::Closed)?;
        connection.call(*version, &request(all)).await
    }
}

fn request(all: &[PendingMarker]) -> WriteTxnMarkersRequest {
    let mut markers: Vec<(Marker, BTreeMap<&str, Vec<i32>>)> = Vec::new();
    for PendingMarker { marker, partition: TopicPartition { topic, partition }, .. } in all {
        let at = markers.iter().position(|(other, _)| other == marker).unwrap_or_else(|| {
            markers.push((*marker, BTreeMap::new()));
            markers.len() - 1
        });
        markers[at].1.entry(topic).or_default().push(*partition);
    }
    let topic =
        |(name, partition_indexes): (&str, _)| WritableTxnMarkerTopic { name: Str::from(name), partition_indexes };
    let markers = markers.into_iter().map(|(marker, topics)| WritableTxnMarker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        transaction_result: marker.outcome == TransactionResult::Commit,
        topics: topics.into_iter().map(topic).collect(),
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: marker.transaction_version.level() as i8,
    });
    WriteTxnMarkersRequest { markers: markers.collect() }
}

/// The code of each marker. One of which the leader says nothing is sent again.
fn codes(response: &WriteTxnMarkersResponse, all: &[PendingMarker]) -> Vec<ErrorCode> {
    let mut codes: HashMap<(i64, &str, i32), ErrorCode> = HashMap::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                codes.insert((marker.producer_id, &topic.name, partition.partition_index), partition.error_code);
            }
        }
    }
    let code = |waiting: &PendingMarker| {
        let TopicPartition { topic, partition } = &waiting.partition;
        codes.get(&(waiting.marker.producer_id, &**topic, *partition)).copied()
    };
    all.iter().map(|waiting| code(waiting).unwrap_or(ErrorCode::NETWORK_EXCEPTION)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_config::{BrokerSettings, TopicSettings};
    use uuid::Uuid;

    use super::*;
    use crate::image::{Assignment, LeaderEpoch, PartitionEpoch, Topic};

    /// A topic "t" with one partition, led by broker 5 or nobody.
    fn topic(leader: Option<i32>) -> Topic {
        let leader = leader.map(BrokerId);
        let entry = Assignment {
            partition: 0,
            replicas: vec![BrokerId(5)],
            adding: vec![],
            removing: vec![],
            leader,
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            isr: vec![],
            reports: vec![],
            log_start: None,
        };
        let settings = TopicSettings::resolve(&BTreeMap::new(), &BrokerSettings::default());
        let (id, config) = (Uuid::from_u128(1), BTreeMap::new());
        Topic { id, name: "t".into(), config, settings: Arc::new(settings), partitions: vec![entry] }
    }

    fn showing(topic: Option<Topic>, deleted: Option<Topic>) -> ClusterImage {
        let mut image = ClusterImage::default();
        image.topic_names.extend(topic.iter().map(|topic| (topic.name.clone(), topic.id)));
        image.topics.extend(topic.into_iter().map(|topic| (topic.id, Arc::new(topic))));
        image.deleted.extend(deleted.into_iter().map(|topic| (Uuid::from_u128(2), Arc::new(topic))));
        image
    }

    #[test]
    fn a_marker_waits_for_a_partition_that_is_not_shown_and_not_for_ever() {
        let now = env::now();
        let (short, long) = (now - Duration::from_secs(59), now - Duration::from_secs(60));
        let (led, no_leader, nothing) = (topic(Some(5)), topic(None), None);
        let deleted = || Some(topic(None));
        let cases = [
            ("led", showing(Some(led.clone()), None), 0, Some(long), Way::To(BrokerId(5))),
            ("without leader", showing(Some(no_leader), None), 0, Some(long), Way::Nobody),
            ("its tombstone is there", showing(nothing.clone(), deleted()), 0, None, Way::Deleted),
            ("not shown yet", showing(nothing.clone(), None), 0, None, Way::Missing(now)),
            ("not shown for a while", showing(nothing.clone(), None), 0, Some(short), Way::Missing(short)),
            ("deleted some time ago", showing(nothing, None), 0, Some(long), Way::Deleted),
            ("made again, with fewer partitions", showing(Some(led.clone()), deleted()), 1, None, Way::Missing(now)),
            ("made again a while ago", showing(Some(led), None), 1, Some(long), Way::Deleted),
        ];
        for (name, image, partition, missing_since, expected) in cases {
            let partition = TopicPartition { topic: "t".into(), partition };
            assert_eq!(way((&image, true), &partition, missing_since, now), expected, "{name}");
        }
    }

    #[test]
    fn a_marker_waits_for_as_long_as_the_image_may_be_an_old_one() {
        let (begin, partition) = (env::now(), TopicPartition { topic: "t".into(), partition: 0 });
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (nothing, there) = (showing(None, None), showing(Some(topic(None)), None));
        // Seconds; the image, and whether the API server answers; since which second the partition is missing.
        let looks = [
            (0, &nothing, true, Some(0)),
            (59, &nothing, true, Some(0)),
            (60, &nothing, false, Some(60)), // the API server is gone: who knows what it would show
            (3_600, &nothing, false, Some(3_600)),
            (3_601, &nothing, true, Some(3_600)), // it is back, and the image of now comes soon
            (3_659, &nothing, true, Some(3_600)),
            (3_659, &there, true, None),
            (3_700, &nothing, true, Some(3_700)), // counted from here again
            (3_759, &nothing, true, Some(3_700)),
        ];
        let mut since = None;
        for (seconds, image, is_current, expected) in looks {
            let way = way((image, is_current), &partition, since, at(seconds));
            since = if let Way::Missing(since) = way { Some(since) } else { None };
            assert_eq!(since, expected.map(at), "{seconds} s: {way:?}");
        }
        assert_eq!(way((&nothing, true), &partition, since, at(3_760)), Way::Deleted);
    }
}

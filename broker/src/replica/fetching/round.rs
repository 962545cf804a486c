//! One fetch after the other: what to ask for next, and what an answer means. Values in, values out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ottla_client::Backoff;
use ottla_config::BrokerSettings;
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, ReplicaState};
use ottla_wire::{ErrorCode, Records, TopicIdPartition};

use crate::env::Instant;
use crate::image::{LeaderEpoch, Me};
use crate::replica::partition::following::{Copied, NextFetch};

/// The version that followers speak: the one with the high watermark that the follower knows.
pub const FETCH_VERSION: i16 = 18;

/// A partition that had an error rests for this long, and twice as long after each further one, up to
/// `replica.fetch.backoff.ms`: with a new leader everybody learns of it within milliseconds.
const FIRST_REST: Duration = Duration::from_millis(10);

/// What is asked for in one fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    /// Which partition.
    pub key: TopicIdPartition,
    /// Where the follower continues.
    pub next: NextFetch,
    /// How many bytes the throttle allows now; `None`: it is not throttled.
    pub room: Option<usize>,
}

/// A fetch for all of `asked`, in this order: who comes first is served first. While there is nothing new, the leader
/// waits for `longest_wait` with its answer.
pub fn request(me: Me, asked: &[PartitionFetch], settings: &BrokerSettings, longest_wait: Duration) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for PartitionFetch { key: TopicIdPartition { topic_id, partition }, next, room } in asked {
        if topics.last().is_none_or(|last| last.topic_id != *topic_id) {
            topics.push(FetchTopic { topic_id: *topic_id, ..Default::default() });
        }
        let most = settings.replica_fetch_max_bytes;
        let wanted = FetchPartition {
            partition: *partition,
            current_leader_epoch: next.leader_epoch.0,
            fetch_offset: next.offset,
            last_fetched_epoch: next.last_epoch.0,
            log_start_offset: next.log_start,
            partition_max_bytes: room.map_or(most, |room| i32::try_from(room).map_or(most, |room| most.min(room))),
            high_watermark: next.told_high_watermark,
            ..Default::default()
        };
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(wanted);
        }
    }
    FetchRequest {
        replica_state: ReplicaState { replica_id: me.id.0, replica_epoch: me.incarnation.0 },
        // Not before that: a partition that rests until then would not be asked for yet.
        max_wait_ms: i32::try_from(longest_wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
        min_bytes: settings.replica_fetch_min_bytes,
        max_bytes: settings.replica_fetch_response_max_bytes,
        topics,
        ..Default::default()
    }
}

/// How much a follower may ask for of a partition that is copied slowly, where it asks for `most` of others; takes it
/// from `left`; none while nothing is left. A follower that has caught up asks in any case: its leader must hear that,
/// to take it into the ISR.
pub fn room_for(next: &NextFetch, most: i32, left: &mut usize) -> Option<usize> {
    let most = usize::try_from(most).unwrap_or(0);
    if next.is_caught_up() {
        return Some(most);
    }
    let room = most.min(*left);
    let may_ask = *left > 0;
    *left -= room;
    may_ask.then_some(room)
}

/// Bytes of what is copied slowly in an answer to `asked`.
pub fn slow_bytes(asked: &[PartitionFetch], response: &FetchResponse) -> usize {
    let slow: HashSet<TopicIdPartition> =
        asked.iter().filter(|asked| asked.room.is_some()).map(|asked| asked.key).collect();
    let answers = response.responses.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, p)));
    let is_slow = |topic_id, number| slow.contains(&TopicIdPartition::new(topic_id, number));
    let slow = answers.filter(|(topic_id, partition)| is_slow(*topic_id, partition.partition_index));
    slow.filter_map(|(_, partition)| partition.records.as_ref()).map(Records::len).sum()
}

/// What an answer means for its partition.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// Append what there is, and take over how far the leader has got.
    Copy(Copied),
    /// The logs part: the leader's `epoch` ends at `end_offset`.
    Cut {
        /// The largest epoch that the leader has, not above the follower's last.
        epoch: LeaderEpoch,
        /// Its end in the leader's log.
        end_offset: i64,
    },
    /// The leader no longer has what comes next: begin again where its log begins.
    StartAnew {
        /// There.
        log_start: i64,
    },
    /// Not now: one of the two does not know the newest assignment yet, or the leader's disk failed.
    Rest(ErrorCode),
}

/// Reads an answer.
pub fn meaning(answer: PartitionData) -> Meaning {
    let PartitionData { error_code, high_watermark, log_start_offset, diverging_epoch, records, .. } = answer;
    match error_code {
        ErrorCode::NONE if diverging_epoch.epoch >= 0 || diverging_epoch.end_offset >= 0 => {
            Meaning::Cut { epoch: LeaderEpoch(diverging_epoch.epoch), end_offset: diverging_epoch.end_offset }
        }
        ErrorCode::NONE => {
            let records = records.as_ref().and_then(ottla_wire::Records::as_bytes).cloned().unwrap_or_default();
            Meaning::Copy(Copied { records, high_watermark, log_start: log_start_offset })
        }
        ErrorCode::OFFSET_OUT_OF_RANGE if log_start_offset >= 0 => Meaning::StartAnew { log_start: log_start_offset },
        code => Meaning::Rest(code),
    }
}

/// Partitions that had an error, and until when they are not asked for.
#[derive(Debug)]
pub struct Resting {
    longest: Duration,
    resting: HashMap<TopicIdPartition, Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    backoff: Backoff,
}

impl Resting {
    /// Nobody rests; later nobody for longer than `longest`.
    pub fn new(longest: Duration) -> Resting {
        Resting { longest, resting: HashMap::new() }
    }

    /// It had an error.
    pub fn put(&mut self, key: TopicIdPartition, now: Instant) {
        let anew = Backoff::new(FIRST_REST.min(self.longest), self.longest);
        let mut backoff = self.resting.get(&key).map_or(anew, |rest| rest.backoff);
        self.resting.insert(key, Rest { until: now + backoff.failed(), backoff });
    }

    /// It went well.
    pub fn forget(&mut self, key: &TopicIdPartition) {
        self.resting.remove(key);
    }

    /// Whether it is not to be asked for yet.
    pub fn holds(&self, key: &TopicIdPartition, now: Instant) -> bool {
        self.resting.get(key).is_some_and(|rest| rest.until > now)
    }

    /// When the first of them may be asked for again; `None`: all may be asked for now.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.resting.values().map(|rest| rest.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_wire::m01_fetch::{EpochEndOffset, FetchableTopicResponse};

    use super::*;
    use crate::env;
    use crate::image::{BrokerId, Incarnation};
    use ottla_wire::Uuid;

    #[test]
    fn an_answer_means_one_thing() {
        let ok = PartitionData { high_watermark: 7, log_start_offset: 3, ..Default::default() };
        let error = |error_code| PartitionData { error_code, log_start_offset: 3, ..Default::default() };
        let parted = EpochEndOffset { epoch: 2, end_offset: 20 };
        assert!(matches!(meaning(ok.clone()), Meaning::Copy(Copied { high_watermark: 7, log_start: 3, .. })));
        let cut = meaning(PartitionData { diverging_epoch: parted, ..ok });
        assert!(matches!(cut, Meaning::Cut { epoch: LeaderEpoch(2), end_offset: 20 }));
        assert!(matches!(meaning(error(ErrorCode::OFFSET_OUT_OF_RANGE)), Meaning::StartAnew { log_start: 3 }));
        let unsaid = PartitionData { log_start_offset: -1, ..error(ErrorCode::OFFSET_OUT_OF_RANGE) };
        assert!(matches!(meaning(unsaid), Meaning::Rest(_)), "an offset that nobody named is not where to begin");
        for code in [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::UNKNOWN_LEADER_EPOCH]
        {
            assert!(matches!(meaning(error(code)), Meaning::Rest(same) if same == code));
        }
    }

    #[test]
    fn a_request_says_who_follows_and_names_each_topic_once() {
        let me = Me { id: BrokerId(2), incarnation: Incarnation(77) };
        let next = NextFetch {
            leader_epoch: LeaderEpoch(5),
            offset: 9,
            last_epoch: LeaderEpoch(4),
            log_start: 1,
            told_high_watermark: 8,
        };
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let asked: Vec<PartitionFetch> = [(a, 0), (a, 3), (b, 0)]
            .map(|(id, number)| PartitionFetch { key: TopicIdPartition::new(id, number), next, room: None })
            .into();
        let request = request(me, &asked, &BrokerSettings::default(), Duration::from_micros(7_001));
        assert_eq!((request.replica_state.replica_id, request.replica_state.replica_epoch), (2, 77));
        assert_eq!(request.max_wait_ms, 8);
        let counts: Vec<_> = request.topics.iter().map(|topic| (topic.topic_id, topic.partitions.len())).collect();
        assert_eq!(counts, [(a, 2), (b, 1)]);
        let first = &request.topics[0].partitions[0];
        assert_eq!((first.current_leader_epoch, first.fetch_offset, first.last_fetched_epoch), (5, 9, 4));
        assert_eq!(first.high_watermark, 8);
    }

    #[test]
    fn what_is_copied_slowly_shares_the_room_and_who_has_caught_up_needs_none() {
        let next = |offset, told_high_watermark| NextFetch {
            leader_epoch: LeaderEpoch(5),
            offset,
            last_epoch: LeaderEpoch(4),
            log_start: 0,
            told_high_watermark,
        };
        let (behind, new, caught_up) = (next(5, 9), next(0, -1), next(9, 9));
        let mut left = 150;
        for (next, room, still_left) in
            [(behind, Some(100), 50), (new, Some(50), 0), (behind, None, 0), (new, None, 0), (caught_up, Some(100), 0)]
        {
            assert_eq!((room_for(&next, 100, &mut left), left), (room, still_left), "{next:?}");
        }
        assert_eq!(room_for(&behind, 0, &mut 7), Some(0), "a first batch comes whole");
    }

    #[test]
    fn only_what_is_copied_slowly_counts() {
        let next = NextFetch {
            leader_epoch: LeaderEpoch::FIRST,
            offset: 0,
            last_epoch: LeaderEpoch::NONE,
            log_start: 0,
            told_high_watermark: -1,
        };
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let asked = [((a, 0), Some(7)), ((a, 1), None), ((b, 0), Some(7)), ((b, 1), Some(7))];
        let asked =
            asked.map(|((id, number), room)| PartitionFetch { key: TopicIdPartition::new(id, number), next, room });
        let partition = |partition_index, len| PartitionData {
            partition_index,
            records: Some(Bytes::from(vec![0; len]).into()),
            ..Default::default()
        };
        let topic = |topic_id, partitions| FetchableTopicResponse { topic_id, partitions, ..Default::default() };
        let responses = vec![
            topic(a, vec![partition(0, 1), partition(1, 10)]),
            topic(b, vec![partition(1, 100), PartitionData::default()]),
        ];
        assert_eq!(slow_bytes(&asked, &FetchResponse { responses, ..Default::default() }), 101);
    }

    #[test]
    fn a_partition_rests_longer_with_each_error_and_not_after_a_success() {
        let longest = Duration::from_secs(1);
        let (mut resting, key, now) = (Resting::new(longest), TopicIdPartition::new(Uuid::from_u128(1), 0), env::now());
        resting.put(key, now);
        assert!(resting.holds(&key, now) && !resting.holds(&key, now + FIRST_REST));
        assert_eq!(resting.next(now), Some(now + FIRST_REST));
        for _ in 0..10 {
            resting.put(key, now);
        }
        assert_eq!(resting.next(now), Some(now + longest));
        resting.forget(&key);
        assert!(!resting.holds(&key, now) && resting.next(now).is_none());
    }
}

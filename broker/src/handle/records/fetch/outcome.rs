//! One read of all partitions of a fetch.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::asked::{ResolvedFetch, ResolvedPartition};
use crate::env;
use crate::replica::partition::reading::{COPIED, Read, ReadError, Reader, Rest};
use crate::replica::throttle::Throttle;
use crate::watermark::Reached;

/// The most bytes of an answer that are copied to memory; the rest is sent from files. A slow reader may hold this
/// memory for long.
const MAX_COPIED: usize = 256 << 10;

/// Bytes of an answer beside its partitions.
const RESPONSE_BYTES: usize = 17;
/// Bytes of a partition with its topic, beside its records, in version 13.
const PARTITION_BYTES: usize = 57;

/// The result of one read of all partitions.
pub(super) struct FetchOutcome {
    /// In the order of the request.
    pub(super) results: Vec<LogReadResult>,
    /// Of this answer's throttled part.
    pub(super) allowance: Allowance,
}

/// The result of one read of a partition.
pub(super) struct LogReadResult {
    pub(super) found: Result<Read, ReadError>,
    /// What had disturbed the reader's bound (a follower's is the high watermark) and the log end before that.
    disturbances: [u64; 2],
    /// Whether the reader is a follower for which the partition is throttled.
    throttled: bool,
}

/// Reads in the order of the request. The first partition that has something gives at least one batch, however large
/// (KIP-74), unless it is throttled and there is no room for that.
pub(super) fn read(asked: &ResolvedFetch, throttle: &Arc<Mutex<Throttle>>) -> FetchOutcome {
    let mut allowance = Allowance::take(throttle, asked.throttled_rate);
    let mut results = Vec::with_capacity(asked.partitions.len());
    let (mut bytes, mut may_copy) = (0, env::most_copied(MAX_COPIED));
    for want in &asked.partitions {
        let result = read_partition(asked, want, bytes, may_copy, &mut allowance);
        if let Ok(read) = &result.found {
            bytes += read.len();
            may_copy -= read.copied();
        }
        results.push(result);
    }
    allowance.give_back();
    FetchOutcome { results, allowance }
}

/// Reads one partition, after `bytes` of those before it; copies at most `may_copy`.
fn read_partition(
    asked: &ResolvedFetch,
    want: &ResolvedPartition,
    bytes: usize,
    may_copy: usize,
    allowance: &mut Allowance,
) -> LogReadResult {
    let partition = match &want.partition {
        Ok(partition) => partition,
        Err(error) => return LogReadResult { found: Err((*error).into()), disturbances: [0; 2], throttled: false },
    };
    let disturbances = [partition.bound(asked.bound()).disturbances(), partition.log_end.disturbances()];
    let throttled = asked.is_throttled(partition);
    let most = match want.preferred {
        Some(_) => 0,
        None if throttled => allowance.left(),
        None => usize::MAX,
    };
    let room = want.max_bytes.min(asked.max_bytes.saturating_sub(bytes)).min(most);
    let at_least_one = bytes == 0 && most > 0;
    let found = partition.read(&want.from, room, at_least_one, may_copy.min(COPIED), asked.reader);
    if let (true, Ok(read)) = (throttled, &found) {
        allowance.use_up(read.len(), want.from.offset < read.log_end);
    }
    LogReadResult { found, disturbances, throttled }
}

impl FetchOutcome {
    /// Whether there is enough to send, or something that must be sent at once.
    pub(super) fn is_complete(&self, asked: &ResolvedFetch) -> bool {
        let follows = matches!(asked.reader, Reader::Follower { .. });
        let is_news = |(want, result): (&ResolvedPartition, &LogReadResult)| match &result.found {
            Ok(read) => {
                read.diverging.is_some()
                    || want.preferred.is_some()
                    || read.high_watermark > want.known_high_watermark
                    || follows && read.log_start > want.from.log_start
            }
            Err(_) => true,
        };
        self.has_enough(asked) || self.results.is_empty() || asked.partitions.iter().zip(&self.results).any(is_news)
    }

    /// Whether there are `min_bytes`, sent or not: as Kafka's `DelayedFetch` counts, of each partition at most what is
    /// asked of it; and what lies in more than one segment is enough.
    fn has_enough(&self, asked: &ResolvedFetch) -> bool {
        let mut available = 0;
        for (want, result) in asked.partitions.iter().zip(&self.results) {
            let Ok(read) = &result.found else { continue };
            available += match read.rest {
                // That is not a matter of waiting for more records.
                _ if result.throttled => read.len(),
                Rest::Nothing => read.len(),
                Rest::InSegment => read.len().max(want.max_bytes),
                Rest::InLaterSegments => return true,
            };
        }
        available >= asked.min_bytes
    }

    /// What the fetch waits for on each partition: its bound moves, or its role changes; for a follower, new records
    /// and a higher high watermark.
    pub(super) fn waits(&self, asked: &ResolvedFetch) -> Vec<Reached> {
        let mut waits = Vec::with_capacity(2 * self.results.len());
        let bound = asked.bound();
        for (want, LogReadResult { found, disturbances: [of_bound, of_log_end], .. }) in
            asked.partitions.iter().zip(&self.results)
        {
            let (Ok(partition), Ok(read)) = (&want.partition, found) else { continue };
            waits.push(partition.bound(bound).reached_since(*of_bound, read.bound(bound) + 1));
            if let Reader::Follower { .. } = asked.reader {
                waits.push(partition.log_end.reached_since(*of_log_end, read.log_end + 1));
            }
        }
        waits
    }

    /// How long a throttled follower waits for room, if there was none.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.allowance.pause()
    }

    /// About how many bytes an answer has: its records, and what is written beside those of each partition. Partitions
    /// without records don't count, because a session has no news of them.
    pub(super) fn answer_bytes(&self) -> usize {
        let found = self.results.iter().filter_map(|result| result.found.as_ref().ok());
        found.filter(|read| !read.is_empty()).map(|read| read.len() + PARTITION_BYTES).sum::<usize>() + RESPONSE_BYTES
    }
}

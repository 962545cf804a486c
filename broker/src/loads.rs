//! The loads that `GET /loads` shows: how much each replica has and gets, and how long producers and the disk take.
//!
//! The operator plans moves by them, so they say what has been usual, not what is at this moment.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_crds::{BrokerLoads, Latency, ReplicaLoad};
use ottla_wire::ApiKey;
use ottla_wire::TopicIdPartition;
use parking_lot::Mutex;
use prometheus::Histogram;
use prometheus::core::Metric;

use crate::disk_space::DiskSpace;
use crate::env::{self, Instant};
use crate::metrics::Metrics;
use crate::replica::Replicas;
use crate::replica::partition::Partition;

/// How often counters are read.
const SAMPLE: Duration = Duration::from_secs(15);
/// Over how long rates are averaged.
const AVERAGED_OVER: Duration = Duration::from_secs(15 * 60);
/// How many samples are one minute.
const MINUTE: usize = 4;
/// How many samples are the minute and the hour before.
const HISTORY: usize = MINUTE * 61 + 1;
/// With fewer durations a percentile says nothing.
const FEWEST: u64 = 20;

/// The loads of this broker.
pub struct Loads {
    replicas: Arc<Replicas>,
    metrics: Arc<Metrics>,
    state: Mutex<LoadSamples>,
}

#[derive(Default)]
struct LoadSamples {
    sampled: Option<Instant>,
    rates: HashMap<TopicIdPartition, [Rate; 2]>,
    produce: History,
    fsync: History,
}

impl Loads {
    /// Nothing is known yet.
    pub fn new(replicas: Arc<Replicas>, metrics: Arc<Metrics>) -> Arc<Loads> {
        Arc::new(Loads { replicas, metrics, state: Mutex::default() })
    }

    /// Reads the counters again and again, until it is aborted.
    pub async fn keep_sampling(self: Arc<Loads>) {
        loop {
            self.sample(env::now());
            env::sleep_until(env::now() + SAMPLE).await;
        }
    }

    fn sample(&self, now: Instant) {
        let partitions = self.replicas.all();
        let mut state = self.state.lock();
        let elapsed = state.sampled.map(|before| now - before);
        state.sampled = Some(now);
        let mut rates = HashMap::with_capacity(partitions.len());
        for partition in partitions {
            let key = partition.id();
            let mut rate = state.rates.remove(&key).unwrap_or_default();
            for (rate, total) in rate.iter_mut().zip(partition.traffic()) {
                *rate = rate.after(total, elapsed);
            }
            rates.insert(key, rate);
        }
        state.rates = rates;
        state.produce.push(counts(&self.metrics.clients.api(ApiKey::Produce).seconds));
        state.fsync.push(counts(&self.metrics.replicas.flush_seconds));
    }

    /// The loads as they are known now.
    pub fn known(&self) -> BrokerLoads {
        let disk = DiskSpace::of(self.replicas.dir()).ok();
        // Before the lock: a partition may wait for the disk, and the next sample waits for the lock.
        let partitions = self.replicas.all().into_iter().map(|partition| (partition.status().size, partition));
        let partitions: Vec<_> = partitions.collect();
        let state = self.state.lock();
        let replica = |(bytes, partition): (u64, Arc<Partition>)| {
            let [bytes_in, bytes_out] = state.rates.get(&partition.id()).copied().unwrap_or_default();
            ReplicaLoad {
                topic: partition.topic.to_string(),
                partition: partition.number,
                bytes,
                bytes_in: bytes_in.per_second as u64,
                bytes_out: bytes_out.per_second as u64,
            }
        };
        BrokerLoads {
            capacity: disk.as_ref().map(DiskSpace::size),
            used: disk.map(|disk| disk.used),
            produce: state.produce.latency(),
            fsync: state.fsync.latency(),
            replicas: partitions.into_iter().map(replica).collect(),
        }
    }
}

/// Bytes per second, averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rate {
    per_second: f64,
    /// The counter at the last sample.
    total: u64,
    /// For how long it has been averaged.
    age: Duration,
}

impl Rate {
    /// The rate after a sample of the counter; `elapsed` is `None` at the first sample.
    fn after(self, total: u64, elapsed: Option<Duration>) -> Rate {
        let Some(elapsed) = elapsed.filter(|elapsed| !elapsed.is_zero()) else { return Rate { total, ..self } };
        let age = (self.age + elapsed).min(AVERAGED_OVER);
        let sample = total.saturating_sub(self.total) as f64 / elapsed.as_secs_f64();
        // Of a young replica it is the average of its whole life.
        let weight = (elapsed.as_secs_f64() / age.as_secs_f64()).min(1.0);
        Rate { per_second: self.per_second + (sample - self.per_second) * weight, total, age }
    }
}

/// A histogram's upper bounds with the number of durations up to each.
type Counts = Vec<(f64, u64)>;

fn counts(histogram: &Histogram) -> Counts {
    let metric = histogram.metric();
    metric.get_histogram().get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect()
}

/// What a histogram has counted, sample by sample.
#[derive(Debug, Default)]
struct History(VecDeque<Counts>);

impl History {
    fn push(&mut self, counts: Counts) {
        self.0.push_back(counts);
        if self.0.len() > HISTORY {
            self.0.pop_front();
        }
    }

    fn latency(&self) -> Latency {
        let minute_ago = self.0.len().checked_sub(MINUTE + 1).and_then(|at| self.0.get(at));
        let Some(minute_ago) = minute_ago else { return Latency::default() };
        let between = |from: Option<&Counts>, to: Option<&Counts>| percentile(from?, to?);
        Latency {
            now_ms: between(Some(minute_ago), self.0.back()),
            before_ms: between(self.0.front(), Some(minute_ago)),
        }
    }
}

/// The 99th percentile of what was counted between two samples, in milliseconds; `None`: too few.
fn percentile(from: &Counts, to: &Counts) -> Option<f64> {
    let between = |at: usize| to.get(at)?.1.checked_sub(from.get(at)?.1);
    let all = between(to.len().checked_sub(1)?)?;
    if all < FEWEST {
        return None;
    }
    let rank = all - all / 100;
    let (mut below, mut lower) = (0, 0.0);
    for (at, (upper, _)) in to.iter().enumerate() {
        let up_to = between(at)?;
        if up_to >= rank {
            let part = (rank - below) as f64 / (up_to - below).max(1) as f64;
            return Some((lower + (upper - lower) * part) * 1000.0);
        }
        (below, lower) = (up_to, *upper);
    }
    Some(lower * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_average_of_a_quarter_of_an_hour_or_of_a_shorter_life() {
        let minute = Some(Duration::from_secs(60));
        let mut rate = Rate::default().after(5_000, None);
        assert_eq!(rate.per_second, 0.0, "what came before the first sample was at another time");
        rate = rate.after(65_000, minute);
        assert_eq!(rate.per_second as u64, 1000);
        rate = rate.after(65_000, minute);
        assert_eq!(rate.per_second as u64, 500);
        for _ in 0..13 {
            rate = rate.after(65_000, minute);
        }
        assert_eq!(rate.per_second.round() as u64, 67, "60,000 bytes in 15 minutes");
        for n in 1..=100 {
            rate = rate.after(65_000 + n * 60_000, minute);
        }
        assert!((990..=1000).contains(&(rate.per_second as u64)), "{rate:?}");
    }

    #[test]
    fn a_percentile_is_of_what_was_counted_in_between() {
        let counts = |of: [u64; 3]| -> Counts { [0.01, 0.1, 1.0].into_iter().zip(of).collect() };
        let start = counts([1000, 1000, 1000]);
        for (story, to, expected) in [
            ("too few", counts([1010, 1010, 1010]), None),
            ("all are fast", counts([1100, 1100, 1100]), Some(10)),
            ("one in twenty is slow", counts([1095, 1100, 1100]), Some(82)),
            ("all are slower than the last bound", counts([1000, 1000, 1000]), None),
        ] {
            assert_eq!(percentile(&start, &to).map(|ms| ms.round() as u64), expected, "{story}");
        }
    }

    #[test]
    fn the_last_minute_is_compared_with_the_hour_before() {
        let mut history = History::default();
        let sample = |fast: u64, slow: u64| -> Counts { vec![(0.01, fast), (1.0, fast + slow)] };
        for n in 0..=u64::try_from(HISTORY).unwrap() {
            history.push(sample(100 * n, 0));
        }
        let steady = history.latency();
        assert!(steady.now_ms.unwrap() < 11.0 && steady.before_ms.unwrap() < 11.0, "{steady:?}");
        let fast = 100 * u64::try_from(HISTORY).unwrap();
        for n in 1..=u64::try_from(MINUTE).unwrap() {
            history.push(sample(fast, 100 * n));
        }
        let slow = history.latency();
        assert!(slow.now_ms.unwrap() > 900.0 && slow.before_ms.unwrap() < 11.0, "{slow:?}");
    }
}

//! The metrics for Prometheus: one struct, passed along; no globals.
//!
//! Names follow Prometheus' conventions (base units, `_total` for counters) and cover what people watch in Kafka. What
//! can be computed from the state (log sizes, lag, leader counts) is computed when it is scraped, by
//! [`Metrics::before_scrape`]'s hooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ApiKey;
use parking_lot::Mutex;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Seconds: from a small produce in memory to a long poll that ran out.
const LATENCY_BUCKETS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

type Hook = Box<dyn Fn(&Metrics) + Send>;

/// Every metric of a broker.
pub struct Metrics {
    registry: Registry,
    hooks: Mutex<Vec<Hook>>,
    /// Open client connections.
    pub connections: IntGauge,
    apis: BTreeMap<ApiKey, ApiMetrics>,
    /// Connections that the broker closed, by reason.
    pub connections_refused: IntCounterVec,
    /// Handshakes of TLS after which a connection was opened, by listener.
    pub tls_handshakes: IntCounterVec,
    /// When certificates end, in seconds since 1970, by listener; `replication` is the broker's own.
    pub certificate_ends: GaugeVec,
    /// Ended exchanges of SASL, by listener, mechanism and result.
    pub authentications: IntCounterVec,
    /// Seconds for which clients and listeners were throttled, by quota.
    pub throttled_seconds: CounterVec,
    /// Requests and connections that were throttled, by quota.
    pub throttled: IntCounterVec,
    /// Record bytes appended by producers, by topic.
    pub topic_bytes_in: IntCounterVec,
    /// Record bytes sent to consumers, by topic.
    pub topic_bytes_out: IntCounterVec,
    /// Records appended by producers, by topic.
    pub topic_messages_in: IntCounterVec,
    /// Record bytes taken from leaders, by topic.
    pub topic_replication_in: IntCounterVec,
    /// Record bytes given to followers, by topic.
    pub topic_replication_out: IntCounterVec,
    /// Replicas on this broker.
    pub partitions: IntGauge,
    /// Replicas that this broker leads.
    pub leaders: IntGauge,
    /// Replicas that can't be served: their disk or their files failed.
    pub offline_replicas: IntGauge,
    /// Quarantined folders: replicas for another topic of the same name, segments that a crash has cut off. They go
    /// after a day.
    pub stray_replicas: IntGauge,
    /// Partitions led here whose in-sync replicas are fewer than their replicas.
    pub under_replicated: IntGauge,
    /// Partitions led here whose in-sync replicas are fewer than `min.insync.replicas`.
    pub under_min_isr: IntGauge,
    /// Times that an ISR of a partition led here has shrunk.
    pub isr_shrinks: IntCounter,
    /// Times that an ISR of a partition led here has grown.
    pub isr_expands: IntCounter,
    /// Partitions of the whole cluster that nobody leads, as this broker's image shows it.
    pub offline_partitions: IntGauge,
    /// Of these, those of which a broker has said what it has.
    pub recovering_partitions: IntGauge,
    /// Partitions of the whole cluster of which this broker knows a newer assignment than the API server shows.
    pub newer_than_shown: IntGauge,
    /// Partitions of the whole cluster of which the API server shows another history than the one that this broker acts
    /// on.
    pub forked_partitions: IntGauge,
    /// Brokers of the cluster whose Lease is not renewed, as this broker's image shows it.
    pub brokers_down: IntGauge,
    /// Bytes that this process can have of the data directory's file system.
    pub data_dir_size: IntGauge,
    /// Bytes of them that this process can still fill.
    pub data_dir_free: IntGauge,
    /// Seconds for which the disk has finished no job although there are some.
    pub disk_stalled: GaugeVec,
    /// Bytes on disk, by topic and partition.
    pub log_size: IntGaugeVec,
    /// First offset, by topic and partition.
    pub log_start: IntGaugeVec,
    /// Next offset, by topic and partition.
    pub log_end: IntGaugeVec,
    /// Groups that this broker coordinates, by type and state.
    pub groups: IntGaugeVec,
    /// Transactional ids that this broker coordinates, by state.
    pub transactional_ids: IntGaugeVec,
    /// Markers of transactions that wait for the leaders of their partitions.
    pub markers_waiting: IntGauge,
    /// Share partitions whose state this broker keeps.
    pub share_states: IntGauge,
    /// Share sessions of this broker.
    pub share_sessions: IntGauge,
    /// Share partitions that this broker leads.
    pub share_partitions: IntGauge,
    /// Records in flight in share partitions that this broker leads.
    pub share_in_flight: IntGauge,
    /// Records that a group has not committed yet, by group, topic and partition; for partitions led here.
    pub group_lag: IntGaugeVec,
    /// Seconds that an fsync took.
    pub flush_seconds: Histogram,
    /// Rounds of compaction.
    pub compactions: IntCounter,
    /// Bytes that compaction has taken out of logs.
    pub compaction_removed_bytes: IntCounter,
    /// Writes to the Kubernetes API, by kind and verb.
    pub kubernetes_writes: IntCounterVec,
    /// Seconds since this broker's Lease was renewed.
    pub lease_age: GaugeVec,
    /// Seconds since the control plane last showed a sign of life.
    pub control_plane_staleness: GaugeVec,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Arc<Metrics> {
        let r = Registry::new();
        let by_partition = &["topic", "partition"];
        Arc::new(Metrics {
            hooks: Mutex::default(),
            connections: gauge(&r, "ottla_connections", "Open client connections"),
            apis: by_api(&r),
            connections_refused: counters(
                &r,
                "ottla_connections_refused_total",
                "Connections that the broker closed",
                &["reason"],
            ),
            tls_handshakes: counters(
                &r,
                "ottla_tls_handshakes_total",
                "TLS handshakes after which a connection was opened",
                &["listener"],
            ),
            certificate_ends: register(
                &r,
                GaugeVec::new(
                    Opts::new("ottla_certificate_expiry_timestamp_seconds", "When the listener's certificate ends"),
                    &["listener"],
                ),
            ),
            authentications: counters(
                &r,
                "ottla_authentications_total",
                "Clients that authenticated by SASL, or failed to",
                &["listener", "mechanism", "result"],
            ),
            throttled_seconds: register(
                &r,
                CounterVec::new(
                    Opts::new("ottla_throttled_seconds_total", "Time for which quotas have throttled clients"),
                    &["quota"],
                ),
            ),
            throttled: counters(
                &r,
                "ottla_throttled_total",
                "Requests and connections that quotas have throttled",
                &["quota"],
            ),
            topic_bytes_in: counters(&r, "ottla_topic_in_bytes_total", "Record bytes from producers", &["topic"]),
            topic_bytes_out: counters(&r, "ottla_topic_out_bytes_total", "Record bytes to consumers", &["topic"]),
            topic_messages_in: counters(&r, "ottla_topic_in_messages_total", "Records from producers", &["topic"]),
            topic_replication_in: counters(
                &r,
                "ottla_topic_replication_in_bytes_total",
                "Record bytes fetched from leaders",
                &["topic"],
            ),
            topic_replication_out: counters(
                &r,
                "ottla_topic_replication_out_bytes_total",
                "Record bytes sent to followers",
                &["topic"],
            ),
            partitions: gauge(&r, "ottla_replicas", "Replicas on this broker"),
            leaders: gauge(&r, "ottla_leaders", "Replicas that this broker leads"),
            offline_replicas: gauge(&r, "ottla_offline_replicas", "Replicas on this broker that can't be served"),
            stray_replicas: gauge(
                &r,
                "ottla_stray_replicas",
                "Quarantined folders: replicas of another topic of the same name, segments behind a gap after a crash",
            ),
            under_replicated: gauge(
                &r,
                "ottla_under_replicated_partitions",
                "Partitions led here with fewer in-sync replicas than replicas",
            ),
            under_min_isr: gauge(
                &r,
                "ottla_under_min_isr_partitions",
                "Partitions led here with fewer in-sync replicas than min.insync.replicas",
            ),
            isr_shrinks: counter(&r, "ottla_isr_shrinks_total", "Times that an ISR of a partition led here has shrunk"),
            isr_expands: counter(&r, "ottla_isr_expands_total", "Times that an ISR of a partition led here has grown"),
            offline_partitions: gauge(
                &r,
                "ottla_offline_partitions",
                "Partitions of the cluster without a leader, as this broker sees it",
            ),
            recovering_partitions: gauge(
                &r,
                "ottla_recovering_partitions",
                "Partitions without a leader of which a broker has reported its log, as this broker sees it",
            ),
            newer_than_shown: gauge(
                &r,
                "ottla_assignments_newer_than_shown",
                "Partitions of which this broker knows a newer assignment than the API server, which was set back, \
                shows",
            ),
            forked_partitions: gauge(
                &r,
                "ottla_forked_partitions",
                "Partitions of which the API server, restored from a backup, shows another history than this broker \
                acts on",
            ),
            brokers_down: gauge(
                &r,
                "ottla_brokers_down",
                "Brokers of the cluster that are not alive, as this broker sees it",
            ),
            data_dir_size: gauge(&r, "ottla_data_dir_size_bytes", "Size of the data directory's file system"),
            data_dir_free: gauge(&r, "ottla_data_dir_free_bytes", "Free space of the data directory's file system"),
            disk_stalled: register(
                &r,
                GaugeVec::new(
                    Opts::new(
                        "ottla_disk_stalled_seconds",
                        "How long the disk has finished no write although writes are waiting",
                    ),
                    &[],
                ),
            ),
            log_size: gauges(&r, "ottla_log_size_bytes", "Bytes on disk", by_partition),
            log_start: gauges(&r, "ottla_log_start_offset", "First offset", by_partition),
            log_end: gauges(&r, "ottla_log_end_offset", "Next offset", by_partition),
            groups: gauges(&r, "ottla_groups", "Groups that this broker coordinates", &["type", "state"]),
            transactional_ids: gauges(
                &r,
                "ottla_transactional_ids",
                "Transactional ids that this broker coordinates",
                &["state"],
            ),
            markers_waiting: gauge(
                &r,
                "ottla_transaction_markers_waiting",
                "Markers of ended transactions that wait for the leaders of their partitions",
            ),
            share_states: gauge(&r, "ottla_share_states", "Share partitions whose state this broker keeps"),
            share_sessions: gauge(&r, "ottla_share_sessions", "Members of share groups that fetch from this broker"),
            share_partitions: gauge(&r, "ottla_share_partitions", "Share partitions that this broker leads"),
            share_in_flight: gauge(
                &r,
                "ottla_share_in_flight_records",
                "Records from the first that a share group is not done with to the last that it has got",
            ),
            group_lag: gauges(
                &r,
                "ottla_group_lag_records",
                "Records that a group has not committed yet",
                &["group", "topic", "partition"],
            ),
            flush_seconds: register(
                &r,
                Histogram::with_opts(
                    HistogramOpts::new("ottla_flush_duration_seconds", "How long an fsync took")
                        .buckets(LATENCY_BUCKETS.to_vec()),
                ),
            ),
            compactions: counter(&r, "ottla_compactions_total", "Logs compacted"),
            compaction_removed_bytes: counter(
                &r,
                "ottla_compaction_removed_bytes_total",
                "Bytes that compaction has removed from logs",
            ),
            kubernetes_writes: counters(
                &r,
                "ottla_kubernetes_writes_total",
                "Writes to the Kubernetes API",
                &["kind", "verb"],
            ),
            lease_age: register(
                &r,
                GaugeVec::new(Opts::new("ottla_lease_age_seconds", "Time since this broker's Lease was renewed"), &[]),
            ),
            control_plane_staleness: register(
                &r,
                GaugeVec::new(
                    Opts::new("ottla_control_plane_staleness_seconds", "Time since the API server last answered"),
                    &[],
                ),
            ),
            registry: r,
        })
    }

    /// Runs `hook` before each scrape, to set what is computed from state.
    pub fn before_scrape(&self, hook: impl Fn(&Metrics) + Send + 'static) {
        self.hooks.lock().push(Box::new(hook));
    }

    /// Counts a request or a connection that was throttled for `time`.
    pub fn count_throttled(&self, quota: &str, time: Duration) {
        self.throttled.with_label_values(&[quota]).inc();
        self.throttled_seconds.with_label_values(&[quota]).inc_by(time.as_secs_f64());
    }

    /// The counters of one API.
    pub fn api(&self, api: ApiKey) -> &ApiMetrics {
        &self.apis[&api]
    }

    /// A replica is gone: so are its series, and those of its topic if no other is here.
    pub fn forget_partition(&self, topic: &str, partition: i32, was_last: bool) {
        let labels = [topic, &partition.to_string()];
        for series in [&self.log_size, &self.log_start, &self.log_end] {
            // An error says that there was no such series yet.
            let _ = series.remove_label_values(&labels);
        }
        let counters = [
            &self.topic_bytes_in,
            &self.topic_bytes_out,
            &self.topic_messages_in,
            &self.topic_replication_in,
            &self.topic_replication_out,
        ];
        for series in counters.into_iter().filter(|_| was_last) {
            let _ = series.remove_label_values(&[topic]);
        }
    }

    /// Everything, in Prometheus' text format.
    pub fn scrape(&self) -> String {
        // One at a time: a hook may remove series before it sets them again.
        let hooks = self.hooks.lock();
        hooks.iter().for_each(|hook| hook(self));
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text encodes")
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("metric names are literals");
    registry.register(Box::new(collector.clone())).expect("metric names are unique");
    collector
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Counters of one API, looked up once.
pub struct ApiMetrics {
    /// Requests.
    pub requests: IntCounter,
    /// What clients were not allowed to do.
    pub denied: IntCounter,
    /// Requests whose answer waits: for followers, for records, for the cluster.
    pub waiting: IntGauge,
    /// Seconds from a request's arrival to its answer.
    pub seconds: Histogram,
}

fn by_api(registry: &Registry) -> BTreeMap<ApiKey, ApiMetrics> {
    let requests = counters(registry, "ottla_requests_total", "Requests", &["api"]);
    let denied = counters(registry, "ottla_authorization_denied_total", "Refusals for want of authorization", &["api"]);
    let waiting = gauges(
        registry,
        "ottla_requests_waiting",
        "Requests that wait before they are answered, such as \
    for replication or for records",
        &["api"],
    );
    let opts = HistogramOpts::new("ottla_request_duration_seconds", "Time from a request to its answer");
    let seconds = HistogramVec::new(opts.buckets(LATENCY_BUCKETS.to_vec()), &["api"]);
    let seconds = register(registry, seconds);
    let of = |api: ApiKey| {
        let name = format!("{api:?}");
        let labels = [name.as_str()];
        ApiMetrics {
            requests: requests.with_label_values(&labels),
            denied: denied.with_label_values(&labels),
            waiting: waiting.with_label_values(&labels),
            seconds: seconds.with_label_values(&labels),
        }
    };
    ApiKey::ALL.iter().map(|api| (*api, of(*api))).collect()
}

/// A request whose answer waits, as long as it does.
pub struct Waiting(IntGauge);

impl ApiMetrics {
    /// Counts a request among those that wait, until what is returned is dropped.
    pub fn wait(&self) -> Waiting {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Handles of one topic's counters, looked up once.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// Record bytes from producers.
    pub bytes_in: IntCounter,
    /// Record bytes to consumers.
    pub bytes_out: IntCounter,
    /// Records from producers.
    pub messages_in: IntCounter,
    /// Record bytes from the leader.
    pub replication_in: IntCounter,
    /// Record bytes to followers.
    pub replication_out: IntCounter,
}

impl TopicMetrics {
    /// The counters of `topic`.
    pub fn of(metrics: &Metrics, topic: &str) -> TopicMetrics {
        TopicMetrics {
            bytes_in: metrics.topic_bytes_in.with_label_values(&[topic]),
            bytes_out: metrics.topic_bytes_out.with_label_values(&[topic]),
            messages_in: metrics.topic_messages_in.with_label_values(&[topic]),
            replication_in: metrics.topic_replication_in.with_label_values(&[topic]),
            replication_out: metrics.topic_replication_out.with_label_values(&[topic]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_whose_last_replica_is_gone_has_no_metrics() {
        let metrics = Metrics::new();
        TopicMetrics::of(&metrics, "t").bytes_in.inc();
        metrics.log_size.with_label_values(&["t", "0"]).set(1);
        metrics.forget_partition("t", 0, false);
        assert!(metrics.scrape().contains("ottla_topic_in_bytes_total{topic=\"t\"} 1"));
        metrics.forget_partition("t", 1, true);
        assert!(!metrics.scrape().contains("\"t\""), "{}", metrics.scrape());
    }

    #[test]
    fn a_request_counts_as_waiting_until_it_is_answered_or_dropped() {
        let metrics = Metrics::new();
        let produce = metrics.api(ApiKey::Produce);
        let (first, second) = (produce.wait(), produce.wait());
        assert_eq!((produce.waiting.get(), metrics.api(ApiKey::Fetch).waiting.get()), (2, 0));
        drop((first, second));
        assert_eq!(produce.waiting.get(), 0);
    }
}

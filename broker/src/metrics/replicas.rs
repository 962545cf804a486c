//! The replicas on this broker.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use super::register::{LATENCY_BUCKETS, counter, gauge, register};

/// The replicas on this broker.
pub struct ReplicaMetrics {
    /// Replicas on this broker.
    pub all: IntGauge,
    /// Replicas that this broker leads.
    pub leaders: IntGauge,
    /// Replicas that can't be served: their disk or their files failed.
    pub offline: IntGauge,
    /// Quarantined folders: replicas for another topic of the same name, segments that a crash has cut off. They go
    /// after a day.
    pub stray: IntGauge,
    /// Partitions led here whose in-sync replicas are fewer than their replicas.
    pub under_replicated: IntGauge,
    /// Partitions led here whose in-sync replicas are fewer than `min.insync.replicas`.
    pub under_min_isr: IntGauge,
    /// Times that an ISR of a partition led here has shrunk.
    pub isr_shrinks: IntCounter,
    /// Times that an ISR of a partition led here has grown.
    pub isr_expands: IntCounter,
    /// Seconds that an fsync took.
    pub flush_seconds: Histogram,
    /// Rounds of compaction.
    pub compactions: IntCounter,
    /// Bytes that compaction has taken out of logs.
    pub compaction_removed_bytes: IntCounter,
}

impl ReplicaMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> ReplicaMetrics {
        ReplicaMetrics {
            all: gauge(registry, "ottla_replicas", "Replicas on this broker"),
            leaders: gauge(registry, "ottla_leaders", "Replicas that this broker leads"),
            offline: gauge(registry, "ottla_offline_replicas", "Replicas on this broker that can't be served"),
            stray: gauge(
                registry,
                "ottla_stray_replicas",
                "Quarantined folders: replicas of another topic of the same name, segments behind a gap after a crash",
            ),
            under_replicated: gauge(
                registry,
                "ottla_under_replicated_partitions",
                "Partitions led here with fewer in-sync replicas than replicas",
            ),
            under_min_isr: gauge(
                registry,
                "ottla_under_min_isr_partitions",
                "Partitions led here with fewer in-sync replicas than min.insync.replicas",
            ),
            isr_shrinks: counter(
                registry,
                "ottla_isr_shrinks_total",
                "Times that an ISR of a partition led here has shrunk",
            ),
            isr_expands: counter(
                registry,
                "ottla_isr_expands_total",
                "Times that an ISR of a partition led here has grown",
            ),
            flush_seconds: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new("ottla_flush_duration_seconds", "How long an fsync took")
                        .buckets(LATENCY_BUCKETS.to_vec()),
                ),
            ),
            compactions: counter(registry, "ottla_compactions_total", "Logs compacted"),
            compaction_removed_bytes: counter(
                registry,
                "ottla_compaction_removed_bytes_total",
                "Bytes that compaction has removed from logs",
            ),
        }
    }
}

//! The cluster as this broker sees it, and its connection to the API server.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, Opts, Registry};

use super::register::{counters, gauge, register};

/// The cluster as this broker sees it, and its connection to the API server.
pub struct ClusterMetrics {
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
    /// Writes to the Kubernetes API, by kind and verb.
    pub kubernetes_writes: IntCounterVec,
    /// Seconds since this broker's Lease was renewed.
    pub lease_age: GaugeVec,
    /// Seconds since the control plane last showed a sign of life.
    pub control_plane_staleness: GaugeVec,
}

impl ClusterMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> ClusterMetrics {
        ClusterMetrics {
            offline_partitions: gauge(
                registry,
                "ottla_offline_partitions",
                "Partitions of the cluster without a leader, as this broker sees it",
            ),
            recovering_partitions: gauge(
                registry,
                "ottla_recovering_partitions",
                "Partitions without a leader of which a broker has reported its log, as this broker sees it",
            ),
            newer_than_shown: gauge(
                registry,
                "ottla_assignments_newer_than_shown",
                "Partitions of which this broker knows a newer assignment than the API server, which was set back, \
                shows",
            ),
            forked_partitions: gauge(
                registry,
                "ottla_forked_partitions",
                "Partitions of which the API server, restored from a backup, shows another history than this broker \
                acts on",
            ),
            brokers_down: gauge(
                registry,
                "ottla_brokers_down",
                "Brokers of the cluster that are not alive, as this broker sees it",
            ),
            kubernetes_writes: counters(
                registry,
                "ottla_kubernetes_writes_total",
                "Writes to the Kubernetes API",
                &["kind", "verb"],
            ),
            lease_age: register(
                registry,
                GaugeVec::new(Opts::new("ottla_lease_age_seconds", "Time since this broker's Lease was renewed"), &[]),
            ),
            control_plane_staleness: register(
                registry,
                GaugeVec::new(
                    Opts::new("ottla_control_plane_staleness_seconds", "Time since the API server last answered"),
                    &[],
                ),
            ),
        }
    }
}

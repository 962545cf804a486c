//! What this broker coordinates.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::register::{gauge, gauges};

/// What this broker coordinates.
pub struct CoordinatorMetrics {
    /// Groups that this broker coordinates, by type and state.
    pub groups: IntGaugeVec,
    /// Records that a group has not committed yet, by group, topic and partition; for partitions led here.
    pub group_lag: IntGaugeVec,
    /// Transactional ids that this broker coordinates, by state.
    pub transactional_ids: IntGaugeVec,
    /// Markers of transactions that wait for the leaders of their partitions.
    pub markers_waiting: IntGauge,
    /// Share partitions whose state this broker keeps.
    pub share_states: IntGauge,
}

impl CoordinatorMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> CoordinatorMetrics {
        CoordinatorMetrics {
            groups: gauges(registry, "ottla_groups", "Groups that this broker coordinates", &["type", "state"]),
            group_lag: gauges(
                registry,
                "ottla_group_lag_records",
                "Records that a group has not committed yet",
                &["group", "topic", "partition"],
            ),
            transactional_ids: gauges(
                registry,
                "ottla_transactional_ids",
                "Transactional ids that this broker coordinates",
                &["state"],
            ),
            markers_waiting: gauge(
                registry,
                "ottla_transaction_markers_waiting",
                "Markers of ended transactions that wait for the leaders of their partitions",
            ),
            share_states: gauge(registry, "ottla_share_states", "Share partitions whose state this broker keeps"),
        }
    }
}

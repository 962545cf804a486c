//! What share groups fetch from this broker.

use prometheus::{IntGauge, Registry};

use super::register::gauge;

/// What share groups fetch from this broker.
pub struct ShareMetrics {
    /// Share sessions of this broker.
    pub sessions: IntGauge,
    /// Share partitions that this broker leads.
    pub partitions: IntGauge,
    /// Records in flight in share partitions that this broker leads.
    pub in_flight: IntGauge,
}

impl ShareMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> ShareMetrics {
        ShareMetrics {
            sessions: gauge(registry, "ottla_share_sessions", "Members of share groups that fetch from this broker"),
            partitions: gauge(registry, "ottla_share_partitions", "Share partitions that this broker leads"),
            in_flight: gauge(
                registry,
                "ottla_share_in_flight_records",
                "Records from the first that a share group is not done with to the last that it has got",
            ),
        }
    }
}

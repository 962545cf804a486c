//! The metrics of the leader's side of share groups, computed at a scrape.

use super::Shares;
use crate::metrics::ShareMetrics;

impl Shares {
    /// Sets the gauges of share sessions, share partitions and records in flight.
    pub(super) fn measure(&self, metrics: &ShareMetrics) {
        let sessions = self.sessions.lock().count();
        let all = self.all();
        metrics.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        metrics.partitions.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        metrics.in_flight.set(all.iter().map(|shared| shared.in_flight()).sum());
    }
}

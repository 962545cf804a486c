//! The metrics of the leader's side of share groups, computed at a scrape.

use super::Shares;
use crate::metrics::Metrics;

impl Shares {
    /// Sets the gauges of share sessions, share partitions and records in flight.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let sessions = self.sessions.lock().count();
        let all = self.all();
        metrics.share_sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        metrics.share_partitions.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        metrics.share_in_flight.set(all.iter().map(|shared| shared.in_flight()).sum());
    }
}

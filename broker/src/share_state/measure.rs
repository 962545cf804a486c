//! The metrics of share coordinators, computed at a scrape.

use super::ShareStates;
use crate::metrics::CoordinatorMetrics;

impl ShareStates {
    /// Sets the gauge of states.
    pub(super) fn measure(&self, metrics: &CoordinatorMetrics) {
        let mut all = 0;
        for coordinator in self.coordinators.all() {
            // Those that are being loaded count when they are.
            let _ = coordinator.survey(|states| all += states.len());
        }
        metrics.share_states.set(i64::try_from(all).unwrap_or(i64::MAX));
    }
}

//! The metrics of transactions, computed at a scrape.

use ottla_txn::{ListFilter, TransactionState};

use super::Transactions;
use crate::env;
use crate::metrics::CoordinatorMetrics;

impl Transactions {
    /// Sets the gauges of transactions.
    pub(super) fn measure(&self, metrics: &CoordinatorMetrics) {
        let mut by_state = TransactionState::ALL.map(|state| (state, 0));
        // While some are being loaded the gauges stay as they are.
        let Ok(all) = self.list(ListFilter::default(), env::wall_clock_ms()) else { return };
        for listed in all {
            by_state.iter_mut().filter(|(state, _)| *state == listed.state).for_each(|(_, count)| *count += 1);
        }
        for (state, count) in by_state {
            metrics.transactional_ids.with_label_values(&[state.name()]).set(count);
        }
        metrics.markers_waiting.set(i64::try_from(self.markers.waiting()).unwrap_or(i64::MAX));
    }
}

//! How few records are delivered at once that were delivered often: a record that breaks its consumers must not take
//! its neighbours to the limit of deliveries with it.

use super::batch::Run;
use crate::config::Config;
use crate::ids::Offset;

/// What limits the records that are taken of one batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// Most records, if the batch may be cut.
    pub(super) most: Option<i64>,
    /// Records that the batch had at first.
    pub(super) batch_records: i64,
}

/// Whether these are available records that were delivered often.
pub(super) fn is_throttled(config: &Config, run: &Run) -> bool {
    run.slot.is_available() && run.slot.delivery_count >= config.throttled_from()
}

/// Which of a batch's records a member gets, in order, first to last. From half of the limit of deliveries on it gets a
/// half of the batch, a quarter, and so on, by the first such record; and the last delivery is alone (KIP-932, Kafka's
/// `acquireSubsetBatchRecords`).
pub(super) fn choose(config: &Config, limits: BatchLimits, runs: impl Iterator<Item = Run>) -> Vec<(Offset, Offset)> {
    let alone_from = (config.delivery_count_limit > 2).then_some(config.delivery_count_limit - 1);
    let mut most = limits.most.unwrap_or(i64::MAX);
    let mut throttled = false;
    let mut chosen = Vec::new();
    let mut count = 0;
    for run in runs.filter(|run| run.slot.is_available()) {
        let delivered = run.slot.delivery_count;
        if delivered >= config.throttled_from() && !throttled {
            throttled = true;
            let halved = u32::from((delivered - config.throttled_from() + 1).unsigned_abs()).min(63);
            most = most.min((limits.batch_records >> halved).max(1));
        }
        if alone_from.is_some_and(|alone| delivered >= alone) {
            // Alone: nothing before it, nothing after it.
            if count == 0 {
                chosen.push((run.first, run.first));
            }
            break;
        }
        let records = run.records().min(most - count);
        if records <= 0 {
            break;
        }
        chosen.push((run.first, run.first + records - 1));
        count += records;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::batch::{Slot, SlotState};

    /// Runs of ten records each, delivered so often.
    fn chosen(delivery_count_limit: i16, most: Option<i64>, delivered: &[i16]) -> Vec<(Offset, Offset)> {
        let config = Config { delivery_count_limit, ..Config::default() };
        let limits = BatchLimits { most, batch_records: 10 * delivered.len() as i64 };
        let runs = delivered.iter().zip(0..).map(|(&delivery_count, index)| Run {
            first: index * 10,
            last: index * 10 + 9,
            slot: Slot { state: SlotState::Available, delivery_count },
        });
        choose(&config, limits, runs)
    }

    #[test]
    fn records_that_were_delivered_often_come_in_smaller_and_smaller_parts() {
        type Case<'a> = (i16, Option<i64>, &'a [i16], &'a [(Offset, Offset)]);
        let cases: [Case<'_>; 11] = [
            (10, None, &[4, 4], &[(0, 9), (10, 19)]),
            (10, None, &[5, 5], &[(0, 9)]),
            (10, None, &[6, 6], &[(0, 4)]),
            (10, None, &[7, 7], &[(0, 1)]),
            (10, None, &[8, 8], &[(0, 0)]),
            (10, None, &[9, 9], &[(0, 0)]),
            // What was delivered less comes along; the last delivery is alone, whatever comes first.
            (10, None, &[1, 5], &[(0, 9)]),
            (10, None, &[1, 9], &[(0, 9)]),
            // A limit of two leaves no room for any of this.
            (2, None, &[1, 1], &[(0, 9), (10, 19)]),
            // The request's own limit.
            (5, Some(13), &[0, 1], &[(0, 9), (10, 12)]),
            (5, Some(3), &[3, 3], &[(0, 2)]),
        ];
        for (limit, most, delivered, expected) in cases {
            assert_eq!(chosen(limit, most, delivered), expected, "{limit} {most:?} {delivered:?}");
        }
    }
}

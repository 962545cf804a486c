//! Whether it is time to compact a log, as Kafka's `LogCleanerManager` decides.

use crate::config::CompactionConfig;

/// What the decision to compact wants to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub end_offset: i64,
    pub size: u64,
    /// Its largest timestamp.
    pub largest: i64,
    /// Its first batch's timestamp.
    pub first: i64,
}

/// How many of the segments may be compacted, and the share of their bytes that is dirty if it is time to.
pub(super) fn decide(
    oldest_first: &[SegmentFacts],
    rules: &CompactionConfig,
    first_dirty: i64,
    now_ms: i64,
) -> (usize, Option<f64>) {
    let is_dirty = |segment: &&SegmentFacts| segment.end_offset > first_dirty;
    let too_young = |segment: &SegmentFacts| {
        rules.min_lag_ms > 0 && is_dirty(&segment) && segment.largest > now_ms.saturating_sub(rules.min_lag_ms)
    };
    let count = oldest_first.iter().position(too_young).unwrap_or(oldest_first.len());
    let cleanable = &oldest_first[..count];
    let dirty: u64 = cleanable.iter().filter(is_dirty).map(|segment| segment.size).sum();
    let total: u64 = cleanable.iter().map(|segment| segment.size).sum();
    let too_old = |segment: &SegmentFacts| {
        rules.max_lag_ms.is_some_and(|lag| (1..now_ms.saturating_sub(lag)).contains(&segment.first))
    };
    let ratio = dirty as f64 / total.max(1) as f64;
    let is_due = dirty > 0 && (ratio > rules.min_dirty_ratio || cleanable.iter().filter(is_dirty).any(too_old));
    (count, is_due.then_some(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_compacted_for_its_dirty_share_or_its_age() {
        let facts = |end_offset, first| SegmentFacts { end_offset, size: 100, largest: first + 9, first };
        let segments = [facts(10, 1_000), facts(20, 2_000), facts(30, 3_000), facts(40, 4_000)];
        let ratio = |min_dirty_ratio| CompactionConfig { min_dirty_ratio, ..CompactionConfig::default() };
        let max_lag = |lag| CompactionConfig { max_lag_ms: Some(lag), ..ratio(1.0) };
        let min_lag = |lag| CompactionConfig { min_lag_ms: lag, ..ratio(0.5) };
        for (name, rules, first_dirty, expected) in [
            ("all is dirty", ratio(0.5), 0, (4, Some(1.0))),
            ("more than the share is dirty", ratio(0.49), 20, (4, Some(0.5))),
            ("just the share is dirty", ratio(0.5), 20, (4, None)),
            ("a segment that is dirty in part is dirty", ratio(0.5), 19, (4, Some(0.75))),
            ("nothing is dirty", ratio(0.0), 40, (4, None)),
            ("not old enough", max_lag(3_000), 10, (4, None)),
            ("old enough", max_lag(2_999), 10, (4, Some(0.75))),
            ("only what is dirty ages", max_lag(2_999), 20, (4, None)),
            ("the last two are too young", min_lag(1_992), 0, (2, Some(1.0))),
            ("young, but seen before", min_lag(1_992), 30, (3, None)),
            ("all are too young", min_lag(10_000), 0, (0, None)),
        ] {
            assert_eq!(decide(&segments, &rules, first_dirty, 5_000), expected, "{name}");
        }
    }
}

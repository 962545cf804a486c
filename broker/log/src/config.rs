//! The settings of a topic that its logs obey, as Kafka names them.

/// Settings of one log. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `retention.ms`; none keeps records for ever
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; none keeps any amount
    pub retention_bytes: Option<u64>,
    /// `producer.id.expiration.ms` of the broker
    pub producer_expiration_ms: i64,
    /// `compact` in `cleanup.policy`; none: the log is not compacted
    pub compaction: Option<CompactionConfig>,
}

/// Settings of a log that is compacted. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionConfig {
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`; none waits for the ratio
    pub max_lag_ms: Option<i64>,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
}

const HOUR_MS: i64 = 3_600_000;

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * HOUR_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * HOUR_MS),
            retention_bytes: None,
            producer_expiration_ms: 24 * HOUR_MS,
            compaction: None,
        }
    }
}

impl Default for CompactionConfig {
    fn default() -> CompactionConfig {
        CompactionConfig { min_dirty_ratio: 0.5, min_lag_ms: 0, max_lag_ms: None, delete_retention_ms: 24 * HOUR_MS }
    }
}

impl LogConfig {
    /// How long a segment may grow. The jitter keeps logs that were created together from rolling together; the
    /// segment's base offset and creation time spread well enough and need no randomness.
    pub(crate) fn segment_ms_with_jitter(&self, base_offset: i64, created_ms: i64) -> i64 {
        let range = self.segment_jitter_ms.min(self.segment_ms);
        if range <= 0 {
            return self.segment_ms;
        }
        // Knuth's multiplicative hash.
        let hash = (base_offset ^ created_ms.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
        self.segment_ms - (hash as u64 >> 16) as i64 % range
    }
}

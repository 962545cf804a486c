//! What a topic's settings mean for its logs and for what is appended to them.

use ottla_batch::{Codec, ProduceRules};
use ottla_config::{Compression, TopicSettings};
use ottla_log::{CompactionConfig, LogConfig};

/// What the records of a compressed batch may take, where a rule makes us look: as much as those of any batch, whose
/// length is an i32. They pass in pieces, so this bounds the time that they take a reactor, not memory.
const MAX_DECOMPRESSED: usize = i32::MAX as usize;
/// The same in a compacted topic: as much as compaction holds at a time.
const MAX_COMPACTED: usize = 256 << 20;

/// What a log obeys, of a topic's settings.
pub(super) fn log_config(settings: &TopicSettings) -> LogConfig {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let compacts_within = settings.max_compaction_lag.filter(|_| settings.cleanup_policy.compact);
    LogConfig {
        segment_bytes: settings.segment_bytes,
        // Only what is sealed is compacted.
        segment_ms: millis(compacts_within.map_or(settings.segment_age, |lag| lag.min(settings.segment_age))),
        segment_jitter_ms: millis(settings.segment_jitter),
        producer_expiration_ms: millis(settings.producer_id_expiration),
        segment_index_bytes: settings.segment_index_bytes,
        index_interval_bytes: settings.index_interval_bytes,
        retention_ms: settings.retention.filter(|_| settings.cleanup_policy.delete).map(millis),
        retention_bytes: settings.retention_bytes.filter(|_| settings.cleanup_policy.delete),
        compaction: settings.cleanup_policy.compact.then(|| CompactionConfig {
            min_dirty_ratio: settings.min_cleanable_dirty_ratio,
            min_lag_ms: millis(settings.min_compaction_lag),
            max_lag_ms: settings.max_compaction_lag.map(millis),
            delete_retention_ms: millis(settings.delete_retention),
        }),
    }
}

/// What a batch must obey, of a topic's settings.
pub(super) fn produce_rules(settings: &TopicSettings) -> ProduceRules {
    let millis = |bound: Option<std::time::Duration>| {
        bound.and_then(|bound| i64::try_from(bound.as_millis()).ok()).unwrap_or(i64::MAX)
    };
    ProduceRules {
        max_message_bytes: settings.max_message_bytes as usize,
        timestamp_type: match settings.message_timestamp_type {
            ottla_config::TimestampType::CreateTime => ottla_batch::TimestampType::CreateTime,
            ottla_config::TimestampType::LogAppendTime => ottla_batch::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: millis(settings.message_timestamp_before_max),
        timestamp_after_max_ms: millis(settings.message_timestamp_after_max),
        compacted: settings.cleanup_policy.compact,
        codec: match settings.compression {
            Compression::Producer => None,
            Compression::Uncompressed => Some(Codec::None),
            Compression::Gzip(level) => Some(Codec::Gzip { level }),
            Compression::Snappy => Some(Codec::Snappy),
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd(level) => Some(Codec::Zstd { level }),
        },
        strict: settings.strict_validation,
        max_decompressed_bytes: if settings.cleanup_policy.compact { MAX_COMPACTED } else { MAX_DECOMPRESSED },
    }
}

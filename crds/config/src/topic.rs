//! The settings of a topic, each with the broker settings that stand in for it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::setting::SettingType::{Boolean, Double, Int, List, Long, Text};
use crate::setting::Status::{self, Enforced, Fixed};
use crate::setting::Valid::{self, Any, Min, OneOf, Range, RangeOr, Ratio, Replicas};
use crate::setting::{Fallback, Setting, SettingType, UpdateMode};

/// The settings of a topic, by name.
pub static SETTINGS: LazyLock<BTreeMap<&'static str, Setting>> =
    LazyLock::new(|| TABLE.iter().map(|setting| (setting.name, *setting)).collect());

pub(crate) const CLEANUP_POLICIES: Valid = OneOf(&["compact", "delete"]);
pub(crate) const COMPRESSION_TYPES: Valid = OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
pub(crate) const GZIP_LEVELS: Valid = RangeOr(1, 9, -1);
pub(crate) const LZ4_LEVELS: Valid = Range(1, 17);
pub(crate) const ZSTD_LEVELS: Valid = Range(-131_072, 22);
pub(crate) const TIMESTAMP_TYPES: Valid = OneOf(&["CreateTime", "LogAppendTime"]);
pub(crate) const NEVER: &str = "9223372036854775807";

pub(crate) const TIERED: Status = Fixed("tiered storage is not supported");
pub(crate) const PREALLOCATE: Status = Fixed("log files are never preallocated");
pub(crate) const LZ4_LEVEL: Status = Fixed("the LZ4 encoder has one level, the fast one");
pub(crate) const UNCLEAN: Status = Fixed("an acknowledged record is never traded for availability");

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;

const RETENTION_MS: &[Fallback] =
    &[same("log.retention.ms"), in_unit(MINUTE, "log.retention.minutes"), in_unit(HOUR, "log.retention.hours")];
const SEGMENT_MS: &[Fallback] = &[same("log.roll.ms"), in_unit(HOUR, "log.roll.hours")];
const SEGMENT_JITTER_MS: &[Fallback] = &[same("log.roll.jitter.ms"), in_unit(HOUR, "log.roll.jitter.hours")];
const FLUSH_MS: &[Fallback] = &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];

#[rustfmt::skip]
const TABLE: &[Setting] = &[
    topic("cleanup.policy", List, "delete", CLEANUP_POLICIES, &[same("log.cleanup.policy")],
        Enforced("delete: remove segments past the retention limits; compact: keep each key's last record; or both.")),
    topic("compression.gzip.level", Int, "-1", GZIP_LEVELS, &[same("compression.gzip.level")],
        Enforced("The compression level if compression.type is gzip; -1 is the codec's own default.")),
    topic("compression.lz4.level", Int, "9", LZ4_LEVELS, &[same("compression.lz4.level")],
        LZ4_LEVEL),
    topic("compression.type", Text, "producer", COMPRESSION_TYPES, &[same("compression.type")],
        Enforced("The codec in which batches are stored; producer stores each batch as it was sent.")),
    topic("compression.zstd.level", Int, "3", ZSTD_LEVELS, &[same("compression.zstd.level")],
        Enforced("The compression level if compression.type is zstd.")),
    topic("delete.retention.ms", Long, "86400000", Min(0), &[same("log.cleaner.delete.retention.ms")],
        Enforced("How long compaction keeps a tombstone, so that a consumer that is reading from the start sees it.")),
    topic("file.delete.delay.ms", Long, "60000", Min(0), &[same("log.segment.delete.delay.ms")],
        Enforced("How long a removed segment's files stay on disk.")),
    topic("flush.messages", Long, NEVER, Min(1), &[same("log.flush.interval.messages")],
        Enforced("Records are flushed to disk after this many. Replication is the better protection.")),
    topic("flush.ms", Long, NEVER, Min(0), FLUSH_MS,
        Enforced("Records are flushed to disk after this time. Replication is the better protection.")),
    topic("follower.replication.throttled.replicas", List, "", Replicas, &[],
        Enforced("partition:broker, ... or *: the replicas whose fetches count against \
        follower.replication.throttled.rate while they are not in sync.")),
    topic("index.interval.bytes", Int, "4096", Min(0), &[same("log.index.interval.bytes")],
        Enforced("The bytes of log between two entries of the offset index.")),
    Setting { default: None, listed: false, ..topic("internal.segment.bytes", Int, "", Min(1), &[],
        Enforced("For tests: the size at which a segment rolls, instead of segment.bytes and without its lower bound.")) },
    topic("leader.replication.throttled.replicas", List, "", Replicas, &[],
        Enforced("partition:broker, ... or *: the leaders whose sends to replicas that are not in sync count against \
        leader.replication.throttled.rate.")),
    topic("local.retention.bytes", Long, "-2", Min(-2), &[same("log.local.retention.bytes")], TIERED),
    topic("local.retention.ms", Long, "-2", Min(-2), &[same("log.local.retention.ms")], TIERED),
    topic("max.compaction.lag.ms", Long, NEVER, Min(1), &[same("log.cleaner.max.compaction.lag.ms")],
        Enforced("The longest time before a record is compacted, however clean the log is.")),
    topic("max.message.bytes", Int, "1048588", Min(0), &[same("message.max.bytes")],
        Enforced("The largest batch that is accepted, after compression, with its header.")),
    topic("message.timestamp.after.max.ms", Long, "3600000", Min(0), &[same("log.message.timestamp.after.max.ms")],
        Enforced("How far a record's timestamp may lie in the future, where the producer sets it.")),
    topic("message.timestamp.before.max.ms", Long, NEVER, Min(0), &[same("log.message.timestamp.before.max.ms")],
        Enforced("How far a record's timestamp may lie in the past, where the producer sets it.")),
    topic("message.timestamp.type", Text, "CreateTime", TIMESTAMP_TYPES, &[same("log.message.timestamp.type")],
        Enforced("The timestamp of a record: the producer's (CreateTime) or the broker's (LogAppendTime).")),
    topic("min.cleanable.dirty.ratio", Double, "0.5", Ratio, &[same("log.cleaner.min.cleanable.ratio")],
        Enforced("The log is compacted when this share of it has not been compacted.")),
    topic("min.compaction.lag.ms", Long, "0", Min(0), &[same("log.cleaner.min.compaction.lag.ms")],
        Enforced("The shortest time before a record is compacted.")),
    topic("min.insync.replicas", Int, "1", Min(1), &[same("min.insync.replicas")],
        Enforced("The number of in-sync replicas that a write with acks=all needs.")),
    topic("preallocate", Boolean, "false", Any, &[same("log.preallocate")], PREALLOCATE),
    topic("remote.log.copy.disable", Boolean, "false", Any, &[], TIERED),
    topic("remote.log.delete.on.disable", Boolean, "false", Any, &[], TIERED),
    topic("remote.storage.enable", Boolean, "false", Any, &[], TIERED),
    topic("retention.bytes", Long, "-1", Any, &[same("log.retention.bytes")],
        Enforced("The size of a partition's log above which the oldest segments are deleted; negative: no limit.")),
    topic("retention.ms", Long, "604800000", Min(-1), RETENTION_MS,
        Enforced("The age of a segment's newest record after which the segment is deleted; -1: no limit.")),
    topic("segment.bytes", Int, "1073741824", Min(1_048_576), &[same("log.segment.bytes")],
        Enforced("The size of a segment at which a new one begins.")),
    topic("segment.index.bytes", Int, "10485760", Min(4), &[same("log.index.size.max.bytes")],
        Enforced("The size of a segment's index at which a new segment begins.")),
    topic("segment.jitter.ms", Long, "0", Min(0), SEGMENT_JITTER_MS,
        Enforced("The upper limit of a random time that is subtracted from segment.ms, so that partitions do not roll \
        together.")),
    topic("segment.ms", Long, "604800000", Min(1), SEGMENT_MS,
        Enforced("The age of a segment at which a new one begins.")),
    topic("unclean.leader.election.enable", Boolean, "false", Any, &[same("unclean.leader.election.enable")], UNCLEAN),
];

const fn topic(
    name: &'static str,
    kind: SettingType,
    default: &'static str,
    valid: Valid,
    fallbacks: &'static [Fallback],
    status: Status,
) -> Setting {
    let update_mode = UpdateMode::ClusterWide;
    Setting { name, kind, default: Some(default), valid, fallbacks, update_mode, listed: true, status }
}

const fn same(name: &'static str) -> Fallback {
    Fallback::same(name)
}

const fn in_unit(unit: i64, name: &'static str) -> Fallback {
    Fallback::in_unit(unit, name)
}

//! What is written, read and kept, by topic.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::register::{counters, gauges};

/// What is written, read and kept, by topic.
pub struct ByTopic {
    /// Record bytes appended by producers, by topic.
    pub bytes_in: IntCounterVec,
    /// Record bytes sent to consumers, by topic.
    pub bytes_out: IntCounterVec,
    /// Records appended by producers, by topic.
    pub messages_in: IntCounterVec,
    /// Record bytes taken from leaders, by topic.
    pub replication_in: IntCounterVec,
    /// Record bytes given to followers, by topic.
    pub replication_out: IntCounterVec,
    /// Bytes on disk, by topic and partition.
    pub log_size: IntGaugeVec,
    /// First offset, by topic and partition.
    pub log_start: IntGaugeVec,
    /// Next offset, by topic and partition.
    pub log_end: IntGaugeVec,
}

impl ByTopic {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> ByTopic {
        ByTopic {
            bytes_in: counters(registry, "ottla_topic_in_bytes_total", "Record bytes from producers", &["topic"]),
            bytes_out: counters(registry, "ottla_topic_out_bytes_total", "Record bytes to consumers", &["topic"]),
            messages_in: counters(registry, "ottla_topic_in_messages_total", "Records from producers", &["topic"]),
            replication_in: counters(
                registry,
                "ottla_topic_replication_in_bytes_total",
                "Record bytes fetched from leaders",
                &["topic"],
            ),
            replication_out: counters(
                registry,
                "ottla_topic_replication_out_bytes_total",
                "Record bytes sent to followers",
                &["topic"],
            ),
            log_size: gauges(registry, "ottla_log_size_bytes", "Bytes on disk", &["topic", "partition"]),
            log_start: gauges(registry, "ottla_log_start_offset", "First offset", &["topic", "partition"]),
            log_end: gauges(registry, "ottla_log_end_offset", "Next offset", &["topic", "partition"]),
        }
    }

    /// The counters of `topic`.
    pub fn of(&self, topic: &str) -> TopicMetrics {
        TopicMetrics {
            bytes_in: self.bytes_in.with_label_values(&[topic]),
            bytes_out: self.bytes_out.with_label_values(&[topic]),
            messages_in: self.messages_in.with_label_values(&[topic]),
            replication_in: self.replication_in.with_label_values(&[topic]),
            replication_out: self.replication_out.with_label_values(&[topic]),
        }
    }

    /// A replica is gone: so are its series, and those of its topic if no other is here.
    pub fn forget(&self, topic: &str, partition: i32, was_last: bool) {
        let labels = [topic, &partition.to_string()];
        for series in [&self.log_size, &self.log_start, &self.log_end] {
            // An error says that there was no such series yet.
            let _ = series.remove_label_values(&labels);
        }
        let counters =
            [&self.bytes_in, &self.bytes_out, &self.messages_in, &self.replication_in, &self.replication_out];
        for series in counters.into_iter().filter(|_| was_last) {
            let _ = series.remove_label_values(&[topic]);
        }
    }
}

/// Handles of one topic's counters, looked up once.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// Record bytes from producers.
    pub bytes_in: IntCounter,
    /// Record bytes to consumers.
    pub bytes_out: IntCounter,
    /// Records from producers.
    pub messages_in: IntCounter,
    /// Record bytes from the leader.
    pub replication_in: IntCounter,
    /// Record bytes to followers.
    pub replication_out: IntCounter,
}

//! The settings of a group coordinator.

use std::collections::BTreeMap;
use std::time::Duration;

/// The broker's settings, under Kafka's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Duration,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.max.size`
    pub consumer_max_size: usize,
    /// `group.consumer.assignment.interval.ms` (KIP-1263)
    pub consumer_assignment_interval: Duration,
    /// `group.consumer.migration.policy`
    pub consumer_migration: Migration,
    /// `group.consumer.regex.refresh.interval.ms`
    pub consumer_pattern_refresh: Duration,
    /// `group.streams.session.timeout.ms`
    pub streams_session_timeout: Duration,
    /// `group.streams.heartbeat.interval.ms`
    pub streams_heartbeat_interval: Duration,
    /// `group.streams.max.size`
    pub streams_max_size: usize,
    /// `group.streams.num.standby.replicas`
    pub streams_standby_replicas: usize,
    /// `group.streams.initial.rebalance.delay.ms`
    pub streams_initial_delay: Duration,
    /// `group.streams.assignment.interval.ms` (KIP-1263)
    pub streams_assignment_interval: Duration,
    /// Bytes that the log accepts in one batch: the lower of the topic's `max.message.bytes` and `segment.bytes`. See
    /// [`Shard::set_max_batch`](crate::Shard::set_max_batch).
    pub max_batch: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_size: i32::MAX as usize,
            offset_metadata_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_max_size: i32::MAX as usize,
            consumer_assignment_interval: Duration::from_secs(1),
            consumer_migration: Migration::Bidirectional,
            consumer_pattern_refresh: Duration::from_secs(10 * 60),
            streams_session_timeout: Duration::from_secs(45),
            streams_heartbeat_interval: Duration::from_secs(5),
            streams_max_size: i32::MAX as usize,
            streams_standby_replicas: 0,
            streams_initial_delay: Duration::from_secs(3),
            streams_assignment_interval: Duration::from_secs(1),
            max_batch: 1_048_588,
        }
    }
}

impl Config {
    /// What an assignment of a streams group depends on besides its members and topics, by Kafka's names.
    pub(crate) fn streams_assignment_configs(&self) -> BTreeMap<String, String> {
        [("num.standby.replicas".to_owned(), self.streams_standby_replicas.to_string())].into()
    }
}

/// Which way groups with members may change their protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migration {
    /// To the consumer protocol and back.
    Bidirectional,
    /// To the consumer protocol.
    Upgrade,
    /// Back to the classic protocol.
    Downgrade,
    /// Not at all.
    Disabled,
}

impl Migration {
    pub(crate) fn may_upgrade(self) -> bool {
        matches!(self, Migration::Bidirectional | Migration::Upgrade)
    }

    pub(crate) fn may_downgrade(self) -> bool {
        matches!(self, Migration::Bidirectional | Migration::Downgrade)
    }

    /// Whether members of both protocols may be in one group.
    pub(crate) fn is_possible(self) -> bool {
        self != Migration::Disabled
    }
}

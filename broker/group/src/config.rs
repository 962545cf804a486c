//! The settings of a group coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::GroupId;

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
    /// Of streams groups without settings of their own.
    pub streams: StreamsConfig,
    /// `group.streams.max.size`
    pub streams_max_size: usize,
    /// The streams groups with settings of their own.
    pub streams_groups: Arc<BTreeMap<GroupId, StreamsConfig>>,
    /// Of share groups without settings of their own.
    pub share: ShareConfig,
    /// `group.share.max.size`
    pub share_max_size: usize,
    /// The share groups with settings of their own.
    pub share_groups: Arc<BTreeMap<GroupId, ShareConfig>>,
    /// The groups with settings of their own.
    pub groups: Arc<BTreeMap<GroupId, GroupConfig>>,
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
            streams: StreamsConfig::default(),
            streams_max_size: i32::MAX as usize,
            streams_groups: Arc::default(),
            share: ShareConfig::default(),
            share_max_size: 200,
            share_groups: Arc::default(),
            groups: Arc::default(),
            max_batch: 1_048_588,
        }
    }
}

/// The settings of one group, its own or the broker's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `consumer.session.timeout.ms`
    pub consumer_session_timeout: Duration,
    /// `consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval: Duration,
    /// `consumer.assignment.interval.ms` (KIP-1263)
    pub consumer_assignment_interval: Duration,
}

impl Config {
    pub(crate) fn of_group(&self, group: &GroupId) -> GroupConfig {
        self.groups.get(group).copied().unwrap_or(GroupConfig {
            consumer_session_timeout: self.consumer_session_timeout,
            consumer_heartbeat_interval: self.consumer_heartbeat_interval,
            consumer_assignment_interval: self.consumer_assignment_interval,
        })
    }
}

/// The settings of one streams group, its own (`streams.*`) or the broker's (`group.streams.*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamsConfig {
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `num.standby.replicas`
    pub standby_replicas: usize,
    /// `initial.rebalance.delay.ms`
    pub initial_delay: Duration,
    /// `assignment.interval.ms` (KIP-1263)
    pub assignment_interval: Duration,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        StreamsConfig {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            standby_replicas: 0,
            initial_delay: Duration::from_secs(3),
            assignment_interval: Duration::from_secs(1),
        }
    }
}

impl Config {
    pub(crate) fn of_streams_group(&self, group: &GroupId) -> StreamsConfig {
        self.streams_groups.get(group).copied().unwrap_or(self.streams)
    }
}

impl StreamsConfig {
    /// What an assignment depends on besides members and topics, by Kafka's names.
    pub(crate) fn assignment_configs(&self) -> BTreeMap<String, String> {
        [("num.standby.replicas".to_owned(), self.standby_replicas.to_string())].into()
    }
}

/// The settings of one share group, its own (`share.*`) or the broker's (`group.share.*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareConfig {
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `assignment.interval.ms` (KIP-1263)
    pub assignment_interval: Duration,
}

impl Default for ShareConfig {
    fn default() -> Self {
        ShareConfig {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            assignment_interval: Duration::from_secs(1),
        }
    }
}

impl Config {
    pub(crate) fn of_share_group(&self, group: &GroupId) -> ShareConfig {
        self.share_groups.get(group).copied().unwrap_or(self.share)
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

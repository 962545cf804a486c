//! The settings in force, typed, for the code that obeys them.
//!
//! A limit that is not set is `None`, whichever number Kafka has for it (-1, or the largest there is).

use std::time::Duration;

use crate::Config;
use crate::layers::{Given, in_force};
use crate::setting::{Entity, Value};
use crate::throttle::ThrottledReplicas;

/// All settings of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// What becomes of old records.
    pub cleanup_policy: CleanupPolicy,
    /// The codec that batches are stored in.
    pub compression: Compression,
    /// How long compaction keeps tombstones.
    pub delete_retention: Duration,
    /// How long the files of removed segments stay.
    pub file_delete_delay: Duration,
    /// Flush after this many records.
    pub flush_messages: Option<u64>,
    /// Flush after this time.
    pub flush_interval: Option<Duration>,
    /// Replicas that copy slowly while they are not in sync.
    pub follower_throttled: ThrottledReplicas,
    /// Bytes between index entries.
    pub index_interval_bytes: u32,
    /// Replicas that send slowly to those that are not in sync.
    pub leader_throttled: ThrottledReplicas,
    /// Compact a record after this time at the latest.
    pub max_compaction_lag: Option<Duration>,
    /// The largest batch, with its header.
    pub max_message_bytes: u32,
    /// How far timestamps may lie in the future.
    pub message_timestamp_after_max: Option<Duration>,
    /// How far timestamps may lie in the past.
    pub message_timestamp_before_max: Option<Duration>,
    /// Whose time records bear.
    pub message_timestamp_type: TimestampType,
    /// The share of uncompacted bytes that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
    /// Compact no record before this time.
    pub min_compaction_lag: Duration,
    /// Replicas that must be in sync for acks=all.
    pub min_insync_replicas: usize,
    /// Size that retention leaves, per partition.
    pub retention_bytes: Option<u64>,
    /// Age that retention leaves.
    pub retention: Option<Duration>,
    /// Size at which a segment rolls.
    pub segment_bytes: u32,
    /// Size of an index at which a segment rolls.
    pub segment_index_bytes: u32,
    /// Upper bound of the random time that is taken off `segment_age`.
    pub segment_jitter: Duration,
    /// Age at which a segment rolls (`segment.ms`).
    pub segment_age: Duration,
    /// The brokers' `producer.id.expiration.ms`: how long a quiet idempotent producer is remembered.
    pub producer_id_expiration: Duration,
    /// The brokers' `ottla.produce.strict.validation`: whether compressed batches are read record by record.
    pub strict_validation: bool,
}

/// What becomes of old records. Neither: they stay for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Remove segments past the retention limits.
    pub delete: bool,
    /// Keep the last record of every key.
    pub compact: bool,
}

/// The codec that batches are stored in, with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Whichever the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// Level 1 to 9; -1 is the codec's default.
    Gzip(i32),
    /// It has no levels.
    Snappy,
    /// Its encoder has one level.
    Lz4,
    /// Level -131072 to 22.
    Zstd(i32),
}

/// Whose time records bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// The settings of brokers that are not defaults for topics. Those are kept as given, for
/// [`TopicSettings::resolve`].
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// Whether clients' first questions create topics.
    pub auto_create_topics_enable: bool,
    /// When a silent connection is closed.
    pub connections_max_idle: Option<Duration>,
    /// Replicas of a topic whose creator does not say.
    pub default_replication_factor: i16,
    /// The most that one fetch is answered with.
    pub fetch_max_bytes: usize,
    /// Bytes that throttled replicas here fetch in a second while they are not in sync; `None`: no limit.
    pub follower_throttled_rate: Option<u64>,
    /// How long an empty group's first rebalance waits.
    pub group_initial_rebalance_delay: Duration,
    /// The longest session of a group's member.
    pub group_max_session_timeout: Duration,
    /// The most members of a group.
    pub group_max_size: usize,
    /// The shortest session of a group's member.
    pub group_min_session_timeout: Duration,
    /// How long a broker must have been there until leaders return to it; `None`: they don't.
    pub leader_return_after: Option<Duration>,
    /// Bytes that throttled replicas here send in a second to those that are not in sync; `None`: no limit.
    pub leader_throttled_rate: Option<u64>,
    /// How often to look for records to flush.
    pub log_flush_scheduler_interval: Option<Duration>,
    /// How often to look for segments that retention removes.
    pub log_retention_check_interval: Duration,
    /// Fetch sessions at once.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// Partitions of a topic whose creator does not say.
    pub num_partitions: i32,
    /// Connections to each leader that is followed.
    pub num_replica_fetchers: usize,
    /// The longest text kept with a committed offset.
    pub offset_metadata_max_bytes: usize,
    /// How long whoever changes a group waits for its records to be replicated.
    pub offsets_commit_timeout: Duration,
    /// How long offsets outlive their group.
    pub offsets_retention: Duration,
    /// Partitions of `__consumer_offsets`.
    pub offsets_topic_num_partitions: i32,
    /// Replicas of `__consumer_offsets`; `None` where nobody has set it: as many as the cluster has brokers, at most
    /// three.
    pub offsets_topic_replication_factor: Option<i16>,
    /// Segment size of `__consumer_offsets`.
    pub offsets_topic_segment_bytes: u32,
    /// The most bytes of requests read and not yet answered.
    pub queued_max_request_bytes: Option<u64>,
    /// How long a follower waits after a fetch that failed.
    pub replica_fetch_backoff: Duration,
    /// The most that a follower fetches of one partition at a time.
    pub replica_fetch_max_bytes: i32,
    /// How much a follower's fetch waits for.
    pub replica_fetch_min_bytes: i32,
    /// The most that a follower fetches at a time.
    pub replica_fetch_response_max_bytes: i32,
    /// How long a follower's fetch waits at most.
    pub replica_fetch_wait_max: Duration,
    /// How long a follower may go without having caught up and count as in sync.
    pub replica_lag_time_max: Duration,
    /// Whether consumers are sent to the in-sync replica in their rack (KIP-392).
    pub replica_selector_by_rack: bool,
    /// The topic of share groups' state.
    pub share_group_state: StateTopic,
    /// The largest request.
    pub socket_request_max_bytes: usize,
    /// The topic of transactions' state.
    pub transaction_state: StateTopic,
    /// What was given.
    pub(crate) given: Given,
}

/// The shape of a topic in which brokers keep state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTopic {
    /// Its partitions.
    pub num_partitions: i32,
    /// Its replicas; `None` where nobody has set it: as many as the cluster has brokers, at most three.
    pub replication_factor: Option<i16>,
    /// Replicas that must be in sync; `None` where nobody has set it: two, where there are two.
    pub min_in_sync: Option<i16>,
    /// Its segment size.
    pub segment_bytes: u32,
}

impl TopicSettings {
    /// The settings of a topic with these overrides, on brokers with these settings.
    pub fn resolve(overrides: &Config, broker: &BrokerSettings) -> TopicSettings {
        let get = Getter { entity: Entity::Topic, overrides: Some(overrides), broker: &broker.given };
        let of_brokers = Getter { entity: Entity::Broker, overrides: None, broker: &broker.given };
        let cleanup = get.list("cleanup.policy");
        TopicSettings {
            cleanup_policy: CleanupPolicy {
                delete: cleanup.iter().any(|policy| policy == "delete"),
                compact: cleanup.iter().any(|policy| policy == "compact"),
            },
            compression: match get.text("compression.type").as_str() {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip(get.number("compression.gzip.level")),
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4,
                "zstd" => Compression::Zstd(get.number("compression.zstd.level")),
                _ => Compression::Producer,
            },
            delete_retention: get.millis("delete.retention.ms"),
            file_delete_delay: get.millis("file.delete.delay.ms"),
            flush_messages: get.limit("flush.messages"),
            flush_interval: get.time_limit("flush.ms"),
            follower_throttled: get.replicas("follower.replication.throttled.replicas"),
            index_interval_bytes: get.number("index.interval.bytes"),
            leader_throttled: get.replicas("leader.replication.throttled.replicas"),
            max_compaction_lag: get.time_limit("max.compaction.lag.ms"),
            max_message_bytes: get.number("max.message.bytes"),
            message_timestamp_after_max: get.time_limit("message.timestamp.after.max.ms"),
            message_timestamp_before_max: get.time_limit("message.timestamp.before.max.ms"),
            message_timestamp_type: match get.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: get.ratio("min.cleanable.dirty.ratio"),
            min_compaction_lag: get.millis("min.compaction.lag.ms"),
            min_insync_replicas: get.number("min.insync.replicas"),
            retention_bytes: get.limit("retention.bytes"),
            retention: get.time_limit("retention.ms"),
            segment_bytes: match get.is_set("internal.segment.bytes") {
                true => get.number("internal.segment.bytes"),
                false => get.number("segment.bytes"),
            },
            segment_index_bytes: get.number("segment.index.bytes"),
            segment_jitter: get.millis("segment.jitter.ms"),
            segment_age: get.millis("segment.ms"),
            producer_id_expiration: of_brokers.millis("producer.id.expiration.ms"),
            strict_validation: of_brokers.flag("ottla.produce.strict.validation"),
        }
    }
}

impl BrokerSettings {
    /// The settings of brokers in a cluster with this `config`.
    pub fn resolve(config: &Config) -> BrokerSettings {
        BrokerSettings::resolve_one(config, &Config::new())
    }

    /// The settings of a broker with settings of its `own` in a cluster with this `config`.
    pub fn resolve_one(config: &Config, own: &Config) -> BrokerSettings {
        let given = Given { cluster: config.clone(), own: own.clone() };
        let get = Getter { entity: Entity::Broker, overrides: None, broker: &given };
        BrokerSettings {
            auto_create_topics_enable: get.flag("auto.create.topics.enable"),
            connections_max_idle: get.time_limit("connections.max.idle.ms"),
            default_replication_factor: get.number("default.replication.factor"),
            fetch_max_bytes: get.number("fetch.max.bytes"),
            follower_throttled_rate: get.limit("follower.replication.throttled.rate"),
            group_initial_rebalance_delay: get.millis("group.initial.rebalance.delay.ms"),
            group_max_session_timeout: get.millis("group.max.session.timeout.ms"),
            group_max_size: get.number("group.max.size"),
            group_min_session_timeout: get.millis("group.min.session.timeout.ms"),
            leader_return_after: get
                .flag("auto.leader.rebalance.enable")
                .then(|| Duration::from_secs(get.number("leader.imbalance.check.interval.seconds"))),
            leader_throttled_rate: get.limit("leader.replication.throttled.rate"),
            log_flush_scheduler_interval: get.time_limit("log.flush.scheduler.interval.ms"),
            log_retention_check_interval: get.millis("log.retention.check.interval.ms"),
            max_incremental_fetch_session_cache_slots: get.number("max.incremental.fetch.session.cache.slots"),
            num_partitions: get.number("num.partitions"),
            num_replica_fetchers: get.number("num.replica.fetchers"),
            offset_metadata_max_bytes: get.number("offset.metadata.max.bytes"),
            offsets_commit_timeout: get.millis("offsets.commit.timeout.ms"),
            offsets_retention: 60 * Duration::from_secs(get.number("offsets.retention.minutes")),
            offsets_topic_num_partitions: get.number("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: config
                .contains_key("offsets.topic.replication.factor")
                .then(|| get.number("offsets.topic.replication.factor")),
            offsets_topic_segment_bytes: get.number("offsets.topic.segment.bytes"),
            queued_max_request_bytes: get.limit("queued.max.request.bytes").filter(|&bytes| bytes > 0),
            replica_fetch_backoff: get.millis("replica.fetch.backoff.ms"),
            replica_fetch_max_bytes: get.number("replica.fetch.max.bytes"),
            replica_fetch_min_bytes: get.number("replica.fetch.min.bytes"),
            replica_fetch_response_max_bytes: get.number("replica.fetch.response.max.bytes"),
            replica_fetch_wait_max: get.millis("replica.fetch.wait.max.ms"),
            replica_lag_time_max: get.millis("replica.lag.time.max.ms"),
            replica_selector_by_rack: get.is_set("replica.selector.class"),
            share_group_state: get.state_topic("share.coordinator.state.topic"),
            socket_request_max_bytes: get.number("socket.request.max.bytes"),
            transaction_state: get.state_topic("transaction.state.log"),
            given,
        }
    }

    /// What all brokers were given, as given.
    pub fn config(&self) -> &Config {
        &self.given.cluster
    }

    /// What this broker alone was given, as given.
    pub fn own_config(&self) -> &Config {
        &self.given.own
    }
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings::resolve(&Config::new(), &BrokerSettings::default())
    }
}

impl Default for BrokerSettings {
    fn default() -> BrokerSettings {
        BrokerSettings::resolve(&Config::new())
    }
}

/// Reads settings by type. A name or a type that does not fit the tables is a bug of ours, found by any test.
struct Getter<'a> {
    entity: Entity,
    overrides: Option<&'a Config>,
    broker: &'a Given,
}

impl Getter<'_> {
    fn value(&self, name: &str) -> Value {
        let setting = self.entity.setting(name).expect("the setting is in the tables");
        in_force(&setting, self.overrides, self.broker).expect("the setting has a default")
    }

    fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Integer(value) => value,
            other => unreachable!("{name} is a number, not {other:?}"),
        }
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> T {
        T::try_from(self.integer(name)).ok().expect("the setting's valid values fit the field")
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.integer(name)).ok().filter(|&limit| limit != i64::MAX as u64)
    }

    fn time_limit(&self, name: &str) -> Option<Duration> {
        self.limit(name).map(Duration::from_millis)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name) == Value::Boolean(true)
    }

    fn ratio(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Double(value) => value,
            other => unreachable!("{name} is a ratio, not {other:?}"),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        let setting = self.entity.setting(name).expect("the setting is in the tables");
        in_force(&setting, self.overrides, self.broker).is_some()
    }

    fn state_topic(&self, prefix: &str) -> StateTopic {
        let name = |end: &str| format!("{prefix}.{end}");
        let given = |end: &str| {
            let name = name(end);
            self.broker.cluster.contains_key(&name).then(|| self.number(&name))
        };
        StateTopic {
            num_partitions: self.number(&name("num.partitions")),
            replication_factor: given("replication.factor"),
            min_in_sync: given("min.isr"),
            segment_bytes: self.number(&name("segment.bytes")),
        }
    }

    fn text(&self, name: &str) -> String {
        self.value(name).to_string()
    }

    fn replicas(&self, name: &str) -> ThrottledReplicas {
        ThrottledReplicas::read(&self.list(name)).expect("a list that was accepted")
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(members) => members,
            other => unreachable!("{name} is a list, not {other:?}"),
        }
    }
}

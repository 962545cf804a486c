//! The settings in force, typed, for the code that obeys them.
//!
//! A limit that is not set is `None`, whichever number Kafka has for it (-1, or the largest there is).

use std::time::Duration;

use crate::Config;
use crate::getter::Getter;
use crate::groups::{ConsumerGroupSettings, GroupSettings, ShareGroupSettings, StreamsGroupSettings};
use crate::layers::{Given, Overrides};
use crate::quotas::{ConnectionSettings, QuotaSettings};
use crate::setting::Entity;
use crate::throttle::ThrottledReplicas;

/// All settings of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// Whether old records are deleted or compacted (`cleanup.policy`).
    pub cleanup_policy: CleanupPolicy,
    /// The codec in which batches are stored (`compression.type`).
    pub compression: Compression,
    /// How long compaction keeps tombstones.
    pub delete_retention: Duration,
    /// How long the files of removed segments stay on disk.
    pub file_delete_delay: Duration,
    /// Records are flushed to disk after so many; `None`: as the system likes.
    pub flush_messages: Option<u64>,
    /// Records are flushed to disk after this time; `None`: as the system likes.
    pub flush_interval: Option<Duration>,
    /// The replicas whose fetches are throttled while they are not in sync.
    pub follower_throttled: ThrottledReplicas,
    /// Bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// The leaders whose sends to replicas that are not in sync are throttled.
    pub leader_throttled: ThrottledReplicas,
    /// The longest time before a record is compacted; `None`: no limit.
    pub max_compaction_lag: Option<Duration>,
    /// The largest batch in bytes, with its header.
    pub max_message_bytes: u32,
    /// How far timestamps may lie in the future; `None`: no limit.
    pub message_timestamp_after_max: Option<Duration>,
    /// How far timestamps may lie in the past; `None`: no limit.
    pub message_timestamp_before_max: Option<Duration>,
    /// Whose time is the timestamp of records.
    pub message_timestamp_type: TimestampType,
    /// The share of uncompacted bytes that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
    /// The shortest time before a record is compacted.
    pub min_compaction_lag: Duration,
    /// The number of in-sync replicas that acks=all needs.
    pub min_insync_replicas: usize,
    /// The size in bytes above which retention deletes segments of a partition; `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// The age above which retention deletes segments; `None`: no limit.
    pub retention: Option<Duration>,
    /// Size in bytes at which a segment rolls.
    pub segment_bytes: u32,
    /// Size in bytes of an index at which a segment rolls.
    pub segment_index_bytes: u32,
    /// Upper bound of the random time that is subtracted from `segment_age`.
    pub segment_jitter: Duration,
    /// Age at which a segment rolls (`segment.ms`).
    pub segment_age: Duration,
    /// The brokers' `producer.id.expiration.ms`: how long the state of an idle idempotent producer is kept.
    pub producer_id_expiration: Duration,
    /// The brokers' `ottla.produce.strict.validation`: whether compressed batches are validated record by record.
    pub strict_validation: bool,
}

/// What happens to old records. With neither they stay for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Remove segments past the retention limits.
    pub delete: bool,
    /// Keep the last record of every key.
    pub compact: bool,
}

/// The codec in which batches are stored, with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The codec that the producer chose.
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

/// Whose time is the timestamp of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// The settings of brokers that are not defaults for topics. Defaults for topics are kept as given, for
/// [`TopicSettings::resolve`].
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    /// Whether a topic is created when a client first uses it.
    pub auto_create_topics_enable: bool,
    /// How long a connection may be idle before it is closed; `None`: no limit.
    pub connections_max_idle: Option<Duration>,
    /// How long a session lasts until the client must authenticate again; `None`: without a limit.
    pub connections_max_reauth: Option<Duration>,
    /// How many connections a broker takes.
    pub connections: ConnectionSettings,
    /// The replication factor of a topic that is created without one.
    pub default_replication_factor: i16,
    /// How long a failed authentication waits for its answer.
    pub failed_authentication_delay: Duration,
    /// The largest response to a fetch, in bytes.
    pub fetch_max_bytes: usize,
    /// The bytes per second that throttled replicas on this broker fetch while they are not in sync; `None`: no limit.
    pub follower_throttled_rate: Option<u64>,
    /// What consumer groups (KIP-848) obey.
    pub consumer_groups: ConsumerGroupSettings,
    /// How long an empty group's first rebalance waits.
    pub group_initial_rebalance_delay: Duration,
    /// The longest session of a group's member.
    pub group_max_session_timeout: Duration,
    /// The largest number of members of a group.
    pub group_max_size: usize,
    /// The shortest session of a group's member.
    pub group_min_session_timeout: Duration,
    /// How long a broker must have been live before leaders return to it; `None`: they do not return.
    pub leader_return_after: Option<Duration>,
    /// The bytes per second that throttled leaders on this broker send to replicas that are not in sync; `None`: no
    /// limit.
    pub leader_throttled_rate: Option<u64>,
    /// The time between two checks for records to flush; `None`: there are no checks.
    pub log_flush_scheduler_interval: Option<Duration>,
    /// The time between two checks for segments that retention deletes.
    pub log_retention_check_interval: Duration,
    /// The largest number of fetch sessions.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// The number of partitions of a topic that is created without one.
    pub num_partitions: i32,
    /// The number of connections to each other broker for fetching.
    pub num_replica_fetchers: usize,
    /// The longest metadata of a committed offset, in bytes.
    pub offset_metadata_max_bytes: usize,
    /// How long a change of a group waits for its records to be replicated.
    pub offsets_commit_timeout: Duration,
    /// How long offsets are kept after their group is empty.
    pub offsets_retention: Duration,
    /// The number of partitions of `__consumer_offsets`.
    pub offsets_topic_num_partitions: i32,
    /// The replication factor of `__consumer_offsets`; `None`: not set, so the number of brokers, at most three.
    pub offsets_topic_replication_factor: Option<i16>,
    /// The segment size of `__consumer_offsets`, in bytes.
    pub offsets_topic_segment_bytes: u32,
    /// The windows in which clients' use is measured.
    pub quotas: QuotaSettings,
    /// The most bytes of requests read and not yet answered; `None`: no limit.
    pub queued_max_request_bytes: Option<u64>,
    /// How long a follower waits after a fetch that failed.
    pub replica_fetch_backoff: Duration,
    /// The most bytes that a follower fetches of one partition at a time.
    pub replica_fetch_max_bytes: i32,
    /// The bytes that a follower's fetch waits for.
    pub replica_fetch_min_bytes: i32,
    /// The most bytes that a follower fetches at a time.
    pub replica_fetch_response_max_bytes: i32,
    /// The longest time that a follower's fetch waits.
    pub replica_fetch_wait_max: Duration,
    /// How long a follower may lag behind the log end and still count as in sync.
    pub replica_lag_time_max: Duration,
    /// Whether consumers are directed to the in-sync replica in their rack (KIP-392).
    pub replica_selector_by_rack: bool,
    /// The internal topic with the state of share groups.
    pub share_group_state: StateTopic,
    /// What share groups (KIP-932) obey.
    pub share_groups: ShareGroupSettings,
    /// What share coordinators obey.
    pub share_coordinator: ShareCoordinatorSettings,
    /// The largest request of a client that has not authenticated, in bytes.
    pub sasl_server_max_receive: usize,
    /// The largest request, in bytes.
    pub socket_request_max_bytes: usize,
    /// What streams groups (KIP-1071) obey.
    pub streams_groups: StreamsGroupSettings,
    /// The internal topic with the state of transactions.
    pub transaction_state: StateTopic,
    /// What a transaction coordinator allows, and for how long it remembers.
    pub transactions: TransactionSettings,
    /// The settings as given.
    pub(crate) given: Given,
}

impl GroupSettings {
    /// A group's settings, from its own, which were accepted once. The brokers' bounds may have changed since: what is
    /// outside is moved to the bound, as in Kafka.
    pub fn resolve(own: &Config, broker: &BrokerSettings) -> GroupSettings {
        GroupSettings::read(own, &broker.given)
    }
}

/// What share coordinators obey (KIP-932).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareCoordinatorSettings {
    /// How long a request waits for its records to be committed.
    pub write_timeout: Duration,
    /// After so many updates of a state its next record is a snapshot.
    pub updates_per_snapshot: u32,
}

/// What a transaction coordinator allows, and for how long it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// The longest time-out that a producer may ask for.
    pub max_timeout: Duration,
    /// How long an id without a transaction is remembered.
    pub id_expiration: Duration,
    /// The time between two checks for transactions that are open for too long.
    pub timeout_interval: Duration,
    /// The time between two checks for ids that have expired.
    pub expiry_interval: Duration,
}

/// The shape of an internal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTopic {
    /// The number of partitions.
    pub num_partitions: i32,
    /// The replication factor; `None`: not set, so the number of brokers, at most three.
    pub replication_factor: Option<i16>,
    /// `min.insync.replicas`; `None`: not set, so two, or one if there is only one replica.
    pub min_in_sync: Option<i16>,
    /// The segment size, in bytes.
    pub segment_bytes: u32,
}

impl TopicSettings {
    /// The settings of a topic with these overrides, on brokers with these settings.
    pub fn resolve(overrides: &Config, broker: &BrokerSettings) -> TopicSettings {
        let get =
            Getter { entity: Entity::Topic, overrides: Some(Overrides::of_topic(overrides)), broker: &broker.given };
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

impl StateTopic {
    fn read(get: &Getter<'_>, prefix: &str) -> StateTopic {
        let name = |end: &str| format!("{prefix}.{end}");
        let given = |end: &str| {
            let name = name(end);
            get.broker.cluster.contains_key(&name).then(|| get.number(&name))
        };
        StateTopic {
            num_partitions: get.number(&name("num.partitions")),
            replication_factor: given("replication.factor"),
            min_in_sync: given("min.isr"),
            segment_bytes: get.number(&name("segment.bytes")),
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
            connections: ConnectionSettings::read(&get),
            connections_max_idle: get.time_limit("connections.max.idle.ms"),
            connections_max_reauth: get.time_limit("connections.max.reauth.ms").filter(|limit| !limit.is_zero()),
            default_replication_factor: get.number("default.replication.factor"),
            failed_authentication_delay: get.millis("connection.failed.authentication.delay.ms"),
            fetch_max_bytes: get.number("fetch.max.bytes"),
            follower_throttled_rate: get.limit("follower.replication.throttled.rate"),
            consumer_groups: ConsumerGroupSettings::read(&get),
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
            quotas: QuotaSettings::read(&get),
            queued_max_request_bytes: get.limit("queued.max.request.bytes").filter(|&bytes| bytes > 0),
            replica_fetch_backoff: get.millis("replica.fetch.backoff.ms"),
            replica_fetch_max_bytes: get.number("replica.fetch.max.bytes"),
            replica_fetch_min_bytes: get.number("replica.fetch.min.bytes"),
            replica_fetch_response_max_bytes: get.number("replica.fetch.response.max.bytes"),
            replica_fetch_wait_max: get.millis("replica.fetch.wait.max.ms"),
            replica_lag_time_max: get.millis("replica.lag.time.max.ms"),
            replica_selector_by_rack: get.is_set("replica.selector.class"),
            share_groups: ShareGroupSettings::read(&get),
            share_group_state: StateTopic::read(&get, "share.coordinator.state.topic"),
            share_coordinator: ShareCoordinatorSettings {
                write_timeout: get.millis("share.coordinator.write.timeout.ms"),
                updates_per_snapshot: get.number("share.coordinator.snapshot.update.records.per.snapshot"),
            },
            sasl_server_max_receive: get.number::<i32>("sasl.server.max.receive.size").try_into().unwrap_or(0),
            socket_request_max_bytes: get.number("socket.request.max.bytes"),
            streams_groups: StreamsGroupSettings::read(&get),
            transaction_state: StateTopic::read(&get, "transaction.state.log"),
            transactions: TransactionSettings {
                max_timeout: get.millis("transaction.max.timeout.ms"),
                id_expiration: get.millis("transactional.id.expiration.ms"),
                timeout_interval: get.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
                expiry_interval: get.millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
            },
            given,
        }
    }

    /// The settings of all brokers, as given.
    pub fn config(&self) -> &Config {
        &self.given.cluster
    }

    /// The settings of this broker alone, as given.
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

//! The settings of brokers that Ottla obeys, and some that it holds at Kafka's default. The others are in `plumbing`.
//!
//! What Kafka has no setting for is called `ottla.…`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::setting::SettingType::{Boolean, Double, Int, List, Long, Short, Text};
use crate::setting::Status::{self, Enforced, Fixed};
use crate::setting::Valid::{self, Any, CountsByAddress, Min, MinOr, OneOf, Range, Ratio};
use crate::setting::{Fallback, Setting, SettingType, UpdateMode};
use crate::topic::{
    CLEANUP_POLICIES, COMPRESSION_TYPES, GZIP_LEVELS, LZ4_LEVEL, LZ4_LEVELS, NEVER, PREALLOCATE, TIERED,
    TIMESTAMP_TYPES, UNCLEAN, ZSTD_LEVELS,
};
use crate::{broker_groups, plumbing};

/// The settings of brokers, by name: all that a broker of Kafka 4.3 describes, and our own.
pub static SETTINGS: LazyLock<BTreeMap<&'static str, Setting>> = LazyLock::new(|| {
    TABLE.iter().chain(broker_groups::TABLE).copied().chain(plumbing::settings()).map(|s| (s.name, s)).collect()
});

pub(crate) const READ_ONLY: UpdateMode = UpdateMode::ReadOnly;
pub(crate) const PER_BROKER: UpdateMode = UpdateMode::PerBroker;
pub(crate) const DYNAMIC: UpdateMode = UpdateMode::ClusterWide;
pub(crate) const NULL: Option<&str> = None;

/// Kafka's default of numbers of connections.
const NO_LIMIT: &str = "2147483647";
/// Kafka's own check of a retention time: no limit, or at least one.
const RETENTION: Valid = MinOr(1, -1);

#[rustfmt::skip]
const TABLE: &[Setting] = &[
    broker("auto.create.topics.enable", Boolean, Some("true"), Any, READ_ONLY,
        Enforced("Whether a topic is created when a client first uses it.")),
    broker("auto.leader.rebalance.enable", Boolean, Some("true"), Any, READ_ONLY,
        Enforced("Whether the first replica of a partition becomes its leader again.")),
    broker("compression.gzip.level", Int, Some("-1"), GZIP_LEVELS, DYNAMIC, TOPIC_DEFAULT),
    broker("compression.lz4.level", Int, Some("9"), LZ4_LEVELS, DYNAMIC, LZ4_LEVEL),
    broker("compression.type", Text, Some("producer"), COMPRESSION_TYPES, DYNAMIC, TOPIC_DEFAULT),
    broker("compression.zstd.level", Int, Some("3"), ZSTD_LEVELS, DYNAMIC, TOPIC_DEFAULT),
    broker("connection.failed.authentication.delay.ms", Int, Some("100"), Min(0), READ_ONLY,
        Enforced("How long a client whose authentication failed waits for the answer and the end of its connection.")),
    broker("connections.max.idle.ms", Long, Some("600000"), Any, READ_ONLY,
        Enforced("A connection without a request for this long is closed; negative: never.")),
    broker("connections.max.reauth.ms", Long, Some("0"), Any, READ_ONLY,
        Enforced("How long a client can use a connection until it must authenticate again (KIP-368); zero or negative: \
        without a limit.")),
    broker("controller.quota.window.num", Int, Some("11"), Min(1), READ_ONLY,
        Enforced("How many windows of controller.quota.window.size.seconds a client's changes of partitions may use at \
        once, under its controller_mutation_rate.")),
    broker("controller.quota.window.size.seconds", Int, Some("1"), Min(1), READ_ONLY,
        Enforced("The length of a window of controller.quota.window.num.")),
    broker("controlled.shutdown.enable", Boolean, Some("true"), Any, READ_ONLY,
        Fixed("a broker always hands over its leaderships before it stops")),
    broker("default.replication.factor", Int, Some("1"), Range(1, 32_767), READ_ONLY,
        Enforced("The replication factor of a topic that is created without one.")),
    broker("delete.topic.enable", Boolean, Some("true"), Any, READ_ONLY,
        Fixed("topics can be deleted; a KafkaTopic's deletionPolicy keeps one")),
    broker("fetch.max.bytes", Int, Some("57671680"), Min(1024), READ_ONLY,
        Enforced("The largest response to a fetch, also if the client asks for more.")),
    broker("follower.replication.throttled.rate", Long, Some(NEVER), Min(0), DYNAMIC,
        Enforced("The most bytes per second that a broker fetches for throttled replicas that are not in sync.")).unlisted(),
    broker("group.initial.rebalance.delay.ms", Int, Some("3000"), Min(0), READ_ONLY,
        Enforced("How long the first rebalance of an empty group waits for more members.")),
    broker("group.max.session.timeout.ms", Int, Some("1800000"), Min(0), READ_ONLY,
        Enforced("The longest session timeout that a group member may request.")),
    broker("group.max.size", Int, Some("2147483647"), Min(1), READ_ONLY,
        Enforced("The largest number of members of a group.")),
    broker("group.min.session.timeout.ms", Int, Some("6000"), Min(0), READ_ONLY,
        Enforced("The shortest session timeout that a group member may request.")),
    broker("leader.imbalance.check.interval.seconds", Long, Some("300"), Min(1), READ_ONLY,
        Enforced("How long a broker must have been live before it leads its partitions again.")),
    broker("leader.replication.throttled.rate", Long, Some(NEVER), Min(0), DYNAMIC,
        Enforced("The most bytes per second that a broker sends to throttled replicas that are not in sync.")).unlisted(),
    broker("log.cleaner.delete.retention.ms", Long, Some("86400000"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("log.cleaner.enable", Boolean, Some("true"), Any, READ_ONLY,
        Fixed("a topic whose cleanup.policy contains compact is always compacted")),
    broker("log.cleaner.max.compaction.lag.ms", Long, Some(NEVER), Min(1), DYNAMIC, TOPIC_DEFAULT),
    broker("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Ratio, DYNAMIC, TOPIC_DEFAULT),
    broker("log.cleaner.min.compaction.lag.ms", Long, Some("0"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("log.cleanup.policy", List, Some("delete"), CLEANUP_POLICIES, DYNAMIC, TOPIC_DEFAULT),
    broker("log.flush.interval.messages", Long, Some(NEVER), Min(1), DYNAMIC, TOPIC_DEFAULT),
    broker("log.flush.interval.ms", Long, NULL, Min(0), DYNAMIC, TOPIC_DEFAULT)
        .after(&[synonym("log.flush.scheduler.interval.ms")]),
    broker("log.flush.scheduler.interval.ms", Long, Some(NEVER), Min(1), READ_ONLY,
        Enforced("The age at which records are flushed, unless log.flush.interval.ms is set.")),
    broker("log.index.interval.bytes", Int, Some("4096"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("log.index.size.max.bytes", Int, Some("10485760"), Min(4), DYNAMIC, TOPIC_DEFAULT),
    broker("log.local.retention.bytes", Long, Some("-2"), Min(-2), DYNAMIC, TIERED),
    broker("log.local.retention.ms", Long, Some("-2"), Min(-2), DYNAMIC, TIERED),
    broker("log.message.timestamp.after.max.ms", Long, Some("3600000"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("log.message.timestamp.before.max.ms", Long, Some(NEVER), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("log.message.timestamp.type", Text, Some("CreateTime"), TIMESTAMP_TYPES, DYNAMIC, TOPIC_DEFAULT),
    broker("log.preallocate", Boolean, Some("false"), Any, DYNAMIC, PREALLOCATE),
    broker("log.retention.bytes", Long, Some("-1"), Any, DYNAMIC, TOPIC_DEFAULT),
    broker("log.retention.check.interval.ms", Long, Some("300000"), Min(1), READ_ONLY,
        Enforced("How often logs are checked for segments that retention removes.")),
    broker("log.retention.hours", Int, Some("168"), RETENTION, READ_ONLY,
        Enforced("As log.retention.ms; log.retention.ms and log.retention.minutes take precedence.")),
    broker("log.retention.minutes", Int, NULL, RETENTION, READ_ONLY,
        Enforced("As log.retention.ms, which takes precedence.")).after(&[synonym("log.retention.hours")]),
    broker("log.retention.ms", Long, NULL, RETENTION, DYNAMIC, TOPIC_DEFAULT)
        .after(&[synonym("log.retention.minutes"), synonym("log.retention.hours")]),
    broker("log.roll.hours", Int, Some("168"), Min(1), READ_ONLY, Enforced("As log.roll.ms, which takes precedence.")),
    broker("log.roll.jitter.hours", Int, Some("0"), Min(0), READ_ONLY,
        Enforced("As log.roll.jitter.ms, which takes precedence.")),
    broker("log.roll.jitter.ms", Long, NULL, Min(0), DYNAMIC, TOPIC_DEFAULT)
        .after(&[synonym("log.roll.jitter.hours")]),
    broker("log.roll.ms", Long, NULL, Min(1), DYNAMIC, TOPIC_DEFAULT)
        .after(&[synonym("log.roll.hours")]),
    broker("log.segment.bytes", Int, Some("1073741824"), Min(1_048_576), DYNAMIC, TOPIC_DEFAULT),
    broker("log.segment.delete.delay.ms", Long, Some("60000"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("max.connection.creation.rate", Int, Some(NO_LIMIT), Min(0), DYNAMIC,
        Enforced("The most connections that a broker takes per second, and each of its listeners, unless \
        listener.name.<listener>.max.connection.creation.rate is set for it; the next ones wait. Connections to the \
        listener on which brokers talk to each other count only for that listener, unless it is the only one.")),
    broker("max.connections", Int, Some(NO_LIMIT), Min(0), DYNAMIC,
        Enforced("The most connections that a broker has, and each of its listeners, unless \
        listener.name.<listener>.max.connections is set for it; the next ones wait until one ends. Those of other \
        listeners leave room on the listener on which brokers talk to each other, unless it is the only one.")),
    broker("max.connections.per.ip", Int, Some(NO_LIMIT), Min(0), DYNAMIC,
        Enforced("The most connections that a broker has from one address; the next ones are closed.")),
    broker("max.connections.per.ip.overrides", Text, Some(""), CountsByAddress, DYNAMIC,
        Enforced("The same for single addresses, as in 10.0.0.7:100,10.0.0.8:200.")),
    broker("max.incremental.fetch.session.cache.slots", Int, Some("1000"), Min(0), READ_ONLY,
        Enforced("The largest number of fetch sessions, whose clients name their partitions once instead of in each \
        fetch.")),
    broker("message.max.bytes", Int, Some("1048588"), Min(0), DYNAMIC, TOPIC_DEFAULT),
    broker("min.insync.replicas", Int, Some("1"), Min(1), DYNAMIC, TOPIC_DEFAULT),
    broker("num.partitions", Int, Some("1"), Min(1), READ_ONLY,
        Enforced("The number of partitions of a topic that is created without one.")),
    broker("num.recovery.threads.per.data.dir", Int, Some("2"), Min(1), DYNAMIC,
        Fixed("logs are recovered by all of a broker's disk threads")),
    broker("num.replica.fetchers", Int, Some("1"), Min(1), DYNAMIC,
        Enforced("The number of connections over which a broker fetches from each other broker.")),
    broker("offset.metadata.max.bytes", Int, Some("4096"), Min(0), READ_ONLY,
        Enforced("The longest metadata text of a committed offset.")),
    broker("offsets.commit.timeout.ms", Int, Some("5000"), Min(1), READ_ONLY,
        Enforced("How long a commit or a change of a group waits for its records to be replicated.")),
    broker("offsets.retention.minutes", Int, Some("10080"), Min(1), READ_ONLY,
        Enforced("How long the offsets of a group are kept after its last member left.")),
    broker("offsets.topic.compression.codec", Int, Some("0"), Any, READ_ONLY,
        Fixed("committed offsets are stored uncompressed")),
    broker("offsets.topic.num.partitions", Int, Some("50"), Min(1), READ_ONLY,
        Enforced("The number of partitions of __consumer_offsets. It decides which broker coordinates a group, so set \
        it only before the first use.")),
    broker("offsets.topic.replication.factor", Short, Some("3"), Min(1), READ_ONLY,
        Enforced("The replication factor of __consumer_offsets; if it is not set, at most the number of brokers.")),
    // Kafka also takes less than a topic may have, and then cannot create the topic.
    broker("offsets.topic.segment.bytes", Int, Some("104857600"), Min(1_048_576), READ_ONLY,
        Enforced("The segment size of __consumer_offsets: small, so that compaction keeps its loading fast.")),
    broker("ottla.produce.strict.validation", Boolean, Some("false"), Any, DYNAMIC,
        Enforced("Whether compressed batches are validated record by record before they are stored, as Kafka does, \
        even if no setting of their topic requires it.")),
    broker("producer.id.expiration.ms", Int, Some("86400000"), Min(1), DYNAMIC,
        Enforced("How long a partition remembers the state of an idempotent producer that writes nothing.")),
    broker("queued.max.request.bytes", Long, Some("-1"), Any, READ_ONLY,
        Enforced("The most bytes of requests that are read and not yet answered; zero or negative: no limit.")),
    broker("quota.window.num", Int, Some("11"), Min(1), READ_ONLY,
        Enforced("How many windows of quota.window.size.seconds a client's use is measured over.")),
    broker("quota.window.size.seconds", Int, Some("1"), Min(1), READ_ONLY,
        Enforced("The length of a window of quota.window.num.")),
    broker("remote.log.storage.system.enable", Boolean, Some("false"), Any, READ_ONLY, TIERED),
    broker("replica.fetch.backoff.ms", Int, Some("1000"), Min(0), READ_ONLY,
        Enforced("How long a follower waits after a fetch that failed.")),
    broker("replica.fetch.max.bytes", Int, Some("1048576"), Min(0), READ_ONLY,
        Enforced("The most bytes that a follower fetches of one partition at a time; a larger first batch is sent \
        whole.")),
    broker("replica.fetch.min.bytes", Int, Some("1"), Min(0), READ_ONLY,
        Enforced("The bytes that a follower's fetch waits for.")),
    broker("replica.fetch.response.max.bytes", Int, Some("10485760"), Min(0), READ_ONLY,
        Enforced("The most bytes that a follower fetches at a time.")),
    broker("replica.fetch.wait.max.ms", Int, Some("500"), Min(0), READ_ONLY,
        Enforced("The longest time that a follower's fetch waits.")),
    // Kafka's bound too: the time for which an idle leader holds a follower's fetch.
    broker("replica.lag.time.max.ms", Long, Some("30000"), Min(500), READ_ONLY,
        Enforced("How long a follower may lag behind its leader's log end and still count as in sync.")),
    broker("replica.selector.class", Text, NULL, OneOf(&["org.apache.kafka.common.replica.RackAwareReplicaSelector"]), READ_ONLY,
        Enforced("If set, consumers that send their rack are directed to an in-sync replica in that rack.")),
    broker("sasl.server.max.receive.size", Int, Some("524288"), Any, READ_ONLY,
        Enforced("The largest request that is read of a client that has not authenticated yet.")),
    broker("share.coordinator.snapshot.update.records.per.snapshot", Int, Some("500"), Range(0, 500), READ_ONLY,
        Enforced("After so many updates of a share partition's state the next record is a snapshot.")),
    broker("share.coordinator.state.topic.min.isr", Short, Some("2"), Min(1), READ_ONLY, SHARE_STATE),
    broker("share.coordinator.state.topic.num.partitions", Int, Some("50"), Min(1), READ_ONLY, SHARE_STATE),
    broker("share.coordinator.state.topic.replication.factor", Short, Some("3"), Min(1), READ_ONLY, SHARE_STATE),
    broker("share.coordinator.state.topic.segment.bytes", Int, Some("104857600"), Min(1_048_576), READ_ONLY, SHARE_STATE),
    broker("share.coordinator.write.timeout.ms", Int, Some("5000"), Min(1), READ_ONLY,
        Enforced("How long a request to a share coordinator waits for its records to be replicated.")),
    broker("socket.request.max.bytes", Int, Some("104857600"), Min(1), READ_ONLY,
        Enforced("The largest request that is read; a client that announces more is disconnected.")),
    broker("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), Min(1), READ_ONLY,
        Enforced("The time between two checks for transactions that have been open for too long, which are aborted.")),
    broker("transaction.max.timeout.ms", Int, Some("900000"), Min(1), READ_ONLY,
        Enforced("The longest time-out of transactions that a producer may ask for.")),
    broker("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), Min(1), READ_ONLY,
        Enforced("The time between two checks for transactional ids that have expired.")),
    broker("transaction.state.log.min.isr", Int, Some("2"), Min(1), READ_ONLY, TRANSACTION_STATE),
    broker("transaction.state.log.num.partitions", Int, Some("50"), Min(1), READ_ONLY, TRANSACTION_STATE),
    broker("transaction.state.log.replication.factor", Short, Some("3"), Min(1), READ_ONLY, TRANSACTION_STATE),
    broker("transaction.state.log.segment.bytes", Int, Some("104857600"), Min(1_048_576), READ_ONLY, TRANSACTION_STATE),
    broker("transactional.id.expiration.ms", Int, Some("604800000"), Min(1), READ_ONLY,
        Enforced("How long a transactional id without a transaction is remembered.")),
    broker("unclean.leader.election.enable", Boolean, Some("false"), Any, DYNAMIC, UNCLEAN),
];

const TRANSACTION_STATE: Status = Enforced(
    "The replication factor of __transaction_state when it is created; if it is not set, at most the number of \
    brokers.",
);
const SHARE_STATE: Status = Enforced(
    "The replication factor of __share_group_state when it is created; if it is not set, at most the number of \
    brokers.",
);
const TOPIC_DEFAULT: Status = Enforced("The value for topics that do not set it themselves.");

pub(crate) const fn broker(
    name: &'static str,
    kind: SettingType,
    default: Option<&'static str>,
    valid: Valid,
    update_mode: UpdateMode,
    status: Status,
) -> Setting {
    Setting { name, kind, default, valid, fallbacks: &[], update_mode, listed: true, status }
}

impl Setting {
    const fn after(self, fallbacks: &'static [Fallback]) -> Setting {
        Setting { fallbacks, ..self }
    }

    pub(crate) const fn unlisted(self) -> Setting {
        Setting { listed: false, ..self }
    }
}

/// Between broker settings only the names matter: each is described in its own unit.
const fn synonym(name: &'static str) -> Fallback {
    Fallback::same(name)
}

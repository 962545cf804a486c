//! Kafka's settings of topics, brokers, groups and clients' metrics: what there is, what is accepted, what is in force.
//!
//! - [`setting`]: one setting as data, how its values are read and which of them are refused;
//! - `topic`, `broker`, `plumbing`, `group`, `client_metrics`: the tables, one entry per setting of Kafka 4.3;
//! - `layers`: which of the values that a setting could have is in force;
//! - [`resolved`]: the settings in force, typed, for the code that obeys them;
//! - [`describe`]: the same as DescribeConfigs shows them;
//! - [`throttle`]: what slows the copying of replicas down;
//! - [`alter`]: the changes of IncrementalAlterConfigs.
//!
//! Always: a value that the checks accept is obeyed. Where a stored value is one that they refuse (an object written
//! around admission), everything here treats it as not set, and the object's condition says so.
//!
//! Broker settings come from the `config` of the KafkaCluster's spec, and a broker's own from its entry in
//! `brokers.overrides`. Those of all brokers that Kafka can change while it runs are reported as dynamic cluster-wide
//! defaults, the others as static. A broker's own are all dynamic, and go before those of all brokers.

pub mod alter;
mod broker;
mod client_metrics;
pub mod describe;
mod group;
mod layers;
mod plumbing;
pub mod resolved;
pub mod setting;
pub mod throttle;
mod topic;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use alter::{Op, alter_broker, alter_group, alter_one_broker, alter_topic, check_client_metrics};
pub use broker::SETTINGS as BROKER_SETTINGS;
pub use client_metrics::SETTINGS as CLIENT_METRICS_SETTINGS;
pub use describe::{
    Described, Source, Synonym, describe_broker, describe_client_metrics, describe_cluster, describe_group,
    describe_topic,
};
pub use group::SETTINGS as GROUP_SETTINGS;
pub use resolved::{
    BrokerSettings, CleanupPolicy, Compression, ConsumerGroupSettings, GroupSettings, MigrationPolicy,
    ShareCoordinatorSettings, StateTopic, TimestampType, TopicSettings, TransactionSettings,
};
pub use setting::{Entity, Kind, Setting, SettingError, Status, UpdateMode};
pub use throttle::ThrottledReplicas;
pub use topic::SETTINGS as TOPIC_SETTINGS;

/// Settings by name, as they stand in a spec or a request.
pub type Config = BTreeMap<String, String>;

/// Whether a topic may have this setting with this value.
pub fn check_topic(name: &str, value: &str) -> Result<(), SettingError> {
    Entity::Topic.check(name, value)
}

/// Whether the cluster's brokers may have this setting with this value.
pub fn check_broker(name: &str, value: &str) -> Result<(), SettingError> {
    Entity::Broker.check(name, value)
}

/// Whether a topic may have all these settings at once, on brokers with these settings.
pub fn check_topic_config(overrides: &Config, broker: &BrokerSettings) -> Result<(), SettingError> {
    check_each(Entity::Topic, overrides)?;
    let topic = TopicSettings::resolve(overrides, broker);
    check_compaction_lag("topic config", "min.compaction.lag.ms", "max.compaction.lag.ms", &topic)
}

/// Whether a group may have all these settings at once, on brokers with these settings.
pub fn check_group_config(own: &Config, broker: &BrokerSettings) -> Result<(), SettingError> {
    check_each(Entity::Group, own)?;
    let (bounds, group) = (&broker.consumer_groups, GroupSettings::resolve_unbounded(own, broker));
    for (value, name, allowed) in [
        (group.consumer_heartbeat_interval, "heartbeat.interval.ms", &bounds.heartbeat_intervals),
        (group.consumer_session_timeout, "session.timeout.ms", &bounds.session_timeouts),
        (group.consumer_assignment_interval, "assignment.interval.ms", &bounds.assignment_intervals),
    ] {
        check_within(&format!("consumer.{name}"), value, "group.consumer", name, allowed)?;
    }
    if group.consumer_session_timeout <= group.consumer_heartbeat_interval {
        let conflict = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        return Err(SettingError::Conflict(conflict.to_owned()));
    }
    Ok(())
}

/// Whether brokers may have all these settings at once.
pub fn check_broker_config(config: &Config) -> Result<(), SettingError> {
    check_each(Entity::Broker, config)?;
    check_together(&BrokerSettings::resolve(config))
}

/// Whether one broker may have all these settings of its own at once, in a cluster with this `config`.
pub fn check_own_config(config: &Config, own: &Config) -> Result<(), SettingError> {
    check_each(Entity::Broker, own)?;
    for name in own.keys() {
        if Entity::Broker.setting(name)?.update_mode == UpdateMode::ReadOnly {
            return Err(SettingError::ReadOnly { name: name.clone() });
        }
    }
    check_together(&BrokerSettings::resolve_one(config, own))
}

/// Whether the brokers of a cluster may have this `config`, single brokers these settings of their `own`, and single
/// groups these.
pub fn check_cluster<'a>(
    config: &Config,
    own: impl IntoIterator<Item = &'a Config>,
    groups: impl IntoIterator<Item = &'a Config>,
) -> Result<(), SettingError> {
    check_broker_config(config)?;
    own.into_iter().try_for_each(|own| check_own_config(config, own))?;
    let broker = BrokerSettings::resolve(config);
    groups.into_iter().try_for_each(|group| check_group_config(group, &broker))
}

fn check_together(broker: &BrokerSettings) -> Result<(), SettingError> {
    if broker.group_min_session_timeout > broker.group_max_session_timeout {
        return Err(SettingError::Conflict(format!(
            "group.min.session.timeout.ms ({}) > group.max.session.timeout.ms ({})",
            broker.group_min_session_timeout.as_millis(),
            broker.group_max_session_timeout.as_millis()
        )));
    }
    check_consumer_groups(&broker.consumer_groups)?;
    if broker.queued_max_request_bytes.is_some_and(|queued| queued < broker.socket_request_max_bytes as u64) {
        return Err(SettingError::Conflict(
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned(),
        ));
    }
    if broker.replica_fetch_wait_max > broker.replica_lag_time_max {
        return Err(SettingError::Conflict(
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
changes in ISR"
                .to_owned(),
        ));
    }
    let topic = TopicSettings::resolve(&Config::new(), broker);
    check_compaction_lag("setting", "log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", &topic)
}

fn check_consumer_groups(groups: &ConsumerGroupSettings) -> Result<(), SettingError> {
    let prefix = "group.consumer";
    for (value, name, allowed) in [
        (groups.heartbeat_interval, "heartbeat.interval.ms", &groups.heartbeat_intervals),
        (groups.session_timeout, "session.timeout.ms", &groups.session_timeouts),
        (groups.assignment_interval, "assignment.interval.ms", &groups.assignment_intervals),
    ] {
        if allowed.is_empty() {
            let conflict = format!("{prefix}.max.{name} must be greater than or equal to {prefix}.min.{name}");
            return Err(SettingError::Conflict(conflict));
        }
        check_within(&format!("{prefix}.{name}"), value, prefix, name, allowed)?;
    }
    if groups.heartbeat_interval >= groups.session_timeout {
        let conflict = "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms";
        return Err(SettingError::Conflict(conflict.to_owned()));
    }
    Ok(())
}

/// Whether a setting is between `<prefix>.min.<name>` and `<prefix>.max.<name>`.
fn check_within(
    setting: &str,
    value: Duration,
    prefix: &str,
    name: &str,
    allowed: &RangeInclusive<Duration>,
) -> Result<(), SettingError> {
    let conflict = match () {
        () if value < *allowed.start() => format!("{setting} must be greater than or equal to {prefix}.min.{name}"),
        () if value > *allowed.end() => format!("{setting} must be less than or equal to {prefix}.max.{name}"),
        () => return Ok(()),
    };
    Err(SettingError::Conflict(conflict))
}

/// Unknown names first: they are the likelier slip, and Kafka reports them first.
fn check_each(entity: Entity, config: &Config) -> Result<(), SettingError> {
    for name in config.keys() {
        entity.setting(name)?;
    }
    for (name, value) in config {
        entity.check(name, value)?;
    }
    Ok(())
}

fn check_compaction_lag(what: &str, min: &str, max: &str, topic: &TopicSettings) -> Result<(), SettingError> {
    match topic.max_compaction_lag {
        Some(limit) if topic.min_compaction_lag > limit => Err(SettingError::Conflict(format!(
            "conflict {what} setting {min} ({}) > {max} ({})",
            topic.min_compaction_lag.as_millis(),
            limit.as_millis()
        ))),
        _ => Ok(()),
    }
}

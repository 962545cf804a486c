//! What is accepted, one setting at a time and all together.

use std::time::Duration;

use crate::Config;
use crate::groups;
use crate::resolved::{BrokerSettings, TopicSettings};
use crate::setting::{Entity, SettingError, UpdateMode};

/// `replica.socket.timeout.ms`, which is fixed: how long a follower waits for an answer.
pub const REPLICA_SOCKET_TIMEOUT: Duration = Duration::from_secs(30);

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
    groups::check_one(own, &broker.given)
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
    groups::check_all(&broker.given)?;
    if broker.queued_max_request_bytes.is_some_and(|queued| queued < broker.socket_request_max_bytes as u64) {
        return Err(SettingError::Conflict(
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned(),
        ));
    }
    if broker.replica_fetch_wait_max > REPLICA_SOCKET_TIMEOUT {
        return Err(SettingError::Conflict(
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
timeouts"
                .to_owned(),
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

/// Unknown names first: they are the likelier slip, and Kafka reports them first.
pub(crate) fn check_each(entity: Entity, config: &Config) -> Result<(), SettingError> {
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

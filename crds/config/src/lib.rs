//! Kafka's settings of topics, brokers, groups and clients' metrics: what there is, what is accepted, what is in force.
//!
//! - [`setting`]: one setting as data, how its values are read and which of them are refused;
//! - `topic`, `broker`, `broker_groups`, `plumbing`, `group`, `client_metrics`: the tables, one entry per setting of
//!   Kafka 4.3;
//! - `layers`: which of the values that a setting could have is in force; `getter`: reads it by its type;
//! - [`resolved`]: the settings in force, typed, for the code that obeys them; [`groups`]: those of groups;
//! - [`describe`]: the same as DescribeConfigs shows them;
//! - [`throttle`]: what slows the copying of replicas down;
//! - [`quotas`]: windows of quotas, limits of connections; `counts`: those of single addresses;
//! - `checks`: what is accepted together;
//! - [`alter`]: the changes of IncrementalAlterConfigs.
//!
//! Always: a value that the checks accept is obeyed. Where a stored value is one that they refuse (an object written
//! around admission), everything here treats it as not set, and the object's condition says so.
//!
//! Broker settings come from the `config` of the KafkaCluster's spec, and a broker's own from its entry in
//! `brokers.overrides`. Those of all brokers that Kafka can change while it runs are reported as dynamic cluster-wide
//! defaults, the others as static. A broker's own are all dynamic, and go before those of all brokers.

#![warn(unreachable_pub)]

pub mod alter;
mod broker;
mod broker_groups;
mod checks;
mod client_metrics;
mod counts;
mod describe;
mod getter;
mod group;
mod groups;
mod layers;
mod offset_reset;
mod plumbing;
mod quotas;
mod resolved;
mod setting;
mod throttle;
mod topic;

use std::collections::BTreeMap;

pub use alter::{alter_broker, alter_group, alter_one_broker, alter_topic, check_client_metrics};
pub use broker::SETTINGS as BROKER_SETTINGS;
pub use checks::{
    REPLICA_SOCKET_TIMEOUT, check_broker, check_broker_config, check_cluster, check_group_config, check_own_config,
    check_topic, check_topic_config,
};
pub use client_metrics::SETTINGS as CLIENT_METRICS_SETTINGS;
pub use describe::{
    Described, Synonym, describe_broker, describe_client_metrics, describe_cluster, describe_group, describe_topic,
};
pub use group::SETTINGS as GROUP_SETTINGS;
pub use groups::{
    ConsumerGroupSettings, GroupSettings, MemberSettings, MigrationPolicy, ShareGroupSettings, SharingSettings,
    StandbySettings, StreamsGroupSettings,
};
pub use layers::Source;
pub use offset_reset::OffsetReset;
pub use quotas::{ConnectionCounts, ConnectionSettings, QuotaSettings};
pub use resolved::{
    BrokerSettings, CleanupPolicy, Compression, ShareCoordinatorSettings, StateTopic, TimestampType, TopicSettings,
    TransactionSettings,
};
pub use setting::{Entity, Op, Setting, SettingError, SettingType, Status, UpdateMode};
pub use throttle::ThrottledReplicas;
pub use topic::SETTINGS as TOPIC_SETTINGS;

/// Settings by name, as they stand in a spec or a request.
pub type Config = BTreeMap<String, String>;

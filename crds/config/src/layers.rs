//! Where a value comes from: a topic's override, else the broker's own setting, else that of all brokers, else one
//! that stands in for it, else the default.

use crate::Config;
use crate::setting::{Entity, Setting, Value};

/// Where a value comes from; the numbers are DescribeConfigs'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own override.
    Topic = 1,
    /// This broker's own setting, which it follows while it runs.
    DynamicBroker = 2,
    /// The cluster's setting, which brokers follow while they run.
    DynamicDefaultBroker = 3,
    /// The cluster's setting, or a fact of this broker, read when it starts.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
    /// The group's own setting.
    Group = 8,
}

/// What a broker was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// The settings of all brokers.
    pub cluster: Config,
    /// The broker's own.
    pub own: Config,
}

/// The settings that a topic or a group has for itself.
#[derive(Clone, Copy)]
pub(crate) struct Overrides<'a> {
    pub source: Source,
    pub config: &'a Config,
}

impl Overrides<'_> {
    pub(crate) fn of_topic(config: &Config) -> Overrides<'_> {
        Overrides { source: Source::Topic, config }
    }

    pub(crate) fn of_group(config: &Config) -> Overrides<'_> {
        Overrides { source: Source::Group, config }
    }
}

/// A value that was set somewhere, or is a default.
pub(crate) struct Candidate {
    pub name: &'static str,
    pub value: Value,
    /// What one of it is worth in the setting that was asked for.
    pub unit: i64,
    pub source: Source,
}

/// The value in force; `None` is Kafka's null.
pub(crate) fn in_force(setting: &Setting, overrides: Option<Overrides<'_>>, broker: &Given) -> Option<Value> {
    match candidates(setting, overrides, broker).into_iter().next() {
        Some(Candidate { value: Value::Integer(value), unit, .. }) if value > 0 => {
            Some(Value::Integer(value.saturating_mul(unit)))
        }
        Some(candidate) => Some(candidate.value),
        None => setting.default_value(),
    }
}

/// Every value that the setting could take, the one in force first. Without `overrides` the setting is a broker's.
pub(crate) fn candidates(setting: &Setting, overrides: Option<Overrides<'_>>, broker: &Given) -> Vec<Candidate> {
    let mut found = Vec::new();
    match overrides {
        Some(Overrides { source, config }) => {
            if let Some(value) = given(setting, config) {
                found.push(Candidate { name: setting.name, value, unit: 1, source });
            }
        }
        None => push_broker_values(&mut found, setting, 1, broker),
    }
    for fallback in setting.fallbacks {
        let stand_in = Entity::Broker.setting(fallback.name).expect("a fallback is in the tables");
        push_broker_values(&mut found, &stand_in, fallback.unit, broker);
    }
    found
}

fn push_broker_values(found: &mut Vec<Candidate>, setting: &Setting, unit: i64, broker: &Given) {
    let name = setting.name;
    if let Some(value) = given(setting, &broker.own).filter(|_| setting.is_dynamic()) {
        found.push(Candidate { name, value, unit, source: Source::DynamicBroker });
    }
    if let Some(value) = given(setting, &broker.cluster) {
        let source = if setting.is_dynamic() { Source::DynamicDefaultBroker } else { Source::StaticBroker };
        found.push(Candidate { name, value, unit, source });
    }
    if let Some(value) = setting.default_value() {
        found.push(Candidate { name, value, unit, source: Source::Default });
    }
}

/// The value that was given, unless the checks refuse it.
fn given(setting: &Setting, config: &Config) -> Option<Value> {
    setting.accept(config.get(setting.name)?).ok()
}

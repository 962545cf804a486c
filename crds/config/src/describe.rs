//! Settings as DescribeConfigs tells them: every one there is, where its value comes from and what else it could be.

use std::collections::BTreeMap;

use crate::Config;
use crate::layers::{Candidate, candidates, in_force};
use crate::resolved::BrokerSettings;
use crate::setting::{Entity, Kind, Setting, Value};
use crate::throttle::THROTTLE_RATES;

/// One setting of a topic or a broker. Sorted by name: Kafka's own order is that of a hash table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Kafka's name for it.
    pub name: &'static str,
    /// Its value; `None` is null, and hides what is sensitive.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether AlterConfigs is refused for it.
    pub read_only: bool,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    /// All values that it could have, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// Its type.
    pub kind: Kind,
    /// What it does, or why it cannot be set.
    pub documentation: &'static str,
}

/// A value that a setting has or could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Where it was set: a topic's `retention.ms` may come from `log.retention.hours`.
    pub name: &'static str,
    /// The value, in that setting's unit.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from; the numbers are DescribeConfigs'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own override.
    Topic = 1,
    /// This broker's setting, which it follows while it runs.
    DynamicBroker = 2,
    /// The cluster's setting, which brokers follow while they run.
    DynamicDefaultBroker = 3,
    /// The cluster's setting, or a fact of this broker, read when it starts.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
}

/// All settings of a topic with these overrides.
pub fn describe_topic(overrides: &Config, broker: &BrokerSettings) -> Vec<Described> {
    Entity::Topic.settings().values().map(|setting| describe(setting, Some(overrides), &broker.config)).collect()
}

/// All settings of a broker. The `facts` are what the broker is rather than what it was told (`node.id`, `log.dirs`,
/// `listeners`, ...).
pub fn describe_broker(broker: &BrokerSettings, facts: &BTreeMap<&str, String>) -> Vec<Described> {
    let mut described = describe_brokers(broker);
    for setting in &mut described {
        if let Some(fact) = facts.get(setting.name) {
            let synonym = Synonym { name: setting.name, value: Some(fact.clone()), source: Source::StaticBroker };
            setting.value = Some(fact.clone());
            setting.source = Source::StaticBroker;
            setting.synonyms.insert(0, synonym);
        }
        if THROTTLE_RATES.contains(&setting.name) {
            // Kafka's tools set and clear them broker by broker, and clear only what they are shown so.
            setting.source = Source::DynamicBroker;
            setting.synonyms.iter_mut().for_each(|synonym| synonym.source = Source::DynamicBroker);
        }
    }
    described
}

/// The settings that hold for all brokers together, as Kafka describes the broker without a name: only those that are
/// set and can change while brokers run.
pub fn describe_cluster(broker: &BrokerSettings) -> Vec<Described> {
    let mut described = describe_brokers(broker);
    described
        .retain(|setting| broker.config.contains_key(setting.name) && setting.source == Source::DynamicDefaultBroker);
    for setting in &mut described {
        setting.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
    }
    described
}

fn describe_brokers(broker: &BrokerSettings) -> Vec<Described> {
    let mut described: Vec<Described> =
        Entity::Broker.settings().values().map(|setting| describe(setting, None, &broker.config)).collect();
    described.retain_mut(|setting| {
        if THROTTLE_RATES.contains(&setting.name) {
            // Where they are not set Kafka does not know them here, nor what they would be.
            setting.synonyms.retain(|synonym| synonym.source != Source::Default);
            return !setting.synonyms.is_empty();
        }
        true
    });
    described
}

fn describe(setting: &Setting, overrides: Option<&Config>, broker: &Config) -> Described {
    let mut candidates = candidates(setting, overrides, broker);
    let value = match overrides {
        Some(_) => in_force(setting, overrides, broker),
        // A broker's log.retention.ms stays null where log.retention.hours stands in for it.
        None => candidates.first().filter(|first| first.name == setting.name).map(|first| first.value.clone()),
    };
    // Kafka tells of broker settings only if the nearest of them has a value: nothing of log.retention.hours while
    // log.retention.ms is null.
    let nearest = match overrides {
        Some(_) => setting.fallbacks.first().map(|fallback| fallback.name),
        None => Some(setting.name),
    };
    let tells = candidates.iter().any(|candidate| Some(candidate.name) == nearest);
    candidates.retain(|candidate| tells || candidate.source == Source::Topic);

    let show = |value: Value| (!setting.is_sensitive()).then(|| value.to_string());
    Described {
        name: setting.name,
        value: value.and_then(show),
        source: candidates.first().map_or(Source::Default, |first| first.source),
        read_only: !setting.dynamic,
        sensitive: setting.is_sensitive(),
        synonyms: candidates
            .into_iter()
            .map(|Candidate { name, value, source, .. }| Synonym { name, value: show(value), source })
            .collect(),
        kind: setting.kind,
        documentation: setting.documentation(),
    }
}

//! Settings as DescribeConfigs shows them: every one there is, where its value comes from and what else it could be.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::Config;
use crate::layers::{Candidate, Given, Overrides, Source, candidates, in_force};
use crate::resolved::BrokerSettings;
use crate::setting::{Entity, LISTENER_PREFIX, Setting, SettingType, UpdateMode, Value};
use crate::throttle::QUOTAS;

/// One setting of a topic, a broker, a group or a subscription to clients' metrics. Sorted by name: Kafka's own order
/// is that of a hash table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Kafka's name for it.
    pub name: Cow<'static, str>,
    /// Its value; `None` is null, and hides what is sensitive.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether no request can give it another value.
    pub read_only: bool,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    /// All values that it could have, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// Its type.
    pub kind: SettingType,
    /// What it does, or why it cannot be set.
    pub documentation: &'static str,
}

/// A value that a setting has or could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Where it was set: a topic's `retention.ms` may come from `log.retention.hours`.
    pub name: Cow<'static, str>,
    /// The value, in that setting's unit; `None`: it has no value.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// All settings of a topic with these overrides.
pub fn describe_topic(overrides: &Config, broker: &BrokerSettings) -> Vec<Described> {
    let settings = Entity::Topic.settings().values();
    let described = settings.filter(|setting| setting.listed || overrides.contains_key(setting.name));
    described.map(|setting| describe(setting, Some(Overrides::of_topic(overrides)), &broker.given)).collect()
}

/// All settings of a broker. The `facts` are properties of the broker that no setting sets (`node.id`, `log.dirs`,
/// `listeners`, ...).
pub fn describe_broker(broker: &BrokerSettings, facts: &BTreeMap<&str, String>) -> Vec<Described> {
    let mut described = describe_brokers(&broker.given);
    for setting in &mut described {
        if let Some(fact) = facts.get(&*setting.name) {
            let (name, value) = (setting.name.clone(), Some(fact.clone()));
            setting.value = value.clone();
            setting.source = Source::StaticBroker;
            setting.synonyms.insert(0, Synonym { name, value, source: Source::StaticBroker });
        }
    }
    described
}

/// The settings that hold for all brokers together, as Kafka describes the broker without a name: only those that are
/// set and can change while brokers run.
pub fn describe_cluster(broker: &BrokerSettings) -> Vec<Described> {
    let together = Given { cluster: broker.given.cluster.clone(), own: Config::new() };
    let mut described = describe_brokers(&together);
    described.retain(|setting| {
        together.cluster.contains_key(&*setting.name) && setting.source == Source::DynamicDefaultBroker
    });
    for setting in &mut described {
        setting.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
    }
    described
}

/// All settings of a group that has some of its own.
pub fn describe_group(own: &Config, broker: &BrokerSettings) -> Vec<Described> {
    let described = Entity::Group.settings().values().map(|setting| {
        let mut described = describe(setting, Some(Overrides::of_group(own)), &broker.given);
        if setting.fallbacks.is_empty() {
            let value = described.value.clone();
            described.synonyms.push(Synonym { name: setting.name.into(), value, source: Source::Default });
        }
        described
    });
    described.collect()
}

/// All settings of a subscription to clients' metrics, of which there are none: Kafka describes any name.
pub fn describe_client_metrics() -> Vec<Described> {
    let settings = Entity::ClientMetrics.settings().values();
    let none = Config::new();
    settings.map(|setting| describe(setting, Some(Overrides::of_topic(&none)), &Given::default())).collect()
}

fn describe_brokers(given: &Given) -> Vec<Described> {
    let is_given = |name: &str| given.cluster.contains_key(name) || given.own.contains_key(name);
    let settings = Entity::Broker.settings().values().filter(|setting| setting.listed || is_given(setting.name));
    let mut described: Vec<Described> = settings.map(|setting| describe(setting, None, given)).collect();
    for setting in described.iter_mut().filter(|setting| QUOTAS.contains(&&*setting.name)) {
        // Kafka does not know here what they would be if they were not set.
        setting.synonyms.retain(|synonym| synonym.source != Source::Default);
    }
    described.extend(describe_single_listeners(given));
    described.sort_by(|a, b| a.name.cmp(&b.name));
    described
}

/// The settings of single listeners, which Kafka describes where they are set: each beside that of all listeners.
fn describe_single_listeners(given: &Given) -> Vec<Described> {
    let mut names: Vec<&String> =
        given.cluster.keys().chain(given.own.keys()).filter(|name| name.starts_with(LISTENER_PREFIX)).collect();
    names.sort();
    names.dedup();
    let mut described = Vec::new();
    for name in names {
        let Ok(setting) = Entity::Broker.setting(name) else { continue };
        let of_all = describe(&setting, None, given);
        let of_cluster = match setting.update_mode {
            UpdateMode::ClusterWide => Source::DynamicDefaultBroker,
            UpdateMode::ReadOnly | UpdateMode::PerBroker => Source::StaticBroker,
        };
        let levels = [(&given.own, Source::DynamicBroker), (&given.cluster, of_cluster)];
        let set = levels.into_iter().filter_map(|(config, source)| {
            let value = config.get(name).filter(|value| setting.check(value).is_ok())?;
            let value = (!setting.is_sensitive()).then(|| value.trim().to_owned());
            Some(Synonym { name: name.clone().into(), value, source })
        });
        let mut synonyms: Vec<Synonym> = set.collect();
        let Some(first) = synonyms.first().cloned() else { continue };
        synonyms.extend(of_all.synonyms.clone());
        described.push(Described { name: first.name, value: first.value, source: first.source, synonyms, ..of_all });
    }
    described
}

fn describe(setting: &Setting, overrides: Option<Overrides<'_>>, broker: &Given) -> Described {
    let mut candidates = candidates(setting, overrides, broker);
    let value = match overrides {
        Some(_) => in_force(setting, overrides, broker),
        // A broker's log.retention.ms stays null where log.retention.hours stands in for it.
        None => candidates.first().filter(|first| first.name == setting.name).map(|first| first.value.clone()),
    };
    // Kafka shows broker settings only if the nearest of them has a value: nothing of log.retention.hours while
    // log.retention.ms is null.
    let nearest = match overrides {
        Some(_) => setting.fallbacks.first().map(|fallback| fallback.name),
        None => Some(setting.name),
    };
    let tells = candidates.iter().any(|candidate| Some(candidate.name) == nearest);
    candidates.retain(|candidate| tells || overrides.is_some_and(|overrides| overrides.source == candidate.source));

    // The settings of topics and groups can all be given: those that are fixed take the value that they have.
    let is_read_only = overrides.is_none() && setting.is_read_only();
    let show = |value: Value| (!setting.is_sensitive()).then(|| value.to_string());
    Described {
        name: setting.name.into(),
        value: value.and_then(show),
        source: candidates.first().map_or(Source::Default, |first| first.source),
        read_only: is_read_only,
        sensitive: setting.is_sensitive(),
        synonyms: candidates
            .into_iter()
            .map(|Candidate { name, value, source, .. }| Synonym { name: name.into(), value: show(value), source })
            .collect(),
        kind: setting.kind,
        documentation: setting.documentation(),
    }
}

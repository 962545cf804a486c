//! The changes of IncrementalAlterConfigs: all of them, or none and the reason.

use std::collections::BTreeSet;
use std::fmt;

use crate::Config;
use crate::checks::{check_broker_config, check_each, check_group_config, check_own_config, check_topic_config};
use crate::layers::{Given, Overrides, in_force};
use crate::resolved::BrokerSettings;
use crate::setting::{Entity, Op, SettingError, SettingType, UpdateMode, Value};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Set => "SET",
            Op::Delete => "DELETE",
            Op::Append => "APPEND",
            Op::Subtract => "SUBTRACT",
        })
    }
}

/// A change: the setting's name, and the value that all but [`Op::Delete`] need.
pub type SettingChange<'a> = (Op, &'a str, Option<&'a str>);

/// A topic's overrides after the changes.
pub fn alter_topic(
    overrides: &Config,
    changes: &[SettingChange<'_>],
    broker: &BrokerSettings,
) -> Result<Config, SettingError> {
    let altered = alter(Entity::Topic, overrides, changes, |name| {
        let setting = Entity::Topic.setting(name).ok()?;
        in_force(&setting, Some(Overrides::of_topic(overrides)), &broker.given)
    })?;
    check_topic_config(&altered, broker)?;
    Ok(altered)
}

/// The settings of all brokers together after the changes.
pub fn alter_broker(config: &Config, changes: &[SettingChange<'_>]) -> Result<Config, SettingError> {
    check_dynamic(changes)?;
    for (_, name, _) in changes {
        if Entity::Broker.setting(name).is_ok_and(|setting| setting.update_mode == UpdateMode::PerBroker) {
            return Err(SettingError::PerBroker { name: (*name).to_owned() });
        }
    }
    let given = Given { cluster: config.clone(), own: Config::new() };
    let altered = alter(Entity::Broker, config, changes, |name| {
        let setting = Entity::Broker.setting(name).ok()?;
        in_force(&setting, None, &given)
    })?;
    check_broker_config(&altered)?;
    Ok(altered)
}

/// A broker's own settings, which are `own` before the changes, after them.
pub fn alter_one_broker(
    broker: &BrokerSettings,
    own: &Config,
    changes: &[SettingChange<'_>],
) -> Result<Config, SettingError> {
    check_dynamic(changes)?;
    let given = Given { cluster: broker.given.cluster.clone(), own: own.clone() };
    let altered = alter(Entity::Broker, own, changes, |name| {
        let setting = Entity::Broker.setting(name).ok()?;
        in_force(&setting, None, &given)
    })?;
    check_own_config(&given.cluster, &altered)?;
    Ok(altered)
}

/// A group's own settings after the changes.
pub fn alter_group(
    own: &Config,
    changes: &[SettingChange<'_>],
    broker: &BrokerSettings,
) -> Result<Config, SettingError> {
    let altered = alter(Entity::Group, own, changes, |name| {
        let setting = Entity::Group.setting(name).ok()?;
        in_force(&setting, Some(Overrides::of_group(own)), &broker.given)
    })?;
    check_group_config(&altered, broker)?;
    Ok(altered)
}

/// Whether a subscription to clients' metrics may be changed so: nothing keeps its settings, because nothing would obey
/// them, so only what changes nothing is accepted.
pub fn check_client_metrics(changes: &[SettingChange<'_>]) -> Result<(), SettingError> {
    let entity = Entity::ClientMetrics;
    let altered = alter(entity, &Config::new(), changes, |name| entity.setting(name).ok()?.default_value())?;
    check_each(entity, &altered)
}

fn check_dynamic(changes: &[SettingChange<'_>]) -> Result<(), SettingError> {
    for (_, name, _) in changes {
        if Entity::Broker.setting(name).is_ok_and(|setting| !setting.is_dynamic()) {
            return Err(SettingError::ReadOnly { name: (*name).to_owned() });
        }
    }
    Ok(())
}

fn alter(
    entity: Entity,
    current: &Config,
    changes: &[SettingChange<'_>],
    in_force: impl Fn(&str) -> Option<Value>,
) -> Result<Config, SettingError> {
    let mut names = BTreeSet::new();
    if !changes.iter().all(|(_, name, _)| names.insert(*name)) {
        return Err(SettingError::Duplicate);
    }
    let mut altered = current.clone();
    for &(op, name, value) in changes {
        let value = value.ok_or_else(|| SettingError::Null { name: name.to_owned() });
        let new = match op {
            Op::Delete => {
                altered.remove(name);
                continue;
            }
            Op::Set => value?.to_owned(),
            Op::Append | Op::Subtract => {
                let not_a_list = || SettingError::NotAList { op, name: name.to_owned() };
                let setting = entity.setting(name).map_err(|_| not_a_list())?;
                if setting.kind != SettingType::List {
                    return Err(not_a_list());
                }
                let members = match in_force(name) {
                    Some(Value::List(members)) => members,
                    _ => Vec::new(),
                };
                change_list(op, members, value?).join(",")
            }
        };
        altered.insert(name.to_owned(), new);
    }
    Ok(altered)
}

/// The list with members added or taken away. The checks that follow refuse members that it may not have.
fn change_list(op: Op, mut members: Vec<String>, value: &str) -> Vec<String> {
    let mentioned: Vec<&str> = value.split(',').map(str::trim).collect();
    if op == Op::Subtract {
        members.retain(|member| !mentioned.contains(&member.as_str()));
        return members;
    }
    for member in mentioned {
        if !members.iter().any(|known| known == member) {
            members.push(member.to_owned());
        }
    }
    members
}

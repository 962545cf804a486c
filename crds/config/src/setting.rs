//! One setting: its name, type and default, the values that are accepted, and whether anything obeys it.
//!
//! Texts of refusals are Kafka's, as its command-line users know them.

use std::collections::BTreeMap;
use std::fmt;

use crate::counts;
use crate::offset_reset::OffsetReset;
use crate::throttle::ThrottledReplicas;

/// A setting of a topic or of brokers.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name for it.
    pub name: &'static str,
    /// What its value is.
    pub kind: SettingType,
    /// Its value when nobody sets it; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// The values that Kafka accepts.
    pub(crate) valid: Valid,
    /// The broker settings that stand in for it when it is not set, nearest first.
    pub(crate) fallbacks: &'static [Fallback],
    /// Whether and for whom it can be changed while brokers run.
    pub update_mode: UpdateMode,
    /// Whether it is described where nobody has set it. Kafka hides its internal settings and its throttles' rates.
    pub listed: bool,
    /// Whether it is obeyed.
    pub status: Status,
}

/// Whether a setting can be changed while brokers run: the "Update Mode" of Kafka's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Brokers read it when they start.
    ReadOnly,
    /// It can be changed for one broker, not for all together.
    PerBroker,
    /// It can be changed for all brokers together, and for one.
    ClusterWide,
}

/// The type of a setting; the numbers are DescribeConfigs'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are Kafka's types, by name")]
#[repr(i8)]
pub enum SettingType {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// Whether a setting is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Every accepted value is obeyed; here is what it does.
    Enforced(&'static str),
    /// Only the default is accepted: it is what happens, or it changes nothing; here is why.
    Fixed(&'static str),
    /// Described, because Kafka describes it, but never accepted: another option does its job; here is which.
    Elsewhere(&'static str),
}

/// The values that Kafka accepts for a setting, beyond what its type says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Valid {
    Any,
    Min(i64),
    Range(i64, i64),
    /// At least the first, or exactly the second.
    MinOr(i64, i64),
    /// From the first to the second, or exactly the third.
    RangeOr(i64, i64, i64),
    Ratio,
    OneOf(&'static [&'static str]),
    /// One of these, which are in lower case, in any case (Kafka's CaseInsensitiveValidString).
    OneOfInAnyCase(&'static [&'static str]),
    /// `partition:broker` each, or one `*`; empty members mean nothing (Kafka's ThrottledReplicaListValidator).
    Replicas,
    /// `latest`, `earliest` or `by_duration:` and an ISO 8601 duration (Kafka's ShareGroupAutoOffsetResetStrategy).
    OffsetReset,
    /// `address:count` each (Kafka's `max.connections.per.ip.overrides`, but for names of hosts).
    CountsByAddress,
}

/// What every setting of one listener begins with: `listener.name.<listener>.<setting>`.
pub(crate) const LISTENER_PREFIX: &str = "listener.name.";
/// The settings that a listener can have for itself.
pub(crate) const OF_LISTENERS: [&str; 2] = ["max.connections", "max.connection.creation.rate"];
const NOT_PER_LISTENER: &str = "one listener can not have its own value; set it for all listeners, without listener.name and the \
    listener's name";

/// A broker setting that stands in for another setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallback {
    pub name: &'static str,
    /// Its unit in units of the setting that it stands in for.
    pub unit: i64,
}

impl Fallback {
    pub(crate) const fn same(name: &'static str) -> Fallback {
        Fallback { name, unit: 1 }
    }

    pub(crate) const fn in_unit(unit: i64, name: &'static str) -> Fallback {
        Fallback { name, unit }
    }
}

/// What settings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A topic.
    Topic,
    /// The brokers of a cluster.
    Broker,
    /// A group.
    Group,
    /// A subscription to clients' metrics (KIP-714).
    ClientMetrics,
}

/// A value read by its setting's type. Its text is the one that DescribeConfigs shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// What is done to a setting; the numbers are IncrementalAlterConfigs'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Op {
    /// Give it this value.
    Set = 0,
    /// Forget its value.
    Delete = 1,
    /// Add these members to the list.
    Append = 2,
    /// Take these members off the list.
    Subtract = 3,
}

impl TryFrom<i8> for Op {
    type Error = i8;

    /// The operation with this number, or the number back.
    fn try_from(code: i8) -> Result<Op, i8> {
        [Op::Set, Op::Delete, Op::Append, Op::Subtract].into_iter().find(|op| *op as i8 == code).ok_or(code)
    }
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("Unknown {entity} config name: {name}")]
    Unknown {
        /// What was to have it.
        entity: Entity,
        /// The name asked for.
        name: String,
    },
    /// Kafka would refuse the value too.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The setting.
        name: String,
        /// The value asked for.
        value: String,
        /// What it should be.
        reason: String,
    },
    /// Nothing here would obey the value.
    #[error("{name}={value}: {reason}")]
    Unsupported {
        /// The setting.
        name: String,
        /// The value asked for.
        value: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// APPEND or SUBTRACT on a setting that is no list.
    #[error("Can't {op} to key {name} because its type is not LIST.")]
    NotAList {
        /// The operation.
        op: Op,
        /// The setting.
        name: String,
    },
    /// A broker setting that cannot change while brokers run.
    #[error("Cannot update these configs dynamically: [{name}]")]
    ReadOnly {
        /// The setting.
        name: String,
    },
    /// A broker setting that all brokers together can not have.
    #[error("Cannot update these configs at default cluster level, broker id must be specified: [{name}]")]
    PerBroker {
        /// The setting.
        name: String,
    },
    /// One request changes a setting twice. Kafka's code for it is INVALID_REQUEST.
    #[error("Error due to duplicate config keys")]
    Duplicate,
    /// A change without the value that it needs. Kafka's code for it is INVALID_REQUEST.
    #[error("Null value not supported for : {name}")]
    Null {
        /// The setting.
        name: String,
    },
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Entity::Topic => "topic",
            Entity::Broker => "broker",
            Entity::Group => "group",
            Entity::ClientMetrics => "client metrics",
        })
    }
}

impl Entity {
    /// All settings that it can have, by name.
    pub fn settings(self) -> &'static BTreeMap<&'static str, Setting> {
        match self {
            Entity::Topic => &crate::TOPIC_SETTINGS,
            Entity::Broker => &crate::BROKER_SETTINGS,
            Entity::Group => &crate::GROUP_SETTINGS,
            Entity::ClientMetrics => &crate::CLIENT_METRICS_SETTINGS,
        }
    }

    /// The setting of this name. One of a single listener is the setting of all, with its own rules.
    pub fn setting(self, name: &str) -> Result<Setting, SettingError> {
        let found = self.settings().get(name).copied();
        let found = found.or_else(|| (self == Entity::Broker).then(|| of_one_listener(name))?);
        found.ok_or_else(|| SettingError::Unknown { entity: self, name: name.to_owned() })
    }

    /// Whether it may have this setting with this value.
    pub(crate) fn check(self, name: &str, value: &str) -> Result<(), SettingError> {
        self.setting(name)?.check(value).map_err(|error| error.about(name))
    }
}

/// The setting that `listener.name.<listener>.<setting>`, or `listener.name.<listener>.<mechanism>.<setting>`, is
/// about.
fn of_one_listener(name: &str) -> Option<Setting> {
    let (_listener, rest) = name.strip_prefix(LISTENER_PREFIX)?.split_once('.')?;
    let of_mechanism = || rest.split_once('.').and_then(|(_mechanism, rest)| crate::BROKER_SETTINGS.get(rest));
    let setting = crate::BROKER_SETTINGS.get(rest).or_else(of_mechanism)?;
    // Kafka refuses to set these limits to 0, but not that of all listeners.
    let (status, valid) = match setting.status {
        status @ Status::Enforced(_) if OF_LISTENERS.contains(&rest) => (status, Valid::Min(1)),
        Status::Enforced(_) => (Status::Elsewhere(NOT_PER_LISTENER), setting.valid),
        status @ (Status::Fixed(_) | Status::Elsewhere(_)) => (status, setting.valid),
    };
    // Kafka takes them at the level of a single broker, but for its limits of connections.
    let update_mode = match setting.update_mode {
        UpdateMode::ClusterWide if !rest.starts_with("max.connection") && rest != "num.network.threads" => {
            UpdateMode::PerBroker
        }
        mode => mode,
    };
    Some(Setting { status, valid, update_mode, fallbacks: &[], listed: false, ..*setting })
}

impl SettingError {
    /// The same about the setting of one listener, where it is about that of all.
    fn about(mut self, full_name: &str) -> SettingError {
        if let SettingError::Invalid { name, .. } | SettingError::Unsupported { name, .. } = &mut self {
            full_name.clone_into(name);
        }
        self
    }
}

impl Setting {
    /// Whether the value is accepted.
    pub fn check(&self, value: &str) -> Result<(), SettingError> {
        self.accept(value).map(drop)
    }

    /// What it does, or why it cannot be set.
    pub fn documentation(&self) -> &'static str {
        match self.status {
            Status::Enforced(text) | Status::Fixed(text) | Status::Elsewhere(text) => text,
        }
    }

    /// Whether it can be changed while brokers run.
    pub fn is_dynamic(&self) -> bool {
        self.update_mode != UpdateMode::ReadOnly
    }

    /// Whether no request can give it another value: brokers read it when they start, or it has only one value.
    pub fn is_read_only(&self) -> bool {
        !self.is_dynamic() || !matches!(self.status, Status::Enforced(_))
    }

    /// Whether the value must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == SettingType::Password
    }

    /// The value, unless it is refused.
    pub(crate) fn accept(&self, raw: &str) -> Result<Value, SettingError> {
        let value = self.parse(raw)?;
        let refuse = |reason| {
            // Refusals end up in logs and conditions.
            let shown = if self.is_sensitive() { "[hidden]" } else { raw.trim() };
            Err(SettingError::Unsupported { name: self.name.to_owned(), value: shown.to_owned(), reason })
        };
        match self.status {
            Status::Enforced(_) => Ok(value),
            Status::Fixed(_) if Some(&value) == self.default_value().as_ref() => Ok(value),
            Status::Fixed(why) => match self.default {
                None => refuse(format!("{why}; leave it out")),
                Some("") => refuse(format!("{why}; it must stay empty")),
                Some(default) => refuse(format!("{why}; the only accepted value is {default}")),
            },
            Status::Elsewhere(where_) => refuse(where_.to_owned()),
        }
    }

    /// The default, if it is not null.
    pub(crate) fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.parse(text).expect("a default in the tables is valid"))
    }

    fn parse(&self, raw: &str) -> Result<Value, SettingError> {
        let raw = raw.trim();
        let invalid = |value: &str, reason: String| SettingError::Invalid {
            name: self.name.to_owned(),
            value: value.to_owned(),
            reason,
        };
        let not_a_number = || invalid(raw, format!("Not a number of type {}", self.kind));
        let value = match self.kind {
            SettingType::Boolean if raw.eq_ignore_ascii_case("true") => Value::Boolean(true),
            SettingType::Boolean if raw.eq_ignore_ascii_case("false") => Value::Boolean(false),
            SettingType::Boolean => return Err(invalid(raw, "Expected value to be either true or false".to_owned())),
            SettingType::Int => Value::Integer(raw.parse::<i32>().map_err(|_| not_a_number())?.into()),
            SettingType::Short => Value::Integer(raw.parse::<i16>().map_err(|_| not_a_number())?.into()),
            SettingType::Long => Value::Integer(raw.parse().map_err(|_| not_a_number())?),
            SettingType::Double => Value::Double(raw.parse().map_err(|_| not_a_number())?),
            SettingType::Text | SettingType::Class | SettingType::Password => Value::Text(raw.to_owned()),
            SettingType::List => Value::List(split_list(raw)),
        };
        match self.valid.refusal(self.name, &value) {
            Some((wrong, reason)) => Err(invalid(&wrong, reason)),
            None => Ok(value),
        }
    }
}

/// The members of a list, each once, in the order of their first mention.
fn split_list(raw: &str) -> Vec<String> {
    let mut members: Vec<String> = Vec::new();
    if raw.is_empty() {
        return members;
    }
    for member in raw.split(',').map(str::trim) {
        if !members.iter().any(|known| known == member) {
            members.push(member.to_owned());
        }
    }
    members
}

impl Valid {
    /// The part of the value of `name` that is wrong, and Kafka's words for it.
    fn refusal(self, name: &str, value: &Value) -> Option<(String, String)> {
        let reason = match (self, value) {
            (Valid::Min(min), Value::Integer(n)) if *n < min => format!("Value must be at least {min}"),
            (Valid::Range(min, _), Value::Integer(n)) if *n < min => format!("Value must be at least {min}"),
            (Valid::Range(_, max), Value::Integer(n)) if *n > max => format!("Value must be no more than {max}"),
            (Valid::MinOr(min, other), Value::Integer(n)) if *n < min && *n != other => {
                format!("Value must be at least {min} or equal to {other}")
            }
            (Valid::RangeOr(min, max, other), Value::Integer(n)) if !(min..=max).contains(n) && *n != other => {
                format!("Value must be between {min} and {max} or equal to {other}")
            }
            (Valid::Ratio, Value::Double(x)) if *x > 1.0 => "Value must be no more than 1".to_owned(),
            // The negated form also refuses "not a number", which Kafka lets through.
            (Valid::Ratio, Value::Double(x)) if !(0.0..=1.0).contains(x) => "Value must be at least 0".to_owned(),
            (Valid::OneOf(names), Value::Text(text)) if !names.contains(&text.as_str()) => one_of(names),
            (Valid::OneOfInAnyCase(names), Value::Text(text)) if !names.contains(&&*text.to_lowercase()) => {
                let names: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
                format!("String must be one of (case insensitive): {}", names.join(", "))
            }
            (Valid::OneOf(names), Value::List(members)) => {
                let wrong = members.iter().find(|member| !names.contains(&member.as_str()))?;
                return Some((wrong.clone(), one_of(names)));
            }
            (Valid::Replicas, Value::List(members)) if ThrottledReplicas::read(members).is_none() => {
                let format = "must be the literal '*' or a list of replicas in the following format: \
                    [partitionId]:[brokerId],[partitionId]:[brokerId],...";
                return Some((format!("[{}]", members.join(", ")), format!("{name} {format}")));
            }
            (Valid::CountsByAddress, Value::Text(text)) if counts::by_address(text).is_none() => {
                "must be a list in the following format: [address]:[count],[address]:[count],... Names of hosts are not \
                 resolved: give their addresses"
                    .to_owned()
            }
            (Valid::OffsetReset, Value::Text(text)) if OffsetReset::from_text(text).is_none() => format!(
                "Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest' or of \
                 the format 'by_duration:<PnDTnHnMn.nS>'."
            ),
            _ => return None,
        };
        Some((value.to_string(), reason))
    }
}

fn one_of(names: &[&str]) -> String {
    format!("String must be one of: {}", names.join(", "))
}

impl fmt::Display for SettingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SettingType::Boolean => "BOOLEAN",
            SettingType::Text => "STRING",
            SettingType::Int => "INT",
            SettingType::Short => "SHORT",
            SettingType::Long => "LONG",
            SettingType::Double => "DOUBLE",
            SettingType::List => "LIST",
            SettingType::Class => "CLASS",
            SettingType::Password => "PASSWORD",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            // As Java writes it: the debug form keeps ".0", and exponents have a large E.
            Value::Double(value) => format!("{value:?}").replace('e', "E").fmt(f),
            Value::Text(value) => value.fmt(f),
            Value::List(members) => members.join(",").fmt(f),
        }
    }
}

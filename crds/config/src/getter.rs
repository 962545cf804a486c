//! Reads settings in force by their types.

use std::time::Duration;

use crate::layers::{Given, Overrides, in_force};
use crate::setting::{Entity, Value};
use crate::throttle::ThrottledReplicas;

/// Reads settings by type. A name or a type that does not fit the tables is a bug of ours, found by any test.
pub(crate) struct Getter<'a> {
    pub(crate) entity: Entity,
    /// What the topic or the group sets for itself; `None`: the settings of brokers are read.
    pub(crate) overrides: Option<Overrides<'a>>,
    pub(crate) broker: &'a Given,
}

impl Getter<'_> {
    pub(crate) fn value(&self, name: &str) -> Value {
        let setting = self.entity.setting(name).expect("the setting is in the tables");
        in_force(&setting, self.overrides, self.broker).expect("the setting has a default")
    }

    pub(crate) fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Integer(value) => value,
            other => unreachable!("{name} is a number, not {other:?}"),
        }
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, name: &str) -> T {
        T::try_from(self.integer(name)).ok().expect("the setting's valid values fit the field")
    }

    pub(crate) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    /// The value of a setting that limits something; `None`: no limit.
    pub(crate) fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.integer(name)).ok().filter(|&limit| limit != i64::MAX as u64)
    }

    /// The same for a setting in milliseconds.
    pub(crate) fn time_limit(&self, name: &str) -> Option<Duration> {
        self.limit(name).map(Duration::from_millis)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name) == Value::Boolean(true)
    }

    pub(crate) fn ratio(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Double(value) => value,
            other => unreachable!("{name} is a ratio, not {other:?}"),
        }
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        let setting = self.entity.setting(name).expect("the setting is in the tables");
        in_force(&setting, self.overrides, self.broker).is_some()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.value(name).to_string()
    }

    pub(crate) fn replicas(&self, name: &str) -> ThrottledReplicas {
        ThrottledReplicas::read(&self.list(name)).expect("a list that was accepted")
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(members) => members,
            other => unreachable!("{name} is a list, not {other:?}"),
        }
    }
}

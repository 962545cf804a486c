//! Quotas and limits of connections: the windows in which use is measured (KIP-13, KIP-599), and how many connections a
//! broker takes (KIP-402, KIP-612). Which client may use how much is not among the settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::counts;
use crate::getter::Getter;
use crate::setting::{Entity, LISTENER_PREFIX, OF_LISTENERS, Value};

const MAX: &str = OF_LISTENERS[0];
const PER_SECOND: &str = OF_LISTENERS[1];

/// The windows in which brokers measure what clients use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSettings {
    /// How many windows there are, with the present one: of bytes, time and connections.
    pub windows: u32,
    /// How long each is.
    pub window: Duration,
    /// The same, of changes of partitions.
    pub controller_windows: u32,
    /// How long each is.
    pub controller_window: Duration,
}

/// How many connections a broker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The limits of the broker, and of each listener without its own.
    pub of_broker: ConnectionCounts,
    /// The limits of single listeners, by their names; the broker's stand in for what is not set.
    listeners: BTreeMap<String, ConnectionCounts>,
    /// How many one address has at most; `None`: as many as come.
    pub max_per_address: Option<usize>,
    /// The same for single addresses.
    pub overrides: BTreeMap<IpAddr, usize>,
}

/// How many connections a broker or a listener has and takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// How many it has at most; `None`: as many as come.
    pub max: Option<usize>,
    /// How many it takes per second; `None`: as many as come.
    pub per_second: Option<u32>,
}

impl QuotaSettings {
    pub(crate) fn read(get: &Getter<'_>) -> QuotaSettings {
        let seconds = |name| Duration::from_secs(get.number(name));
        QuotaSettings {
            windows: get.number("quota.window.num"),
            window: seconds("quota.window.size.seconds"),
            controller_windows: get.number("controller.quota.window.num"),
            controller_window: seconds("controller.quota.window.size.seconds"),
        }
    }
}

impl ConnectionSettings {
    pub(crate) fn read(get: &Getter<'_>) -> ConnectionSettings {
        let of_broker = ConnectionCounts {
            max: limit(get.integer(MAX)).map(|max| max as usize),
            per_second: limit(get.integer(PER_SECOND)),
        };
        let mut listeners = BTreeMap::new();
        // A broker's own value counts, else that of all brokers: the later one stays.
        for (name, value) in get.broker.cluster.iter().chain(&get.broker.own) {
            let Some((listener, rest)) = name.strip_prefix(LISTENER_PREFIX).and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let setting = Entity::Broker.setting(name).ok();
            let Some(Value::Integer(value)) = setting.and_then(|setting| setting.accept(value).ok()) else { continue };
            let counts = listeners.entry(listener.to_owned()).or_insert(of_broker);
            match rest {
                MAX => counts.max = limit(value).map(|max| max as usize),
                PER_SECOND => counts.per_second = limit(value),
                _ => {}
            }
        }
        ConnectionSettings {
            of_broker,
            listeners,
            max_per_address: limit(get.integer("max.connections.per.ip")).map(|max| max as usize),
            overrides: counts::by_address(&get.text("max.connections.per.ip.overrides"))
                .expect("a list that was accepted"),
        }
    }

    /// The limits of the listener of this name by itself.
    pub fn of_listener(&self, name: &str) -> ConnectionCounts {
        self.listeners.get(name).copied().unwrap_or(self.of_broker)
    }
}

/// Kafka's "no limit" is the largest number.
fn limit(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|&limit| limit != i32::MAX as u32)
}

//! Quotas and limits of connections: the windows in which use is measured (KIP-13, KIP-599), and how many connections a
//! broker takes (KIP-402, KIP-612). Which client may use how much is not among the settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::counts;
use crate::getter::Getter;

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
    /// How many it has at most; `None`: as many as come. So for the others.
    pub max: Option<usize>,
    /// How many it takes per second.
    pub per_second: Option<u32>,
    /// How many one address has at most.
    pub max_per_address: Option<usize>,
    /// The same for single addresses.
    pub overrides: BTreeMap<IpAddr, usize>,
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
        // Kafka's "no limit" is the largest number.
        let limit = |name| Some(get.number(name)).filter(|&limit: &u32| limit != i32::MAX as u32);
        ConnectionSettings {
            max: limit("max.connections").map(|max| max as usize),
            per_second: limit("max.connection.creation.rate"),
            max_per_address: limit("max.connections.per.ip").map(|max| max as usize),
            overrides: counts::by_address(&get.text("max.connections.per.ip.overrides"))
                .expect("a list that was accepted"),
        }
    }
}

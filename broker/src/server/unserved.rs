//! Logs clients that use an API or a version that is not served: such a client only sees that its connection closes.
//!
//! The client connects and asks again, so there is one line per minute for each address and API, and none for addresses
//! beyond [`MOST`] that ask within a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ottla_wire::compatibility::KAFKA_4_3;

use crate::env::Instant;
use crate::handle::{Asked, Client};

/// The time between two lines about the same address and API.
const QUIET: Duration = Duration::from_secs(60);
/// How many addresses and APIs are remembered.
const MOST: usize = 256;

/// What was logged, and how often it happened since.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    said: HashMap<(IpAddr, i16), Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    since: u64,
}

impl Unserved {
    /// Logs who asked, unless the same was logged less than a minute ago.
    pub(crate) fn note(&mut self, now: Instant, client: &Client, asked: &Asked) {
        let address = client.peer().address;
        let Some(unsaid) = self.is_due(now, address.ip(), asked.key) else { return };
        let name =
            KAFKA_4_3.iter().find(|(key, ..)| *key == asked.key).map_or("unknown to Kafka 4.3", |(_, name, ..)| name);
        tracing::warn!(
            %address,
            client_id = asked.client_id.as_deref().unwrap_or_default(),
            software = client.software.as_deref().unwrap_or("unknown"),
            api = %format_args!("{name} ({})", asked.key),
            version = asked.version,
            unsaid,
            "closed the connection of a client that used an API or a version that is not served; README.md lists the \
            served ones"
        );
    }

    /// How often nothing was logged since the last line; `None` if no line is due.
    fn is_due(&mut self, now: Instant, address: IpAddr, key: i16) -> Option<u64> {
        if let Some(said) = self.said.get_mut(&(address, key)) {
            if now.duration_since(said.at) < QUIET {
                said.since += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.since));
        }
        if self.said.len() >= MOST {
            self.said.retain(|_, said| now.duration_since(said.at) < QUIET);
        }
        if self.said.len() >= MOST {
            return None;
        }
        self.said.insert((address, key), Said { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asks_again_and_again_is_spoken_of_once_a_minute() {
        let (mut unserved, start) = (Unserved::default(), crate::env::now());
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for (seconds, who, key, due) in [
            (0, 1, 25, Some(0)),
            (1, 1, 25, None),
            (2, 1, 26, Some(0)),
            (2, 2, 25, Some(0)),
            (59, 1, 25, None),
            (60, 1, 25, Some(2)),
            (61, 1, 25, None),
            (120, 1, 25, Some(1)),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(unserved.is_due(now, address(who), key), due, "{seconds} s, client {who}, API {key}");
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let (mut unserved, start) = (Unserved::default(), crate::env::now());
        let due =
            (0..1000).filter(|n| unserved.is_due(start, IpAddr::from(0x0a00_0000_u128.to_be_bytes()), *n).is_some());
        assert_eq!(due.count(), MOST);
        assert_eq!(unserved.is_due(start + QUIET, IpAddr::from([1, 1, 1, 1]), 1), Some(0));
        assert_eq!(unserved.said.len(), 1);
    }
}

//! Limits a repeated log line to one per minute: who is refused tries again, and again.
//!
//! Nothing is said of clients beyond [`MOST`] that come within a minute.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::env::Instant;

/// The time between two lines about the same.
const QUIET: Duration = Duration::from_secs(60);
/// How much is remembered.
const MOST: usize = 256;

/// What was said, and how often it happened since.
#[derive(Debug)]
pub(crate) struct Said<K> {
    all: HashMap<K, Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    since: u64,
}

impl<K> Default for Said<K> {
    fn default() -> Said<K> {
        Said { all: HashMap::new() }
    }
}

impl<K: Eq + Hash> Said<K> {
    /// How often nothing was said since the last line; `None` if no line is due.
    pub(crate) fn is_due(&mut self, now: Instant, key: K) -> Option<u64> {
        if let Some(last) = self.all.get_mut(&key) {
            if now.duration_since(last.at) < QUIET {
                last.since += 1;
                return None;
            }
            last.at = now;
            return Some(std::mem::take(&mut last.since));
        }
        if self.all.len() >= MOST {
            self.all.retain(|_, last| now.duration_since(last.at) < QUIET);
        }
        if self.all.len() >= MOST {
            return None;
        }
        self.all.insert(key, Last { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_client_that_asks_again_and_again_is_spoken_of_once_a_minute() {
        let (mut said, start) = (Said::default(), crate::env::now());
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
            assert_eq!(said.is_due(now, (address(who), key)), due, "{seconds} s, client {who}, API {key}");
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let (mut said, start) = (Said::default(), crate::env::now());
        assert_eq!((0..1000).filter(|n| said.is_due(start, *n).is_some()).count(), MOST);
        assert_eq!(said.is_due(start + QUIET, 1001), Some(0));
        assert_eq!(said.all.len(), 1);
    }
}

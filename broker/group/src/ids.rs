//! Names and small values that everything else is keyed by.
//!
//! Ids own their text: a shard outlives the request's frame, so it must not keep views into one.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(Arc::from(text))
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A group's name.
    GroupId
}
text_id! {
    /// A member's id, given by the coordinator. Empty in a request: not yet known.
    MemberId
}
text_id! {
    /// `group.instance.id`: the name that a static member keeps across restarts.
    InstanceId
}
text_id! {
    /// A topic's name.
    TopicName
}

/// A waiting connection, by the number its host gave it. Every ticket handed in is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The time, as an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since any fixed moment; never goes back. Time-outs are counted on it.
    pub monotonic: Duration,
    /// Milliseconds since the epoch, for what is written down.
    pub wall_ms: i64,
}

impl Now {
    /// How long ago this time was. A time in the future comes from another broker's clock, or from before this clock
    /// was set back. Nobody knows its age, so it counts as long ago.
    pub(crate) fn age_ms(&self, wall_ms: i64) -> i64 {
        let age_ms = self.wall_ms.saturating_sub(wall_ms);
        if age_ms < 0 { i64::MAX } else { age_ms }
    }
}

/// A transactional producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_future_counts_as_long_ago() {
        let now = Now { monotonic: Duration::ZERO, wall_ms: 1000 };
        for (wall_ms, age_ms) in [(1000, 0), (400, 600), (1001, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MAX)] {
            assert_eq!(now.age_ms(wall_ms), age_ms, "of {wall_ms}");
        }
    }
}

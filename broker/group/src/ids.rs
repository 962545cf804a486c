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

/// A transactional producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

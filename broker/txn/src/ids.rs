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
    /// `transactional.id`: the name that a producer keeps across restarts.
    TransactionalId
}
text_id! {
    /// A topic's name.
    TopicName
}

/// A partition, by its topic's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: i32,
}

/// A producer's identity. Of two with the same id, the one with the lower epoch is fenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerIdAndEpoch {
    /// At least 0.
    pub producer_id: i64,
    /// 0 to 32767; clients never get 32767.
    pub producer_epoch: i16,
}

/// A waiting connection, by the number its host gave it. Every ticket handed in is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The time, as an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since any fixed moment; never goes back. Deadlines of [`Shard::tick`](crate::Shard::tick) are on this scale.
    pub monotonic: Duration,
    /// Milliseconds since the epoch: what is written down, and what the age of a transaction is counted on, because a
    /// transaction outlives its coordinator.
    pub wall_ms: i64,
}

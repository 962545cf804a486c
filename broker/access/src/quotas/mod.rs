//! How much a client may do: Kafka's quotas (KIP-13, KIP-55, KIP-124, KIP-599, KIP-612), without sockets and clock.
//!
//! | module | its job |
//! |---|---|
//! | [`subject`] | whose quotas there are |
//! | [`change`] | what clients may ask to be changed |
//! | [`rules`] | which quota is in force for a client or an address, and which bucket counts its use |
//! | [`rate`] | bytes, time and connections per second, over the last windows |
//! | [`tokens`] | changes of partitions, from a bucket of tokens |
//! | [`connections`] | how many connections there are, and how fast they come |
//!
//! The time is an argument everywhere: the [`Duration`] since any start that is the same for all calls. As in Kafka its
//! resolution is the millisecond. Callers use one clock; a time before that of an earlier call counts as that of a
//! window that is still open.

pub mod change;
pub mod connections;
pub mod rate;
pub mod rules;
pub mod subject;
pub mod tokens;

use std::time::Duration;

pub use change::QuotaChange;
pub use connections::{ConnectionLimits, Connections, TurnedAway};
pub use rate::Rate;
pub use rules::{Bucket, QuotaRules, Quotas, Resource};
pub use subject::{Entity, Name, Subject};
pub use tokens::Tokens;

/// The windows over which use is measured (`quota.window.num` and `quota.window.size.seconds`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many there are: whole ones, and the present one. At least 1.
    pub count: u32,
    /// How long each is: at least a second.
    pub size: Duration,
}

impl Default for Windows {
    /// Ten whole windows of a second, and the present one.
    fn default() -> Windows {
        Windows { count: 11, size: Duration::from_secs(1) }
    }
}

impl Windows {
    /// The most that a bucket may take at once without being throttled, if it took nothing in its last windows.
    pub fn most_at_once(self, quota: f64) -> f64 {
        quota * f64::from(self.count.saturating_sub(1)) * self.size.as_secs_f64()
    }

    fn size_ms(self) -> i64 {
        millis(self.size).max(1)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Java's `Math.round` of milliseconds; negative is none, too large is the largest number of milliseconds that an
/// answer can name.
fn rounded_ms(ms: f64) -> Duration {
    Duration::from_millis((ms + 0.5).floor().clamp(0.0, f64::from(i32::MAX)) as u64)
}

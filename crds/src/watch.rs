//! How long a watch lives, and when one that broke begins anew.
//!
//! Until then a broker or an operator sees nothing: a few seconds at most, not the half minute that kube's own back-off grows to. And
//! never just when the others do: an API server that comes back must not be met by all of them at once.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::runtime::watcher::{Config, ExponentialBackoff};

const FIRST: Duration = Duration::from_millis(250);
/// A hundred brokers with three watches each try a hundred times a second then: half as often as they try to renew their Leases.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a watch lives. One that was cut without a word is missed a few seconds after that; a live one goes on where it was.
const WATCH_SECONDS: u32 = 60;

/// What every watch begins with.
pub fn config() -> Config {
    Config::default().timeout(WATCH_SECONDS)
}

/// The waits: a quarter of a second, twice as long after each further failure up to two seconds; to each comes up to as much again,
/// by chance. What is shown begins them anew.
pub fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).without_max_times().with_jitter().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_few_seconds_and_no_two_watches_keep_step() {
        let waits = || backoff().take(100).collect::<Vec<_>>();
        let (one, other) = (waits(), waits());
        assert!(one[0] >= FIRST && one[0] <= 2 * FIRST, "{:?}", one[0]);
        assert!(one[3..].iter().all(|wait| (LONGEST..=2 * LONGEST).contains(wait)), "{one:?}");
        assert_ne!(one, other);
    }
}

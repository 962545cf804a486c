//! Changes of partitions: a bucket of tokens (KIP-599). Kafka's `TokenBucket`, `StrictControllerMutationQuota` and
//! `PermissiveControllerMutationQuota`.

use std::time::Duration;

use super::{Windows, millis, rounded_ms};

/// One bucket. It is full at first, and may owe tokens: a change is admitted as a whole while none are owed.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    tokens: f64,
    updated_ms: i64,
}

impl Default for Tokens {
    fn default() -> Tokens {
        // More than any quota allows: the first refill makes it full.
        Tokens { tokens: f64::INFINITY, updated_ms: 0 }
    }
}

impl Tokens {
    /// Takes tokens for a change, unless some are owed.
    ///
    /// # Errors
    /// How long to wait until none are owed. Nothing was taken.
    pub fn take(&mut self, windows: Windows, quota: f64, tokens: f64, now: Duration) -> Result<(), Duration> {
        self.refill(windows, quota, now);
        if self.tokens < 0.0 {
            return Err(self.owed_for(quota));
        }
        self.tokens -= tokens;
        Ok(())
    }

    /// Takes tokens for a change that is made in any case. How long to wait until none are owed.
    pub fn take_anyway(&mut self, windows: Windows, quota: f64, tokens: f64, now: Duration) -> Duration {
        self.refill(windows, quota, now);
        self.tokens -= tokens;
        if self.tokens < 0.0 { self.owed_for(quota) } else { Duration::ZERO }
    }

    fn owed_for(&self, quota: f64) -> Duration {
        rounded_ms(-self.tokens / quota * 1000.0)
    }

    fn refill(&mut self, windows: Windows, quota: f64, now: Duration) {
        let most = f64::from(windows.count) * windows.size.as_secs_f64() * quota;
        let now_ms = millis(now);
        self.tokens = most.min(self.tokens + quota * ((now_ms - self.updated_ms) as f64 / 1000.0));
        self.updated_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: Windows = Windows { count: 11, size: Duration::from_secs(1) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_change_is_admitted_as_a_whole_while_nothing_is_owed() {
        // 2 per second, so at most 22.
        let mut bucket = Tokens::default();
        let mut take = |tokens, at| bucket.take(KAFKAS, 2.0, tokens, ms(at));
        assert_eq!(take(20.0, 50), Ok(()));
        assert_eq!(take(12.0, 50), Ok(()), "two are left, ten are owed now");
        assert_eq!(take(1.0, 50), Err(ms(5000)));
        assert_eq!(take(1.0, 3050), Err(ms(2000)));
        assert_eq!(take(3.0, 5050), Ok(()), "none are owed, none are left");
        assert_eq!(take(1.0, 5051), Err(ms(1499)));
    }

    #[test]
    fn what_is_done_anyway_is_owed_too() {
        let mut bucket = Tokens::default();
        let mut take = |tokens, at| bucket.take_anyway(KAFKAS, 2.0, tokens, ms(at));
        assert_eq!(take(22.0, 0), ms(0));
        assert_eq!(take(1.0, 0), ms(500));
        assert_eq!(take(2.0, 250), ms(1250));
    }

    #[test]
    fn it_is_never_fuller_than_full() {
        let mut bucket = Tokens::default();
        assert_eq!(bucket.take_anyway(KAFKAS, 2.0, 22.0, ms(0)), ms(0));
        assert_eq!(bucket.take_anyway(KAFKAS, 2.0, 23.0, ms(3_600_000)), ms(500));
        // A lower quota makes it smaller at once.
        let mut bucket = Tokens::default();
        assert_eq!(bucket.take_anyway(KAFKAS, 2.0, 0.0, ms(0)), ms(0));
        assert_eq!(bucket.take_anyway(KAFKAS, 1.0, 12.0, ms(0)), ms(1000));
    }
}

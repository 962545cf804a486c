//! How long to wait before the next try: longer after each failure, and never just as long as others wait.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// The failures so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure; says how long to wait: 1 s, 2 s, 4 s … 5 minutes, less up to a half by `jitter` (0 to 1).
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let whole = LONGEST.min(FIRST * 2u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..12).map(|_| backoff.failed(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.failed(1.0).as_secs(), 150);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(750));
    }
}

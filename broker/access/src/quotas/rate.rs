//! What is done per second, measured over the last windows: Kafka's `Rate` over `WindowedSum` (`SampledStat`), and
//! `QuotaUtils.throttleTime`.
//!
//! A window begins with the first use after the end of the one before, so windows need not touch each other. A window
//! counts until `count` windows have passed since its *last* use. The rate is the sum over the age of the oldest
//! window, which is padded to at least `count` − 1 whole windows: so a client that begins may use the quota of these at
//! once.

use std::time::Duration;

use super::{Windows, millis, rounded_ms};

/// The use of one bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rate {
    /// At most `count` + 1: one more, because the oldest may overlap the time that counts.
    windows: Vec<Window>,
    /// The place of the present one.
    present: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Window {
    start_ms: i64,
    last_ms: i64,
    sum: f64,
}

impl Window {
    fn at(now_ms: i64) -> Window {
        Window { start_ms: now_ms, last_ms: now_ms, sum: 0.0 }
    }
}

impl Rate {
    /// Counts a use; a negative one takes an earlier one back.
    pub fn record(&mut self, windows: Windows, value: f64, now: Duration) {
        let now_ms = millis(now);
        let present = self.present(windows, now_ms);
        present.sum += value;
        present.last_ms = now_ms;
    }

    /// How long a client must wait until its rate is down to `quota` again; zero: it is not above.
    pub fn throttle_time(&mut self, windows: Windows, quota: f64, now: Duration) -> Duration {
        let rate = self.per_second(windows, now);
        if rate <= quota {
            return Duration::ZERO;
        }
        rounded_ms((rate - quota) / quota * self.measured_ms(windows, millis(now)) as f64)
    }

    /// Use per second.
    pub fn per_second(&mut self, windows: Windows, now: Duration) -> f64 {
        let now_ms = millis(now);
        self.forget(windows, now_ms);
        let sum: f64 = self.windows.iter().map(|window| window.sum).sum();
        sum / (self.measured_ms(windows, now_ms) as f64 / 1000.0)
    }

    /// Over how many milliseconds the sum is spread.
    fn measured_ms(&self, windows: Windows, now_ms: i64) -> i64 {
        let oldest_ms = self.windows.iter().map(|window| window.start_ms).min().unwrap_or(now_ms);
        let age_ms = now_ms - oldest_ms;
        let whole = age_ms / windows.size_ms();
        let missing = (i64::from(windows.count) - 1 - whole).max(0);
        (age_ms + missing * windows.size_ms()).max(1)
    }

    fn present(&mut self, windows: Windows, now_ms: i64) -> &mut Window {
        if self.windows.is_empty() {
            self.windows.push(Window::at(now_ms));
        } else if now_ms - self.windows[self.present].start_ms >= windows.size_ms() {
            self.present = (self.present + 1) % (windows.count as usize + 1);
            if self.present >= self.windows.len() {
                self.present = self.windows.len();
                self.windows.push(Window::at(now_ms));
            } else {
                self.windows[self.present] = Window::at(now_ms);
            }
        }
        &mut self.windows[self.present]
    }

    /// Empties the windows whose last use is too long ago. They begin now, as in Kafka.
    fn forget(&mut self, windows: Windows, now_ms: i64) {
        let too_old = i64::from(windows.count) * windows.size_ms();
        for window in self.windows.iter_mut().filter(|window| now_ms - window.last_ms >= too_old) {
            *window = Window::at(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: Windows = Windows { count: 11, size: Duration::from_secs(1) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What happens at a millisecond, and the throttle time after it for a quota of 100 per second.
    fn play(uses: &[(u64, f64, u64)]) {
        let mut rate = Rate::default();
        for &(at, value, throttled) in uses {
            rate.record(KAFKAS, value, ms(at));
            assert_eq!(rate.throttle_time(KAFKAS, 100.0, ms(at)), ms(throttled), "after {value} at {at}");
        }
    }

    #[test]
    fn a_client_that_begins_may_use_ten_windows_at_once() {
        // W = 10,000 ms. 1,000 / 10 s is 100; 1,001 / 10 s is 100.1: 0.1 / 100 × 10,000 ms.
        play(&[(5, 1000.0, 0), (5, 1.0, 10)]);
        play(&[(5, 3000.0, 20_000)]);
    }

    #[test]
    fn the_rate_is_spread_over_the_age_of_the_oldest_window() {
        // At 2,500 the oldest is 2,500 old and has 2 whole windows, so W = 2,500 + 8 × 1,000 = 10,500: 1,100 / 10.5 s
        // is 104.76, which is 4.76 % too much of 10,500 ms.
        play(&[(0, 500.0, 0), (1000, 500.0, 0), (2500, 100.0, 500)]);
    }

    #[test]
    fn a_window_counts_until_eleven_have_passed_since_its_last_use() {
        // At 900, W = 900 + 10 × 1,000. Used last at 900: at 11,899 it counts, W = 11,899; at 11,900 it is empty.
        play(&[(0, 1.0, 0), (900, 1188.9, 999), (11_899, 1.0, 10), (11_900, 0.0, 0)]);
    }

    #[test]
    fn use_that_is_taken_back_did_not_happen() {
        play(&[(0, 900.0, 0), (10, 300.0, 1990), (10, -300.0, 0), (20, 100.0, 0)]);
    }

    #[test]
    fn nobody_waits_for_longer_than_an_answer_can_say() {
        let mut rate = Rate::default();
        rate.record(KAFKAS, f64::MAX, ms(0));
        assert_eq!(rate.throttle_time(KAFKAS, 1.0, ms(0)), ms(i32::MAX as u64));
        assert_eq!(rate.throttle_time(KAFKAS, 0.0, ms(0)), ms(i32::MAX as u64));
    }

    #[test]
    fn one_window_is_the_present_one_alone() {
        let one = Windows { count: 1, size: Duration::from_secs(2) };
        let mut rate = Rate::default();
        rate.record(one, 3.0, ms(7));
        // Its age is zero, which counts as a millisecond.
        assert_eq!(rate.per_second(one, ms(7)), 3000.0);
        assert_eq!(rate.per_second(one, ms(1007)), 3.0);
        assert_eq!(rate.per_second(one, ms(2007)), 0.0);
    }
}

//! The longest time that a producer spent without an acknowledgement, and when: brokers' logs say what happened then.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest time without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How long it was.
    pub length: Duration,
    /// The producer, in the order in which they began.
    producer: usize,
    /// When the next acknowledgement came.
    ended: SystemTime,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_1970 = self.ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (minutes, seconds) = ((since_1970 / 60.0) as u64 % 1440, since_1970 % 60.0);
        let (hour, minute) = (minutes / 60, minutes % 60);
        write!(f, "{:.3?} of producer {} until {hour:02}:{minute:02}:{seconds:04.1} UTC", self.length, self.producer)
    }
}

/// The pauses of one producer.
pub struct Pauses {
    last: Instant,
    longest: Pause,
}

impl Pauses {
    pub fn of(producer: usize) -> Pauses {
        let longest = Pause { length: Duration::ZERO, producer, ended: SystemTime::now() };
        Pauses { last: Instant::now(), longest }
    }

    /// Forgets what was before.
    pub fn begin_again(&mut self) {
        *self = Pauses::of(self.longest.producer);
    }

    /// An acknowledgement has come.
    pub fn end(&mut self) {
        let length = self.last.elapsed();
        if length > self.longest.length {
            self.longest = Pause { length, ended: SystemTime::now(), ..self.longest };
        }
        self.last = Instant::now();
    }

    pub fn longest(&self) -> Pause {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_whose_it_was_and_until_when() {
        let ended = UNIX_EPOCH + Duration::from_millis(86_400_000 + 3_600_000 + 125_250);
        let pause = Pause { length: Duration::from_millis(14_002), producer: 2, ended };
        assert_eq!(pause.to_string(), "14.002s of producer 2 until 01:02:05.2 UTC");
    }
}

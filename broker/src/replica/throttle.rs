//! How fast replicas that are not in sync may be copied, where an administrator has set a rate (KIP-73), or the
//! operator has for replicas that move.
//!
//! What counts is decided elsewhere: a partition that its topic lists, or that moves, copied to a replica outside of
//! the ISR. Those in it are never slowed down: what is to be acknowledged waits for them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Instant;

/// What may pass at once after a pause, as time at the rate. Longer than a follower's fetch waits at its leader by
/// default, so that nothing of the rate is lost meanwhile.
const BURST: Duration = Duration::from_secs(1);
/// Less than this is no room: who copies slowly should not fetch batch by batch.
const STEP: Duration = Duration::from_millis(100);
/// The shortest pause and the longest: the rate may be another one by then.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// Which replicas outside of the ISR a follower throttles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// Those that their topics list, where `follower.replication.throttled.rate` is set.
    pub listed: bool,
    /// Those that reassignments add, where the operator has set a rate.
    pub added: bool,
}

/// Room for bytes: it grows at the rate. A batch comes whole even where there is less room; what was too much is made
/// up for before anything else passes.
#[derive(Debug)]
pub struct Throttle {
    /// Negative: so much passed too early.
    room: f64,
    /// When that was so.
    at: Instant,
}

impl Throttle {
    /// No room at first.
    pub fn new(now: Instant) -> Throttle {
        Throttle { room: 0.0, at: now }
    }

    /// How many bytes may pass now, at `rate` bytes per second.
    fn room(&mut self, rate: u64, now: Instant) -> usize {
        let rate = rate as f64;
        let gained = rate * now.saturating_duration_since(self.at).as_secs_f64();
        self.room = (self.room + gained).min(rate * BURST.as_secs_f64());
        self.at = self.at.max(now);
        if self.room < step(rate) { 0 } else { self.room as usize }
    }

    /// Where there is no room: how long to wait until there is, or until it is time to look again.
    pub fn pause(&self, rate: u64) -> Duration {
        let [shortest, longest] = PAUSES;
        let rate = rate as f64;
        // With a rate of nothing it never ends.
        let seconds = (step(rate) - self.room).max(0.0) / rate;
        Duration::try_from_secs_f64(seconds).unwrap_or(longest).clamp(shortest, longest)
    }
}

/// Room that is kept for what is under way, so that nobody else takes it too. What is not used is given back, at the
/// latest when this is dropped.
#[derive(Debug)]
pub struct Reserved {
    throttle: Arc<Mutex<Throttle>>,
    bytes: usize,
}

impl Reserved {
    /// All that there is now, at `rate` bytes per second.
    pub fn all(throttle: &Arc<Mutex<Throttle>>, rate: u64, now: Instant) -> Reserved {
        let mut locked = throttle.lock();
        let bytes = locked.room(rate, now);
        locked.room -= bytes as f64;
        Reserved { throttle: throttle.clone(), bytes }
    }

    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// So much of it will pass, or more.
    pub fn keep(&mut self, bytes: usize) {
        self.throttle.lock().room += self.bytes as f64 - bytes as f64;
        self.bytes = bytes;
    }

    /// So many bytes have passed.
    pub fn pass(mut self, bytes: usize) {
        self.keep(bytes);
        self.bytes = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.throttle.lock().room += self.bytes as f64;
    }
}

fn step(rate: f64) -> f64 {
    (rate * STEP.as_secs_f64()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn room_grows_at_the_rate_up_to_a_second_of_it() {
        for (rate, millis, room) in [
            (1000, 0, 0),
            (1000, 50, 0),
            (1000, 250, 250),
            (1000, 1000, 1000),
            (1000, 5000, 1000),
            (3, 200, 0),
            (3, 400, 1),
            (0, 60_000, 0),
        ] {
            let began = env::now();
            let mut throttle = Throttle::new(began);
            assert_eq!(throttle.room(rate, began + millis * MILLI), room, "{rate} bytes/s for {millis} ms");
        }
    }

    #[test]
    fn what_passes_too_early_is_made_up_for() {
        let began = env::now();
        let throttle = Arc::new(Mutex::new(Throttle::new(began)));
        let take = |rate, now| Reserved::all(&throttle, rate, now);
        let first = take(1000, began + 1000 * MILLI);
        assert_eq!(first.bytes(), 1000);
        first.pass(3500);
        for (millis, rate, room, pause) in [
            (1000, 1000, 0, 1000),
            (3000, 1000, 0, 600),
            (3500, 1000, 0, 100),
            (3600, 1000, 100, 1),
            (3600, 50, 50, 1),
            (9000, 1000, 1000, 1),
        ] {
            let now = began + millis * MILLI;
            assert_eq!(take(rate, now).bytes(), room, "at {millis} ms, {rate} bytes/s");
            assert_eq!(throttle.lock().pause(rate), pause * MILLI, "at {millis} ms, {rate} bytes/s");
        }
        take(1000, began + 9000 * MILLI).pass(2000);
        assert_eq!(throttle.lock().pause(0), 1000 * MILLI, "nothing passes, but the rate may change");
        assert_eq!(throttle.lock().pause(1_000_000), 101 * MILLI, "a higher rate holds at once");
    }

    #[test]
    fn what_one_has_taken_no_other_takes_until_it_is_given_back() {
        let began = env::now();
        let throttle = Arc::new(Mutex::new(Throttle::new(began)));
        let take = |millis: u32| Reserved::all(&throttle, 1000, began + millis * MILLI);
        let mut one = take(1000);
        assert_eq!((one.bytes(), take(1000).bytes()), (1000, 0));
        assert_eq!(take(1300).bytes(), 300, "room keeps growing meanwhile");
        one.keep(600);
        let other = take(1300);
        assert_eq!(other.bytes(), 700, "it needs less than there was");
        other.pass(200);
        one.pass(500);
        assert_eq!(take(1300).bytes(), 600, "what was not used comes back");
    }

    #[test]
    fn a_backlog_takes_its_size_over_the_rate() {
        let began = env::now();
        let (throttle, mut now) = (Arc::new(Mutex::new(Throttle::new(began))), began);
        for _batch in 0..100 {
            loop {
                let taken = Reserved::all(&throttle, 1000, now);
                if taken.bytes() > 0 {
                    taken.pass(300);
                    break;
                }
                now += throttle.lock().pause(1000);
            }
        }
        let took = now - began;
        assert!((29_000 * MILLI..31_000 * MILLI).contains(&took), "{took:?}");
    }
}

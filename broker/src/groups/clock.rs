//! The groups' time: now, and the sleep until the next of their deadlines.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ottla_group::Now;
use tokio::sync::Notify;

use crate::env::{self, Instant};

/// The time of all coordinators of a broker.
pub struct Clock {
    started: Instant,
    /// Until when the ticking task sleeps, in microseconds since `started`; all ones while it is looking around.
    sleeps_until: AtomicU64,
    sooner: Notify,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { started: env::now(), sleeps_until: AtomicU64::new(u64::MAX), sooner: Notify::new() }
    }

    /// The time, as groups are told it.
    pub fn now(&self) -> Now {
        Now { monotonic: env::now().duration_since(self.started), wall_ms: env::wall_clock_ms() }
    }

    /// A time that groups told, as others wait for it.
    pub fn at(&self, monotonic: Duration) -> Instant {
        self.started + monotonic
    }

    /// A group's next deadline may have moved: wakes the ticking task if it would sleep past it.
    pub fn wake_by(&self, deadline: Option<Duration>) {
        if deadline.is_some_and(|deadline| micros(deadline) < self.sleeps_until.load(SeqCst)) {
            self.sooner.notify_one();
        }
    }

    /// Sleeps until the deadline that `next` finds, or one that comes up sooner, at most until `latest`.
    pub async fn sleep(&self, latest: Instant, next: impl FnOnce() -> Option<Duration>) {
        // Until the new plan is known, whoever moves a deadline wakes us: `next` may already have passed by its group.
        self.sleeps_until.store(u64::MAX, SeqCst);
        let latest = latest.duration_since(self.started);
        let until = next().map_or(latest, |next| next.min(latest));
        self.sleeps_until.store(micros(until), SeqCst);
        tokio::select! {
            biased;
            () = self.sooner.notified() => {}
            () = env::sleep_until(self.started + until) => {}
        }
    }
}

fn micros(since_start: Duration) -> u64 {
    u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX)
}

//! The time of coordinators: now, and the sleep until the next of their deadlines.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

use super::machine::Now;
use crate::env::{self, Instant};

/// The time of all coordinators of one topic.
pub(crate) struct Clock {
    started: Instant,
    /// Until when the ticking task sleeps, in microseconds since `started`; all ones while it looks for the next
    /// deadline, or finds none.
    sleeps_until: AtomicU64,
    sooner: Notify,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Clock {
        Clock { started: env::now(), sleeps_until: AtomicU64::new(u64::MAX), sooner: Notify::new() }
    }

    /// The time, for machines.
    pub(crate) fn now(&self) -> Now {
        Now { monotonic: env::now().duration_since(self.started), wall_ms: env::wall_clock_ms() }
    }

    /// A machine's deadline, as a point on the clock.
    pub(crate) fn at(&self, monotonic: Duration) -> Instant {
        self.started + monotonic
    }

    /// A machine's next deadline may have moved: wakes the ticking task if it would sleep past it.
    pub(crate) fn wake_by(&self, deadline: Option<Duration>) {
        if deadline.is_some_and(|deadline| micros(deadline) < self.sleeps_until.load(SeqCst)) {
            self.sooner.notify_one();
        }
    }

    /// Sleeps until the deadline that `next` finds, or one that comes up sooner; `None`: only until one comes up.
    pub(crate) async fn sleep(&self, next: impl FnOnce() -> Option<Duration>) {
        // Until the new plan is known, a machine that moves its deadline wakes us: `next` may have passed it already.
        self.sleeps_until.store(u64::MAX, SeqCst);
        let next = next();
        self.sleeps_until.store(next.map_or(u64::MAX, micros), SeqCst);
        let due = async {
            match next {
                Some(next) => env::sleep_until(self.at(next)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.sooner.notified() => {}
            () = due => {}
        }
    }
}

fn micros(since_start: Duration) -> u64 {
    u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX)
}

//! The wall clock, for the transition times of conditions. No decision depends on it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The time of this machine, or the one that a simulation has set.
pub fn now() -> Time {
    #[cfg(feature = "simulated")]
    if let Some(now) = simulated::now() {
        return Time(now);
    }
    Time(Timestamp::now())
}

/// Hours of a simulation pass in seconds, and the same seed must write the same statuses each time.
#[cfg(feature = "simulated")]
pub mod simulated {
    use std::cell::Cell;

    use k8s_openapi::jiff::Timestamp;

    thread_local! {
        static NOW: Cell<Option<Timestamp>> = const { Cell::new(None) };
    }

    /// Sets the time of this thread.
    pub fn set(now: Timestamp) {
        NOW.set(Some(now));
    }

    pub(super) fn now() -> Option<Timestamp> {
        NOW.get()
    }
}

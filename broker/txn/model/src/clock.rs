//! Time stands still, but for jumps: whatever a time-out would allow may happen at any moment.

use std::time::Duration;

use ottla_txn::Now;

/// How long a transaction may be open.
pub(crate) const TIMEOUT_MS: i32 = 60_000;
/// A jump is longer than that.
const JUMP: Duration = Duration::from_secs(60 * 60);
/// Long enough for what could not be written to be written again, too short for a time-out.
const PAUSE: Duration = Duration::from_secs(1);

/// The time after so many jumps.
pub(crate) fn now(jumps: usize) -> Now {
    let monotonic = JUMP * u32::try_from(jumps).unwrap_or(u32::MAX);
    Now { monotonic, wall_ms: i64::try_from(monotonic.as_millis()).unwrap_or(i64::MAX) }
}

/// A moment later.
pub(crate) fn soon(jumps: usize) -> Now {
    let now = now(jumps);
    Now { monotonic: now.monotonic + PAUSE, wall_ms: now.wall_ms + 1_000 }
}

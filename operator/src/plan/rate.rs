//! How fast brokers may copy the replicas that moves add: as fast as clients do not notice.

/// What the brokers show while replicas are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Producers or disks wait much longer than in the hour before.
    pub slow: bool,
    /// A broker is silent, or a partition has fewer in-sync replicas than `min.insync.replicas`.
    pub endangered: bool,
}

/// The limits that the spec sets, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// The rate falls no further.
    pub min: u64,
    /// The rate rises no further.
    pub max: u64,
}

/// The rate after `before`, in bytes per second into each broker; it is asked for every 30 s. `None`: replicas begin to
/// move.
pub fn rate(before: Option<u64>, signals: Signals, limits: RateLimits) -> u64 {
    let RateLimits { min, max } = limits;
    let next = match before {
        _ if signals.endangered => min,
        None => max / 4,
        Some(before) if signals.slow => before / 2,
        Some(before) => before.saturating_add(before / 10).saturating_add(1),
    };
    next.clamp(min.min(max), max)
}

/// Whether a percentile shows that something waits much longer than before, in milliseconds.
pub fn is_slow(now: Option<f64>, before: Option<f64>) -> bool {
    const SHORTEST: f64 = 10.0;
    const FACTOR: f64 = 1.5;
    now.zip(before).is_some_and(|(now, before)| now > SHORTEST && now > FACTOR * before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_slowly_and_falls_at_once() {
        let limits = RateLimits { min: 2, max: 100 };
        let (calm, slow) = (Signals::default(), Signals { slow: true, endangered: false });
        let endangered = Signals { slow: false, endangered: true };
        for (story, before, signals, expected) in [
            ("replicas begin to move", None, calm, 25),
            ("they begin while a broker is away", None, endangered, 2),
            ("nobody notices", Some(50), calm, 56),
            ("it is as fast as allowed", Some(100), calm, 100),
            ("producers wait", Some(50), slow, 25),
            ("producers wait, and it is slow already", Some(3), slow, 2),
            ("a broker is silent", Some(100), endangered, 2),
            ("the limit was lowered", Some(500), calm, 100),
        ] {
            assert_eq!(rate(before, signals, limits), expected, "{story}");
        }
        assert_eq!(
            rate(Some(5), calm, RateLimits { min: 9, max: 3 }),
            3,
            "limits that contradict: the lower one holds"
        );
    }

    #[test]
    fn only_a_long_wait_is_slow() {
        for (now, before, expected) in [
            (None, Some(1.0), false),
            (Some(50.0), None, false),
            (Some(9.0), Some(1.0), false),
            (Some(15.0), Some(10.0), false),
            (Some(16.0), Some(10.0), true),
        ] {
            assert_eq!(is_slow(now, before), expected, "{now:?} after {before:?}");
        }
    }
}

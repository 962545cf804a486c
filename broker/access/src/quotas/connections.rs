//! How many connections there are, and how fast they come (KIP-612): Kafka's `ConnectionQuotas`.
//!
//! A connection that was accepted goes through three steps. [`Connections::arrive`] says how long its listener waits
//! because connections come too fast to it or to the broker. Then the listener waits until [`Connections::has_room`].
//! Last, [`Connections::admit`] takes it in, or says why its address may not have it. The listener on which brokers
//! talk to each other, if it is not the only one, is spared the limits of the broker, and has only its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ottla_wire::Str;

use super::{Rate, Windows};

/// The limits that hold for a connection to one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionLimits {
    /// The listener.
    pub listener: Str,
    /// Whether brokers talk to each other on it, and clients have another one.
    pub spared: bool,
    /// How many the listener may have (`listener.name.<listener>.max.connections`, or `max.connections`); `None`: no
    /// limit. So for the others.
    pub max_of_listener: Option<usize>,
    /// How many may come to the listener per second (`listener.name.<listener>.max.connection.creation.rate`, or
    /// `max.connection.creation.rate`); `None`: no limit.
    pub per_second_of_listener: Option<f64>,
    /// How many the broker may have (`max.connections`); `None`: no limit.
    pub max: Option<usize>,
    /// How many may come to the broker per second (`max.connection.creation.rate`); `None`: no limit.
    pub per_second: Option<f64>,
    /// How many one address may have (`max.connections.per.ip`); `None`: no limit.
    pub max_per_address: Option<usize>,
    /// The same for single addresses (`max.connections.per.ip.overrides`).
    pub overrides: BTreeMap<IpAddr, usize>,
    /// The windows in which connections per second are counted.
    pub windows: Windows,
}

/// Why an address may not have another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// It has as many as it may have.
    TooMany,
    /// It opens them too fast. The connection is to be held for this time, so that the client does not come again at
    /// once, and then closed.
    TooFast(Duration),
}

/// The connections of a broker.
#[derive(Debug, Default)]
pub struct Connections {
    total: usize,
    by_listener: BTreeMap<Str, OfListener>,
    by_address: BTreeMap<IpAddr, usize>,
    rate: Rate,
    rates: BTreeMap<IpAddr, (Rate, Duration)>,
}

#[derive(Debug, Default)]
struct OfListener {
    count: usize,
    rate: Rate,
}

/// How long an address that opens no connections is remembered, as Kafka's inactive sensors are.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How many addresses with a limited rate are remembered. The one that came least recently goes first: it starts with
/// an empty bucket if it comes again.
const MOST_REMEMBERED: usize = 65_536;

impl Connections {
    /// A connection has come. How long to wait before it is taken: at most a window.
    pub fn arrive(&mut self, limits: &ConnectionLimits, now: Duration) -> Duration {
        let windows = limits.windows;
        let count = |rate: &mut Rate, quota: Option<f64>| {
            let Some(quota) = quota else { return Duration::ZERO };
            rate.record(windows, 1.0, now);
            rate.throttle_time(windows, quota, now).min(windows.size)
        };
        let of_broker = count(&mut self.rate, limits.per_second.filter(|_| !limits.spared));
        of_broker.max(count(&mut self.listener(limits).rate, limits.per_second_of_listener))
    }

    /// Whether another one may be taken now.
    pub fn has_room(&self, limits: &ConnectionLimits) -> bool {
        let of_listener = self.by_listener.get(&limits.listener).map_or(0, |listener| listener.count);
        limits.max_of_listener.is_none_or(|max| of_listener < max)
            && (limits.spared || limits.max.is_none_or(|max| self.total < max))
    }

    fn listener(&mut self, limits: &ConnectionLimits) -> &mut OfListener {
        self.by_listener.entry(limits.listener.clone()).or_default()
    }

    /// Takes a connection from `address`, which may open `rate` per second; [`Connections::leave`] gives it back.
    ///
    /// # Errors
    /// Its address may not have it; it is not counted.
    pub fn admit(
        &mut self,
        limits: &ConnectionLimits,
        address: IpAddr,
        rate: Option<f64>,
        now: Duration,
    ) -> Result<(), TurnedAway> {
        if let Some(quota) = rate {
            self.make_room(address, now);
            let (rate, used) = self.rates.entry(address).or_default();
            *used = now;
            rate.record(limits.windows, 1.0, now);
            let throttled = rate.throttle_time(limits.windows, quota, now).min(limits.windows.size);
            if !throttled.is_zero() {
                // It does not count, neither for its address nor for the listener and the broker.
                rate.record(limits.windows, -1.0, now);
                if limits.per_second.is_some() && !limits.spared {
                    self.rate.record(limits.windows, -1.0, now);
                }
                if limits.per_second_of_listener.is_some() {
                    self.listener(limits).rate.record(limits.windows, -1.0, now);
                }
                return Err(TurnedAway::TooFast(throttled));
            }
        }
        let max = limits.overrides.get(&address).copied().or(limits.max_per_address);
        let count = self.by_address.entry(address).or_default();
        if max.is_some_and(|max| *count >= max) {
            if *count == 0 {
                self.by_address.remove(&address);
            }
            return Err(TurnedAway::TooMany);
        }
        *count += 1;
        self.total += 1;
        self.listener(limits).count += 1;
        Ok(())
    }

    /// A connection to `listener` that was taken has ended.
    pub fn leave(&mut self, listener: &str, address: IpAddr) {
        if let Some(listener) = self.by_listener.get_mut(listener) {
            listener.count -= 1;
        }
        let Some(count) = self.by_address.get_mut(&address) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(&address);
        }
        self.total -= 1;
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Forgets addresses that were not here for long, if `address` would be one too many.
    fn make_room(&mut self, address: IpAddr, now: Duration) {
        if self.rates.len() < MOST_REMEMBERED || self.rates.contains_key(&address) {
            return;
        }
        self.rates.retain(|_, (_, used)| now.saturating_sub(*used) < REMEMBERED);
        if self.rates.len() >= MOST_REMEMBERED {
            let oldest = self.rates.iter().min_by_key(|(_, (_, used))| *used).map(|(address, _)| *address);
            oldest.and_then(|address| self.rates.remove(&address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn an_address_has_no_more_than_it_may_have() {
        let limits = ConnectionLimits {
            max_per_address: Some(2),
            overrides: [(address(2), 1), (address(3), 0)].into(),
            ..ConnectionLimits::default()
        };
        let mut connections = Connections::default();
        let mut admit = |last| connections.admit(&limits, address(last), None, ms(0));
        assert_eq!([admit(1), admit(1), admit(1)], [Ok(()), Ok(()), Err(TurnedAway::TooMany)]);
        assert_eq!([admit(2), admit(2), admit(3)], [Ok(()), Err(TurnedAway::TooMany), Err(TurnedAway::TooMany)]);
        connections.leave("", address(1));
        assert_eq!(connections.total(), 2);
        assert_eq!(connections.admit(&limits, address(1), None, ms(0)), Ok(()));
    }

    #[test]
    fn a_broker_has_no_more_than_it_may_have_but_for_other_brokers() {
        let limits = ConnectionLimits { max: Some(1), ..ConnectionLimits::default() };
        let mut connections = Connections::default();
        assert!(connections.has_room(&limits));
        assert_eq!(connections.admit(&limits, address(1), None, ms(0)), Ok(()));
        let of_brokers = ConnectionLimits { spared: true, ..limits.clone() };
        assert!(!connections.has_room(&limits) && connections.has_room(&of_brokers));
        connections.leave("", address(1));
        assert!(connections.has_room(&limits));
    }

    /// Of these connections per second and in all, for a listener that may have one, and two connections per second.
    fn of_listener(listener: &'static str, spared: bool) -> ConnectionLimits {
        ConnectionLimits {
            listener: Str::from_static(listener),
            spared,
            max: Some(2),
            max_of_listener: Some(1),
            per_second: Some(3.0),
            per_second_of_listener: Some(2.0),
            ..ConnectionLimits::default()
        }
    }

    #[test]
    fn a_listener_has_no_more_than_it_may_have_also_that_of_brokers() {
        let [apps, more, brokers] =
            [("apps", false), ("more", false), ("brokers", true)].map(|(name, spared)| of_listener(name, spared));
        let mut connections = Connections::default();
        let room = |connections: &Connections| [&apps, &more, &brokers].map(|limits| connections.has_room(limits));
        assert_eq!(connections.admit(&apps, address(1), None, ms(0)), Ok(()));
        assert_eq!(room(&connections), [false, true, true]);
        assert_eq!(connections.admit(&more, address(1), None, ms(0)), Ok(()));
        assert_eq!(room(&connections), [false, false, true]);
        assert_eq!(connections.admit(&brokers, address(1), None, ms(0)), Ok(()));
        assert_eq!(room(&connections), [false; 3]);
        connections.leave("brokers", address(1));
        connections.leave("apps", address(1));
        assert_eq!(room(&connections), [true, false, true], "one of two connections is left");
    }

    #[test]
    fn a_listener_waits_when_connections_come_too_fast_to_it_alone() {
        let [apps, brokers] = [("apps", false), ("brokers", true)].map(|(name, spared)| of_listener(name, spared));
        let mut connections = Connections::default();
        let mut arrive = |limits: &ConnectionLimits| connections.arrive(limits, ms(0));
        // 20 in ten seconds are two per second; the next one is 5 % too much.
        assert_eq!((0..20).map(|_| arrive(&apps)).max(), Some(ms(0)));
        assert_eq!((0..20).map(|_| arrive(&brokers)).max(), Some(ms(0)), "each listener has its own count");
        assert_eq!([arrive(&apps), arrive(&brokers)], [ms(500), ms(500)]);
    }

    #[test]
    fn a_connection_that_is_held_for_its_address_does_not_count_for_the_listener() {
        let limits = ConnectionLimits { max_of_listener: None, ..of_listener("apps", false) };
        let mut connections = Connections::default();
        for _ in 0..30 {
            connections.arrive(&limits, ms(0));
            let admitted = connections.admit(&limits, address(1), Some(1.0), ms(0));
            assert!(matches!(admitted, Ok(()) | Err(TurnedAway::TooFast(_))), "{admitted:?}");
        }
        assert_eq!(connections.arrive(&limits, ms(0)), ms(0), "ten were taken, and this is the eleventh");
    }

    #[test]
    fn a_listener_waits_at_most_a_window_when_connections_come_too_fast() {
        // 2 per second over 10 s: the 21st is one too many. 0.1 / 2 × 10,000 ms = 500; the 41st would wait 10,500.
        let limits = ConnectionLimits { per_second: Some(2.0), ..ConnectionLimits::default() };
        let mut connections = Connections::default();
        let waits: Vec<_> = (0..41).map(|_| connections.arrive(&limits, ms(0))).collect();
        assert_eq!((waits[19], waits[20], waits[40]), (ms(0), ms(500), ms(1000)));
        let of_brokers = ConnectionLimits { spared: true, ..limits };
        assert_eq!(connections.arrive(&of_brokers, ms(0)), ms(0), "brokers are spared");
    }

    #[test]
    fn an_address_that_comes_too_fast_is_held_and_does_not_count() {
        let limits = ConnectionLimits { per_second: Some(2.0), ..ConnectionLimits::default() };
        let mut connections = Connections::default();
        let admit = |connections: &mut Connections, last, at| {
            let waited = connections.arrive(&limits, ms(at));
            (waited, connections.admit(&limits, address(last), Some(1.0), ms(at)))
        };
        for _ in 0..10 {
            assert_eq!(admit(&mut connections, 1, 0), (ms(0), Ok(())));
        }
        // 11 / 10 s: 0.1 / 1 × 10,000 ms.
        for _ in 0..20 {
            assert_eq!(admit(&mut connections, 1, 0), (ms(0), Err(TurnedAway::TooFast(ms(1000)))));
        }
        assert_eq!(connections.total(), 10);
        assert_eq!(admit(&mut connections, 2, 0), (ms(0), Ok(())), "neither the broker nor another address waits");
        // 11 / 10.5 s is 4.76 % too much of 10,500 ms; then the first window has been left behind.
        assert_eq!(admit(&mut connections, 1, 1500), (ms(0), Err(TurnedAway::TooFast(ms(500)))));
        assert_eq!(admit(&mut connections, 1, 11_000), (ms(0), Ok(())));
    }
}

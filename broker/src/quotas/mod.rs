//! How much clients use of this broker, and how long they are throttled (KIP-13, KIP-124, KIP-219, KIP-599, KIP-612).
//!
//! The rules are part of the image, `ottla_access::quotas` computes; here are the clock and the buckets.
//!
//! - [`buckets`]: what each user, client id, or both together has used
//! - [`meter`]: the use of one request, and the throttle time in its answer
//! - [`connections`]: the connections that listeners may take
//!
//! A client without quotas costs a look at the rules. One that has some keeps its buckets beside its connection until
//! the image has other rules, so a request looks up nothing.

pub(crate) mod buckets;
pub(crate) mod connections;
pub(crate) mod meter;

use std::sync::Arc;
use std::time::Duration;

use ottla_access::quotas::{Resource, Windows};
use ottla_access::{Access, Principal};
use ottla_config::QuotaSettings;
use ottla_wire::Str;

use self::buckets::{Buckets, ClientBuckets, Limited};
use self::connections::Gate;
use self::meter::{Meter, Muted};
use crate::env::{self, Instant};
use crate::metrics::Metrics;

/// The quotas of this broker.
pub struct Quotas {
    started: Instant,
    windows: Windows,
    controller_windows: Windows,
    buckets: Buckets,
    /// The connections.
    pub gate: Arc<Gate>,
    metrics: Arc<Metrics>,
}

/// The quotas of one connection.
#[derive(Default)]
pub struct OfConnection {
    /// The buckets of the last request, which those after it mostly share.
    known: Option<CachedBuckets>,
    muted: Arc<Muted>,
}

struct CachedBuckets {
    access: Arc<Access>,
    principal: Principal,
    client_id: Str,
    /// `None`: nothing is limited.
    buckets: Option<Arc<ClientBuckets>>,
}

impl OfConnection {
    /// Until when nothing is read from the connection; `None`: it is not muted.
    pub fn muted_until(&self) -> Option<Instant> {
        self.muted.until()
    }

    /// What counts the time of its requests; `None`: nothing does.
    fn of_time(&self) -> Option<&Limited> {
        self.known.as_ref()?.buckets.as_ref()?.of(Resource::Request)
    }

    /// Whether the time of its requests counts.
    pub fn counts_time(&self) -> bool {
        self.of_time().is_some()
    }
}

impl Quotas {
    /// Nothing is used yet. The windows are those of the settings at the start.
    pub fn new(settings: &QuotaSettings, metrics: Arc<Metrics>) -> Quotas {
        let windows = |count, size| Windows { count, size };
        let started = env::now();
        Quotas {
            started,
            windows: windows(settings.windows, settings.window),
            controller_windows: windows(settings.controller_windows, settings.controller_window),
            buckets: Buckets::default(),
            gate: Arc::new(Gate::new(started, windows(settings.windows, settings.window))),
            metrics,
        }
    }

    /// The meter of a request that begins now; `None`: nothing limits this client.
    pub fn meter(
        self: &Arc<Self>,
        access: &Arc<Access>,
        principal: &Principal,
        client_id: &Str,
        connection: &mut OfConnection,
    ) -> Option<Arc<Meter>> {
        let is_same = |known: &&CachedBuckets| {
            Arc::ptr_eq(&known.access, access) && known.client_id == client_id && known.principal == *principal
        };
        let buckets = match connection.known.as_ref().filter(is_same) {
            Some(known) => known.buckets.clone(),
            None => {
                let found = ClientBuckets::find(&self.buckets, &access.quotas, principal, client_id, self.now());
                let buckets = found.map(Arc::new);
                connection.known = Some(CachedBuckets {
                    access: access.clone(),
                    principal: principal.clone(),
                    client_id: client_id.clone(),
                    buckets: buckets.clone(),
                });
                buckets
            }
        };
        Some(Arc::new(Meter::new(self.clone(), buckets?, connection.muted.clone())))
    }

    /// Counts the time that answers of the connection took to be encrypted and written. As in Kafka, it throttles only
    /// the requests that come later.
    pub fn wrote(&self, connection: &OfConnection, time: Duration) {
        if let Some(limited) = connection.of_time() {
            limited.count_time(self.windows, time, self.now());
        }
    }

    /// The time since the start.
    fn now(&self) -> Duration {
        env::now() - self.started
    }
}

#[cfg(test)]
mod tests {
    use ottla_access::quotas::{Entity, Name, QuotaRules, Quotas as Limits};
    use ottla_config::BrokerSettings;

    use super::*;

    #[test]
    fn the_time_of_writing_throttles_the_next_request() {
        let quotas = Arc::new(Quotas::new(&BrokerSettings::default().quotas, Metrics::new()));
        let mut rules = QuotaRules::default();
        let client_id = Str::from_static("c");
        let limits = Limits { request_percentage: Some(10.0), ..Limits::default() };
        rules.set(Entity::Client(Name::Is(client_id.clone())), limits);
        let access = Arc::new(Access { quotas: rules, ..Access::default() });
        let mut connection = OfConnection::default();
        assert!(!connection.counts_time(), "it has sent nothing");
        let mut ask = |wrote: Duration| {
            let meter =
                quotas.meter(&access, &Principal::ANONYMOUS, &client_id, &mut connection).expect("it has quotas");
            let throttle_ms = meter.finish();
            quotas.wrote(&connection, wrote);
            throttle_ms
        };
        // One second in ten is ten percent; more is too much.
        assert_eq!(ask(Duration::from_millis(900)), 0);
        assert_eq!(ask(Duration::from_millis(900)), 0, "what was written last counts from the next request on");
        assert_eq!(ask(Duration::ZERO), 1000, "nobody waits for longer than a window");
        assert!(connection.counts_time());
    }
}

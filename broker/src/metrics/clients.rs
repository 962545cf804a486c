//! What clients do, and what is done with them.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::ApiKey;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use super::register::{LATENCY_BUCKETS, counters, gauge, gauges, register};

/// What clients do, and what is done with them.
pub struct ClientMetrics {
    apis: BTreeMap<ApiKey, ApiMetrics>,
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections that the broker closed, by reason.
    pub connections_refused: IntCounterVec,
    /// Handshakes of TLS after which a connection was opened, by listener.
    pub tls_handshakes: IntCounterVec,
    /// When certificates end, in seconds since 1970, by listener; `replication` is the broker's own.
    pub certificate_ends: GaugeVec,
    /// 1 while a listener's newest TLS files can't be used, else 0.
    pub tls_files_unusable: IntGaugeVec,
    /// Ended exchanges of SASL, by listener, mechanism and result.
    pub authentications: IntCounterVec,
    /// Seconds for which clients and listeners were throttled, by quota.
    pub throttled_seconds: CounterVec,
    /// Requests and connections that were throttled, by quota.
    pub throttled: IntCounterVec,
}

impl ClientMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> ClientMetrics {
        ClientMetrics {
            connections: gauge(registry, "ottla_connections", "Open client connections"),
            connections_refused: counters(
                registry,
                "ottla_connections_refused_total",
                "Connections that the broker closed",
                &["reason"],
            ),
            tls_handshakes: counters(
                registry,
                "ottla_tls_handshakes_total",
                "TLS handshakes after which a connection was opened",
                &["listener"],
            ),
            certificate_ends: register(
                registry,
                GaugeVec::new(
                    Opts::new("ottla_certificate_expiry_timestamp_seconds", "When the listener's certificate ends"),
                    &["listener"],
                ),
            ),
            tls_files_unusable: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "ottla_tls_files_unusable",
                        "1 while the listener's newest TLS files can not be used: it has those before them, or is closed",
                    ),
                    &["listener"],
                ),
            ),
            authentications: counters(
                registry,
                "ottla_authentications_total",
                "Clients that authenticated by SASL, or failed to",
                &["listener", "mechanism", "result"],
            ),
            throttled_seconds: register(
                registry,
                CounterVec::new(
                    Opts::new("ottla_throttled_seconds_total", "Time for which quotas have throttled clients"),
                    &["quota"],
                ),
            ),
            throttled: counters(
                registry,
                "ottla_throttled_total",
                "Requests and connections that quotas have throttled",
                &["quota"],
            ),
            apis: by_api(registry),
        }
    }

    /// Counts a request or a connection that was throttled for `time`.
    pub fn count_throttled(&self, quota: &str, time: Duration) {
        self.throttled.with_label_values(&[quota]).inc();
        self.throttled_seconds.with_label_values(&[quota]).inc_by(time.as_secs_f64());
    }

    /// The counters of one API.
    pub fn api(&self, api: ApiKey) -> &ApiMetrics {
        &self.apis[&api]
    }
}

/// Counters of one API, looked up once.
pub struct ApiMetrics {
    /// Requests.
    pub requests: IntCounter,
    /// What clients were not allowed to do.
    pub denied: IntCounter,
    /// Requests whose answer waits: for followers, for records, for the cluster.
    pub waiting: IntGauge,
    /// Seconds from a request's arrival to its answer.
    pub seconds: Histogram,
}

fn by_api(registry: &Registry) -> BTreeMap<ApiKey, ApiMetrics> {
    let requests = counters(registry, "ottla_requests_total", "Requests", &["api"]);
    let denied = counters(registry, "ottla_authorization_denied_total", "Refusals for want of authorization", &["api"]);
    let waiting = gauges(
        registry,
        "ottla_requests_waiting",
        "Requests that wait before they are answered, such as for replication or for records",
        &["api"],
    );
    let opts = HistogramOpts::new("ottla_request_duration_seconds", "Time from a request to its answer");
    let seconds = HistogramVec::new(opts.buckets(LATENCY_BUCKETS.to_vec()), &["api"]);
    let seconds = register(registry, seconds);
    let of = |api: ApiKey| {
        let name = format!("{api:?}");
        let labels = [name.as_str()];
        ApiMetrics {
            requests: requests.with_label_values(&labels),
            denied: denied.with_label_values(&labels),
            waiting: waiting.with_label_values(&labels),
            seconds: seconds.with_label_values(&labels),
        }
    };
    ApiKey::ALL.iter().map(|api| (*api, of(*api))).collect()
}

/// A request whose answer waits, as long as it does.
pub struct WaitingGuard(IntGauge);

impl ApiMetrics {
    /// Counts a request among those that wait, until what is returned is dropped.
    pub fn wait(&self) -> WaitingGuard {
        self.waiting.inc();
        WaitingGuard(self.waiting.clone())
    }
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_as_waiting_until_it_is_answered_or_dropped() {
        let clients = ClientMetrics::new(&Registry::new());
        let produce = clients.api(ApiKey::Produce);
        let (first, second) = (produce.wait(), produce.wait());
        assert_eq!((produce.waiting.get(), clients.api(ApiKey::Fetch).waiting.get()), (2, 0));
        drop((first, second));
        assert_eq!(produce.waiting.get(), 0);
    }
}

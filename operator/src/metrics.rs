//! What the operator counts, for Prometheus.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Encoder, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// The operator's metrics.
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    last_success: Gauge,
    writes: IntCounterVec,
    leader: IntGauge,
    clusters: IntGauge,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The objects are as they are to be.
    Succeeded,
    /// The spec can't be built.
    Invalid,
    /// The API server refused or was away.
    Failed,
}

impl Metrics {
    /// Metrics that have counted nothing.
    pub fn new() -> Metrics {
        // Names and help are constants: registering them fails only where two are the same.
        fn registered<M: prometheus::core::Collector + Clone + 'static>(
            registry: &Registry,
            metric: prometheus::Result<M>,
        ) -> M {
            let metric = metric.expect("a metric's name is valid");
            registry.register(Box::new(metric.clone())).expect("a metric's name is there once");
            metric
        }
        let registry = Registry::new();
        let counters = |name: &str, help: &str, label: &str| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let buckets = vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
        let duration = HistogramOpts::new("ottla_operator_reconcile_duration_seconds", "How long reconciles took.");
        Metrics {
            reconciles: counters("ottla_operator_reconciles_total", "Reconciles of clusters, by outcome.", "outcome"),
            failures: counters(
                "ottla_operator_failures_total",
                "Reconciles that failed, by the kind at which they did.",
                "kind",
            ),
            duration: registered(&registry, Histogram::with_opts(duration.buckets(buckets))),
            last_success: registered(
                &registry,
                Gauge::new(
                    "ottla_operator_last_success_timestamp_seconds",
                    "When a reconcile last succeeded, in seconds since 1970.",
                ),
            ),
            writes: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("ottla_kubernetes_writes_total", "Writes to the Kubernetes API."),
                    &["kind", "verb"],
                ),
            ),
            leader: registered(
                &registry,
                IntGauge::new("ottla_operator_leader", "1 while this replica holds the Lease and acts, else 0."),
            ),
            clusters: registered(
                &registry,
                IntGauge::new(
                    "ottla_operator_clusters",
                    "Clusters that it operates, or would in the other replica's place.",
                ),
            ),
            registry,
        }
    }

    /// Notes a reconcile.
    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        let outcome_name = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Invalid => "invalid",
            Outcome::Failed => "failed",
        };
        self.reconciles.with_label_values(&[outcome_name]).inc();
        self.duration.observe(took.as_secs_f64());
        if outcome == Outcome::Succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_success.set(now.as_secs_f64());
        }
    }

    /// Notes a write that is about to be made.
    pub fn writes(&self, kind: &str, verb: &str) {
        self.writes.with_label_values(&[kind, verb]).inc();
    }

    /// Notes that a reconcile failed at an object of this kind.
    pub fn failed(&self, kind: &str) {
        self.failures.with_label_values(&[kind]).inc();
    }

    /// Says whether this replica acts.
    pub fn set_leader(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Notes that a cluster is operated, or watched.
    pub fn cluster_begins(&self) {
        self.clusters.inc();
    }

    /// Notes that it is no longer.
    pub fn cluster_ends(&self) {
        self.clusters.dec();
    }

    /// Everything in Prometheus' text format.
    pub fn scrape(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

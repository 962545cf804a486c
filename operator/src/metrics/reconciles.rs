//! What reconciles of clusters did.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{GaugeVec, Histogram, IntCounterVec, IntGaugeVec, Registry};

use super::register::{count, counters_of_clusters, forget, gauges_of_clusters, labels, seconds, times_of_clusters};
use crate::cluster::watches::ClusterKey;

/// Seconds: from a reconcile that changes nothing to one that waits for the API server.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// The objects are as they should be.
    Succeeded,
    /// The spec can't be built.
    Invalid,
    /// The API server refused or did not answer.
    Failed,
}

/// Metrics of reconciles.
pub struct Reconciles {
    ended: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    last_success: GaugeVec,
    to_restart: IntGaugeVec,
}

impl Reconciles {
    pub(super) fn new(registry: &Registry) -> Reconciles {
        Reconciles {
            ended: counters_of_clusters(
                registry,
                "ottla_operator_reconciles_total",
                "Reconciles of clusters, by outcome.",
                "outcome",
            ),
            failures: counters_of_clusters(
                registry,
                "ottla_operator_failures_total",
                "Failed reconciles, by the kind of the object at which they failed.",
                "kind",
            ),
            duration: seconds(
                registry,
                "ottla_operator_reconcile_duration_seconds",
                "Duration of reconciles in seconds.",
                &BUCKETS,
            ),
            last_success: times_of_clusters(
                registry,
                "ottla_operator_last_success_timestamp_seconds",
                "When a cluster's reconcile last succeeded, in seconds since 1970.",
            ),
            to_restart: gauges_of_clusters(
                registry,
                "ottla_operator_brokers_to_restart",
                "Brokers of a cluster whose pods have another revision than new pods get.",
                &[],
            ),
        }
    }

    /// Notes a reconcile.
    pub fn ended(&self, cluster: &ClusterKey, outcome: ReconcileResult, took: Duration) {
        let outcome_name = match outcome {
            ReconcileResult::Succeeded => "succeeded",
            ReconcileResult::Invalid => "invalid",
            ReconcileResult::Failed => "failed",
        };
        self.ended.with_label_values(&[&cluster.namespace, &cluster.name, outcome_name]).inc();
        self.duration.observe(took.as_secs_f64());
        if outcome == ReconcileResult::Succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_success.with_label_values(&labels(cluster)).set(now.as_secs_f64());
        }
    }

    /// Notes that a cluster's reconcile failed at an object of this kind.
    pub fn failed(&self, cluster: &ClusterKey, kind: &str) {
        self.failures.with_label_values(&[&cluster.namespace, &cluster.name, kind]).inc();
    }

    /// Notes how many brokers have another revision than new pods get.
    pub fn to_restart(&self, cluster: &ClusterKey, brokers: usize) {
        self.to_restart.with_label_values(&labels(cluster)).set(count(brokers));
    }

    pub(super) fn forget(&self, cluster: &ClusterKey) {
        forget(&self.ended, cluster);
        forget(&self.failures, cluster);
        forget(&self.last_success, cluster);
        forget(&self.to_restart, cluster);
    }
}

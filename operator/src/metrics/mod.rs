//! The operator's metrics for Prometheus.
//!
//! - [`reconciles`]: what reconciles of clusters did
//! - [`statuses`]: what the clusters' statuses show
//! - [`register`]: makes single metrics

pub(crate) mod reconciles;
mod register;
pub(crate) mod statuses;

use prometheus::{Encoder, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

use crate::cluster::watches::ClusterKey;
use reconciles::Reconciles;
use register::{count, counters, forget, gauge, gauges_of_clusters, labels};
use statuses::Statuses;

/// The operator's metrics.
pub struct Metrics {
    /// What reconciles of clusters did.
    pub reconciles: Reconciles,
    /// What the clusters' statuses show.
    pub statuses: Statuses,
    user_certificate_expiry: IntGaugeVec,
    writes: IntCounterVec,
    leader: IntGauge,
    clusters: IntGauge,
    definitions_behind: IntGauge,
    registry: Registry,
}

impl Metrics {
    /// Metrics that have counted nothing.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        Metrics {
            reconciles: Reconciles::new(&registry),
            statuses: Statuses::new(&registry),
            user_certificate_expiry: gauges_of_clusters(
                &registry,
                "ottla_operator_user_certificate_expiry_timestamp_seconds",
                "End of the earliest certificate of a KafkaUser whose renewal is overdue, in seconds since 1970. \
                 Absent: there is none.",
                &[],
            ),
            writes: counters(
                &registry,
                "ottla_kubernetes_writes_total",
                "Writes to the Kubernetes API.",
                &["kind", "verb"],
            ),
            leader: gauge(
                &registry,
                "ottla_operator_leader",
                "1 while this replica holds the Lease and so operates the clusters, else 0.",
            ),
            clusters: gauge(
                &registry,
                "ottla_operator_clusters",
                "Clusters that this replica operates, or would operate if it held the Lease.",
            ),
            definitions_behind: gauge(
                &registry,
                "ottla_operator_definitions_behind",
                "CustomResourceDefinitions of Ottla that are missing, or older than the operator.",
            ),
            registry,
        }
    }

    /// Notes the end of the earliest certificate of a user whose renewal is overdue, in seconds since 1970; `None`:
    /// there is none.
    pub fn certificate_overdue(&self, cluster: &ClusterKey, end: Option<i64>) {
        match end {
            Some(end) => self.user_certificate_expiry.with_label_values(&labels(cluster)).set(end),
            None => forget(&self.user_certificate_expiry, cluster),
        }
    }

    /// Notes a write that is about to be made.
    pub fn writes(&self, kind: &str, verb: &str) {
        self.writes.with_label_values(&[kind, verb]).inc();
    }

    /// Says whether this replica acts.
    pub fn set_leader(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Notes how many definitions are missing, or older than this operator.
    pub fn definitions_behind(&self, definitions: usize) {
        self.definitions_behind.set(count(definitions));
    }

    /// Notes that a cluster is operated, or watched.
    pub fn cluster_begins(&self) {
        self.clusters.inc();
    }

    /// Notes that a cluster is no longer operated: a cluster that does not exist has no metrics.
    pub fn cluster_ends(&self, cluster: &ClusterKey) {
        self.clusters.dec();
        self.reconciles.forget(cluster);
        self.statuses.forget(cluster);
        forget(&self.user_certificate_expiry, cluster);
    }

    /// Everything in Prometheus' text format.
    pub fn scrape(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let _shown = self.statuses.refresh();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests;

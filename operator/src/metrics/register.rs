//! Makes and registers single metrics. Their names are literals, so nothing here can fail.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::cluster::watches::ClusterKey;

/// A cluster's labels: `namespace` is that of the pod that is scraped.
const CLUSTER: [&str; 2] = ["cluster_namespace", "kafka_cluster"];

/// The values of a cluster's labels.
pub(super) fn labels(cluster: &ClusterKey) -> [&str; 2] {
    [&cluster.namespace, &cluster.name]
}

/// A number of things, as a gauge has it.
pub(super) fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// A collector that is registered.
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("metric names are literals");
    registry.register(Box::new(collector.clone())).expect("metric names are unique");
    collector
}

/// A number that rises and falls.
pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

/// Numbers that rise, by labels.
pub(super) fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// How often something took how many seconds.
pub(super) fn seconds(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

/// Numbers of each cluster that rise, by one more label.
pub(super) fn counters_of_clusters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    counters(registry, name, help, &[CLUSTER[0], CLUSTER[1], label])
}

/// Numbers of each cluster that rise and fall, by more labels.
pub(super) fn gauges_of_clusters(registry: &Registry, name: &str, help: &str, more: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), &[&CLUSTER, more].concat()))
}

/// A time of each cluster, in seconds since 1970.
pub(super) fn times_of_clusters(registry: &Registry, name: &str, help: &str) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name, help), &CLUSTER))
}

/// Removes a cluster's series.
pub(super) fn forget<T: MetricVecBuilder>(series: &MetricVec<T>, cluster: &ClusterKey)
where
    MetricVec<T>: Collector,
{
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label();
            let value = |name: &str| labels.iter().find(|label| label.name() == name).map_or("", |label| label.value());
            if (value(CLUSTER[0]), value(CLUSTER[1])) == (&cluster.namespace, &cluster.name) {
                let labels: HashMap<&str, &str> = labels.iter().map(|label| (label.name(), label.value())).collect();
                // Removed already if two tasks end the same cluster.
                let _ = series.remove(&labels);
            }
        }
    }
}

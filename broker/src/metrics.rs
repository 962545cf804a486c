//! The metrics for Prometheus: a struct for each subject, passed along to the rooms that write it; no globals.
//!
//! Names follow Prometheus' conventions (base units, `_total` for counters) and cover what people watch in Kafka. What
//! can be computed from the state (log sizes, lag, leader counts) is computed when it is scraped, by
//! [`Metrics::before_scrape`]'s hooks.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};

mod clients;
mod cluster;
mod coordinators;
mod disk;
mod register;
mod replicas;
mod share;
mod topics;

pub use clients::{ApiMetrics, ClientMetrics, WaitingGuard};
pub use cluster::ClusterMetrics;
pub use coordinators::CoordinatorMetrics;
pub use disk::DiskMetrics;
pub use replicas::ReplicaMetrics;
pub use share::ShareMetrics;
pub use topics::{ByTopic, TopicMetrics};

type Hook = Box<dyn Fn(&Metrics) + Send>;

/// Every metric of a broker.
pub struct Metrics {
    registry: Registry,
    hooks: Mutex<Vec<Hook>>,
    /// What clients do, and what is done with them.
    pub clients: ClientMetrics,
    /// What is written, read and kept, by topic.
    pub topics: ByTopic,
    /// The replicas on this broker.
    pub replicas: ReplicaMetrics,
    /// The cluster as this broker sees it, and its connection to the API server.
    pub cluster: ClusterMetrics,
    /// The disk with the data directory.
    pub disk: DiskMetrics,
    /// What this broker coordinates.
    pub coordinators: CoordinatorMetrics,
    /// What share groups fetch from this broker.
    pub share: ShareMetrics,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        Arc::new(Metrics {
            hooks: Mutex::default(),
            clients: ClientMetrics::new(&registry),
            topics: ByTopic::new(&registry),
            replicas: ReplicaMetrics::new(&registry),
            cluster: ClusterMetrics::new(&registry),
            disk: DiskMetrics::new(&registry),
            coordinators: CoordinatorMetrics::new(&registry),
            share: ShareMetrics::new(&registry),
            registry,
        })
    }

    /// Runs `hook` before each scrape, to set what is computed from state.
    pub fn before_scrape(&self, hook: impl Fn(&Metrics) + Send + 'static) {
        self.hooks.lock().push(Box::new(hook));
    }

    /// Everything, in Prometheus' text format.
    pub fn scrape(&self) -> String {
        // One at a time: a hook may remove series before it sets them again.
        let hooks = self.hooks.lock();
        hooks.iter().for_each(|hook| hook(self));
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("text encodes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_whose_last_replica_is_gone_has_no_metrics() {
        let metrics = Metrics::new();
        metrics.topics.of("t").bytes_in.inc();
        metrics.topics.log_size.with_label_values(&["t", "0"]).set(1);
        metrics.topics.forget("t", 0, false);
        assert!(metrics.scrape().contains("ottla_topic_in_bytes_total{topic=\"t\"} 1"));
        metrics.topics.forget("t", 1, true);
        assert!(!metrics.scrape().contains("\"t\""), "{}", metrics.scrape());
    }
}

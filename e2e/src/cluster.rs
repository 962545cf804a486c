//! Ottla on a real Kubernetes cluster, as its user installs it: `helm`, `kubectl`, stock clients.
//!
//! - [`bed`]: the cluster: the one that `OTTLA_KUBECONFIG` or `KUBECONFIG` names, or three nodes on this machine
//! - [`namespace`]: a namespace per test, and what its user types there
//! - [`clients`]: Kafka's Java tools, kafka-python and kcat, in a pod or on this machine
//! - [`load`]: a producer and a consumer group that must not notice what the test does
//! - [`prometheus`]: a real Prometheus with the chart's monitors and rules
//! - [`budget`]: who wrote what to the API server, by its own count

pub mod bed;
pub mod budget;
pub mod clients;
pub mod load;
pub mod namespace;
pub mod prometheus;

use std::io::Write;
use std::time::Duration;

/// How long anything on a cluster may take.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Prints a finding, past the test harness, which would swallow it.
pub fn say(what: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "{}: {what}", thread.name().unwrap_or("a test"));
}

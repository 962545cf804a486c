//! Ottla on a real Kubernetes cluster, as its user installs it: `helm`, `kubectl`, stock clients.
//!
//! - [`bed`]: the cluster: the one that `OTTLA_KUBECONFIG` or `KUBECONFIG` names, or three nodes on this machine
//! - [`namespace`]: a namespace per test, and what its user types there
//! - [`clients`]: Kafka's Java tools, kafka-python and kcat, in a pod or on this machine
//! - [`harm`]: what can happen to a broker there
//! - [`partitions`]: who leads, who is in sync
//! - [`prometheus`]: a real Prometheus with the chart's monitors and rules
//! - [`budget`]: who wrote what to the API server, by its own count

pub mod bed;
pub mod budget;
pub mod clients;
pub mod harm;
pub mod namespace;
pub mod partitions;
pub mod prometheus;

use anyhow::{Result, ensure};
use std::io::Write;
use std::time::Duration;

use crate::witness::{Testimony, Witnesses};

/// How long anything on a cluster may take.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Prints a finding, past the test harness, which would swallow it.
pub fn say(what: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "{}: {what}", thread.name().unwrap_or("a test"));
}

/// Ends a load, and returns what its clients saw; everything must be as it should, and no client may have got an error.
pub fn judge(what: &str, load: Witnesses) -> Result<Testimony> {
    let told = load.finish()?;
    say(&format!("{what}: longest pause {}; {}", told.longest_pause, told.report));
    ensure!(told.report.is_good(), "{}", told.report);
    ensure!(told.given_up.is_empty(), "records failed: {:?}", told.given_up.first());
    Ok(told)
}

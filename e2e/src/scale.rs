//! Many brokers and partitions on a real API server: what they cost it, counted.
//!
//! Some brokers are whole processes; the others are stand-ins that hold Leases and answer pings. Beside them there are
//! clients that list and watch as a broker does, and count. Two whole operators run, of which one acts.
//!
//! - [`plane`]: etcd and the API server
//! - [`stage`]: nodes, pods and topics
//! - [`standins`]: brokers that are played
//! - [`watchers`]: who counts
//! - [`story`]: what happens
//! - [`report`]: the numbers
//!
//! Played and not real: a kubelet, and leaders that add a follower to the ISRs, each with one write for each object.

pub mod plane;
pub mod report;
pub mod stage;
pub mod standins;
pub mod story;
pub mod watchers;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The namespace of everything.
const NAMESPACE: &str = "scale";
/// The KafkaCluster's name.
const CLUSTER: &str = "scale";
/// Where brokers listen, each at an address of its own.
const PORT: u16 = 9092;
const REPLICAS: usize = 3;
const MIN_IN_SYNC: usize = 2;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// All brokers.
    pub brokers: u16,
    /// How many of them are whole.
    pub whole: u16,
    /// Topics, and so KafkaAssignments.
    pub topics: usize,
    /// Partitions of each topic: 64 at most, so that they fit into one KafkaAssignment.
    pub partitions_per_topic: usize,
    /// Clients that count: as many as brokers that are played, or fewer, and then the sum is extrapolated.
    pub watchers: u16,
    /// How many brokers are restarted for what a roll of all costs.
    pub rolled: u16,
}

/// Asks until there is an answer; an error of the question itself ends the wait.
async fn eventually<T>(limit: Duration, what: &str, question: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = question().await? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

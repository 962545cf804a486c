//! Three brokers of one maker; what they cost is the CPU time of all three, of Ottla's also of API and operator.

use anyhow::{Context, Result};
use ottla_e2e::target::Maker;
use ottla_e2e::trio::{BROKERS, Trio};
use std::path::Path;
use std::time::Duration;

use crate::broker::{cpu_time, resident_mb, wait_until_gone};
use crate::lean;
use crate::runs::Brokers;

/// Deleted runs free their disk at once instead of after a minute: a setting of brokers, of which Kafka's topics are
/// deleted by the default.
pub const DELETED_AT_ONCE: (&str, &str) = ("log.segment.delete.delay.ms", "100");

/// Three brokers.
pub struct Replicated(Trio);

impl Replicated {
    /// Starts them on empty folders.
    pub fn start(maker: Maker, ottla: &Path) -> Result<Replicated> {
        let trio = Trio::start(maker, ottla)?;
        lean::set_for_all_brokers(&trio.address(0), DELETED_AT_ONCE)?;
        Ok(Replicated(trio))
    }
}

impl Brokers for Replicated {
    fn maker(&self) -> Maker {
        self.0.maker()
    }

    fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<String> {
        self.0.create_topic(topic, partitions, settings)?;
        let leader = self.0.address(self.0.leader(topic, 0)?.context("it has a leader")?);
        lean::first_acknowledgement(&leader, topic)?;
        Ok(leader)
    }

    fn remove(&self, topic: &str) -> Result<()> {
        lean::delete_topic(&self.0.address(0), topic)?;
        (0..BROKERS).try_for_each(|id| wait_until_gone(&self.0.data(id), topic))
    }

    fn cpu_time(&self) -> Result<Duration> {
        self.0.pids().iter().map(|pid| cpu_time(&pid.to_string())).sum()
    }

    fn resident_mb(&self) -> Result<f64> {
        self.0.pids().iter().map(|pid| resident_mb(*pid)).sum()
    }
}

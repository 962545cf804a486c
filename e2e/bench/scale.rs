//! What many brokers and partitions cost an API server, in writes, bytes and memory: `ottla_e2e::scale`, printed.

use anyhow::{Result, ensure};
use ottla_e2e::need::{Need, met};
use ottla_e2e::scale::{Size, story};
use std::path::Path;

/// Where no number is given.
const BROKERS: usize = 10;
const PARTITIONS: usize = 12_000;
const PARTITIONS_PER_TOPIC: usize = 12;
/// How many brokers are whole: two show what one costs.
const WHOLE: u16 = 2;
/// How many brokers are restarted; the rest of the roll is extrapolated.
const ROLLED: u16 = 2;

/// Plays the story with so many brokers and partitions, and prints the table.
pub fn run(numbers: &[usize], ottla: &Path) -> Result<()> {
    ensure!(met(&[Need::Program("kube"), Need::Program("openssl")]), "e2e/cluster/build makes what is missing");
    let brokers = u16::try_from(numbers.first().copied().unwrap_or(BROKERS))?;
    ensure!((5..=200).contains(&brokers), "between 5 and 200 brokers");
    let partitions = numbers.get(1).copied().unwrap_or(PARTITIONS);
    let size = Size {
        brokers,
        whole: WHOLE,
        topics: partitions.div_ceil(PARTITIONS_PER_TOPIC),
        partitions_per_topic: PARTITIONS_PER_TOPIC,
        watchers: brokers - WHOLE,
        rolled: ROLLED,
    };
    print!("{}", story::play(size, ottla)?);
    Ok(())
}

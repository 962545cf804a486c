//! franz-go in a process of its own: of the stock clients it leaves brokers the most of the machine.

use anyhow::{Context, Result, ensure};
use ottla_e2e::franz;
use ottla_e2e::need::cache;
use std::process::Command;
use std::time::Duration;

use crate::VALUE_LEN;
use crate::runs::Done;

/// Produces for this long and waits for every acknowledgement.
pub fn produce(address: &str, topic: &str, acks: i16, run: Duration) -> Result<Done> {
    let (acks, value, seconds) = (acks.to_string(), VALUE_LEN.to_string(), run.as_secs_f64().to_string());
    let (bytes, client_cpu) = play(&["perf", address, topic, &acks, &value, &seconds])?;
    Ok(Done { bytes, client_cpu, ..Done::default() })
}

/// Commits transactions of one record each, with so many producers at the same time. librdkafka waits 100 ms in each
/// transaction of its own accord.
pub fn small(address: &str, topic: &str, partitions: i32, producers: usize, run: Duration) -> Result<Done> {
    let (partitions, producers) = (partitions.to_string(), producers.to_string());
    let (value, seconds) = (VALUE_LEN.to_string(), run.as_secs_f64().to_string());
    let (requests, client_cpu) = play(&["small", address, topic, &partitions, &producers, &value, &seconds])?;
    Ok(Done { requests, client_cpu, ..Done::default() })
}

/// What it prints: how much it has done, and its CPU time.
fn play(arguments: &[&str]) -> Result<(usize, Duration)> {
    let program = franz::build(&cache().join("go"))?;
    let output = Command::new(program).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "franz-go: {said}{}", String::from_utf8_lossy(&output.stderr));
    let mut words = said.split_whitespace();
    let done = words.next().and_then(|word| word.parse().ok()).context("how much it has done")?;
    let cpu = words.next().and_then(|word| word.parse().ok()).context("CPU seconds")?;
    Ok((done, Duration::from_secs_f64(cpu)))
}

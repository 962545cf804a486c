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
    let program = franz::build(&cache().join("go"))?;
    let seconds = run.as_secs_f64().to_string();
    let (acks, value) = (acks.to_string(), VALUE_LEN.to_string());
    let output = Command::new(program).args(["perf", address, topic, &acks, &value, &seconds]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "franz-go: {said}{}", String::from_utf8_lossy(&output.stderr));
    let mut words = said.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<f64>().ok()).context("bytes and CPU seconds");
    let (bytes, cpu) = (number()?, number()?);
    Ok(Done { bytes: bytes as usize, client_cpu: Duration::from_secs_f64(cpu), ..Done::default() })
}

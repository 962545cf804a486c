//! Kafka's own producer, in a JVM: `java/Producer.java`.

use anyhow::{Context, Result, anyhow, ensure};
use ottla_e2e::java::{jvm, source};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::{PACE, PARTITIONS, Seen};

/// Its defaults, but for what is the same for librdkafka. It looks for late requests all the time, where librdkafka
/// does once a second.
const SETTINGS: [&str; 6] = [
    "acks=all",
    "enable.idempotence=true",
    "linger.ms=0",
    "request.timeout.ms=1000",
    "retry.backoff.ms=10",
    "max.block.ms=120000",
];

/// A JVM at work. It ends with its standard input.
pub(super) struct Jvm {
    process: Child,
    stdin: ChildStdin,
    listening: JoinHandle<Result<()>>,
}

impl Jvm {
    pub(super) fn start(bootstrap: &str, topic: &str, seen: Arc<Seen>) -> Result<Jvm> {
        let mut command = jvm("128m");
        command
            .arg(source("Producer.java"))
            .args([bootstrap, topic, &PARTITIONS.to_string(), &PACE.as_millis().to_string()])
            .args(SETTINGS);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = process.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(process.stdout.take().context("stdout is piped")?);
        let listening = std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = line?;
                match line.parse() {
                    Ok(partition) => seen.acknowledged(partition),
                    Err(_) => seen.given_up(line),
                }
            }
            Ok(())
        });
        Ok(Jvm { process, stdin, listening })
    }

    /// Stops when every record has its outcome.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.stdin);
        self.listening.join().map_err(|_| anyhow!("the listening thread panicked"))??;
        let status = self.process.wait()?;
        ensure!(status.success(), "the Java producer ended with {status}");
        Ok(())
    }
}

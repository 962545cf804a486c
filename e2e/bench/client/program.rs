//! A producer in a process of its own, which prints a line for each outcome: Kafka's own in `java/Producer.java`, and
//! franz-go in `go/main.go`.

use anyhow::{Context, Result, anyhow, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Seen;

/// A process that sends. It ends with its standard input.
pub(super) struct Sending {
    process: Child,
    stdin: ChildStdin,
    listening: JoinHandle<Result<()>>,
}

impl Sending {
    pub(super) fn start(mut command: Command, seen: Arc<Seen>) -> Result<Sending> {
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
        Ok(Sending { process, stdin, listening })
    }

    /// Stops when every record has its outcome.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.stdin);
        self.listening.join().map_err(|_| anyhow!("the listening thread panicked"))??;
        let status = self.process.wait()?;
        ensure!(status.success(), "the producer ended with {status}");
        Ok(())
    }
}

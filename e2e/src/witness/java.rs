//! The same with Kafka's Java clients: `java/Witness.java`, a producer and a consumer in one JVM, prints a line for
//! each event.

use anyhow::{Context, Result, ensure};
use ottla_history::{Id, Operation, Partition};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Told, VALUE_LEN, joined, lock};
use crate::java::{jvm, source};
use crate::librdkafka::LIMIT;
use crate::wait::until;

/// The clients of a JVM: a producer and a consumer.
const CLIENTS: u64 = 2;

/// A JVM at work. It ends with its standard input, so it cannot outlive the test.
pub(super) struct Java {
    jvm: Child,
    stdin: ChildStdin,
    told: Arc<Told>,
    listening: JoinHandle<Result<()>>,
}

impl Java {
    /// Starts a producer and a consumer of this number, and believes what they say. They log in with this file of
    /// properties, if there is one.
    pub(super) fn start(
        (bootstrap, login): (&str, Option<&Path>),
        topic: &str,
        partitions: u32,
        pace: Duration,
        (number, reader): (u32, u32),
        told: Arc<Told>,
    ) -> Result<Java> {
        let mut command = jvm("128m");
        command.arg(source("Witness.java")).args([bootstrap, topic]).args(
            [u64::from(partitions), number.into(), pace.as_millis() as u64, VALUE_LEN as u64].map(|n| n.to_string()),
        );
        command.args(login);
        let mut jvm = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = jvm.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(jvm.stdout.take().context("stdout is piped")?);
        let listener = told.clone();
        let listening = std::thread::spawn(move || {
            let told = listener;
            for partition in (0..partitions).map(Partition) {
                lock(&told.history).observe(Operation::Seeked { reader, partition, offset: 0 });
            }
            let mut done = false;
            for line in stdout.split(b'\n') {
                let line = line?;
                done = line == b"done";
                if !done {
                    let event = Event::parse(&line);
                    event.with_context(|| String::from_utf8_lossy(&line).into_owned())?.tell(number, reader, &told);
                }
            }
            ensure!(done, "a Java client ended before it was stopped");
            Ok(())
        });
        Ok(Java { jvm, stdin, told, listening })
    }

    /// Closes both clients, and waits until others are served in their place.
    pub(super) fn connect_again(&self) -> Result<()> {
        let served = || self.told.served.load(Ordering::Relaxed);
        // A client that was not served yet would be counted as the next one.
        let before = until(LIMIT, "both clients to be served", || Ok(Some(served()).filter(|it| it % CLIENTS == 0)))?;
        (&self.stdin).write_all(b"again\n").context("the Java clients have ended")?;
        until(LIMIT, "both clients to be served again", || Ok((served() >= before + CLIENTS).then_some(())))
    }

    /// Stops it and waits until every record has its outcome.
    pub(super) fn stop(mut self) -> Result<()> {
        // One that has ended says so itself.
        let _ = self.stdin.write_all(b"stop\n");
        joined(self.listening)?;
        self.jvm.wait()?;
        Ok(())
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Event<'a> {
    Acknowledged { sequence: u32, partition: u32, offset: i64 },
    Unknown { sequence: u32, why: &'a str },
    Read { partition: u32, offset: i64, value: &'a [u8] },
    Served,
}

impl Event<'_> {
    fn parse(line: &[u8]) -> Result<Event<'_>> {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let mut word = || words.next().context("a word is missing");
        fn number<T: std::str::FromStr>(word: &[u8]) -> Result<T> {
            std::str::from_utf8(word)?.parse().ok().context("not a number")
        }
        Ok(match word()? {
            b"acknowledged" => Event::Acknowledged {
                sequence: number(word()?)?,
                partition: number(word()?)?,
                offset: number(word()?)?,
            },
            b"unknown" => {
                let sequence = word()?;
                let why = line.get(b"unknown ".len() + sequence.len()..).unwrap_or_default();
                Event::Unknown { sequence: number(sequence)?, why: std::str::from_utf8(why)?.trim() }
            }
            b"read" => Event::Read { partition: number(word()?)?, offset: number(word()?)?, value: word()? },
            b"served" => Event::Served,
            _ => anyhow::bail!("it means nothing"),
        })
    }

    fn tell(self, producer: u32, reader: u32, told: &Told) {
        match self {
            Event::Acknowledged { sequence, partition, offset } => {
                told.acknowledged(Id { producer, sequence }, Partition(partition), offset);
            }
            Event::Unknown { sequence, why } => told.given_up(Id { producer, sequence }, why.to_owned()),
            Event::Read { partition, offset, value } => {
                let partition = Partition(partition);
                lock(&told.history).observe(Operation::Read { reader, partition, offset, id: Id::read(value) });
            }
            Event::Served => drop(told.served.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event() {
        let event = |line: &'static str| Event::parse(line.as_bytes()).ok();
        assert_eq!(event("acknowledged 7 3 -1"), Some(Event::Acknowledged { sequence: 7, partition: 3, offset: -1 }));
        assert_eq!(event("unknown 7 too late"), Some(Event::Unknown { sequence: 7, why: "too late" }));
        assert_eq!(event("read 3 9 2-7 a b"), Some(Event::Read { partition: 3, offset: 9, value: b"2-7 a b" }));
        assert_eq!(event("served"), Some(Event::Served));
        for nonsense in ["", "read 3 9", "acknowledged x 3 4", "anything else at all"] {
            assert_eq!(event(nonsense), None, "{nonsense}");
        }
    }
}

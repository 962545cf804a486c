//! Scripts of requests whose answers are compared, field by field, with those of Apache Kafka.
//!
//! The answers stand in `tests/answers/*.txt`, recorded with `OTTLA_E2E=kafka UPDATE=1`. What differs from run to run
//! is numbered in the order in which it appears. Where Ottla means to differ, `DIFFERENCES.md` says so, and why.

use anyhow::{Context, Result, ensure};
use ottla_wire::RequestMessage;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use regex::{Captures, Regex};
use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use crate::differences::{Differences, by_line};
use crate::raw::Connection;
use crate::target::{Maker, Target};
use crate::wait::until;

/// Longer than anything takes on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Requests to one broker and what it answered.
pub struct Conversation<'a> {
    target: &'a Target,
    connections: HashMap<usize, Connection>,
    said: String,
    numbered: HashMap<String, usize>,
    /// Texts that differ from run to run, with the words that stand for them.
    named: Vec<(String, &'static str)>,
}

/// Holds a conversation with the broker under test and compares its answers with `tests/answers/NAME.txt`.
pub fn compare(name: &str, script: impl Fn(&mut Conversation<'_>) -> Result<()>) -> Result<()> {
    let target = Target::shared();
    let mut conversation = Conversation {
        target,
        connections: HashMap::new(),
        said: String::new(),
        numbered: HashMap::new(),
        named: Vec::new(),
    };
    script(&mut conversation)?;
    agrees(&format!("answers/{name}.txt"), &conversation.said, target.maker())
}

/// Compares what a broker has said with a recording of Kafka's words, or records it (`UPDATE=1`); `recording` is a
/// path below `tests`. Both are sections that begin with `== TITLE`.
pub fn agrees(recording: &str, said: &str, maker: Maker) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(recording);
    if std::env::var_os("UPDATE").is_some() {
        return Ok(std::fs::write(file, said)?);
    }
    let expected = std::fs::read_to_string(&file)?;
    let differences = Differences::of(recording, &expected, maker)?;
    let wrong = wrong_sections(&differences.without(&expected), &differences.without(said));
    ensure!(wrong.is_empty(), "{}\n{wrong}", file.display());
    Ok(())
}

/// The sections that differ, with the lines that are missing (-) and too many (+).
fn wrong_sections(expected: &str, said: &str) -> String {
    let sections = |text: &str| -> Vec<String> { text.split("== ").map(str::to_owned).collect() };
    let (expected, said) = (sections(expected), sections(said));
    let mut wrong = String::new();
    for index in 0..expected.len().max(said.len()) {
        let empty = String::new();
        let (before, after) = (expected.get(index).unwrap_or(&empty), said.get(index).unwrap_or(&empty));
        if before != after {
            wrong += &format!("== {}\n", before.lines().next().or(after.lines().next()).unwrap_or_default());
            wrong += &by_line(before, after);
        }
    }
    wrong
}

impl Conversation<'_> {
    /// Asks and notes the answer under this title.
    pub fn ask<R: RequestMessage<Response: Debug>>(
        &mut self,
        title: &str,
        version: i16,
        request: R,
    ) -> Result<R::Response> {
        self.ask_on(0, title, version, request)?.context("the broker closed the connection")
    }

    /// Asks on one of several connections; `None` when the broker closes it instead of answering.
    pub fn ask_on<R: RequestMessage<Response: Debug>>(
        &mut self,
        connection: usize,
        title: &str,
        version: i16,
        request: R,
    ) -> Result<Option<R::Response>> {
        self.send_on(connection, version, &request)?;
        self.receive_on::<R>(connection, title, version)
    }

    /// Sends only.
    pub fn send_on<R: RequestMessage>(&mut self, connection: usize, version: i16, request: &R) -> Result<()> {
        self.connection(connection)?.send(version, request)
    }

    /// Receives what was asked with [`Conversation::send_on`].
    pub fn receive_on<R: RequestMessage<Response: Debug>>(
        &mut self,
        connection: usize,
        title: &str,
        version: i16,
    ) -> Result<Option<R::Response>> {
        let answer = self.connection(connection)?.receive::<R>(version).with_context(|| title.to_owned())?;
        match &answer {
            Some(answer) => self.note(&format!("{title}: {:?} {version}", R::KEY), &format!("{answer:#?}")),
            None => {
                self.connections.remove(&connection);
                self.note(&format!("{title}: {:?} {version}", R::KEY), "the broker closed the connection");
            }
        }
        Ok(answer)
    }

    /// Asks without noting the answer.
    pub fn quietly<R: RequestMessage>(&mut self, version: i16, request: R) -> Result<R::Response> {
        self.connection(0)?.ask(version, &request)?.context("the broker closed the connection")
    }

    /// Sends bytes as they are and notes what comes back.
    pub fn bytes(&mut self, title: &str, bytes: &[u8]) -> Result<()> {
        let connection = self.connection(0)?;
        connection.send_bytes(bytes)?;
        let answer = connection.receive_bytes()?;
        if answer.is_none() {
            self.connections.remove(&0);
        }
        let text = answer.map_or("the broker closed the connection".to_owned(), |answer| format!("{answer:02x?}"));
        self.note(title, &text);
        Ok(())
    }

    /// Waits until this many partitions of a topic are served. Metadata may name leaders that don't know it yet.
    pub fn settled(&mut self, topic: &str, partitions: i32) -> Result<()> {
        until(LIMIT, &format!("{topic} to be served"), || {
            let latest =
                |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
            let partitions = (0..partitions).map(latest).collect();
            let topics = vec![ListOffsetsTopic { name: topic.into(), partitions }];
            let answer = self.quietly(7, ListOffsetsRequest { replica_id: -1, topics, ..Default::default() })?;
            let served =
                answer.topics.iter().flat_map(|topic| &topic.partitions).all(|found| found.error_code.is_none());
            Ok(served.then_some(()))
        })
    }

    /// From now on this word stands for a text that differs from run to run, and that the two brokers may shape as they
    /// like, such as a member's id.
    pub fn name(&mut self, text: &str, word: &'static str) {
        self.named.push((text.to_owned(), word));
    }

    /// Notes a text under a title.
    pub fn note(&mut self, title: &str, text: &str) {
        let text = self.normalise(text);
        self.said += &format!("== {title}\n{text}\n\n");
    }

    fn connection(&mut self, number: usize) -> Result<&mut Connection> {
        if !self.connections.contains_key(&number) {
            self.connections.insert(number, Connection::open(self.target.bootstrap())?);
        }
        self.connections.get_mut(&number).context("just inserted")
    }

    /// Replaces what differs from run to run by a word and a number, in the order of appearance.
    fn normalise(&mut self, text: &str) -> String {
        static NAMED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
                (r"\bproducer_id: \d+", "PRODUCER"),
                (r#"cluster_id: (Some\(\s*)?"[^"]*""#, "CLUSTER"),
                (r"\bfinalized_features_epoch: \d+", "EPOCH"),
                (r"\bsession_id: [1-9]\d*", "SESSION"),
            ]
            .map(|(rule, word)| (Regex::new(rule).expect("a regular expression"), word))
            .into()
        });
        static TIMES: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\b(transaction_start_time_ms|last_timestamp): [1-9]\d*").expect("a regular expression")
        });
        // Between word boundaries: an id may have the same digits in it.
        let port = Regex::new(&format!(r"\b{}\b", self.target.port())).expect("a regular expression");
        let mut text = port.replace_all(text, "PORT").into_owned();
        for (named, word) in &self.named {
            text = text.replace(named, word);
        }
        for (rule, word) in NAMED.iter() {
            let replace = |found: &Captures<'_>| {
                let found = &found[0];
                if found.starts_with("00000000-0000") {
                    return "ZERO".to_owned();
                }
                let next = self.numbered.len() + 1;
                format!("{word}-{}", self.numbered.entry(found.to_owned()).or_insert(next))
            };
            text = rule.replace_all(&text, replace).into_owned();
        }
        // Not numbered: two times may be the same.
        TIMES.replace_all(&text, "$1: TIME").into_owned()
    }
}

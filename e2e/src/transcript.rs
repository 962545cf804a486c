//! A session at the command line as a file: commands and what they must print.
//!
//! ```text
//! # a comment
//! $ kafka-topics.sh --create --topic t --bootstrap-server localhost:9092
//! Created topic t.
//!
//! $ kafka-console-producer.sh --topic t --bootstrap-server localhost:9092 <<EOF
//! one
//! EOF
//! ```
//!
//! `$` runs a command once. `~` runs it until it prints what it must: for what takes effect a little later. `&` starts
//! a command, or a program of `java/`, that runs in the background to the end of the session; `STATE_DIR` is an empty
//! folder for it. `!code` after the output is an exit code other than
//! 0. The output of a real Apache Kafka is recorded with `OTTLA_E2E=kafka UPDATE=1`; what differs from run to run is
//! replaced by words (see [`normalise`]).

use anyhow::{Context, Result, bail};
use regex::Regex;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::differences::{Differences, by_line};
use crate::java::{jvm, source};
use crate::leash::{Folder, Leash};
use crate::target::{Target, kafka_script};
use crate::tools::Tools;
use crate::wait::until;

/// One command and its output.
struct Step {
    comment: String,
    mode: char,
    line: String,
    input: String,
    output: String,
}

/// Plays a transcript against a target and compares, or records what the target says with `UPDATE=1`.
pub fn play(file: &Path, target: &Target, tools: &mut Tools) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let recording = format!("sessions/{}", file.file_name().unwrap_or_default().to_string_lossy());
    let record = std::env::var_os("UPDATE").is_some();
    let differences = Differences::of(&recording, &text, target.maker())?;
    let (mut background, mut recorded, mut wrong) = (Vec::new(), String::new(), String::new());
    let state = Folder::new()?;
    for mut step in parse(&text)? {
        let line = step.line.replace("STATE_DIR", &state.path().display().to_string());
        let (tool, arguments) = words(&line, target)?;
        if step.mode == '&' {
            let mut command = background_command(&tool);
            command.args(arguments);
            background.push(Leash::start(&command, Path::new("/dev/null"))?);
        } else {
            let expected = differences.without(&step.output);
            let mut said = String::new();
            let mut ask = || -> Result<bool> {
                let output = tools.run(&tool, &arguments, &step.input)?;
                said = normalise(&format!("{}{}", output.out, output.err), target);
                if output.code != 0 {
                    said += &format!("!{}\n", output.code);
                }
                Ok(differences.without(&said) == expected)
            };
            if step.mode == '~' {
                let settled = |ok: bool| (ok && !record).then_some(());
                let limit = Duration::from_secs(if record { 8 } else { 120 });
                let _ = until(limit, "the output", || Ok(settled(ask()?)));
            } else {
                ask()?;
            }
            let now = differences.without(&said);
            if now != expected {
                wrong += &format!("{} {}\n{}", step.mode, step.line, by_line(&expected, &now));
            }
            step.output = said;
        }
        recorded += &step.to_string();
    }
    if record {
        std::fs::write(file, recorded)?;
    } else if !wrong.is_empty() {
        bail!("{}\n{wrong}", file.display());
    }
    Ok(())
}

/// Kafka's tool, or a program of ours.
fn background_command(tool: &str) -> Command {
    if tool.ends_with(".java") {
        let mut command = jvm("256m");
        command.arg(source(tool));
        return command;
    }
    let mut command = Command::new(kafka_script());
    command.arg(tool);
    command
}

fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comment = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            comment += &format!("{line}\n");
        } else if let Some((mode, command)) = line.split_once(' ').filter(|(mode, _)| ["$", "~", "&"].contains(mode)) {
            let mut input = String::new();
            let command = match command.strip_suffix(" <<EOF") {
                None => command,
                Some(command) => {
                    for line in lines.by_ref().take_while(|line| *line != "EOF") {
                        input += &format!("{line}\n");
                    }
                    command
                }
            };
            let mode = mode.chars().next().context("a mode is one character")?;
            let comment = std::mem::take(&mut comment);
            steps.push(Step { comment, mode, line: command.to_owned(), input, output: String::new() });
        } else if let Some(step) = steps.last_mut() {
            step.output += &format!("{line}\n");
        } else if !line.is_empty() {
            bail!("a transcript begins with a comment or a command, not with {line:?}");
        }
    }
    for step in &mut steps {
        step.output = tidy(&step.output);
    }
    Ok(steps)
}

impl std::fmt::Display for Step {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}{} {}", self.comment, self.mode, self.line)?;
        if self.input.is_empty() {
            writeln!(to)?;
        } else {
            write!(to, " <<EOF\n{}EOF\n", self.input)?;
        }
        writeln!(to, "{}", self.output)
    }
}

/// Splits a command at blanks outside single quotes; `kafka-topics.sh` becomes the tool `topics`.
fn words(line: &str, target: &Target) -> Result<(String, Vec<String>)> {
    let line = line.replace("localhost:9092", &target.bootstrap());
    let line = line.replace("LOG_DIR", &target.log_dir().display().to_string());
    let line = line.replace("SESSIONS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions"));
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    let tool = words.remove(0);
    if tool.ends_with(".java") {
        return Ok((tool, words));
    }
    let tool = tool.strip_prefix("kafka-").and_then(|tool| tool.strip_suffix(".sh"));
    Ok((tool.with_context(|| format!("not a command of Kafka's: {line}"))?.to_owned(), words))
}

/// Replaces what differs from run to run.
fn normalise(text: &str, target: &Target) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
            // The id that a member of a consumer or streams group gives itself.
            (r"\b[A-Za-z0-9_-]{22} +/127", "MEMBER /127"),
            (r"\b[A-Za-z0-9_-]{22} +UUID", "MEMBER UUID"),
            (r"(TopicId|Cluster ID): [A-Za-z0-9_-]{22}", "$1: ID"),
            (r#""topicId":"[A-Za-z0-9_-]{22}""#, r#""topicId":"ID""#),
            (r"\b(CreateTime|LogAppendTime): ?-?\d{10,}", "$1:TIME"),
            (r"\b1[6-9]\d{11}\b", "TIME"),
            // How long a transaction has lasted, after its start.
            (r"\bTIME[ \t]+\d+\b", "TIME MS"),
            (r"\bcrc: \d+", "crc: CRC"),
            (r"\bEpoch: \d+", "Epoch: N"),
            (r"(?m)^\tat .*\n", ""),
            (r"(?m)[ \t]+$", ""),
        ];
        let compiled = rules.map(|(rule, by)| (Regex::new(rule).expect("the rules are regular expressions"), by));
        compiled.into()
    });
    let text = text.replace(&target.bootstrap(), "localhost:9092");
    // Between word boundaries: a time may have the same digits in it.
    let port = Regex::new(&format!(r"\b{}\b", target.port())).expect("a regular expression");
    let mut text = port.replace_all(&text, "9092 ").replace(&target.log_dir().display().to_string(), "LOG_DIR");
    for (rule, by) in RULES.iter() {
        text = rule.replace_all(&text, *by).into_owned();
    }
    tidy(&text)
}

/// Output without blank lines before and after, ending in a newline unless it is empty.
fn tidy(output: &str) -> String {
    let output = output.trim_matches('\n');
    if output.is_empty() { String::new() } else { format!("{output}\n") }
}

//! Kafka's own command line tools, many commands in one JVM (`java/Session.java`).

use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::java;
use crate::target::kafka_script;

/// A JVM that runs tools. It ends with its standard input, so it cannot outlive the test.
pub struct Tools {
    _jvm: Child,
    requests: ChildStdin,
    answers: ChildStdout,
    classes: HashMap<String, String>,
}

/// What a tool printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 124 when its time was over.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error, without log lines.
    pub err: String,
}

impl Tools {
    /// Starts the JVM.
    pub fn start() -> Result<Tools> {
        Tools::in_jvm(java::jvm("512m").arg(java::source("Session.java")))
    }

    /// Starts the JVM by this command, which runs `Session`.
    pub fn in_jvm(command: &mut Command) -> Result<Tools> {
        let list = Command::new(kafka_script()).arg("tools").output()?;
        let list = String::from_utf8(list.stdout)?;
        let classes = list.lines().filter_map(|line| line.split_once(' '));
        let mut jvm = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Tools {
            requests: jvm.stdin.take().context("stdin is piped")?,
            answers: jvm.stdout.take().context("stdout is piped")?,
            classes: classes.map(|(tool, class)| (tool.to_owned(), class.to_owned())).collect(),
            _jvm: jvm,
        })
    }

    /// Runs one tool (`topics`, `console-consumer`, …) to its end.
    pub fn run<S: AsRef<str>>(&mut self, tool: &str, arguments: &[S], input: &str) -> Result<Output> {
        let class = self.classes.get(tool).with_context(|| format!("no tool is called {tool}"))?;
        let mut request = Vec::new();
        put(&mut request, class);
        put(&mut request, input);
        request.extend((arguments.len() as u32).to_be_bytes());
        for argument in arguments {
            put(&mut request, argument.as_ref());
        }
        self.requests.write_all(&request)?;
        let code = self.int()?;
        Ok(Output { code, out: self.text()?, err: self.text()? })
    }

    /// Runs one tool and takes its standard output; an exit code other than 0 is an error.
    pub fn expect<S: AsRef<str>>(&mut self, tool: &str, arguments: &[S], input: &str) -> Result<String> {
        let output = self.run(tool, arguments, input)?;
        if output.code != 0 {
            bail!("{tool} ended with {}: {}{}", output.code, output.out, output.err);
        }
        Ok(output.out)
    }

    fn int(&mut self) -> Result<i32> {
        let mut bytes = [0; 4];
        self.answers.read_exact(&mut bytes).context("the JVM with the tools has ended")?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.int()?;
        let mut bytes = vec![0; usize::try_from(length)?];
        self.answers.read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn put(request: &mut Vec<u8>, text: &str) {
    request.extend((text.len() as u32).to_be_bytes());
    request.extend(text.as_bytes());
}

//! An `ottla` with fixed ports and a folder of its own, and what a user of it types and reads.

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::wait::until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub const LIMIT: Duration = Duration::from_secs(120);

/// The most brokers of a laptop here.
pub const BROKERS: u16 = 3;
/// Room for them, their metrics, the API, and two listeners more.
const PORTS: u16 = 4 * BROKERS + 1;

pub struct Laptop {
    folder: Folder,
    first_port: u16,
    options: Vec<String>,
    process: Option<Leash>,
    starts: usize,
}

/// Whether the calling test can run: it is about Ottla alone, and needs these programs.
pub fn can_run(programs: &[&str]) -> bool {
    if Maker::under_test() == Maker::Kafka {
        return false;
    }
    let missing = programs.iter().find(|program| {
        let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).stdout(Stdio::null()).status();
        !found.is_ok_and(|status| status.success())
    });
    missing.is_none_or(|program| skip(&format!("there is no {program}")))
}

/// Says loudly that the calling test is skipped; false.
pub fn skip(why: &str) -> bool {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    assert!(std::env::var_os("OTTLA_NO_SKIP").is_none(), "{name} may not be skipped: {why}");
    // Not eprintln: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
    false
}

impl Laptop {
    /// A laptop with an empty folder, on which nothing runs yet; with these options on top.
    pub fn new(options: &[&str]) -> Result<Laptop> {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Ok(Laptop { folder: Folder::new()?, first_port: free_ports()?, options, process: None, starts: 0 })
    }

    /// Starts it and waits until it says that it serves; returns how long that took.
    pub fn start(&mut self) -> Result<Duration> {
        let command = self.command(&[])?;
        self.start_with(&command)
    }

    /// Starts it by another command line.
    pub fn start_with(&mut self, command: &Command) -> Result<Duration> {
        self.process = None;
        self.starts += 1;
        let began = Instant::now();
        let process = Leash::start(command, &self.log())?;
        until(LIMIT, "ottla to serve", || {
            let said = self.said()?;
            ensure!(process.runs(), "ottla ended: {said}");
            // The last line that it prints.
            Ok(said.contains("  kubectl --server").then_some(()))
        })?;
        self.process = Some(process);
        Ok(began.elapsed())
    }

    /// Gives a laptop that runs these listeners besides its own, and starts it again: only then it listens there.
    pub fn listen_also(&mut self, listeners: &[Value]) -> Result<()> {
        let all: Vec<_> = [json!({ "name": "internal", "port": 9092 })].iter().chain(listeners).cloned().collect();
        let patch = json!({ "spec": { "listeners": all } });
        self.kubectl(&format!("patch kafkacluster laptop --type merge -p {patch}"))?;
        self.terminate()?;
        self.start().map(drop)
    }

    pub fn kill(&self) -> Result<()> {
        self.process()?.end(Signal::KILL)
    }

    /// Stops it by SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.process()?.end(Signal::TERM)
    }

    /// Runs `ottla` on the same folder with these options on top; it must end by itself. What it writes to stderr.
    pub fn refuses(&self, options: &[&str]) -> Result<String> {
        self.refuses_command(&self.command(options)?)
    }

    pub fn refuses_command(&self, command: &Command) -> Result<String> {
        let mut bounded = Command::new("timeout");
        bounded.arg("120").arg(command.get_program()).args(command.get_args());
        let output = bounded.output()?;
        let (out, error) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        let code = output.status.code().context("it ended by a signal")?;
        ensure!((1..=2).contains(&code), "it ended with {code}: {out}{error}");
        ensure!(out.is_empty(), "on stdout: {out}");
        Ok(error)
    }

    /// The program with ports and folder; `more` takes the place of what it is usually started with.
    pub fn command(&self, more: &[&str]) -> Result<Command> {
        let named = |name: &str, value: String| [name.to_owned(), value];
        let at = |port: u16| format!("127.0.0.1:{port}");
        let defaults = [
            named("--data", self.data().display().to_string()),
            named("--kafka", at(self.kafka_port())),
            named("--api", at(self.api_port())),
            named("--metrics", at(self.metrics_port())),
        ];
        let mut command = Command::new(ottla_program()?);
        command.args(defaults.iter().filter(|[name, _]| !more.contains(&name.as_str())).flatten());
        command.args(if more.is_empty() { &self.options[..] } else { &[] }).args(more);
        Ok(command)
    }

    /// Everything that it has printed since the last start.
    pub fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.log())?)
    }

    pub fn pid(&self) -> Result<i32> {
        Ok(self.process()?.pid())
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where a test may put its own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to this broker.
    pub fn connect(&self, broker: u16) -> Result<Connection> {
        Connection::open(("127.0.0.1", self.kafka_port() + broker))
    }

    pub fn kafka_port(&self) -> u16 {
        self.first_port
    }

    pub fn metrics_port(&self) -> u16 {
        self.first_port + BROKERS
    }

    pub fn api_port(&self) -> u16 {
        self.first_port + 2 * BROKERS
    }

    /// The ports of broker 0 for two listeners more; those of the other brokers follow.
    pub fn more_ports(&self) -> [u16; 2] {
        [2, 3].map(|nth| self.first_port + nth * BROKERS + 1)
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> Result<String> {
        self.metrics_of(0)
    }

    /// What Prometheus would read of this broker.
    pub fn metrics_of(&self, broker: u16) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics_port() + broker))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head and a body")?;
        ensure!(head.starts_with("HTTP/1.0 200"), "{head}");
        Ok(body.to_owned())
    }

    /// `kubectl` with these arguments, split at blanks; it must succeed. What it prints.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        let output = self.kubectl_command(line).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {line}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, where it must fail; what it says.
    pub fn kubectl_refuses(&self, line: &str) -> Result<String> {
        let output = self.kubectl_command(line).output()?;
        ensure!(!output.status.success(), "kubectl {line} went through");
        Ok(String::from_utf8(output.stderr)?.trim().to_owned())
    }

    pub fn kubectl_command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--server").arg(format!("http://127.0.0.1:{}", self.api_port()));
        command.arg("--cache-dir").arg(self.folder().join("cache")).args(line.split_whitespace());
        command.env("HOME", self.folder()).env_remove("KUBECONFIG").stdin(Stdio::null());
        command
    }

    /// A file with the YAML of a KafkaTopic.
    pub fn topic_file(&self, name: &str, spec: &str) -> Result<String> {
        let path = self.folder().join("topic.yaml");
        let yaml = format!(
            "apiVersion: ottla.io/v1alpha1\nkind: KafkaTopic\nmetadata: {{name: {name}}}\n\
             spec: {{clusterRef: {{name: laptop}}, {spec}}}\n"
        );
        std::fs::write(&path, yaml)?;
        Ok(path.display().to_string())
    }

    fn process(&self) -> Result<&Leash> {
        self.process.as_ref().context("ottla was started")
    }

    fn log(&self) -> PathBuf {
        self.folder().join(format!("output-{}", self.starts))
    }
}

/// The first of some consecutive ports that are free and that this process does not give out twice.
fn free_ports() -> Result<u16> {
    const FIRST: u16 = 23000;
    const BLOCKS: u16 = 14;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..BLOCKS {
        let first = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCKS * PORTS;
        if (first..first + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(first);
        }
    }
    bail!("no free ports from {FIRST} on")
}

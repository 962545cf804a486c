//! A namespace per test, and what its user types there. Its pods must meet Pod Security *restricted*.

use anyhow::{Context, Result, ensure};
use std::net::TcpStream;
use std::ops::Deref;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::LIMIT;
use crate::cluster::bed::{Bed, feed, succeed, succeed_with};
use crate::wait::until;
use crate::witness::{Load, Witnesses};

/// A namespace that goes with the test.
pub struct Namespace<'a> {
    bed: &'a Bed,
    name: String,
}

impl Deref for Namespace<'_> {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        self.bed
    }
}

impl Namespace<'_> {
    /// A new one whose name begins so.
    pub fn new<'a>(bed: &'a Bed, prefix: &str) -> Result<Namespace<'a>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        bed.kubectl(&format!("create namespace {name}"))?;
        bed.kubectl(&format!("label namespace {name} pod-security.kubernetes.io/enforce=restricted"))?;
        Ok(Namespace { bed, name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kubectl` here with these arguments, split at blanks; it must succeed. What it prints.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        succeed(&mut self.command(line)).with_context(|| format!("kubectl {line}"))
    }

    /// The same as a command that is not started yet.
    pub fn command(&self, line: &str) -> Command {
        let mut command = self.bed.command("kubectl");
        command.args(["--namespace", &self.name]).args(line.split_whitespace());
        command
    }

    /// `kubectl apply` of this YAML.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let output = feed(&mut self.command("apply -f -"), yaml)?;
        ensure!(output.status.success(), "{}{yaml}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// `kubectl apply` of this YAML, which must be refused; what kubectl says.
    pub fn refuses(&self, yaml: &str) -> Result<String> {
        let output = feed(&mut self.command("apply -f -"), yaml)?;
        ensure!(!output.status.success(), "this was let through: {yaml}");
        Ok(String::from_utf8(output.stderr)?.trim().to_owned())
    }

    /// `kubectl` here with these arguments and this input; it must succeed. What it prints.
    pub fn kubectl_with(&self, line: &str, input: &str) -> Result<String> {
        succeed_with(&mut self.command(line), input).with_context(|| format!("kubectl {line}"))
    }

    /// Waits until the object's condition is true; how long that took.
    pub fn ready(&self, object: &str, condition: &str) -> Result<Duration> {
        let began = Instant::now();
        let limit = LIMIT.as_secs();
        let waited = self.kubectl(&format!("wait {object} --for=condition={condition} --timeout={limit}s"));
        waited.with_context(|| self.kubectl(&format!("get {object} -o yaml")).unwrap_or_default())?;
        Ok(began.elapsed())
    }

    /// One field of an object; empty when it is not set.
    pub fn field(&self, object: &str, path: &str) -> Result<String> {
        self.kubectl(&format!("get {object} -o jsonpath={{{path}}}"))
    }

    /// Waits until `kubectl` here prints this; errors count as not yet.
    pub fn prints(&self, line: &str, expected: &str) -> Result<()> {
        self.satisfies(line, |printed| printed == expected).with_context(|| format!("expected {expected}"))
    }

    /// Waits until what `kubectl` here prints is right.
    pub fn satisfies(&self, line: &str, mut right: impl FnMut(&str) -> bool) -> Result<()> {
        let mut last = String::new();
        until(LIMIT, line, || {
            last = self.kubectl(line).unwrap_or_else(|error| format!("{error:#}"));
            Ok(right(&last).then_some(()))
        })
        .with_context(|| format!("the last time it printed {last}"))
    }

    /// What to give clients as `bootstrap.servers` for this listener of the cluster `kafka`.
    pub fn bootstrap(&self, listener: &str) -> Result<String> {
        let servers =
            self.field("okc/kafka", &format!(".status.listeners[?(@.name==\"{listener}\")].bootstrapServers"))?;
        ensure!(!servers.is_empty(), "the status has no bootstrap servers of {listener}");
        // A node takes a moment to open a port, and kcat fails at the first refusal. Names are for pods.
        for address in servers.split(',').filter_map(|server| server.parse().ok()) {
            let connect = || Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok());
            until(LIMIT, "the nodes to open a port", connect)?;
        }
        Ok(servers)
    }

    /// Makes the cluster `kafka` of so many brokers and waits until it is ready; how long that took.
    pub fn brokers(&self, replicas: u32) -> Result<Duration> {
        let began = Instant::now();
        self.apply(&cluster(replicas, ""))?;
        self.ready("okc/kafka", "Ready")?;
        Ok(began.elapsed())
    }

    /// Makes a topic of `kafka` and waits until it is ready; how long that took.
    pub fn topic(&self, name: &str, partitions: u32) -> Result<Duration> {
        let began = Instant::now();
        self.apply(&topic(name, &format!("partitions: {partitions}, config: {{retention.ms: \"-1\"}}")))?;
        self.ready(&format!("okt/{name}"), "Ready")?;
        Ok(began.elapsed())
    }

    /// Makes a topic of `kafka` and lets clients work on it, from outside through node ports.
    pub fn load(&self, topic: &str, partitions: u32, load: Load) -> Result<Witnesses> {
        self.topic(topic, partitions)?;
        Witnesses::begin(&self.bootstrap("external")?, topic, partitions, load)
    }

    /// The brokers' pods and how often each was started: one that is there again is there with another number.
    pub fn starts(&self) -> Result<Vec<String>> {
        let path = "{range.items[*]}{.metadata.name}/{.metadata.uid}/{.status.containerStatuses[*].restartCount},{end}";
        let starts = self.kubectl(&format!("get pods -l ottla.io/cluster=kafka -o jsonpath={path}"))?;
        Ok(starts.split_terminator(',').map(str::to_owned).collect())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("OTTLA_KEEP").is_some() {
            return;
        }
        let _ = self.bed.kubectl(&format!("delete namespace {} --wait=false --ignore-not-found", self.name));
    }
}

/// The YAML of the cluster `kafka`: a zone per broker, a listener inside and one outside, a short canary; with more of
/// its spec.
pub fn cluster(replicas: u32, more: &str) -> String {
    format!(
        "apiVersion: ottla.io/v1alpha1
kind: KafkaCluster
metadata: {{name: kafka}}
spec:
  brokers: {{replicas: {replicas}, storage: {{size: 1Gi}}}}
  listeners:
  - {{name: internal, port: 9092}}
  - {{name: external, port: 9094, type: nodePort, insecure: true}}
  rack: {{topologyKey: topology.kubernetes.io/zone}}
  rollout: {{canaryFor: 10s}}
  {more}
"
    )
}

/// The YAML of a topic of the cluster `kafka` with the rest of its spec.
pub fn topic(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: ottla.io/v1alpha1
kind: KafkaTopic
metadata: {{name: {name}}}
spec: {{clusterRef: {{name: kafka}}, {spec}}}
"
    )
}

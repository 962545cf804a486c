//! Stock clients, inside the cluster in a pod (`localhost/clients:1`), or outside on this machine.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::namespace::Namespace;
use crate::java;
use crate::need::cache;
use crate::tools::Tools;

/// The YAML of a pod of stock clients, with more of its container and of its spec.
pub fn pod(name: &str, more: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: clients
    image: localhost/clients:1
    args: [pause]
    env: [{{name: PYTHONPATH, value: /python}}]
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
{more}"
    )
}

/// Java in such a pod, with Kafka's programs and these options.
pub fn java_in(namespace: &Namespace<'_>, pod: &str, options: &[&str]) -> Command {
    let mut command = namespace.command(&format!("exec -i {pod} -- /java/bin/java"));
    command.args(["-cp", "/kafka/*:/kafka", "-Dlog4j2.configurationFile=/kafka/log4j2-tool.properties"]);
    command.args(options).args(java::OPTIONS);
    command
}

/// Where clients run.
pub enum Place<'a> {
    /// In the pod `clients` of this namespace.
    Inside(&'a Namespace<'a>),
    /// On this machine.
    Outside,
}

/// A stock client.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// Kafka's console producer and consumer.
    Java,
    /// kafka-python.
    Python,
    /// kcat, which is librdkafka.
    Kcat,
}

impl<'a> Place<'a> {
    /// The pod, made if it is not there.
    pub fn inside(namespace: &'a Namespace<'a>) -> Result<Place<'a>> {
        namespace.apply(&pod("clients", ""))?;
        namespace.ready("pod/clients", "Ready")?;
        Ok(Place::Inside(namespace))
    }

    /// Kafka's command line tools in one JVM there.
    pub fn tools(&self) -> Result<Tools> {
        match self {
            Place::Outside => Tools::start(),
            Place::Inside(_) => Tools::in_jvm(&mut self.java("Session", &[])),
        }
    }

    /// Sends lines of a key, a tab and a value; every one must be acknowledged by all. The clients are idempotent: what
    /// they send again, because an answer was late, is not written twice.
    pub fn produce(&self, client: Client, bootstrap: &str, topic: &str, lines: &str) -> Result<()> {
        let mut command = match client {
            Client::Java => {
                let mut command = self.java("org.apache.kafka.tools.ConsoleProducer", &[bootstrap]);
                command.args(["--topic", topic, "--command-property", "acks=all"]);
                command.args(["--reader-property", "parse.key=true", "--reader-property", "key.separator=\t"]);
                command
            }
            Client::Python => self.python(&["send", bootstrap, topic]),
            Client::Kcat => {
                self.kcat(&["-P", "-b", bootstrap, "-t", topic, "-K", "\t", "-X", "enable.idempotence=true"])
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || stdin.write_all(lines.as_bytes()));
            let output = child.wait_with_output()?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success() && !error.contains("ERROR"), "{client:?} sends to {topic}: {error}");
            writing.join().map_err(|_| anyhow::anyhow!("the writing thread panicked"))?.context("the client reads")
        })
    }

    /// Reads a topic of this many records from the beginning, as lines of a key, a tab and a value.
    pub fn consume(&self, client: Client, bootstrap: &str, topic: &str, count: usize) -> Result<String> {
        let many = count.to_string();
        let mut command = match client {
            Client::Java => {
                let mut command = self.java("org.apache.kafka.tools.consumer.ConsoleConsumer", &[bootstrap]);
                command.args(["--topic", topic, "--from-beginning", "--max-messages", &many, "--timeout-ms", "60000"]);
                command.args(["--formatter-property", "print.key=true"]);
                command
            }
            Client::Python => self.python(&["read", bootstrap, topic, &many]),
            Client::Kcat => self.kcat(&["-C", "-b", bootstrap, "-t", topic, "-K", "\t", "-o", "beginning", "-e", "-q"]),
        };
        let output = command.output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{client:?} reads {topic}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn java(&self, class: &str, bootstrap: &[&str]) -> Command {
        let mut command = match self {
            Place::Inside(namespace) => java_in(namespace, "clients", &["-Xmx512m"]),
            Place::Outside => java::jvm("512m"),
        };
        command.arg(class);
        for servers in bootstrap {
            command.args(["--bootstrap-server", servers]);
        }
        command
    }

    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Place::Inside(namespace) => namespace.command("exec -i clients -- /usr/bin/python /python/client.py"),
            Place::Outside => {
                let mut command = Command::new(cache().join("python/bin/python"));
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/client.py"));
                command
            }
        };
        command.args(arguments);
        command
    }

    fn kcat(&self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Place::Inside(namespace) => namespace.command("exec -i clients -- /usr/local/bin/kcat"),
            Place::Outside => Command::new("kcat"),
        };
        command.args(arguments);
        command
    }
}

//! A broker under test: Ottla, or Apache Kafka with `OTTLA_E2E=kafka`.
//!
//! The same tests run against both. A target has a fixed port and a folder of its own, so it can be killed and started
//! again under the feet of its clients.

use anyhow::{Context, Result, bail, ensure};
use ottla_wire::MetadataRequest;
use rustix::process::Signal;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::leash::{Folder, Leash};
use crate::need::{Need, program};
use crate::raw::Connection;
use crate::wait::until;

/// Whose broker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Apache Kafka 4.3.1.
    Kafka,
    /// This repository's `ottla` program.
    Ottla,
}

impl Maker {
    /// The one that the tests are to be run against.
    pub fn under_test() -> Maker {
        match std::env::var("OTTLA_E2E").as_deref() {
            Ok("kafka") => Maker::Kafka,
            _ => Maker::Ottla,
        }
    }
}

/// What a test needs to start the broker under test.
pub fn needs() -> Vec<Need> {
    match Maker::under_test() {
        Maker::Kafka => vec![Need::Java],
        Maker::Ottla => vec![],
    }
}

/// One running broker.
pub struct Target {
    maker: Maker,
    port: u16,
    /// Where users log in, of a broker that authorizes.
    users_port: Option<u16>,
    process: Option<Leash>,
    folder: Folder,
}

impl Target {
    /// Starts the broker under test on an empty folder.
    pub fn start() -> Result<Target> {
        Target::start_of(Maker::under_test())
    }

    /// Starts a broker of this maker on an empty folder.
    pub fn start_of(maker: Maker) -> Result<Target> {
        let mut target = Target::new(maker)?;
        if maker == Maker::Kafka {
            target.format(&mut Command::new(kafka_script()))?;
        }
        target.restart()?;
        Ok(target)
    }

    /// Starts the broker under test on an empty folder with an authorizer: who does not log in may do everything,
    /// and users log in by SCRAM at [`Target::for_users`]. Ottla needs `kubectl` for it.
    pub fn start_authorizing() -> Result<Target> {
        let mut target = Target::new(Maker::under_test())?;
        let users = free_port()?;
        target.users_port = Some(users);
        match target.maker {
            Maker::Kafka => {
                let properties = target.folder.path().join("authorizing.properties");
                std::fs::write(&properties, authorizing_kafka(target.port, users))?;
                target.format(Command::new(kafka_script()).env("KAFKA_EXTRA", properties))?;
                target.restart()?;
            }
            Maker::Ottla => {
                target.restart()?;
                target.patch(&authorizing_ottla(users))?;
                // A laptop listens where its KafkaCluster says when it starts.
                target.stop()?;
                target.restart()?;
            }
        }
        Ok(target)
    }

    fn new(maker: Maker) -> Result<Target> {
        Ok(Target { maker, port: free_port()?, users_port: None, process: None, folder: Folder::new()? })
    }

    fn format(&self, script: &mut Command) -> Result<()> {
        let output = self.at_this_place(script).args(["format", "single"]).output()?;
        ensure!(output.status.success(), "kafka format failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Changes Ottla's KafkaCluster by a merge patch.
    pub fn patch(&self, patch: &str) -> Result<()> {
        patch_laptop(&self.log(), patch)
    }

    /// The broker that all tests of one program share, where nobody minds other people's topics.
    pub fn shared() -> &'static Target {
        static SHARED: OnceLock<Target> = OnceLock::new();
        SHARED.get_or_init(|| Target::start().expect("the broker under test starts"))
    }

    /// Starts it again on the same folder and port, ending it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let command = match self.maker {
            Maker::Kafka => {
                let mut command = Command::new(kafka_script());
                self.at_this_place(&mut command).args(["run", "0"]);
                command
            }
            Maker::Ottla => self.ottla()?,
        };
        let _ = std::fs::remove_file(self.log());
        self.process = Some(Leash::start(&command, &self.log())?);
        let ready = match self.maker {
            Maker::Kafka => "Kafka Server started",
            Maker::Ottla => "\nkafka ",
        };
        until(Duration::from_secs(120), "the broker to say that it serves", || {
            let said = std::fs::read_to_string(self.log())?;
            if !self.running()?.runs() {
                bail!("the broker ended: {said}");
            }
            Ok(said.contains(ready).then_some(()))
        })?;
        until(Duration::from_secs(120), "the broker to know itself", || {
            let answer = Connection::open(self.bootstrap())?.ask(12, &MetadataRequest::default())?;
            Ok(answer.filter(|answer| !answer.brokers.is_empty()).map(drop))
        })
    }

    /// Ends it as a power cut would end the process: SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.running()?.end(Signal::KILL)
    }

    /// Ends it politely: SIGTERM.
    pub fn stop(&self) -> Result<()> {
        self.running()?.end(Signal::TERM)
    }

    /// Who made it.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// What clients connect to.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What users connect to.
    pub fn for_users(&self) -> Result<String> {
        Ok(format!("127.0.0.1:{}", self.users_port.context("a broker where users log in")?))
    }

    /// The port in it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker's process id.
    pub fn pid(&self) -> Result<i32> {
        Ok(self.running()?.pid())
    }

    /// The folder that holds one folder per partition.
    pub fn log_dir(&self) -> PathBuf {
        match self.maker {
            Maker::Kafka => self.data().join("node0/log"),
            Maker::Ottla => self.data().join("broker-0"),
        }
    }

    /// The address of Ottla's API, for `kubectl --server`.
    pub fn api(&self) -> Result<String> {
        api_in(&self.log())
    }

    fn running(&self) -> Result<&Leash> {
        self.process.as_ref().context("the broker was started")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        match self.maker {
            Maker::Kafka => self.data().join("node0/out.log"), // the script sends it there
            Maker::Ottla => self.folder.path().join("output"),
        }
    }

    /// Has Kafka's script run with this target's folder and port.
    fn at_this_place<'a>(&self, script: &'a mut Command) -> &'a mut Command {
        script.env("KAFKA_DATA", self.data()).env("KAFKA_PORT", self.port.to_string());
        script.env("KAFKA_HEAP", std::env::var("KAFKA_HEAP").unwrap_or("-Xms256m -Xmx1g".to_owned()))
    }

    /// The command that starts Ottla on this target's folder and port.
    pub fn ottla(&self) -> Result<Command> {
        let mut command = Command::new(ottla_program()?);
        command.arg("--data").arg(self.data()).arg("--kafka").arg(self.bootstrap());
        command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
        Ok(command)
    }
}

/// The address of the API of a laptop whose output is in this file.
fn api_in(output: &Path) -> Result<String> {
    let said = std::fs::read_to_string(output)?;
    let line = said.lines().find_map(|line| line.strip_prefix("api "));
    Ok(line.context("Ottla prints the address of its API")?.trim().to_owned())
}

/// Changes the KafkaCluster of a laptop whose output is in this file by a merge patch, with kubectl.
pub fn patch_laptop(output: &Path, patch: &str) -> Result<()> {
    let mut kubectl = Command::new(program("kubectl").context("there is no kubectl")?);
    kubectl.args(["--server", &api_in(output)?, "patch", "kafkacluster", "laptop", "--type", "merge", "-p", patch]);
    // Its cache lies beside the output.
    kubectl.env("HOME", output.parent().context("a file in a folder")?).env_remove("KUBECONFIG").stdin(Stdio::null());
    let said = kubectl.output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Ok(())
}

/// The settings of a Kafka with an authorizer.
fn authorizing_kafka(port: u16, users: u16) -> String {
    let controller = port + 50;
    format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{users},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.users.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.users.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"
    )
}

/// The same of a laptop's KafkaCluster, as JSON.
fn authorizing_ottla(users: u16) -> String {
    let authentication = r#"[{"type":"scram-sha-256"},{"type":"scram-sha-512"}]"#;
    let listener = format!(r#"{{"name":"users","port":{users},"insecure":true,"authentication":{authentication}}}"#);
    format!(
        r#"{{"spec":{{"listeners":[{{"name":"internal","port":9092}},{listener}],"authorization":{{"superUsers":["ANONYMOUS"]}}}}}}"#
    )
}

/// The script that runs Apache Kafka and its tools.
pub fn kafka_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka")
}

/// The `ottla` program: `OTTLA_BIN`, or built from this workspace.
pub fn ottla_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        return Ok(path.into());
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build_ottla().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build_ottla() -> Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    // CI sets it to have tests timed. The build scripts of widely used crates look at it: where it changes, nearly
    // everything is compiled again.
    build.args(["build", "--quiet", "-p", "ottla"]).env_remove("RUSTC_BOOTSTRAP");
    let status = build.status()?;
    if !status.success() {
        bail!("ottla does not build");
    }
    // target/debug/deps/this_test → target/debug/ottla
    let here = std::env::current_exe()?;
    let folder = here.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
    Ok(folder.context("tests lie in a cargo target folder")?.join("ottla"))
}

/// A port that is free now and that this process does not give out twice. The range lies below the kernel's own range
/// for outgoing connections, so nobody takes a killed broker's port before it comes back.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 21000;
    const COUNT: u16 = 900;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((std::process::id() % u32::from(COUNT)) as u16 + step) % COUNT;
        // Kafka's controller listens 50 above.
        if [port, port + 50].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no free port from {FIRST} on")
}

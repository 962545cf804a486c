//! A broker's process, with what the kernel knows of it.

use anyhow::{Context, Result, bail};
pub use ottla_e2e::leash::cpu_time;
use ottla_e2e::leash::{Folder, Leash, resident};
use ottla_e2e::target::{Maker, kafka_script, patch_laptop};
use ottla_e2e::wait::until;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::replicated::DELETED_AT_ONCE;
use crate::runs::Brokers;
use crate::{lean, secured};

/// Longer than Kafka's delay before it deletes a folder, a minute.
const GONE: Duration = Duration::from_secs(150);
/// What a log may leave until its broker starts again: checkpoints.
const NEXT_TO_NOTHING: u64 = 1 << 20;
/// Kafka's controller listens 50 above.
const PORTS: [(Maker, u16); 2] = [(Maker::Ottla, 22800), (Maker::Kafka, 22810)];

/// How far apart the ports of two Ottlas are.
const APART: u16 = 5;

/// One broker in a folder of its own.
pub struct Broker {
    maker: Maker,
    port: u16,
    process: Option<Leash>,
    folder: Folder,
    /// Whether it also listens under TLS, at [`secured::SECURE`] and [`secured::USERS`].
    secure: bool,
}

impl Broker {
    /// An empty folder; Kafka's is formatted, which is not measured.
    pub fn prepare(maker: Maker) -> Result<Broker> {
        Broker::prepare_with(maker, false)
    }

    /// An Ottla that runs; `nth` of several has ports of its own.
    pub fn start_ottla(nth: u16) -> Result<Broker> {
        let mut broker = Broker::prepare(Maker::Ottla)?;
        broker.port += nth * APART;
        broker.start()?;
        lean::first_acknowledgement(&broker.address(), "first")?;
        Ok(broker)
    }

    /// Changes Ottla's KafkaCluster by a merge patch, for which it needs `kubectl`.
    pub fn patch(&self, patch: &str) -> Result<()> {
        patch_laptop(&self.output(), patch)
    }

    /// A broker that also listens under TLS. Ottla needs `kubectl` for it.
    pub fn start_secure(maker: Maker) -> Result<Broker> {
        let mut broker = Broker::prepare_with(maker, true)?;
        broker.start()?;
        lean::first_acknowledgement(&broker.address(), "first")?;
        if maker == Maker::Ottla {
            broker.patch(&secured::ottla(broker.port))?;
            // A laptop listens where its KafkaCluster says when it starts.
            broker.stop()?;
            broker.start()?;
            lean::first_acknowledgement(&broker.address(), "second")?;
        }
        Ok(broker)
    }

    fn prepare_with(maker: Maker, secure: bool) -> Result<Broker> {
        let (_, port) = PORTS.into_iter().find(|(known, _)| *known == maker).context("every maker has a port")?;
        let broker = Broker { maker, port, process: None, folder: Folder::new()?, secure };
        match maker {
            Maker::Ottla => drop(ottla_program()?),
            Maker::Kafka => {
                let extra = broker.folder.path().join("extra.properties");
                let (name, value) = DELETED_AT_ONCE;
                let mut properties = format!("{name}={value}\n");
                if secure {
                    properties += &secured::kafka(broker.folder.path(), port)?;
                }
                std::fs::write(&extra, properties)?;
                let output = broker.kafka_script("format").arg("single").env("KAFKA_EXTRA", extra).output()?;
                if !output.status.success() {
                    bail!("kafka format failed: {}", String::from_utf8_lossy(&output.stderr));
                }
            }
        }
        Ok(broker)
    }

    /// Starts the process and says when; does not wait for it.
    pub fn start(&mut self) -> Result<Instant> {
        let command = match self.maker {
            Maker::Ottla => {
                let mut command = Command::new(ottla_program()?);
                command.arg("--data").arg(self.data()).arg("--kafka").arg(self.address());
                command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
                // Kafka's default: the first members of a classic group wait for more. A laptop's do not.
                command.args(["--set", "group.initial.rebalance.delay.ms=3000"]);
                command
            }
            Maker::Kafka => {
                let mut command = self.kafka_script("run");
                command.arg("0");
                command
            }
        };
        let begin = Instant::now();
        self.process = Some(Leash::start(&command, &self.output())?);
        Ok(begin)
    }

    /// Ends the process politely.
    pub fn stop(&self) -> Result<()> {
        self.running()?.end(Signal::TERM)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where clients log in, under TLS.
    pub fn address_for_users(&self) -> String {
        format!("127.0.0.1:{}", self.port + secured::USERS)
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn running(&self) -> Result<&Leash> {
        let process = self.process.as_ref().context("the broker was started")?;
        if !process.runs() {
            bail!("the broker ended: {}", std::fs::read_to_string(self.output())?);
        }
        Ok(process)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn kafka_script(&self, verb: &str) -> Command {
        let mut command = Command::new(kafka_script());
        command.arg(verb).env("KAFKA_DATA", self.data()).env("KAFKA_PORT", self.port.to_string());
        // As Kafka's own start script has it.
        command.env("KAFKA_HEAP", "-Xms1g -Xmx1g");
        command
    }
}

impl Brokers for Broker {
    fn maker(&self) -> Maker {
        self.maker
    }

    fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<String> {
        lean::create_topic(&self.address(), topic, partitions, settings)?;
        let secure = || format!("{}127.0.0.1:{}", secured::SCHEME, self.port + secured::SECURE);
        Ok(if self.secure { secure() } else { self.address() })
    }

    fn remove(&self, topic: &str) -> Result<()> {
        lean::delete_topic(&self.address(), topic)?;
        let partitions = match self.maker {
            Maker::Ottla => self.data().join("broker-0"),
            Maker::Kafka => self.data().join("node0/log"),
        };
        wait_until_gone(&partitions, topic)
    }

    fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.running()?.pid().to_string())
    }

    fn resident_mb(&self) -> Result<f64> {
        resident_mb(self.running()?.pid())
    }
}

/// Waits until a broker's folder has next to nothing of a topic any more.
pub fn wait_until_gone(folder: &Path, topic: &str) -> Result<()> {
    let prefix = format!("{topic}-");
    let mut left = Vec::new();
    let gone = until(GONE, "a deleted topic's files to go", || {
        let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let of_topic =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        left = folders.filter(of_topic).map(|path| (size(&path), path)).collect();
        Ok(left.iter().all(|(bytes, _)| *bytes < NEXT_TO_NOTHING).then_some(()))
    });
    gone.with_context(|| format!("{left:?}"))
}

/// The bytes of a folder's files; those that go meanwhile have none.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// Resident memory of a process in 10⁶ bytes.
pub fn resident_mb(pid: i32) -> Result<f64> {
    Ok(resident(pid)? as f64 / 1e6)
}

/// The `ottla` program: `OTTLA_BIN`, or built from this workspace with the profile of this benchmark.
pub fn ottla_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        return Ok(path.into());
    }
    static BUILT: OnceLock<bool> = OnceLock::new();
    let build = || Command::new(env!("CARGO")).args(["build", "--quiet", "--profile", "dist", "-p", "ottla"]).status();
    if !BUILT.get_or_init(|| build().is_ok_and(|status| status.success())) {
        bail!("ottla does not build");
    }
    Ok(std::env::current_exe()?.with_file_name("ottla"))
}

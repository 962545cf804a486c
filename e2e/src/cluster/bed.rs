//! The Kubernetes cluster that the tests of one program share, with the charts installed.
//!
//! A cluster that is given stays as it was but for the charts; its nodes have the images `ottla` and
//! `localhost/clients:1` already. Without one, `e2e/cluster/cluster` makes one on this machine, which ends with the
//! test program; one that was brought up by hand is used and left.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::need::{self, Need, cache, met};
use crate::target::ottla_program;

/// Where the operator lives.
pub const OPERATOR_NAMESPACE: &str = "ottla-system";
/// The image of [`Bed::older_charts`].
pub const OLDER_IMAGE: &str = "ottla:older";
/// Few enough for two cores, enough for a zone each.
const NODES: &str = "3";

/// A cluster with Ottla's operator on it.
pub struct Bed {
    kubeconfig: PathBuf,
    built_in: bool,
    /// Ends the cluster when this process ends, however it does; none for a cluster that was there.
    _end: Option<Child>,
}

/// A test's turn on the cluster: together with others, or alone.
pub struct Turn {
    bed: &'static Bed,
    _together: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

static TURNS: RwLock<()> = RwLock::new(());

impl Deref for Turn {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        self.bed
    }
}

impl Bed {
    /// The cluster, or none where the calling test has to be skipped.
    pub fn get() -> Result<Option<Turn>> {
        if !met(&[Need::Cluster]) {
            return Ok(None);
        }
        let together = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Turn { bed: Bed::started()?, _together: Some(together), _alone: None }))
    }

    /// The cluster for the calling test alone, which counts what happens there, or breaks it.
    pub fn alone() -> Result<Option<Turn>> {
        if !met(&[Need::Cluster]) {
            return Ok(None);
        }
        let alone = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Turn { bed: Bed::started()?, _together: None, _alone: Some(alone) }))
    }

    /// The same, where it is the one on this machine: nobody else's nodes are broken.
    pub fn to_break() -> Result<Option<Turn>> {
        Ok(Bed::alone()?.filter(|turn| turn.is_built_in()))
    }

    /// The one on this machine, together with others: for tests that break their own pods from outside.
    pub fn on_this_machine() -> Result<Option<Turn>> {
        Ok(Bed::get()?.filter(|turn| turn.is_built_in()))
    }

    fn started() -> Result<&'static Bed> {
        static BED: OnceLock<Result<Bed, String>> = OnceLock::new();
        let bed = BED.get_or_init(|| Bed::start().map_err(|error| format!("{error:#}")));
        bed.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn start() -> Result<Bed> {
        let bed = match need::given_cluster() {
            Some(kubeconfig) => Bed { kubeconfig, built_in: false, _end: None },
            None => Bed::built_in()?,
        };
        bed.install()?;
        Ok(bed)
    }

    fn built_in() -> Result<Bed> {
        let kubeconfig = folder().join("kubeconfig");
        let mut bed = Bed { kubeconfig, built_in: true, _end: None };
        if bed.kubectl("get --raw /readyz").is_err() {
            bed.tool(&["down"])?;
            bed._end = Some(
                Command::new("sh")
                    .args(["-c", "cat > /dev/null; exec \"$1\" down", "sweeper"])
                    .arg(tool())
                    .stdin(Stdio::piped())
                    .spawn()?,
            );
            bed.tool(&["up", NODES])?;
        }
        let ottla = folder().join("ottla.tar");
        succeed(Command::new(scripts().join("image")).arg(ottla_program()?).arg(&ottla))?;
        succeed(Command::new(tool()).arg("load").args([ottla, cache().join("kube/clients.tar")]))?;
        Ok(bed)
    }

    /// The charts of the release that `e2e/cluster/older.commit` names. The nodes have its image as [`OLDER_IMAGE`].
    pub fn older_charts(&self) -> Result<PathBuf> {
        ensure!(self.built_in, "only the built-in cluster's nodes can be given an image");
        let older = PathBuf::from(succeed(&mut Command::new(scripts().join("older")))?.trim());
        let tar = older.join("ottla-older.tar");
        succeed(Command::new(scripts().join("image")).arg(older.join("ottla")).arg(&tar).arg("older"))?;
        succeed(Command::new(tool()).arg("load").arg(tar))?;
        Ok(older.join("charts"))
    }

    /// Installs the charts as a user does, or brings them up to date.
    fn install(&self) -> Result<()> {
        self.upgrade(&charts(), "")?;
        if self.built_in && self._end.is_none() {
            // The image may be another under the same name.
            let deployment = format!("deployment/ottla -n {OPERATOR_NAMESPACE}");
            self.kubectl(&format!("rollout restart {deployment}"))?;
            self.kubectl(&format!("rollout status {deployment} --timeout=300s"))?;
        }
        Ok(())
    }

    /// Upgrades the definitions and then the operator to these charts with these options of helm, or installs them.
    pub fn upgrade(&self, charts: &Path, options: &str) -> Result<()> {
        let charts = charts.display();
        self.helm(&format!("upgrade --install ottla-crds {charts}/ottla-crds --wait"))?;
        let operator = format!("--namespace {OPERATOR_NAMESPACE} --create-namespace --reset-values {options}");
        self.helm(&format!("upgrade --install ottla {charts}/ottla {operator} --wait --timeout 300s")).map(drop)
    }

    /// `kubectl` with these arguments, split at blanks; it must succeed. What it prints.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        succeed(self.command("kubectl").args(line.split_whitespace())).with_context(|| format!("kubectl {line}"))
    }

    /// The same with this input.
    pub fn kubectl_with(&self, line: &str, input: &str) -> Result<String> {
        succeed_with(self.command("kubectl").args(line.split_whitespace()), input)
            .with_context(|| format!("kubectl {line}"))
    }

    /// `helm`, in the same way.
    pub fn helm(&self, line: &str) -> Result<String> {
        succeed(self.command("helm").args(line.split_whitespace())).with_context(|| format!("helm {line}"))
    }

    /// Whether it is the one on this machine, which can be broken.
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// A verb of `e2e/cluster/cluster`: ends nodes, cuts them off, stops the API server, sends signals to pods.
    pub fn tool(&self, arguments: &[&str]) -> Result<String> {
        ensure!(self.built_in, "only the built-in cluster can be broken");
        succeed(Command::new(tool()).args(arguments))
    }

    /// Where every node of the built-in cluster has its volumes.
    pub fn volumes(&self) -> Result<PathBuf> {
        ensure!(self.built_in, "only the built-in cluster's volumes are on this machine");
        Ok(folder().join("volumes"))
    }

    /// The file with its address and credentials.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A program that finds the cluster in its environment. The cache has a kubectl and a helm of the cluster's
    /// version.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(need::program(program).unwrap_or_else(|| program.into()));
        command.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command
    }
}

/// The folder of the charts.
pub fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

fn tool() -> PathBuf {
    scripts().join("cluster")
}

/// The state of the built-in cluster.
fn folder() -> PathBuf {
    std::env::var_os("OTTLA_CLUSTER").map_or_else(|| cache().join("cluster"), PathBuf::from)
}

/// Runs it; what it prints, or what it says when it fails.
pub fn succeed(command: &mut Command) -> Result<String> {
    outcome(command.output().with_context(|| format!("{command:?}"))?)
}

/// The same with this input.
pub fn succeed_with(command: &mut Command, input: &str) -> Result<String> {
    outcome(feed(command, input)?)
}

/// Runs it with this input.
pub(super) fn feed(command: &mut Command, input: &str) -> Result<Output> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn outcome(Output { status, stdout, stderr }: Output) -> Result<String> {
    let (out, error) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{status}: {out}{error}");
    Ok(out.into_owned())
}

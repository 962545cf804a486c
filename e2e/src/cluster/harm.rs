//! What can happen to a broker on Kubernetes. Processes and nodes can be harmed where the cluster is the one on this
//! machine.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

use crate::cluster::LIMIT;
use crate::cluster::bed::Bed;
use crate::cluster::namespace::Namespace;
use crate::wait::until;

/// How a broker loses its node for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// A power cut.
    Killed,
    /// Its processes stand still.
    Frozen,
    /// Its network is gone.
    CutOff,
}

impl Loss {
    /// What `e2e/cluster/cluster` calls it, and its end.
    fn verbs(self) -> [&'static str; 2] {
        match self {
            Loss::Killed => ["kill", "add"],
            Loss::Frozen => ["freeze", "thaw"],
            Loss::CutOff => ["cut", "join"],
        }
    }
}

impl Bed {
    /// Does what leaves these nodes cordoned, and uncordons them however it ends.
    pub fn then_uncordon(&self, nodes: &str, harm: impl FnOnce() -> Result<()>) -> Result<()> {
        let harmed = harm();
        let uncordoned = until(LIMIT, "nodes to be uncordoned", || Ok(self.kubectl(&format!("uncordon {nodes}")).ok()));
        harmed?;
        uncordoned.map(drop)
    }
}

impl Namespace<'_> {
    /// What distinguishes a broker's pod from the one before it.
    pub fn pod_uid(&self, broker: u64) -> Result<String> {
        self.field(&format!("pod/kafka-broker-{broker}"), ".metadata.uid")
    }

    /// Signals the broker of this pod, as nobody in it could. Needs no API server.
    pub fn signal(&self, signal: &str, pod_uid: &str) -> Result<()> {
        self.tool(&["signal", signal, pod_uid, "ottla"]).map(drop)
    }

    /// Kills a broker's process and waits until its container was started again.
    pub fn kill_process(&self, broker: u64) -> Result<()> {
        let before = self.starts()?;
        self.signal("KILL", &self.pod_uid(broker)?)?;
        let again = || self.starts().ok().filter(|now| *now != before).map(drop);
        until(LIMIT, "the container to start again", || Ok(again()))
    }

    /// Deletes a broker's pod, with more of `kubectl`'s options, and waits until another stands in its place.
    pub fn delete_pod(&self, broker: u64, how: &str) -> Result<()> {
        let before = self.pod_uid(broker)?;
        self.kubectl(&format!("delete pod kafka-broker-{broker} --wait=false {how}"))?;
        let another = |uid: &str| uid.len() == before.len() && uid != before;
        self.satisfies(&format!("get pod/kafka-broker-{broker} -o jsonpath={{.metadata.uid}}"), another)?;
        self.ready(&format!("pod/kafka-broker-{broker}"), "Ready").map(drop)
    }

    /// Where a broker's volume is on this machine.
    pub fn volume(&self, broker: u64) -> Result<PathBuf> {
        let name = self.field(&format!("pvc/data-kafka-broker-{broker}"), ".spec.volumeName")?;
        let path = self.field(&format!("pv/{name}"), ".spec.hostPath.path")?;
        let folder = Path::new(&path).file_name().with_context(|| format!("{name} is at {path:?}"))?;
        Ok(self.volumes()?.join(folder))
    }

    /// The node that a broker is on.
    pub fn node_of(&self, broker: u64) -> Result<String> {
        self.field(&format!("pod/kafka-broker-{broker}"), ".spec.nodeName")
    }

    /// Takes a broker's node away, waits until others lead and for what the caller waits for, and gives it back.
    pub fn without_node(&self, broker: u64, loss: Loss, meanwhile: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        let node = self.node_of(broker)?;
        let number = node.trim_start_matches("node");
        if node == number {
            bail!("{node} is not one of our nodes");
        }
        let [lose, regain] = loss.verbs();
        self.tool(&[lose, number])?;
        let waited = self.wait_until_led_by_others(broker).and_then(|()| meanwhile(&node));
        self.tool(&[regain, number])?;
        waited?;
        self.kubectl(&format!("wait node/{node} --for=condition=Ready --timeout=300s")).map(drop)
    }
}

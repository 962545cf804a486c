//! One broker on Kubernetes: from the operator's file and its pod to a node that serves until it is told to stop.

use anyhow::Context;
use ottla_crds::broker_file::BrokerFile;

use crate::options::BrokerOptions;

/// Serves until `stopped`.
///
/// # Errors
/// One sentence that names what is wrong: the file, the pod's name, a port or a directory in use.
pub async fn run(options: BrokerOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let name = options.config.display();
    let text = std::fs::read_to_string(&options.config).with_context(|| format!("failed to read {name}"))?;
    let _file = BrokerFile::parse(&text).with_context(|| format!("{name} is no broker's file"))?;
    stopped.await;
    anyhow::bail!("not built yet")
}

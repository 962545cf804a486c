//! One broker on Kubernetes: from the operator's file and its pod to a node that serves until it is stopped.

use std::time::Duration;

use anyhow::Context;
use kube::Client;
use ottla_broker::image::BrokerId;
use ottla_broker::node::{Config, Listener, Node};
use ottla_crds::broker_file::{BrokerFile, BrokerListener, TLS_FOLDER};
use ottla_crds::names;

use crate::everywhere::everywhere;
use crate::limits;
use crate::options::BrokerOptions;

/// The least number of threads for blocking work: they wait more than they work.
const LEAST_WORKERS: usize = 4;
/// How long a connection to the API server may take to be established.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Serves until `stopped`, then hands over and stops.
///
/// # Errors
/// One sentence with the cause: the file, the pod's name, a port or a directory in use.
pub async fn run(options: BrokerOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let name = options.config.display();
    let text = std::fs::read_to_string(&options.config).with_context(|| format!("failed to read {name}"))?;
    let file = BrokerFile::parse(&text).with_context(|| format!("{name} is no broker's file"))?;
    let drain = Duration::from_secs(u64::from(file.drain_seconds));
    let config = config(file, &options)?;
    let client = client().await?;
    tracing::info!(
        broker = %config.id,
        cluster = config.cluster,
        version = env!("CARGO_PKG_VERSION"),
        reactors = config.reactors,
        request_memory = config.request_memory,
        "starting"
    );

    tokio::pin!(stopped);
    let node = tokio::select! {
        started = Node::start(config, client) => started?,
        () = &mut stopped => return Ok(()),
    };
    tracing::info!("serving");
    tokio::select! {
        () = stopped => {}
        failed = node.disk_failed() => return Err(failed.into()),
    }
    tracing::info!(?drain, "stopping: handing partitions over to other brokers");
    node.stop(drain).await?;
    tracing::info!("stopped");
    Ok(())
}

fn config(file: BrokerFile, options: &BrokerOptions) -> anyhow::Result<Config> {
    let BrokerFile { cluster, namespace, data, http, listeners, drain_seconds: _ } = file;
    let id = broker_id(&cluster, &options.pod_name)?;
    let listeners = listeners.into_iter().map(|BrokerListener { name, bind }| {
        // A broker on loopback is reached only from its own machine, at that address.
        let advertised_host = bind.ip().is_loopback().then(|| bind.ip().to_string());
        Listener { name: name.into(), bind: everywhere(bind), advertised_host }
    });
    // The standard library knows of affinity and of the cgroup's CPU quota.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Config {
        id,
        namespace,
        cluster,
        data,
        listeners: listeners.collect(),
        tls: TLS_FOLDER.into(),
        http: everywhere(http),
        pod_uid: Some(options.pod_uid.clone()),
        reactors: cores,
        workers: LEAST_WORKERS.max(cores),
        request_memory: limits::request_memory(limits::memory()),
    })
}

fn broker_id(cluster: &str, pod: &str) -> anyhow::Result<BrokerId> {
    names::of_pod(cluster, pod).map(|(_, id)| id).with_context(|| {
        let expected = names::pod(cluster, None, BrokerId(0));
        format!("the pod {pod} is not a broker of the cluster {cluster}: its name should be like {expected}")
    })
}

/// The client of the API server, with the pod's service account.
///
/// # Errors
/// When neither the pod nor KUBECONFIG names the API server.
pub async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("failed to find the Kubernetes API")?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    Client::try_from(config).context("failed to prepare for the Kubernetes API")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_brokers_share_is_in_the_file_and_the_rest_in_the_pod() {
        let file = "\
cluster: prod
namespace: kafka
data: /var/lib/ottla
http: 0.0.0.0:9404
listeners:
- {name: internal, bind: '0.0.0.0:9092'}
- {name: here, bind: '127.0.0.1:9094'}
drainSeconds: 25
";
        let pod = |name: &str| BrokerOptions {
            config: PathBuf::from("broker.yaml"),
            pod_name: name.to_owned(),
            pod_uid: "uid".to_owned(),
        };
        let file = || BrokerFile::parse(file).unwrap();
        let made = config(file(), &pod("prod-broker-12")).unwrap();
        assert_eq!((made.id, made.listeners.len(), made.pod_uid.as_deref()), (BrokerId(12), 2, Some("uid")));
        let hosts: Vec<_> = made.listeners.iter().map(|listener| listener.advertised_host.as_deref()).collect();
        assert_eq!(hosts, [None, Some("127.0.0.1")]);
        for wrong in ["prod-broker-x", "other-broker-1", "prod-broker"] {
            let error = config(file(), &pod(wrong)).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("like prod-broker-0"), "{error}");
        }
    }
}
